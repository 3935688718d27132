"""The filters' programs, run by a small interpreter of classic BPF: for both architectures."""

from __future__ import annotations

import os
import signal
import struct
from errno import EACCES, ENOSYS, ENOTTY, EPERM

import pytest

from strongroom.enclave.sandbox import filters, seccomp, syscalls

ALLOW, KILL, ERRNO = "allow", "kill", "errno"
X86 = 0xC000003E


@pytest.fixture(params=["x86_64", "aarch64"])
def machine(request, monkeypatch):
    monkeypatch.setattr(syscalls, "MACHINE", request.param)
    monkeypatch.setattr(syscalls, "NUMBERS", syscalls._numbers(request.param))
    return request.param


def decide(program: bytes, number: int, *arguments: int, arch: int) -> str | tuple[str, int]:
    """What the kernel would do: every step is LOAD, AND, RETURN or a jump."""
    padded = [argument & (2**64 - 1) for argument in (*arguments, 0, 0, 0, 0, 0, 0)[:6]]
    data = struct.pack("=iIQ6Q", number, arch, 0, *padded)
    steps = list(struct.iter_unpack("HBBI", program))
    at, accumulator = 0, 0
    while True:
        code, if_true, if_false, value = steps[at]
        at += 1
        match code:
            case 0x20:
                accumulator = struct.unpack_from("=I", data, value)[0]
            case 0x54:
                accumulator &= value
            case 0x15:
                at += if_true if accumulator == value else if_false
            case 0x35:
                at += if_true if accumulator >= value else if_false
            case 0x06:
                action = value & 0xFFFF0000
                named = {0x7FFF0000: ALLOW, 0x80000000: KILL}
                return named[action] if action in named else (ERRNO, value & 0xFFFF)
            case _:
                raise AssertionError(hex(code))


def asker(filter_, machine):
    program = seccomp.program(filter_)
    assert len(program) // 8 <= 4096  # the kernel's limit

    def ask(name: str, *arguments: int):
        number = syscalls.NUMBERS[name]
        return decide(program, number, *arguments, arch=syscalls.AUDIT_ARCH[machine])

    return ask


@pytest.mark.parametrize("role", [filters.trainer, filters.evaluator])
def test_arguments_decide(machine, role):
    ask = asker(role(), machine)
    me = os.getpid()
    cases = {
        ("read",): ALLOW,
        ("openat", 0, 0, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY): ALLOW,
        ("openat", 0, 0, os.O_WRONLY): (ERRNO, EACCES),
        ("openat", 0, 0, os.O_RDWR): (ERRNO, EACCES),
        ("openat", 0, 0, os.O_RDONLY | os.O_CREAT): (ERRNO, EACCES),
        ("openat", 0, 0, os.O_RDONLY | os.O_TRUNC): (ERRNO, EACCES),
        ("openat", 0, 0, os.O_TMPFILE): (ERRNO, EACCES),
        ("openat2",): (ERRNO, ENOSYS),
        ("clone", 0x3D0F00): ALLOW,  # as pthread_create asks
        ("clone", signal.SIGCHLD): (ERRNO, EPERM),
        ("clone3",): (ERRNO, ENOSYS),
        ("execve",): (ERRNO, EPERM),
        ("socket", 1): (ERRNO, EPERM),
        ("sendto", 5, 0, 0, 0, 0): ALLOW,
        ("sendto", 5, 0, 0, 0, 0x7000): (ERRNO, EPERM),
        ("sendto", 5, 0, 0, 0, 0x7000_0000_0000): (ERRNO, EPERM),  # the high half counts
        ("ioctl", 0, 0x5421): ALLOW,
        ("ioctl", 0, 0x5412): (ERRNO, ENOTTY),  # TIOCSTI
        ("fcntl", 0, 1030): ALLOW,
        ("fcntl", 0, 6): (ERRNO, EPERM),  # F_SETLK
        ("prctl", 3): ALLOW,
        ("prctl", 4): (ERRNO, EPERM),  # PR_SET_DUMPABLE
        ("prctl", 15): (ERRNO, EPERM),  # PR_SET_NAME
        ("prlimit64", 0, 4, 0): ALLOW,
        ("prlimit64", 0, 4, 0x7000_0000_0000): (ERRNO, EPERM),
        ("tgkill", me, me, 6): ALLOW,
        ("tgkill", me + 1, me + 1, 6): (ERRNO, EPERM),
        ("kill", me, 9): (ERRNO, EPERM),
        ("umask", 0o777): (ERRNO, EACCES),
        ("swapon",): KILL,
        ("kexec_load",): KILL,
    }
    assert {case: ask(*case) for case in cases} == cases


def test_the_roles_differ_where_they_must(machine):
    train, score = asker(filters.trainer(), machine), asker(filters.evaluator(), machine)
    write_and_execute, executable = 7, 5
    cases = {
        ("mmap", 0, 4096, write_and_execute): (ALLOW, (ERRNO, EPERM)),
        ("mmap", 0, 4096, executable): (ALLOW, ALLOW),  # a library
        ("mprotect", 0, 4096, executable): (ALLOW, (ERRNO, EPERM)),
        ("mprotect", 0, 4096, 3): (ALLOW, ALLOW),
        ("wait4",): (ALLOW, (ERRNO, EPERM)),
        ("pidfd_send_signal", 4, signal.SIGKILL): (ALLOW, (ERRNO, EPERM)),
        ("pidfd_send_signal", 4, signal.SIGTERM): ((ERRNO, EPERM), (ERRNO, EPERM)),
    }
    assert {case: (train(*case), score(*case)) for case in cases} == cases


@pytest.mark.parametrize("role", [filters.trainer, filters.evaluator])
def test_another_architecture_s_calls_kill(machine, role):
    program = seccomp.program(role())
    arch = syscalls.AUDIT_ARCH[machine]
    read = syscalls.NUMBERS["read"]
    assert decide(program, read, arch=arch) == ALLOW
    assert decide(program, read, arch=0x40000003) == KILL  # i386, whose numbers mean other calls
    if machine == "x86_64":
        assert decide(program, read | 0x40000000, arch=arch) == KILL  # x32


def test_no_call_is_both_allowed_and_refused():
    for role in (filters.trainer(), filters.evaluator()):
        assert not role.allowed.keys() & role.refused.keys()


def test_every_name_in_a_filter_has_a_number():
    table = syscalls._numbers("x86_64")
    for role in (filters.trainer(), filters.evaluator()):
        assert not (role.allowed.keys() | role.refused.keys()) - table.keys()
