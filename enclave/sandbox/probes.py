"""Try each wall of the sandbox from inside, and report what happened.

The attempts are harmless where they succeed, so the same code runs in an unlocked process (the
positive control of the tests, and assurance A0). Most pass arguments that no kernel accepts, and
distinguish a refusal (``EPERM``, ``EACCES``) from any other errno. The system calls tried here are
those that :mod:`enclave.sandbox.filters` refuses with an errno; what it does not name kills the
process and cannot be tried.

The names and values are those of :mod:`enclave.sandbox.probe_names`.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import signal
import socket
import stat
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from errno import EACCES, EAFNOSUPPORT, ENOSYS, EPERM, EROFS
from pathlib import Path
from typing import Protocol

from strongroom.enclave.sandbox import landlock, syscalls
from strongroom.enclave.sandbox.lockdown import capabilities, library_paths
from strongroom.enclave.sandbox.own_root import PRIVATE_FOLDER
from strongroom.enclave.sandbox.probe_names import ENGINE, FILE_ATTEMPTS, tolerated
from strongroom.enclave.sandbox.secret_memory import Kind

_CAP_IPC_LOCK = 1 << 14
_CLONE_SIGHAND, _CLONE_THREAD = 0x800, 0x10000
_PR_SET_NAME = 15
_PTRACE_PEEKDATA = 2
_MOST_FDS = 1 << 16
_NOWHERE = Path("/dev/null/probe")  # can never exist
_WALLS = (EPERM, EACCES, EROFS)
_MISSING = (ENOSYS, EAFNOSUPPORT)


def attempts() -> dict[str, str]:
    """Each thing tried: ``blocked``, ``open``, or ``absent`` where the kernel lacks the call."""
    return {name: _attempt(action) for name, action in _ATTEMPTS.items()}


def files() -> dict[str, str]:
    """What holds by files alone, tried before the filter, which would refuse to look."""
    return {
        **{f"files.{name}": _attempt(_ATTEMPTS[name]) for name in FILE_ATTEMPTS},
        "stdio": "null" if all(_is_null(fd) for fd in (0, 1, 2)) else "open",
    }


def last_stage(*, engine: bool = False) -> dict[str, str]:
    """Each thing tried that others could observe, and whether memory can be made executable.

    For a process in its last stage; in another one they happen. What is open for an ``engine`` that
    reads files is told as such.
    """
    refusals = (*_WALLS, ENOSYS)
    found = {name: _attempt(action, refusals) for name, action in _LAST.items()}
    if engine:
        found |= {name: "engine" for name in ENGINE if found[name] == "open"}
    refused = all(_attempt(action, refusals) == "blocked" for action in _EXECUTABLE)
    return {**found, "executable_memory": "refused" if refused else "allowed"}


def states(expected_fds: Collection[int]) -> dict[str, str]:
    """The properties of this process. ``expected_fds`` are the descriptors above 2."""
    core, files = (
        resource.getrlimit(limit) for limit in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE)
    )
    held = capabilities()
    return {
        "dumpable": str(syscalls.prctl(syscalls.PR_GET_DUMPABLE)),
        "core_limit": "0" if core == (0, 0) else "raised",
        "file_limit": "0" if files == (0, 0) else "raised",
        "no_new_privs": str(syscalls.prctl(syscalls.PR_GET_NO_NEW_PRIVS)),
        "seccomp": str(syscalls.prctl(syscalls.PR_GET_SECCOMP)),
        "capabilities": {0: "none", _CAP_IPC_LOCK: "ipc_lock"}.get(held, "some"),
        "parent_death": (
            "killed" if syscalls.parent_death_signal() == signal.SIGKILL else "survives"
        ),
        "inherited_fds": "some" if open_fds() - {0, 1, 2, *expected_fds} else "0",
    }


@dataclass(frozen=True)
class Probed:
    """What an enclave's probes saw, and the weaknesses among it that its evidence must name."""

    probes: dict[str, str]
    warnings: tuple[str, ...]


class ProbedProcesses(Protocol):
    """Processes of the same enclave that have tried their own walls: the evaluators'."""

    @property
    def probes(self) -> Mapping[str, str]: ...

    def fds(self) -> frozenset[int]: ...


def facts() -> dict[str, str]:
    """What can only be looked up before stage B: of files, memory, network and the host."""
    return {
        **files(),
        "mlock": "locked" if _memory_is_locked() else "unlocked",
        "netns": _network(),
        "mounts": _mounts(),
        "swap": _swap(),
        "title": "open" if Path("/proc/self/cmdline").read_bytes() else "hidden",
        "mapped_files": "unsealed",
    }


def probe(
    known: Mapping[str, str],
    evaluators: ProbedProcesses | None = None,
    *,
    expected_fds: Collection[int],
    secret_memory: Kind = "plain",  # noqa: S107 - a kind, no password
    engine: bool = False,
) -> Probed:
    """Try this process, after stage B, and add what the evaluators' processes found.

    ``known`` are the :func:`facts` from before; ``expected_fds`` the descriptors above 2 that this
    process should have, other than those of ``evaluators``; ``secret_memory`` is the kind of its
    window; ``engine`` whether one that reads files runs in it. The result is for the evidence.
    """
    expected = {*expected_fds, *(evaluators.fds() if evaluators else ())}
    found = {
        **known,
        **attempts(),
        **last_stage(engine=engine),
        **states(expected),
        "landlock_abi": str(landlock.in_force()),
        "secret_memory": secret_memory,
        "host_root": "trusted",
        **(evaluators.probes if evaluators else {}),
    }
    return Probed(found, tuple(sorted(name for name in found if tolerated(name, found[name]))))


def open_fds() -> set[int]:
    """Every open descriptor, found without ``/proc``, which the evaluator cannot read."""
    limit = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], _MOST_FDS)
    found = set()
    for descriptor in range(limit):
        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_GETFD)  # stat would be a look-up
            found.add(descriptor)
    return found


class _Absent(Exception):
    """What the attempt is about does not exist here."""


def _attempt(action: Callable[[], object], refusals: Collection[int] = _WALLS) -> str:
    try:
        action()
    except OSError as error:
        if error.errno in refusals:
            return "blocked"
        return "absent" if error.errno in _MISSING else "open"
    except _Absent:
        return "absent"
    return "open"


def _write_in(folder: str) -> Callable[[], object]:
    def action() -> None:
        if not Path(folder).is_dir():
            raise _Absent
        os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY))  # a file without a name

    return action


def _open(path: str, flags: int) -> Callable[[], object]:
    def action() -> None:
        try:
            os.close(os.open(path, flags))
        except FileNotFoundError:  # not in a root of our own
            raise _Absent from None

    return action


def _socket(family: str, kind: int = socket.SOCK_STREAM) -> Callable[[], object]:
    def action() -> None:
        number = getattr(socket, family, None)
        if number is None:
            raise _Absent
        socket.socket(number, kind).close()

    return action


def _pair() -> None:
    for end in socket.socketpair():
        end.close()


def _call(name: str, *arguments: int) -> Callable[[], object]:
    """An attempt whose arguments an unfiltered kernel refuses with an errno other than a wall's."""

    def action() -> None:
        if name not in syscalls.NUMBERS:
            raise _Absent
        syscalls.call(name, *arguments)

    return action


_ATTEMPTS: dict[str, Callable[[], object]] = {
    "write.tmp": _write_in("/tmp"),  # noqa: S108
    "write.var_tmp": _write_in("/var/tmp"),  # noqa: S108
    "write.dev_shm": _write_in("/dev/shm"),  # noqa: S108
    "write.here": _open(__file__, os.O_WRONLY),
    "read.passwd": _open("/etc/passwd", os.O_RDONLY),
    "read.proc": _open("/proc/1/status", os.O_RDONLY),
    "read.root": _open("/", os.O_RDONLY | os.O_DIRECTORY),
    "mkdir": lambda: _NOWHERE.mkdir(),
    "unlink": lambda: _NOWHERE.unlink(),
    "truncate": lambda: os.truncate(_NOWHERE, 0),
    "memfd_create": _call("memfd_create", 0, 0),
    "chmod": lambda: _NOWHERE.chmod(0),
    "chown": lambda: os.chown(_NOWHERE, -1, -1),
    "utime": lambda: os.utime(_NOWHERE),
    "xattr": lambda: os.setxattr(_NOWHERE, "user.probe", b""),
    "flock": _call("flock", -1, 0),
    "socket.inet": _socket("AF_INET"),
    "socket.inet6": _socket("AF_INET6"),
    "socket.unix": _socket("AF_UNIX"),
    "socket.vsock": _socket("AF_VSOCK"),
    "socket.netlink": _socket("AF_NETLINK", socket.SOCK_RAW),
    "socket.packet": _socket("AF_PACKET", socket.SOCK_RAW),
    "socketpair": _pair,
    "sendmsg": _call("sendmsg", -1, 0, 0),
    "pipe": _call("pipe2", 0, 0),
    "shm": _call("shmget", 0x5352, 0, 0),
    "message_queue": _call("mq_open", 0, 0, 0, 0),
    "keyring": _call("add_key", 0, 0, 0, 0, 0),
    "io_uring": _call("io_uring_setup", 0, 0),
    "fork": _call("clone", _CLONE_SIGHAND, 0, 0, 0, 0),  # EINVAL without CLONE_VM
    "exec": _call("execve", 0, 0, 0),
    "signal": lambda: os.kill(os.getppid(), 0),
    "priority": _call("setpriority", 99, 0, 0),
    "affinity": _call("sched_setaffinity", 0, 0, 0),
    "thread_name": lambda: syscalls.prctl(_PR_SET_NAME, 0),
    "raise_limit": _call("prlimit64", 0, resource.RLIMIT_CORE, 1, 0),
    "ptrace": _call("ptrace", _PTRACE_PEEKDATA, 0, 0, 0),
    "process_memory": _call("process_vm_readv", os.getpid(), 0, 0, 0, 0, 1),
    "pidfd": _call("pidfd_open", -1, 0),
    "perf_event": _call("perf_event_open", 0, 0, 0, 0, 0),
    "bpf": _call("bpf", 0, 0, 0),
    "userfaultfd": _call("userfaultfd", 0x7FFF0000),
    "mount": _call("mount", 0, 0, 0, 0, 0),
    "unshare": _call("unshare", 1),
    "chroot": _call("chroot", 0),
    "set_dumpable": lambda: syscalls.prctl(syscalls.PR_SET_DUMPABLE, 7),
    "credentials": _call("setuid", -1),
}


_AT_FDCWD, _O_PATH = -100, 0o10000000


def _look_up(name: str, *arguments: int, path: str = os.devnull) -> Callable[[], object]:
    """An attempt that names ``path`` and needs no right to it."""

    def action() -> None:
        if name not in syscalls.NUMBERS:
            raise _Absent
        text = ctypes.create_string_buffer(path.encode())
        room = ctypes.create_string_buffer(512)
        words = [text if a == _PATH else room if a == _ROOM else a for a in arguments]
        answer = syscalls.call(name, *words)
        if name == "openat":
            os.close(answer)

    return action


_PATH, _ROOM = -(1 << 40), -(1 << 41)  # stand for the two buffers


def _futex() -> None:
    word = ctypes.create_string_buffer(8)
    syscalls.call("futex", word, 1, 0, 0, 0, 0)  # wakes nobody


_LAST: dict[str, Callable[[], object]] = {
    "look_up.stat": _look_up("stat", _PATH, _ROOM),
    "look_up.newfstatat": _look_up("newfstatat", _AT_FDCWD, _PATH, _ROOM, 0),
    "look_up.statx": _look_up("statx", _AT_FDCWD, _PATH, 0, 0, _ROOM),
    "look_up.access": _look_up("access", _PATH, 0),
    "look_up.faccessat": _look_up("faccessat", _AT_FDCWD, _PATH, 0),
    "look_up.readlink": _look_up("readlink", _PATH, _ROOM, 512),
    "look_up.readlinkat": _look_up("readlinkat", _AT_FDCWD, _PATH, _ROOM, 512),
    "look_up.statfs": _look_up("statfs", _PATH, _ROOM),
    "look_up.open": _look_up("openat", _AT_FDCWD, _PATH, 0),
    "look_up.path": _look_up("openat", _AT_FDCWD, _PATH, _O_PATH),
    "look_up.library": _open(__file__, os.O_RDONLY),
    "list_folder": _call("getdents64", -1, 0, 0),
    "thread": _call("clone", _CLONE_THREAD | _CLONE_SIGHAND, 0, 0, 0, 0),  # EINVAL without CLONE_VM
    "signal_mask": _call("rt_sigprocmask", 0, 0, 0, 8),
    "signal_mask.ppoll": _call("ppoll", 0, 0, 1, 1, 7),
    "signal_handler": _call("rt_sigaction", 0, 0, 0, 8),
    "signal_self": _call("tgkill", 0, 0, 0),
    "timer": _call("setitimer", 99, 0, 0),
    "descriptor": _call("dup", -1),
    "write.null": lambda: os.write(1, b"\n"),
    "shared_futex": _futex,
    "lock_memory": _call("mlock", 0, 0),
    "advise_memory": _call("madvise", 0, 0, 0),
    "move_memory": _call("mremap", 0, 0, 0, 0),
    "shared_memory": _call("mmap", 0, 0, 1, 0x21, -1, 0),
    "map_file": _call("mmap", 0, 0, 1, 0x02, -1, 0),
    "replace_memory": _call("mmap", 0, 0, 1, 0x32, -1, 0),
}
_EXECUTABLE = (_call("mmap", 0, 0, 5, 0x22, -1, 0), _call("mprotect", 0, 0, 4))


def _is_null(descriptor: int) -> bool:
    try:
        found, null = os.fstat(descriptor), Path(os.devnull).stat()
    except OSError:
        return False
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == null.st_rdev


def _memory_is_locked() -> bool:
    sizes = {}
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("VmLck", "VmRSS"):
            sizes[name] = int(value.split()[0])
    return sizes["VmLck"] >= sizes["VmRSS"] > 0


def _network() -> str:
    """``own`` when this network has neither a route nor an IPv6 address, as a new one has not."""
    entries = 0
    for name, header_lines in (("route", 1), ("if_inet6", 0)):
        with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
            lines = Path("/proc/self/net", name).read_text().splitlines()
            entries += len(lines[header_lines:])
    return "shared" if entries else "own"


def _mounts() -> str:
    """``own`` when nothing is mounted but what may be read, and the folder for an engine."""
    known = {Path("/"), PRIVATE_FOLDER, Path(os.devnull), *map(Path.resolve, library_paths())}
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return "own" if {Path(line.split()[4]) for line in lines} <= known else "shared"


def _swap() -> str:
    try:
        lines = Path("/proc/swaps").read_text().splitlines()
    except OSError:
        return "unknown"
    return "present" if len(lines) > 1 else "none"
