"""Seccomp: which system calls a process may make, for all of its threads and for good.

A filter has three parts, tried in this order. *Allowed* calls pass, some only with certain
arguments. *Refused* calls, and allowed calls with other arguments, fail with an errno: these are
the calls that libraries try and survive, and those that :mod:`enclave.sandbox.probes` tries on
purpose to see the wall. Every other call kills the process, by ``SIGSYS``: the kernel's own way
to kill would write the call's number to its log, which others may read.

A :class:`Watch` is a filter of its own beside such a one. It asks a listener, which is a descriptor
in another process, about some of the calls; when the last copy of that descriptor is closed, those
calls fail with ``ENOSYS`` for good, whatever the filtered process does. Where filters disagree, the
kernel obeys the stricter: a refusal before a question, a question before leave.

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

_RET_ALLOW, _RET_ERRNO, _RET_TRAP, _RET_USER_NOTIF = 0x7FFF0000, 0x00050000, 0x00030000, 0x7FC00000
_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_JUMP_EQUAL, _JUMP_GREATER_EQUAL = 0x15, 0x35
_X32_BIT = 0x40000000
_SET_MODE_FILTER, _TSYNC, _NEW_LISTENER = 1, 1, 8


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
class Unless:
    """True when the low 32 bits of an argument are none of some values."""

    argument: int
    values: tuple[int, ...]


@dataclass(frozen=True)
class Null:
    """True when a pointer argument is NULL, both halves of it."""

    argument: int


@dataclass(frozen=True)
class Either:
    """True when one of two conditions is."""

    one: When
    other: When


Condition = When | Unless | Null | Either


@dataclass(frozen=True)
class Filter:
    """What may be called: ``allowed`` by name, with all conditions true; ``refused`` by errno."""

    allowed: Mapping[str, Sequence[Condition]]
    refused: Mapping[str, int]
    otherwise: Mapping[str, int]
    """The errno of an allowed call whose conditions do not hold; ``EPERM`` when not named."""


@dataclass(frozen=True)
class Watch:
    """Calls that a listener is asked about, unless all conditions are true."""

    asked: Mapping[str, Sequence[Condition] | None]
    """``None``: always."""


def program(filter_: Filter) -> bytes:
    """The filter as a BPF program for this machine."""
    steps = _begin()
    for name, conditions in sorted(filter_.allowed.items(), key=lambda item: not item[1]):
        refusal = _RET_ERRNO | filter_.otherwise.get(name, EPERM)
        steps += _rule(name, _conditional(conditions, refusal))
    for name, errno in filter_.refused.items():
        steps += _rule(name, [_step(_RETURN, _RET_ERRNO | errno)])
    steps.append(_step(_RETURN, _RET_TRAP))
    return b"".join(steps)


def watch_program(watch: Watch) -> bytes:
    """The watch as a BPF program for this machine."""
    steps = _begin()
    ask = _step(_RETURN, _RET_USER_NOTIF)
    for name, conditions in watch.asked.items():
        body = [ask] if conditions is None else _conditional(conditions, _RET_USER_NOTIF)
        steps += _rule(name, body)
    steps.append(_step(_RETURN, _RET_ALLOW))
    return b"".join(steps)


def install(filter_: Filter) -> None:
    """Filter every thread of this process. Needs ``no_new_privs``. Raises ``OSError``."""
    if _install(program(filter_), _TSYNC):  # the id of a thread that could not take the filter
        raise OSError(EPERM, os.strerror(EPERM), "seccomp TSYNC")


def install_watch(watch: Watch) -> int:
    """Watch this thread and those that it creates. Returns the listener. Raises ``OSError``."""
    return _install(watch_program(watch), _NEW_LISTENER)


def _install(code: bytes, flags: int) -> int:
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer))
    return syscalls.call(
        "seccomp", _SET_MODE_FILTER, flags, ctypes.create_string_buffer(header, len(header))
    )


def _begin() -> list[bytes]:
    """Kill on calls of another architecture, whose numbers mean other calls; load the number."""
    steps = [
        _step(_LOAD, 4),
        _step(_JUMP_EQUAL, syscalls.AUDIT_ARCH[syscalls.MACHINE], 1, 0),
        _step(_RETURN, _RET_TRAP),
        _step(_LOAD, 0),
    ]
    if syscalls.MACHINE == "x86_64":
        steps += [_step(_JUMP_GREATER_EQUAL, _X32_BIT, 0, 1), _step(_RETURN, _RET_TRAP)]
    return steps


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
        steps += [*_test(condition, 1), _step(_RETURN, refusal)]
    return [*steps, _step(_RETURN, _RET_ALLOW)]


def _test(condition: Condition, beyond: int) -> list[bytes]:
    """Steps that jump over the next ``beyond`` steps when true, and otherwise reach their end."""
    match condition:
        case When(argument, values, mask):
            jumps = [
                _step(_JUMP_EQUAL, value, len(values) - 1 - place + beyond, 0)
                for place, value in enumerate(values)
            ]
            return [_step(_LOAD, 16 + 8 * argument), _step(_AND, mask), *jumps]
        case Unless(argument, values):
            jumps = [
                _step(_JUMP_EQUAL, value, len(values) - place, 0)  # to the end
                for place, value in enumerate(values)
            ]
            always = _step(_JUMP_GREATER_EQUAL, 0, beyond, 0)
            return [_step(_LOAD, 16 + 8 * argument), *jumps, always]
        case Null(argument):
            low, high = 16 + 8 * argument, 20 + 8 * argument
            return [
                *(_step(_LOAD, low), _step(_JUMP_EQUAL, 0, 0, 2)),
                *(_step(_LOAD, high), _step(_JUMP_EQUAL, 0, beyond, 0)),
            ]
        case Either(one, other):
            second = _test(other, beyond)
            return [*_test(one, len(second) + beyond), *second]
