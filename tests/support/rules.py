"""Rules that a process of its own runs, as the product's does, but plan after plan.

Their native code reserves 256 GiB of addresses, which a process that is forked from this one and
locks its memory would have to fill.
"""

from __future__ import annotations

import subprocess
import sys
from functools import cache

import msgspec

from strongroom.policies.asking import Answer, Request

_PROGRAM = """
import sys
import msgspec
from strongroom.policies import interpreter
for line in sys.stdin.buffer:
    answer = interpreter.answer(msgspec.json.decode(line, type=interpreter.Request))
    print(msgspec.json.encode(answer).decode(), flush=True)
"""


@cache
def process() -> subprocess.Popen[bytes]:
    """The process, started with the first question and for the session."""
    command = [sys.executable, "-c", _PROGRAM]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def answer(request: Request) -> Answer:
    """What the rules of one request say."""
    started = process()
    assert started.stdin is not None
    assert started.stdout is not None
    started.stdin.write(msgspec.json.encode(request) + b"\n")
    started.stdin.flush()
    return msgspec.json.decode(started.stdout.readline(), type=Answer)


def end() -> None:
    """End the process, if it was started."""
    if process.cache_info().currsize:
        process().communicate()
        process.cache_clear()
