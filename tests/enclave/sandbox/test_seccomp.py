"""The filters' programs, run by a small interpreter of classic BPF: for both architectures."""

from __future__ import annotations

import os
import signal
import struct
from errno import EACCES, ENOSYS, ENOTTY, EPERM

import pytest

from strongroom.enclave.sandbox import filters, seccomp, syscalls

ALLOW, KILL, ERRNO, ASK = "allow", "kill", "errno", "ask"
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
                named = {0x7FFF0000: ALLOW, 0x00030000: KILL, 0x7FC00000: ASK}
                return named[action] if action in named else (ERRNO, value & 0xFFFF)
            case _:
                raise AssertionError(hex(code))


def asker(filter_, machine):
    watch = isinstance(filter_, seccomp.Watch)
    program = (seccomp.watch_program if watch else seccomp.program)(filter_)
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
        ("openat", 0, 0, os.O_WRONLY): (ERRNO, EACCES),
        ("openat", 0, 0, os.O_RDWR): (ERRNO, EACCES),
        ("openat", 0, 0, os.O_RDONLY | os.O_CREAT): (ERRNO, EACCES),
        ("openat", 0, 0, os.O_RDONLY | os.O_TRUNC): (ERRNO, EACCES),
        ("openat", 0, 0, os.O_TMPFILE): (ERRNO, EACCES),
        ("openat2",): (ERRNO, ENOSYS),
        ("clone", signal.SIGCHLD): (ERRNO, EPERM),
        ("clone3",): (ERRNO, ENOSYS),
        ("execve",): (ERRNO, EPERM),
        ("socket", 1): (ERRNO, EPERM),
        ("sendto", 5, 0, 0, 0, 0): ALLOW,
        ("sendto", 5, 0, 0, 0, 0x7000): (ERRNO, EPERM),
        ("sendto", 5, 0, 0, 0, 0x7000_0000_0000): (ERRNO, EPERM),  # the high half counts
        ("ioctl", 0, 0x5421): ALLOW,
        ("ioctl", 0, 0x5412): (ERRNO, ENOTTY),  # TIOCSTI
        ("fcntl", 0, 4): ALLOW,
        ("fcntl", 0, 6): (ERRNO, EPERM),  # F_SETLK
        ("prctl", 3): ALLOW,
        ("prctl", 4): (ERRNO, EPERM),  # PR_SET_DUMPABLE
        ("prctl", 15): (ERRNO, EPERM),  # PR_SET_NAME
        ("prlimit64", 0, 4, 0): ALLOW,
        ("prlimit64", 0, 4, 0x7000_0000_0000): (ERRNO, EPERM),
        ("tgkill", me, me, 6): (ERRNO, EPERM),  # a pending signal is seen
        ("kill", me, 9): (ERRNO, EPERM),
        ("dup3", 4, 3): (ERRNO, EPERM),
        ("umask", 0o777): (ERRNO, EACCES),
        ("mmap", 0, 4096, WX, PRIVATE | ANONYMOUS): (ERRNO, EPERM),
        ("mmap", 0, 4096, RX, PRIVATE | ANONYMOUS): (ERRNO, EPERM),
        ("mmap", 0, 4096, RX, SHARED | ANONYMOUS): (ERRNO, EPERM),  # mremap would copy it
        ("mmap", 0, 4096, RX, SHARED): (ERRNO, EPERM),
        ("mprotect", 0, 4096, RX): (ERRNO, EPERM),
        ("mprotect", 0, 4096, RW): ALLOW,
        ("swapon",): KILL,
        ("kexec_load",): KILL,
    }
    assert {case: ask(*case) for case in cases} == cases


RX, RW, WX = 5, 3, 7
SHARED, PRIVATE, FIXED, ANONYMOUS = 1, 2, 0x10, 0x20
FUTEX_WAKE, FUTEX_PRIVATE = 1, 128
LAST_STAGE = {
    ("openat", 0, 0, os.O_RDONLY): False,
    ("newfstatat",): False,
    ("statx",): False,
    ("readlinkat",): False,
    ("faccessat",): False,
    ("statfs",): False,
    ("getcwd",): False,
    ("getdents64",): False,
    ("clone", 0x3D0F00): False,  # as pthread_create asks
    ("rt_sigprocmask",): False,
    ("rt_sigaction", signal.SIGUSR1): False,
    ("rt_sigreturn",): False,
    ("setitimer",): False,
    ("epoll_pwait",): False,
    ("ppoll", 0, 0, 0, 0x7000, 8): False,
    ("ppoll", 0, 0, 0x7000, 0, 8): True,
    ("pselect6", 0, 0, 0, 0, 0, 0x7000): False,
    ("futex", 0, FUTEX_WAKE): False,
    ("futex", 0, FUTEX_WAKE | FUTEX_PRIVATE): True,
    ("madvise",): False,
    ("brk",): True,
    ("getrandom",): True,
    ("clock_nanosleep",): True,
    ("mmap", 0, 8192, RW, PRIVATE | ANONYMOUS): True,
    ("mmap", 0, 8192, RW, PRIVATE): False,  # of a file
    ("mmap", 0, 8192, RW, SHARED | ANONYMOUS): False,
    ("mmap", 0, 8192, RW, PRIVATE | ANONYMOUS | FIXED): False,
    ("mmap", 0, 8192, RW, PRIVATE | ANONYMOUS | 0x40000): False,  # huge pages
    ("mremap", 0, 0, 4096): False,
    ("dup", 3): False,
    ("fcntl", 0, 1030): False,  # F_DUPFD_CLOEXEC
}


def test_in_the_last_stage_nothing_is_left_that_others_could_observe(machine):
    """The same for both: refused to the one, asked about by the other."""
    train = asker(filters.trainer(), machine)
    score, watch = asker(filters.evaluator(), machine), asker(filters.watch(), machine)
    for case, stays in LAST_STAGE.items():
        assert (train(*case) == ALLOW) == stays, case
        assert score(*case) == ALLOW, case  # the control: loading needs it
        assert watch(*case) == (ALLOW if stays else ASK), case


def test_what_only_one_of_the_roles_may_do_in_the_last_stage(machine):
    train, watch = asker(filters.trainer(), machine), asker(filters.watch(), machine)
    arena = 1 << 20
    cases = {
        ("read", 3): (ALLOW, ALLOW),
        ("read", 4): (ALLOW, ASK),
        ("write", 3): (ALLOW, ALLOW),
        ("write", 1): ((ERRNO, EPERM), ASK),  # others can watch the null device
        ("close", 4): (ALLOW, ASK),
        ("munmap",): (ALLOW, ASK),
        ("mprotect", 0, 4096, RW): (ALLOW, ASK),
        ("mremap", 0, 4096, 8192): (ALLOW, ASK),
        ("mmap", 0, arena, RW, PRIVATE | ANONYMOUS): (ALLOW, ASK),
    }
    assert {case: (train(*case), watch(*case)) for case in cases} == cases


def test_the_roles_differ_where_they_must(machine):
    train, score = asker(filters.trainer(), machine), asker(filters.evaluator(), machine)
    cases = {
        ("mmap", 0, 4096, RX, PRIVATE): ((ERRNO, EPERM), ALLOW),  # a library
        ("wait4",): (ALLOW, (ERRNO, EPERM)),
        ("pidfd_send_signal", 4, signal.SIGKILL): (ALLOW, (ERRNO, EPERM)),
        ("pidfd_send_signal", 4, signal.SIGTERM): ((ERRNO, EPERM), (ERRNO, EPERM)),
        ("close", 3): (ALLOW, (ERRNO, EPERM)),
        ("ioctl", 4, filters.NOTIF_SEND): (ALLOW, (ERRNO, ENOTTY)),
        ("rt_sigaction", signal.SIGSEGV): ((ERRNO, EPERM), (ERRNO, EPERM)),
    }
    assert {case: (train(*case), score(*case)) for case in cases} == cases


def test_what_bfloat16_and_an_engine_with_files_add(machine):
    plain, executable, engine, both = (
        asker(filters.trainer(executable=e, engine=f), machine)
        for e, f in ((False, False), (True, False), (False, True), (True, True))
    )
    refused = (ERRNO, EPERM)
    cases = {
        ("mmap", 0, 4096, WX, PRIVATE | ANONYMOUS): (refused, ALLOW, ALLOW, ALLOW),
        ("mmap", 0, 4096, RX, PRIVATE): (refused, refused, ALLOW, ALLOW),
        ("mprotect", 0, 4096, RX): (refused, ALLOW, refused, ALLOW),
        ("openat", 0, 0, os.O_RDONLY): ((ERRNO, EACCES), (ERRNO, EACCES), ALLOW, ALLOW),
        ("openat", 0, 0, os.O_WRONLY): ((ERRNO, EACCES),) * 4,
        ("clone", 0x3D0F00): (refused, refused, ALLOW, ALLOW),
        ("socket", 1): (refused,) * 4,
        ("write", 1): (refused,) * 4,
    }
    assert {
        case: tuple(ask(*case) for ask in (plain, executable, engine, both)) for case in cases
    } == cases


@pytest.mark.parametrize("role", [filters.trainer, filters.evaluator])
def test_another_architecture_s_calls_kill(machine, role):
    program = seccomp.program(role())
    arch = syscalls.AUDIT_ARCH[machine]
    read = syscalls.NUMBERS["read"]
    assert decide(program, read, arch=arch) == ALLOW
    assert decide(program, read, arch=0x40000003) == KILL  # i386, whose numbers mean other calls
    if machine == "x86_64":
        assert decide(program, read | 0x40000000, arch=arch) == KILL  # x32


def test_a_watch_asks_about_nothing_that_the_filter_does_not_allow():
    assert filters.watch().asked.keys() <= filters.evaluator().allowed.keys()


def test_no_call_is_both_allowed_and_refused():
    for role in (filters.trainer(), filters.evaluator()):
        assert not role.allowed.keys() & role.refused.keys()


def test_every_name_in_a_filter_has_a_number():
    table = syscalls._numbers("x86_64")
    assert not filters.watch().asked.keys() - table.keys()
    for role in (filters.trainer(), filters.trainer(engine=True), filters.evaluator()):
        assert not (role.allowed.keys() | role.refused.keys()) - table.keys()
