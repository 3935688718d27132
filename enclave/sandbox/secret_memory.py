"""A window of memory for plaintext, out of swap, core files, children and the kernel's map.

``memfd_secret`` pages leave the kernel's own map, so neither ``/proc/PID/mem`` nor a kernel read
primitive reaches them, root's included. Where the kernel lacks it the window is anonymous memory,
locked if the limit allows. Python copies out of the window as soon as text is decoded: plaintext
dies with the process, and is not wiped before.

Allocate before the lock-down: a file size limit of zero forbids sizing the descriptor.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from typing import Literal

from strongroom.enclave.sandbox import syscalls

SECRET_MAPPING = "/secretmem"  # noqa: S105  a name
"""How ``/proc/self/maps`` begins to name pages of ``memfd_secret``."""
Kind = Literal["memfd_secret", "locked", "plain"]

_MADV_DONTFORK, _MADV_DONTDUMP = 10, 16


class SecretMemory:
    """``size_bytes`` of zeroed memory in ``buffer``, a writable ``memoryview`` of bytes.

    ``kind`` is what the kernel gave: ``memfd_secret``; ``locked``, out of swap but readable by
    root; ``plain``, neither. Not inherited by a fork, not in core files.
    """

    def __init__(self, size_bytes: int) -> None:
        if size_bytes <= 0:
            raise ValueError(f"a window of {size_bytes} bytes")
        pages = -(-size_bytes // mmap.PAGESIZE)
        self._length = pages * mmap.PAGESIZE
        self.size_bytes = size_bytes
        self.kind: Kind
        try:
            self._address = _map_secret(self._length)
            self.kind = "memfd_secret"
        except OSError:
            self._address = map_memory(self._length, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1)
            self.kind = "locked" if _lock(self._address, self._length) else "plain"
        for advice in (_MADV_DONTFORK, _MADV_DONTDUMP):
            syscalls.libc("madvise", self._address, self._length, advice)
        window = (ctypes.c_ubyte * size_bytes).from_address(self._address)
        self.buffer = memoryview(window).cast("B")

    def close(self) -> None:
        """Zero the window and free it. Slices of ``buffer`` must not be used afterwards."""
        if self._address:
            ctypes.memset(self._address, 0, self._length)
            self.buffer.release()
            syscalls.libc("munmap", self._address, self._length)
            self._address = 0

    def __enter__(self) -> SecretMemory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"SecretMemory({self.size_bytes} bytes, {self.kind})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("secret memory does not pickle")


def _map_secret(length: int) -> int:
    descriptor = syscalls.call("memfd_secret", os.O_CLOEXEC)
    try:
        os.ftruncate(descriptor, length)
        # The pages are locked and so fail here, not at first use, when over RLIMIT_MEMLOCK.
        return map_memory(length, mmap.MAP_SHARED, descriptor)
    finally:
        os.close(descriptor)


def map_memory(length: int, flags: int, descriptor: int) -> int:
    """The address of a readable and writable mapping. Raises ``OSError``."""
    function = ctypes.CDLL(None, use_errno=True).mmap
    function.restype = ctypes.c_void_p
    function.argtypes = [
        *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int),
        *(ctypes.c_int, ctypes.c_int, ctypes.c_long),
    ]
    address = function(None, length, mmap.PROT_READ | mmap.PROT_WRITE, flags, descriptor, 0)
    if address is None or address == ctypes.c_void_p(-1).value:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno), "mmap")
    return int(address)


def _lock(address: int, length: int) -> bool:
    try:
        syscalls.libc("mlock", address, length)
    except OSError:
        return False
    return True
