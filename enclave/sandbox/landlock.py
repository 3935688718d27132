"""Landlock: which files a process may open, enforced by the kernel.

A ruleset here denies everything that the running kernel's Landlock knows, then grants reading below
some folders and writing to ``/dev/null``. Execution is never granted, nor is any other write.
Layers stack: a second :func:`restrict` can only take away. Before ABI 8 a layer covers the calling
thread and the threads and processes that it creates, so it is applied while single-threaded.

Landlock does not govern ``chmod``, ``chown``, ``utime``, extended attributes, ``stat`` or file
locks; :mod:`enclave.sandbox.seccomp` does.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from strongroom.enclave.sandbox import syscalls

READ_FILE, READ_DIR = 1 << 2, 1 << 3
WRITE_FILE, TRUNCATE = 1 << 1, 1 << 14
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: 1 << 13, 3: TRUNCATE, 5: 1 << 15}
_NET_RIGHTS = 0b11  # bind and connect TCP; ABI 4
_SCOPES = 0b11  # abstract Unix sockets, signals to outside; ABI 6
_RULE_PATH_BENEATH = 1
_CREATE_VERSION = 1

_in_force = 0


def abi() -> int:
    """The kernel's Landlock ABI, 0 where there is none."""
    try:
        return syscalls.call("landlock_create_ruleset", None, 0, _CREATE_VERSION)
    except OSError:
        return 0


def in_force() -> int:
    """The ABI of the last layer of this process or of the one it was forked from; 0 for none."""
    return _in_force


def restrict(read_only: Sequence[Path], *, scoped: bool = True) -> int:
    """Allow reading below ``read_only`` and writing to ``/dev/null``; deny the rest for good.

    ``scoped`` forbids signals to processes that do not have this layer, too, children from before
    among them. Paths that do not exist are skipped. Needs ``no_new_privs``. Returns the ABI in
    force; raises ``OSError`` where Landlock is missing.
    """
    version = abi()
    rights = 0
    for since, bits in _FILE_RIGHTS.items():
        rights |= bits if version >= since else 0
    attributes = struct.pack(
        "QQQ",
        rights,
        _NET_RIGHTS if version >= 4 else 0,
        _SCOPES if version >= 6 and scoped else 0,
    )[: 24 if version >= 6 else 16 if version >= 4 else 8]
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    ruleset = syscalls.call("landlock_create_ruleset", buffer, len(attributes), 0)
    try:
        for path in read_only:
            _grant(ruleset, path, READ_FILE | READ_DIR, rights)
        _grant(ruleset, Path(os.devnull), READ_FILE | WRITE_FILE | TRUNCATE, rights)
        syscalls.call("landlock_restrict_self", ruleset, 0)
        global _in_force  # a process cannot ask the kernel, least of all after stage B
        _in_force = version
    finally:
        os.close(ruleset)
    return version


def _grant(ruleset: int, path: Path, wanted: int, known: int) -> None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), _handle(path) as handle:
        if not path.is_dir():
            wanted &= ~READ_DIR  # the kernel refuses folder rights on a file
        rule = struct.pack("=Qi", wanted & known, handle)
        buffer = ctypes.create_string_buffer(rule, len(rule))
        syscalls.call("landlock_add_rule", ruleset, _RULE_PATH_BENEATH, buffer, 0)


@contextlib.contextmanager
def _handle(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)
