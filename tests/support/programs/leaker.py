"""A process that holds a canary and tries one way of getting it out.

Arguments: channel descriptor, stage (``none`` or ``AB``), attack, canary, and the attack's target.
The canary stands for a decrypted row. Every attack returns how it ended: 0 or an errno.
"""

import contextlib
import ctypes
import os
import resource
import signal
import socket
import sys
import threading
from errno import EPERM
from pathlib import Path

from strongroom.enclave.sandbox import lockdown, syscalls

PR_SET_NAME = 15


def write(canary: bytes, target: str) -> None:
    Path(target).write_bytes(canary)


def name_file(canary: bytes, target: str) -> None:
    Path(target, canary.decode()).mkdir()


def tcp(canary: bytes, target: str) -> None:
    with socket.socket() as connection:
        connection.connect(("127.0.0.1", int(target)))
        connection.sendall(canary)


def udp(canary: bytes, target: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(canary, ("127.0.0.1", int(target)))


def unix(canary: bytes, target: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(canary, target)


def abstract(canary: bytes, target: str) -> None:
    unix(canary, "\0" + target)


def execute(canary: bytes, target: str) -> None:
    if not os.fork():
        os.execv("/bin/sh", ["sh", "-c", f"printf %s {canary.decode()} > {target}"])
    os.wait()


def replace(canary: bytes, target: str) -> None:
    os.execv("/bin/sh", ["sh", "-c", f"printf %s {canary.decode()}> {target}"])


def signal_other(_: bytes, target: str) -> None:
    os.kill(int(target), signal.SIGUSR1)


def thread_name(canary: bytes, _: str) -> None:
    buffer = ctypes.create_string_buffer(canary[:15])
    syscalls.prctl(PR_SET_NAME, ctypes.addressof(buffer))


def command_line(canary: bytes, _: str) -> None:
    """Write over our own arguments, which ``ps`` shows to every user."""
    fields = Path("/proc/self/stat").read_text().rpartition(") ")[2].split()
    start, end = ARGUMENTS or (int(fields[45]), int(fields[46]))
    ctypes.memmove(start, canary, min(len(canary), end - start))


def file_time(canary: bytes, target: str) -> None:
    os.utime(target, (int.from_bytes(canary[-4:], "big"),) * 2)


def file_mode(_: bytes, target: str) -> None:
    Path(target).chmod(0o612)


def mode_mask(_: bytes, __: str) -> None:
    """Nine bits in ``/proc/PID/status``, as often as one likes."""
    os.umask(0o123)


def file_attribute(canary: bytes, target: str) -> None:
    os.setxattr(target, "user.note", canary)


def crash(_: bytes, __: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        limit = resource.getrlimit(resource.RLIMIT_CORE)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))
    with contextlib.suppress(OSError):
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
    ctypes.string_at(8)


def complain(canary: bytes, _: str) -> None:
    """As a library would: in a warning, a thread's traceback, and an exception."""
    os.write(2, canary)
    thread = threading.Thread(target=lambda: {}[canary])
    thread.start()
    thread.join()
    raise ValueError(canary)


def look_up(canary: bytes, target: str) -> None:
    """Name it to whoever serves the folder, without a right to anything in it."""
    path = f"{target}/{canary.decode()}"
    for call in (os.stat, os.readlink, os.statvfs, os.listdir, os.open, os.path.exists):
        with contextlib.suppress(OSError, TypeError):
            call(path)
    os.access(path, os.R_OK)
    os.open(path, os.O_PATH)


def masked(_: bytes, __: str) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])


def more_threads(_: bytes, __: str) -> None:
    try:
        threading.Thread(target=signal.pause).start()
    except RuntimeError:
        raise PermissionError(EPERM, "thread") from None


def unmap_library(_: bytes, __: str) -> None:
    """Take away a mapping that was there from the beginning."""
    unmap = ctypes.CDLL(None, use_errno=True).munmap
    if unmap(ctypes.c_void_p(MAPPED), ctypes.c_size_t(4096)):
        raise OSError(ctypes.get_errno(), "munmap")


def hold(_: bytes, __: str) -> None:
    """Only be looked at by others."""


ARGUMENTS: tuple[int, int] | None = None
MAPPED = 0


def map_library() -> int:
    """Map a page of a file, as a library that is never used again would."""
    function = ctypes.CDLL(None).mmap
    function.restype = ctypes.c_void_p
    with Path(__file__).open("rb") as file:
        size, offset = ctypes.c_size_t(4096), ctypes.c_long(0)
        return int(function(None, size, 1, 2, file.fileno(), offset))


def main(fd: int, stage: str, attack: str, canary: str, target: str = "") -> None:
    global ARGUMENTS, MAPPED
    MAPPED = map_library()
    fields = Path("/proc/self/stat").read_text().rpartition(") ")[2].split()
    ARGUMENTS = (int(fields[45]), int(fields[46]))  # known before they are hidden
    row = canary.encode()
    if stage == "AB":
        lockdown.lock_files_and_network()
        lockdown.keep_files()
        lockdown.lock_system_calls()
    if attack == "complain":
        complain(row, target)
    ended = 0
    try:
        globals()[attack](row, target)
    except OSError as error:
        ended = error.errno or 255
    os.write(fd, bytes([ended]))
    signal.pause()


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
