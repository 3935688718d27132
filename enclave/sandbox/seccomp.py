"""Seccomp: which system calls a process may make, for all of its threads and for good.

A filter has three parts, tried in this order. *Allowed* calls pass, some only with certain
arguments. *Refused* calls, and allowed calls with other arguments, fail with an errno: these are
the calls that libraries try and survive, and those that :mod:`enclave.sandbox.probes` tries on
purpose to see the wall. Every other call kills the process.

Speed: since Linux 5.11 the kernel remembers which calls pass whatever their arguments and does not
run the program for those, so the conditional ones come first.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from errno import EPERM

from strongroom.enclave.sandbox import syscalls

_RET_KILL_PROCESS, _RET_ALLOW, _RET_ERRNO = 0x80000000, 0x7FFF0000, 0x00050000
_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_JUMP_EQUAL, _JUMP_GREATER_EQUAL = 0x15, 0x35
_X32_BIT = 0x40000000
_SET_MODE_FILTER, _TSYNC = 1, 1


@dataclass(frozen=True)
class When:
    """True when the low 32 bits of an argument, masked, are one of some values.

    Every flag and command that we look at is an ``int`` to the kernel, so the high half of the
    register does not count.
    """

    argument: int
    values: tuple[int, ...]
    mask: int = 0xFFFFFFFF


@dataclass(frozen=True)
class Null:
    """True when a pointer argument is NULL, both halves of it."""

    argument: int


Condition = When | Null


@dataclass(frozen=True)
class Filter:
    """What may be called: ``allowed`` by name, with all conditions true; ``refused`` by errno."""

    allowed: Mapping[str, Sequence[Condition]]
    refused: Mapping[str, int]
    otherwise: Mapping[str, int]
    """The errno of an allowed call whose conditions do not hold; ``EPERM`` when not named."""


def program(filter_: Filter) -> bytes:
    """The filter as classic BPF; calls that this machine lacks are passed over."""
    steps = [
        _step(_LOAD, 4),
        _step(_JUMP_EQUAL, syscalls.AUDIT_ARCH[syscalls.MACHINE], 1, 0),
        _step(_RETURN, _RET_KILL_PROCESS),
        _step(_LOAD, 0),
    ]
    if syscalls.MACHINE == "x86_64":
        steps += [_step(_JUMP_GREATER_EQUAL, _X32_BIT, 0, 1), _step(_RETURN, _RET_KILL_PROCESS)]
    for name, conditions in sorted(filter_.allowed.items(), key=lambda item: not item[1]):
        refusal = _RET_ERRNO | filter_.otherwise.get(name, EPERM)
        steps += _rule(name, _conditional(conditions, refusal))
    for name, errno in filter_.refused.items():
        steps += _rule(name, [_step(_RETURN, _RET_ERRNO | errno)])
    steps.append(_step(_RETURN, _RET_KILL_PROCESS))
    return b"".join(steps)


def install(filter_: Filter) -> None:
    """Filter every thread of this process. Needs ``no_new_privs``. Raises ``OSError``."""
    code = program(filter_)
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer))
    outcome = syscalls.call(
        "seccomp", _SET_MODE_FILTER, _TSYNC, ctypes.create_string_buffer(header, len(header))
    )
    if outcome:  # the id of a thread that could not take the filter
        raise OSError(EPERM, os.strerror(EPERM), "seccomp TSYNC")


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value & 0xFFFFFFFF)


def _rule(name: str, body: list[bytes]) -> list[bytes]:
    number = syscalls.NUMBERS.get(name)
    if number is None:
        return []
    return [_step(_JUMP_EQUAL, number, 0, len(body)), *body]


def _conditional(conditions: Sequence[Condition], refusal: int) -> list[bytes]:
    """Steps that return for good: a rule's body never falls through to the next rule."""
    steps: list[bytes] = []
    for condition in conditions:
        match condition:
            case When(argument, values, mask):
                steps += [_step(_LOAD, 16 + 8 * argument), _step(_AND, mask)]
                for place, value in enumerate(values):
                    to_next = len(values) - place  # over the other values and the refusal
                    steps.append(_step(_JUMP_EQUAL, value, to_next, 0))
                steps.append(_step(_RETURN, refusal))
            case Null(argument):
                for half in (0, 4):
                    steps.append(_step(_LOAD, 16 + 8 * argument + half))
                    steps += [_step(_JUMP_EQUAL, 0, 1, 0), _step(_RETURN, refusal)]
    steps.append(_step(_RETURN, _RET_ALLOW))
    return steps
