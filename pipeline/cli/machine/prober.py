"""What this machine's kernel gives an enclave: the parent's side of ``enclave.roles.probe``."""

from __future__ import annotations

import msgspec

from strongroom.enclave.parent import TaskEnclave
from strongroom.enclave.sandbox.probe_names import closed, tolerated


def probe_machine() -> dict[str, tuple[str, str]]:
    """Each probe's value and verdict: ``closed``, ``tolerated`` (with a warning) or ``open``."""
    with TaskEnclave("prober", "strongroom.enclave.roles.probe") as prober:
        probes = msgspec.json.decode(prober.evidence(), type=dict[str, str])
    return {name: (value, _verdict(name, value)) for name, value in sorted(probes.items())}


def _verdict(name: str, value: str) -> str:
    if closed(name, value):
        return "closed"
    return "tolerated" if tolerated(name, value) else "open"
