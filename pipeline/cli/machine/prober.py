"""What this machine's kernel gives an enclave: the parent's side of ``enclave.roles.probe``."""

from __future__ import annotations

import msgspec

from strongroom.enclave.broker import RECORDS
from strongroom.enclave.channel import frames
from strongroom.enclave.channel.errors import ChannelBroken, ChannelViolation, EnclaveKilled
from strongroom.enclave.channel.framing import Channel
from strongroom.enclave.sandbox import launch
from strongroom.enclave.sandbox.probe_names import closed, tolerated


def probe_machine() -> dict[str, tuple[str, str]]:
    """Each probe's value and verdict: ``closed``, ``tolerated`` (with a warning) or ``open``."""
    ours, theirs = Channel.pair()
    process = launch.start("strongroom.enclave.roles.probe", theirs.fileno(), "A1")
    theirs.close()
    channel = Channel(ours, "prober")
    try:
        record = channel.recv_record(RECORDS)
    except ChannelBroken:
        raise EnclaveKilled(place="prober", actual=f"exit status {process.wait(5)}") from None
    finally:
        channel.close()
        process.kill()
        process.wait()
    if not isinstance(record, frames.EvidenceFrame):
        raise ChannelViolation(place="prober", expected="probe results")
    probes = msgspec.json.decode(record.evidence, type=dict[str, str])
    return {name: (value, _verdict(name, value)) for name, value in sorted(probes.items())}


def _verdict(name: str, value: str) -> str:
    if closed(name, value):
        return "closed"
    return "tolerated" if tolerated(name, value) else "open"
