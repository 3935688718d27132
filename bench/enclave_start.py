"""What it costs an enclave with torch to run the measured set and nothing else, when it starts.

Two processes take turns: one is started as an enclave is, every source and shared object compared
before it runs and every mapping once more at the end; the other is ``python -I -B`` with the same
imports, which believes byte code and libraries as they lie there. The cost is the median over the
differences of pairs, and what it takes the starter to put the measured set together. It passes
when that is within the bound. ``cost_cpu_s`` is the same in processor time, which other programs
disturb less. What has to be done once in an environment, compiling its libraries, is printed
beside it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import figures

from strongroom.isolated import compiled
from strongroom.isolated.measured import MeasuredSet, measured_set
from strongroom.isolated.start import Child

BOUND_S = 3.0
WORK = Path(__file__).with_name("start_work.py")


def main() -> int:
    """Print the figures; 1 when the bound is not met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    measuring_s, measuring_cpu_s = _seconds(measured_set)
    compiling_s, _ = _seconds(lambda: compiled.compiled_set(anew=True))
    found = _with_work(compiled.compiled_set(anew=True))
    for side in (_guarded, _believing):  # both find their files in memory from here on
        side(found)
    pairs = [
        (_seconds(lambda: _guarded(found)), _seconds(lambda: _believing(found)))
        for _ in range(options.pairs)
    ]
    cost_s = measuring_s + statistics.median(ours[0] - theirs[0] for ours, theirs in pairs)
    cost_cpu_s = measuring_cpu_s + statistics.median(ours[1] - theirs[1] for ours, theirs in pairs)
    taken = {
        "guarded_s": round(statistics.median(ours[0] for ours, _ in pairs), 3),
        "believing_s": round(statistics.median(theirs[0] for _, theirs in pairs), 3),
        "measuring_s": round(measuring_s, 3),
        "cost_s": round(cost_s, 3),
        "cost_cpu_s": round(cost_cpu_s, 3),
        "once_in_an_environment_s": round(compiling_s, 1),
    }
    print(f"$ {figures.command()}")
    for name, value in taken.items():
        print(f"{name:<26} {value:6.2f}")
    print(f"bound of cost_s            {BOUND_S:6.2f}   ({options.pairs} pairs)")
    if options.json:
        more = {"pairs": options.pairs, "bound_s": BOUND_S, "passed": cost_s <= BOUND_S}
        print(figures.document("enclave_start", {**taken, **more}))
    return 0 if cost_s <= BOUND_S else 1


def _guarded(found: MeasuredSet) -> None:
    child = Child(WORK.stem, environment={}, measured=found, stderr=None)
    if status := child.wait():
        raise SystemExit(f"ended with {status}: {child.refusal()}")


def _believing(found: MeasuredSet) -> None:
    code = f"import sys; sys.path.append({str(WORK.parent)!r}); import {WORK.stem} as w; w.main()"
    subprocess.run([sys.executable, "-I", "-B", "-c", code], env={"LANG": "C.UTF-8"}, check=True)


def _with_work(found: MeasuredSet) -> MeasuredSet:
    """An enclave's set, and the program of this bench."""
    inside = found.inside()
    digest = hashlib.sha256(WORK.read_bytes()).digest()
    return replace(
        inside,
        path=[*inside.path, str(WORK.parent)],
        roots=[("bench", str(WORK.parent)), *inside.roots],
        files={**inside.files, f"bench/{WORK.name}": digest},
    )


def _seconds(work: Callable[[], object]) -> tuple[float, float]:
    """By the clock, and of processors: this process's and those that it waited for."""
    start, before = time.perf_counter(), os.times()
    work()
    after = os.times()
    cpu_s = sum(after[:4]) - sum(before[:4])
    return time.perf_counter() - start, cpu_s


if __name__ == "__main__":
    raise SystemExit(main())
