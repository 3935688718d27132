"""A file system that serves nothing and writes down every name that is looked up in it.

The least of a FUSE server, spoken over ``/dev/fuse`` as its header files say; needs root. It stands
for every mount whose server may not see rows: sshfs, NFS, a bucket mounted as a folder.
"""

from __future__ import annotations

import ctypes
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOENT, ENOSYS
from pathlib import Path

LOOKUP, FORGET, GETATTR, INIT, BATCH_FORGET = 1, 2, 3, 26, 42
_HEADER = struct.Struct("=IIQQIIIHH")
_FOLDER = struct.pack("=6Q10I", 1, 0, 0, 0, 0, 0, 0, 0, 0, 0o40755, 2, 0, 0, 0, 512, 0)
_MNT_DETACH = 2


def missing() -> str:
    """Why there can be no such file system here; empty if there can."""
    if os.geteuid() != 0:
        return "needs root to mount a file system"
    return "" if Path("/dev/fuse").exists() else "this host has no /dev/fuse"


@contextmanager
def eavesdropping(folder: Path) -> Iterator[list[str]]:
    """Mount one at ``folder``; gives the names heard so far."""
    libc = ctypes.CDLL(None, use_errno=True)
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    if libc.mount(b"eavesdropper", str(folder).encode(), b"fuse", 0, options):
        os.close(device)
        raise OSError(ctypes.get_errno(), "mount")
    heard: list[str] = []
    server = threading.Thread(target=_serve, args=(device, heard), daemon=True)
    server.start()
    try:
        yield heard
    finally:
        libc.umount2(str(folder).encode(), _MNT_DETACH)  # ends the server's read
        server.join(10)
        os.close(device)


def _serve(device: int, heard: list[str]) -> None:
    while True:
        try:
            request = os.read(device, 1 << 17)
        except OSError:
            return
        _length, kind, number, *_ = _HEADER.unpack_from(request)
        if kind in (FORGET, BATCH_FORGET):
            continue
        errno, body = _answer(kind, request[_HEADER.size :], heard)
        os.write(device, struct.pack("=IiQ", 16 + len(body), -errno, number) + body)


def _answer(kind: int, body: bytes, heard: list[str]) -> tuple[int, bytes]:
    match kind:
        case 26:  # INIT: version 7.31, no options
            return 0, struct.pack("=IIIIHHIIHH32x", 7, 31, 1 << 16, 0, 1, 1, 1 << 16, 1, 0, 0)
        case 3:  # GETATTR: only ever of the root
            return 0, struct.pack("=QII", 0, 0, 0) + _FOLDER
        case 1:  # LOOKUP
            heard.append(body.rstrip(b"\0").decode())
            return ENOENT, b""
    return ENOSYS, b""
