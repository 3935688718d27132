"""A private folder in memory, for a library that reads only files.

vLLM takes a model and an adapter as folders, and nothing in an enclave may write a file. So the
files are made before the lock-down, in a tmpfs that only this process's mount namespace has, and
are filled through mappings of descriptors that were opened then. Afterwards they can be read by
path; none can be opened for writing, made, removed or resized.

Invariants: after :meth:`Scratch.close` no descriptor is left open; the evaluator has no mapping and
no descriptor of these files, and its own Landlock layer keeps it from opening them; nothing reaches
a disk. The host's root sees into the folder, as into all memory at A1.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Mapping
from pathlib import Path

from strongroom.crypto.digests import Buffer
from strongroom.enclave.errors import ScratchUnavailable
from strongroom.enclave.sandbox import own_root, syscalls
from strongroom.enclave.sandbox.secret_memory import map_memory

MOUNT_POINT = own_root.PRIVATE_FOLDER
"""Every Linux has this folder; inside the namespace the host's shared memory is out of sight."""

_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_PRIVATE = 2, 4, 8, 1 << 14, 1 << 18
_MADV_DONTFORK, _MADV_DONTDUMP = 10, 16


class Scratch:
    """Files in a folder of their own; implements ``trainer.engines.scratch.Scratch``.

    ``most_bytes`` is each file's name and largest size; there can be no others. They take no memory
    until they are filled.
    """

    def __init__(self, most_bytes: Mapping[str, int]) -> None:
        self._most_bytes = dict(most_bytes)
        self._descriptors: dict[str, int] = {}
        self._windows: dict[str, ctypes.Array[ctypes.c_ubyte]] = {}
        self.path = MOUNT_POINT

    def mount(self) -> None:
        """Mount the folder and make the files.

        Call it in a mount namespace of this process alone, with the capability to mount, before
        the lock-down. Raises ``ScratchUnavailable``.
        """
        try:
            _mount_private(self.path)
            for name, size in self._most_bytes.items():
                path = self.path / name
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                self._descriptors[name] = os.open(path, flags, 0o600)
                os.ftruncate(self._descriptors[name], size)
        except OSError as error:
            raise ScratchUnavailable(actual=f"errno {error.errno}") from None

    def put(self, name: str, data: Buffer) -> None:
        """Fill a file. The first call fixes its size, and must come before :meth:`close`."""
        window = self._windows.get(name) or self._fix_size(name, len(data))
        if len(data) != len(window):
            raise ValueError(f"{name} has {len(window)} bytes, not {len(data)}")
        memoryview(window).cast("B")[:] = data

    def drop(self, name: str) -> None:
        """Free a file's memory; only before :meth:`close`, and when nothing reads it."""
        window = self._windows.pop(name)
        syscalls.libc("munmap", ctypes.addressof(window), len(window))
        os.ftruncate(self._descriptors[name], 0)

    def close(self) -> None:
        """Close the descriptors. What is mapped can still be filled again."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()

    def _fix_size(self, name: str, size: int) -> ctypes.Array[ctypes.c_ubyte]:
        descriptor = self._descriptors.get(name)
        if descriptor is None or not 0 < size <= self._most_bytes[name]:
            raise ValueError(f"{name} cannot take {size} bytes")
        os.ftruncate(descriptor, size)
        address = map_memory(size, mmap.MAP_SHARED, descriptor)
        for advice in (_MADV_DONTFORK, _MADV_DONTDUMP):
            syscalls.libc("madvise", address, size, advice)
        self._windows[name] = (ctypes.c_ubyte * size).from_address(address)
        return self._windows[name]


def _mount_private(folder: Path) -> None:
    kind = syscalls.text("tmpfs")
    options = syscalls.text("mode=0700,size=100%,nr_inodes=1024")
    # What is mounted here must not show up in the namespace that this one was copied from.
    syscalls.call("mount", 0, syscalls.text("/"), 0, _MS_REC | _MS_PRIVATE, 0)
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    syscalls.call("mount", kind, syscalls.text(str(folder)), kind, flags, options)
