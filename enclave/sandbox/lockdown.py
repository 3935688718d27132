"""The lock-down of an enclave process, in two stages, both for good.

Stage A, :func:`lock_files_and_network`, comes first: single-threaded, before torch, before any key.
It leaves the process without network, privileges, core files, or any file but the libraries that
it reads. Stage B, :func:`lock_system_calls`, comes after everything is imported and warmed up, and
before the key pair exists.

Return values state what was done, not that it holds: :mod:`enclave.sandbox.probes` tries each wall,
and the releaser decides by what the probes saw. A layer that this host lacks is therefore no error
here.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import io
import os
import resource
import signal
import struct
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from typing_extensions import Buffer

import strongroom
from strongroom.enclave.errors import LockdownOrder, PlatformUnsupported, ScratchUnavailable
from strongroom.enclave.sandbox import filters, landlock, own_root, seccomp, syscalls
from strongroom.enclave.sandbox.scratch import Scratch
from strongroom.isolated.measured import INSIDE

FIRST_PARTY = tuple(f"strongroom.{name}" for name in INSIDE)
"""The packages of ours that run inside; no other of ours can even be read there."""

_CLONE_NEWNS, _CLONE_NEWUSER = 1 << 17, 1 << 28
_CLONE_NEWUTS, _CLONE_NEWIPC, _CLONE_NEWNET = 1 << 26, 1 << 27, 1 << 30
_NAMESPACES = _CLONE_NEWNET | _CLONE_NEWIPC | _CLONE_NEWUTS
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_IPC_LOCK, _CAP_SYS_ADMIN = 1 << 14, 1 << 21
_PR_SET_MM_MAP = 14
_M_MMAP_MAX = -4
_NOT_MAPPED = 8  # as nothing is in the first page of any process
_MADV_POPULATE_READ, _MADV_POPULATE_WRITE = 22, 23
_NOWHERE = "/proc"  # exists, and not even root can write there

_SYSTEM_LIBRARIES = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib", "/lib64")
_SYSTEM_FACTS = (
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/swaps",
    "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
    "/dev/urandom",
)


def library_paths() -> tuple[Path, ...]:
    """What an enclave may read: Python, installed libraries, our own packages, facts on the CPU.

    Our packages are found by import, since an editable install leaves them in a checkout whose
    other folders an enclave must not read.
    """
    ours = [Path(strongroom.__file__).parent]
    for name in FIRST_PARTY:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations:
            ours += [Path(folder) for folder in spec.submodule_search_locations]
    python = [Path(sys.prefix), Path(sys.base_prefix), Path(sys.exec_prefix)]
    system = [Path(path) for path in (*_SYSTEM_LIBRARIES, *_SYSTEM_FACTS)]
    return tuple(dict.fromkeys([*python, *ours, *system]))


def lock_files_and_network(
    read_only: Sequence[Path] | None = None, scratch: Scratch | None = None
) -> dict[str, str]:
    """Stage A. Returns what was done, by layer: ``done`` or ``failed``.

    ``read_only`` are the files and folders that stay readable, :func:`library_paths` by default.
    ``scratch`` is mounted in between, and stays readable, too.
    Raises ``LockdownOrder`` when the process has threads, since Landlock would not cover them, and
    ``ScratchUnavailable``.
    """
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads != 1:
        raise LockdownOrder(actual=f"{threads} threads")
    readable = library_paths() if read_only is None else tuple(read_only)
    parent = os.getppid() if syscalls.parent_death_signal() else None
    raised = _attempt(_raise_lock_limit)
    # Some libraries look for a folder to write to when imported, and would fail to find one.
    tempfile.tempdir = _NOWHERE
    own_users = not _holds(_CAP_SYS_ADMIN)
    done = {
        "netns": _attempt(lambda: _leave_namespaces(own_users, _NAMESPACES | _CLONE_NEWNS)),
        "mlock": "failed",
    }
    done["mounts"] = done["netns"]
    if done["netns"] == "done":
        done["mounts"] = _attempt(lambda: own_root.enter((*readable, Path(os.devnull))))
    # As working folder it is not dropped from the kernel's cache when memory is short. A new inode
    # would be another folder to Landlock, without the rights granted here.
    os.chdir("/proc/self")
    if scratch:
        if done["netns"] != "done":  # a mount would then show up on the host
            raise ScratchUnavailable(actual="no namespace of its own")
        scratch.mount()
        readable = (*readable, scratch.path)
    # A capability over a user namespace of our own does not count for memory.
    keep = _CAP_IPC_LOCK if raised == "failed" and not own_users and _holds(_CAP_IPC_LOCK) else 0
    if raised == "done" or keep:
        done["mlock"] = _attempt(lock_memory)
    done |= {
        "no_new_privs": _attempt(lambda: syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)),
        "capabilities": _attempt(lambda: _drop_capabilities(keep)),
        "title": _attempt(_hide_title),
        "core_limit": _attempt(lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0))),
        "file_limit": _attempt(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))),
        # After the credentials changed: that makes a process dumpable again.
        "dumpable": _attempt(lambda: syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)),
        "landlock": _attempt(lambda: landlock.restrict(readable)),
    }
    if parent is not None:
        syscalls.die_with_parent(parent)  # new credentials cleared it
    return done


def lock_system_calls(filter_: seccomp.Filter | None = None) -> None:
    """Stage B: the filter :func:`enclave.sandbox.filters.trainer` on all threads of this process.

    Raises ``PlatformUnsupported`` where the kernel or the architecture has no such filter.
    """
    if syscalls.MACHINE not in syscalls.AUDIT_ARCH:
        raise PlatformUnsupported(actual=syscalls.MACHINE)
    try:
        seccomp.install(filter_ or filters.trainer())
    except OSError as error:
        raise PlatformUnsupported(actual=f"seccomp errno {error.errno}") from None


def _attempt(layer: Callable[[], object]) -> str:
    try:
        layer()
    except (OSError, ValueError):  # ValueError: a limit above the hard limit
        return "failed"
    return "done"


def lock_memory(*, on_use: bool = True) -> None:
    """Keep every page of this process out of swap, those to come too. Raises ``OSError``.

    Pages are locked when they are used first or, without ``on_use``, when they are mapped: then the
    page cache does not tell which pages of a library are used. Not inherited over fork. Only for a
    process without a limit on locked memory, or with the capability to pass it: else the lock
    succeeds now and a large mapping fails later.
    """
    syscalls.libc("mlockall", _MCL_CURRENT | _MCL_FUTURE | (_MCL_ONFAULT if on_use else 0))


def keep_files() -> str:
    """Keep every mapping of a file in memory, and as it is: which pages of a library are in the
    page cache can be seen from outside, and that it is closed with its last mapping.

    Returns ``sealed``, or ``unsealed`` before Linux 6.10.
    """
    outcome = "sealed"
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, rights, _offset, _device, inode, *_name = line.split(maxsplit=5)
        if inode == "0" or rights[0] != "r":
            continue
        start, end = (int(part, 16) for part in span.split("-"))
        with contextlib.suppress(OSError):  # a page beyond the file's end
            own = rights[1] == "w" and rights[3] == "p"
            populate = _MADV_POPULATE_WRITE if own else _MADV_POPULATE_READ
            syscalls.libc("madvise", start, end - start, populate)
        try:
            syscalls.call("mseal", start, end - start, 0)
        except OSError:
            outcome = "unsealed"
    return outcome


def limit_memory(limit_bytes: int) -> None:
    """Bound this process's data to so much; beyond it, allocating fails."""
    resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))


def memory_in_use() -> int:
    """Bytes of data that this process has, as :func:`limit_memory` counts them."""
    return int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()


def take_memory_from_the_heap() -> None:
    """Have the C library's allocator use no mappings, which could not be given back later."""
    ctypes.CDLL(None).mallopt(_M_MMAP_MAX, 0)


def crash_quietly() -> None:
    """Reset every signal's handler, and give those of a fault one that faults itself.

    The kernel writes to its log when nothing handles a fault: addresses, and bytes of memory. A
    fault within its handler ends the process all the same, without a line.
    """
    libc = ctypes.CDLL(None)
    libc.signal.argtypes, libc.signal.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
    for number in range(1, signal.NSIG):
        if signal.getsignal(number) is not signal.SIG_IGN:
            libc.signal(number, _NOT_MAPPED if number in filters.FAULTS else None)


def mute() -> None:
    """Discard what Python writes to standard output and error, without a write to the device.

    The null device is a file, too, and others can watch it.
    """
    nowhere = io.BufferedWriter(_Discarded())
    sys.stdout = sys.stderr = io.TextIOWrapper(nowhere, encoding="utf-8", errors="replace")


class _Discarded(io.RawIOBase):
    def writable(self) -> bool:
        return True

    def write(self, data: Buffer, /) -> int:
        return memoryview(data).nbytes


def _raise_lock_limit() -> None:
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    if resource.getrlimit(resource.RLIMIT_MEMLOCK) != unlimited:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, unlimited)


def mount_unlocked(scratch: Scratch) -> None:
    """Mount ``scratch`` in a process that is not to be locked down (A0).

    Raises ``LockdownOrder`` and ``ScratchUnavailable``.
    """
    if len(list(Path("/proc/self/task").iterdir())) != 1:
        raise LockdownOrder(actual="several threads")
    if _attempt(lambda: _leave_namespaces(not _holds(_CAP_SYS_ADMIN), _CLONE_NEWNS)) != "done":
        raise ScratchUnavailable(actual="no namespace of its own")
    scratch.mount()


def _leave_namespaces(own_users: bool, ours: int) -> None:
    """A network of its own with nothing in it, and no shared memory or host name of others."""
    if not own_users:
        syscalls.call("unshare", ours)
        return
    user, group = os.geteuid(), os.getegid()
    syscalls.call("unshare", ours | _CLONE_NEWUSER)
    with contextlib.suppress(OSError):  # unmapped ids work too; files then have no owner
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def capabilities() -> int:
    """The capabilities in force, as the kernel's bit mask."""
    header = ctypes.create_string_buffer(struct.pack("Ii", _CAPABILITY_VERSION_3, 0), 8)
    sets = ctypes.create_string_buffer(24)
    syscalls.call("capget", header, sets)
    low, _, _, high, _, _ = struct.unpack("6I", sets.raw)
    return int(low | high << 32)


def _holds(capability: int) -> bool:
    return bool(capabilities() & capability)


def _drop_capabilities(keep: int) -> None:
    with contextlib.suppress(OSError):  # EINVAL past the last one, EPERM without any
        for capability in range(64):
            syscalls.prctl(syscalls.PR_CAPBSET_DROP, capability)
    with contextlib.suppress(OSError):
        syscalls.prctl(syscalls.PR_CAP_AMBIENT, 4)  # clear all
    header = ctypes.create_string_buffer(struct.pack("Ii", _CAPABILITY_VERSION_3, 0), 8)
    sets = struct.pack("6I", keep, keep, 0, 0, 0, 0)
    syscalls.call("capset", header, ctypes.create_string_buffer(sets, len(sets)))


def _hide_title() -> None:
    """Make the command line that any user of the host can read empty.

    It is this process's own memory: code inside could write rows there, for ``ps`` to show.
    """
    fields = Path("/proc/self/stat").read_text().rpartition(") ")[2].split()
    value = {number: int(fields[number - 3]) for number in (26, 27, 28, 45, 46, 47, 48, 50)}
    code, data = (value[26], value[27]), (value[45], value[46])
    arguments, environment = value[48], value[50]
    table = struct.pack(
        "=11QQIi",
        *(*code, *data, value[47], _program_break(), value[28]),
        *(arguments, arguments, environment, environment),
        *(0, 0, -1),  # auxiliary vector and executable stay as they are
    )
    buffer = ctypes.create_string_buffer(table, len(table))
    address = ctypes.addressof(buffer)
    syscalls.prctl(syscalls.PR_SET_MM, _PR_SET_MM_MAP, address, len(table))


def _program_break() -> int:
    sbrk = ctypes.CDLL(None).sbrk
    sbrk.restype = ctypes.c_void_p
    return int(sbrk(0))
