"""``strongroom probe``."""

from __future__ import annotations

from strongroom.pipeline.cli.console import out, print_json
from strongroom.pipeline.cli.options import Json
from strongroom.pipeline.cli.reporting import reporting


def probe(as_json: Json = False) -> None:
    """Try every layer of the sandbox on this machine."""
    from strongroom.pipeline.cli.machine.prober import probe_machine

    with reporting(as_json):
        found = probe_machine()
        weak = [name for name, (_value, verdict) in found.items() if verdict == "open"]
        if as_json:
            rows = {n: {"value": v, "verdict": verdict} for n, (v, verdict) in found.items()}
            print_json({"ok": not weak, "probes": rows})
        else:
            for name, (value, verdict) in found.items():
                if verdict != "closed":
                    out.say(f"{name:<28} {value:<14} {verdict}")
            good = sum(verdict == "closed" for _value, verdict in found.values())
            out.say(f"{good} of {len(found)} layers closed")
        if weak:
            raise SystemExit(1)
