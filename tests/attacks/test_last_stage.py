"""Ways for an evaluator to say something by what it does, to somebody who only watches.

Each is tried on an evaluator in its last stage, where it must fail, and on one that was never put
into it (the control: the attack works there). Every attack begins when a row is there.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import random
import secrets
import struct
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.enclave.errors import EvaluatorCrashed
from strongroom.enclave.evaluator.pair import Evaluators
from strongroom.enclave.evaluator.process import EvaluatorProcess
from strongroom.enclave.sandbox import lockdown
from strongroom.trainer.rollouts.evaluators import Job
from support.eavesdropper import eavesdropping, missing

IN_IT = [True, False]
LIBC = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def canary() -> str:
    return "canary" + secrets.token_hex(12)


@pytest.fixture(params=IN_IT, ids=["last stage", "without"])
def last_stage(request, monkeypatch) -> bool:
    if not request.param:
        monkeypatch.setattr(EvaluatorProcess, "_enter_last_stage", lambda *_: None)
    return bool(request.param)


@contextlib.contextmanager
def attacking(load: str, act: str, **settings: object) -> Iterator[EvaluatorProcess]:
    """An evaluator that runs ``load`` at its top, and ``act`` with each row, as ``row``."""
    source = textwrap.dedent(load) + "\n\ndef evaluate(messages, ground_truth, **_):\n"
    source += "    row = messages[0]['content']\n    try:\n"
    source += textwrap.indent(textwrap.dedent(act), " " * 8) + "\n    except Exception:\n"
    source += "        return 0\n    return 1\n"
    with EvaluatorProcess.start(**settings) as process:
        process.load(source.encode())
        yield process


def tell(process: EvaluatorProcess, row: str) -> float:
    """Give it a row; 1 when it believes to have told of it."""
    (score,) = process.score([Job(messages=[{"role": "user", "content": row}])])
    return score.score


# ---- names -------------------------------------------------------------------------------------


@pytest.fixture
def mount(tmp_path) -> Iterator[tuple[Path, list[str]]]:
    reason = missing()
    if reason:
        pytest.skip(reason)
    folder = tmp_path / "mount"
    folder.mkdir()
    with eavesdropping(folder) as heard:
        yield folder, heard


@pytest.mark.parametrize(
    "look_up",
    [
        "os.stat(path)",
        "os.lstat(path)",
        "os.access(path, os.R_OK)",
        "os.readlink(path)",
        "os.statvfs(path)",
        "os.open(path, os.O_PATH)",
        "os.open(path, os.O_RDONLY)",
        "os.listdir(path)",
        "os.path.exists(path)",
        "ctypes.CDLL(path)",
        "sys.path.insert(0, path); importlib.invalidate_caches(); importlib.import_module(row)",
    ],
)
def test_names_that_are_looked_up(mount, last_stage, look_up, canary):
    """Whoever serves a mount hears them, before Landlock has a say."""
    folder, heard = mount
    load = "import ctypes, importlib, os, sys"
    act = f"path = {str(folder)!r} + '/' + row\n{look_up}"
    with attacking(load, act) as process:
        tell(process, canary)
    assert any(canary in name for name in heard) != last_stage


CHANGED_AT_LOAD = """
    import builtins, os, sys
    from strongroom.enclave.evaluator import child, event_loop

    def stat_all(*_, **__):
        for path in (MOUNT + "/" + CANARY[0], MOUNT):
            os.path.exists(path)

    CANARY = [""]
    answer = child._answer
    def told(result, source):
        stat_all()
        return answer(result, source)
    child._answer = told
    child._failure = stat_all
    child._STAGE = None
    os._exit = lambda _: stat_all()
    sys.settrace(None)
"""


def test_code_that_changes_ours_while_it_loads(mount, last_stage, canary):
    """The process is the customer's from its load on: nothing that closes it may run in it."""
    folder, heard = mount
    load = f"MOUNT = {str(folder)!r}\n" + textwrap.dedent(CHANGED_AT_LOAD)
    with attacking(load, "CANARY[0] = row") as process:
        tell(process, canary)
    assert (canary in heard) != last_stage


THREADS_AT_LOAD = """
    import os, threading, time
    name = "before"
    def look_up():
        while True:
            os.path.exists(MOUNT + "/" + name)
            time.sleep(0.0001)
    for _ in range(8):
        threading.Thread(target=look_up, daemon=True).start()
"""


def test_threads_that_were_started_while_it_loaded(mount, last_stage, canary):
    """Calls that are let through at the very moment at which the stage begins are over by then."""
    folder, heard = mount
    load = f"MOUNT = {str(folder)!r}\n" + textwrap.dedent(THREADS_AT_LOAD)
    with attacking(load, "global name\nname = row\ntime.sleep(0.05)") as process:
        tell(process, canary)
    assert "before" in heard
    assert (canary in heard) != last_stage


# ---- what /proc/PID/status shows ---------------------------------------------------------------

SHOWN = ("SigBlk", "SigCgt", "SigIgn", "SigPnd", "ShdPnd", "Threads", "FDSize", "VmLib", "VmExe")


def shown(process: EvaluatorProcess) -> dict[str, str]:
    """What every user of the host can read of it, of each thread, sizes of memory left out."""
    found = {}
    for task in sorted(Path(f"/proc/{process._pid}/task").iterdir()):
        for line in (task / "status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in SHOWN:
                found[f"{task.name} {name}"] = value.strip()
        found[f"{task.name} comm"] = (task / "comm").read_text()
    return found


@pytest.mark.parametrize(
    ("load", "act"),
    [
        ("import signal", "signal.pthread_sigmask(signal.SIG_SETMASK, [10, 12])"),
        ("import signal", "signal.signal(signal.SIGUSR1, print)"),
        ("import signal", "signal.signal(signal.SIGUSR1, signal.SIG_IGN)"),
        (
            "import signal; signal.pthread_sigmask(signal.SIG_SETMASK, range(1, 65))",
            "signal.raise_signal(signal.SIGUSR2)",
        ),
        (
            "import signal; signal.pthread_sigmask(signal.SIG_SETMASK, range(1, 65))",
            "signal.pthread_kill(threading.get_ident(), 40)",
        ),
        ("import threading", "threading.Thread(target=threading.Event().wait).start()"),
        (
            "import threading; go = threading.Event(); threading.Thread(target=go.wait).start()",
            "go.set()\ntime.sleep(0.1)",
        ),
        ("import ctypes", "ctypes.CDLL('libBrokenLocale.so.1')"),
        ("import ctypes", "ctypes.CDLL(None).prctl(15, row.encode())"),
    ],
)
def test_what_the_kernel_shows_of_it(last_stage, load, act):
    refused_always = any(call in act for call in ("prctl", "raise_signal", "pthread_kill"))
    with attacking(f"import threading, time\n{load}", act) as process:
        before = shown(process)
        with contextlib.suppress(EvaluatorCrashed):
            tell(process, "row")
        assert (shown(process) != before) == (not last_stage and not refused_always)


# ---- files that others can watch ---------------------------------------------------------------

IN_ACCESS, IN_CLOSE_NOWRITE, IN_OPEN, IN_NONBLOCK = 1, 16, 32, 0o4000


@pytest.fixture
def library() -> Iterator[Path]:
    """A folder with files that an enclave may read."""
    if os.geteuid() != 0:
        pytest.skip("needs root to put files beside the system's libraries")
    folder = Path("/usr/local/lib", f"strongroom-test-{secrets.token_hex(4)}")
    folder.mkdir()
    names = [f"{index}.data" for index in range(8)]
    try:
        for name in names:
            (folder / name).write_bytes(random.randbytes(1 << 20))
        yield folder
    finally:
        for name in names:
            (folder / name).unlink()
        folder.rmdir()


class Watcher:
    """The order of events on the files of a folder, as inotify tells it to every user."""

    def __init__(self, folder: Path, events: int) -> None:
        self._fd = LIBC.inotify_init1(IN_NONBLOCK)
        assert LIBC.inotify_add_watch(self._fd, str(folder).encode(), events) > 0

    def names(self) -> list[str]:
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                data, at = os.read(self._fd, 1 << 16), 0
                while at < len(data):
                    *_, length = struct.unpack_from("iIII", data, at)
                    found.append(data[at + 16 : at + 16 + length].rstrip(b"\0").decode())
                    at += 16 + length
        return [name for name in found if name]

    def close(self) -> None:
        os.close(self._fd)


UNMAPPING = "for f in held.values(): f.close()"
ORDERS = {
    "open": (IN_OPEN, "", "open(FOLDER + name).close()"),
    "close": (
        IN_CLOSE_NOWRITE,
        "for address in mapped.values(): libc.munmap(address, 1 << 20)",
        "held[name].close()",
    ),
    "read": (IN_ACCESS, "", "held[name].read(1)"),
    "unmap": (IN_CLOSE_NOWRITE, UNMAPPING, "libc.munmap(mapped[name], 1 << 20)"),
    "replace": (IN_CLOSE_NOWRITE, UNMAPPING, "libc.mmap(mapped[name], 1 << 20, 0, 0x32, -1, 0)"),
    "move": (IN_CLOSE_NOWRITE, UNMAPPING, "libc.mremap(room, 1 << 20, 1 << 20, 3, mapped[name])"),
}
HOLDING = """
import ctypes
names = [f"{n}.data" for n in range(8)]
held = {name: open(FOLDER + name, "rb", buffering=0) for name in names}
libc = ctypes.CDLL(None, use_errno=True)
word, number = ctypes.c_void_p, ctypes.c_int
libc.mmap.restype = libc.mremap.restype = word
libc.mmap.argtypes = [word, ctypes.c_size_t, number, number, number, ctypes.c_long]
libc.mremap.argtypes = [word, ctypes.c_size_t, ctypes.c_size_t, number, word]
libc.munmap.argtypes = [word, ctypes.c_size_t]
room = libc.mmap(None, 1 << 20, 0, 0x22, -1, 0)
mapped = {name: libc.mmap(None, 1 << 20, 1, 2, f.fileno(), 0) for name, f in held.items()}
"""


@pytest.mark.parametrize("way", ORDERS)
def test_the_order_in_which_files_are_used(library, last_stage, way):
    event, also, act = ORDERS[way]
    order = [f"{index}.data" for index in random.sample(range(8), 8)]
    if way == "move":
        del order[1:]  # there is one mapping to move
    load = f"FOLDER = {str(library)!r} + '/'\n{HOLDING}\n{also}"
    with attacking(load, f"for name in row.split():\n    {act}") as process:
        watcher = Watcher(library, event)
        tell(process, " ".join(order))
        heard = watcher.names()
        watcher.close()
    assert heard == ([] if last_stage else order)


def resident(path: Path) -> list[int]:
    """The pages of a file that are in the page cache."""
    address, pages = mapped(path), path.stat().st_size // mmap.PAGESIZE
    held = (ctypes.c_ubyte * pages)()
    size = ctypes.c_size_t(pages * mmap.PAGESIZE)
    assert LIBC.mincore(ctypes.c_void_p(address), size, held) == 0
    LIBC.munmap(ctypes.c_void_p(address), size)
    return [page for page, byte in enumerate(held) if byte & 1]


def mapped(path: Path) -> int:
    """The address of a shared mapping of a file."""
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    with path.open("rb") as file:
        size, offset = ctypes.c_size_t(path.stat().st_size), ctypes.c_long(0)
        return int(libc.mmap(None, size, 1, 1, file.fileno(), offset))


def drop(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


MAPPED = "m = mmap.mmap(f.fileno(), 0, mmap.MAP_PRIVATE, 1)"


@pytest.mark.parametrize(
    ("load", "act"),
    [
        (f"{MAPPED}; m.madvise(mmap.MADV_RANDOM)", "m[at]"),
        (f"{MAPPED}; m.madvise(mmap.MADV_RANDOM)", "m.madvise(mmap.MADV_WILLNEED, at, 4096)"),
        ("os.posix_fadvise", "os.pread(f.fileno(), 1, at)"),
    ],
    ids=["touch", "advise", "read"],
)
def test_which_pages_of_a_file_are_in_memory(library, last_stage, load, act, monkeypatch):
    if not last_stage:
        whole = lockdown.lock_memory
        monkeypatch.setattr(lockdown, "lock_memory", lambda **_: whole())
    path = library / "0.data"
    page = random.randrange(64, 192)
    load = f"import mmap, os\nf = open({str(path)!r}, 'rb', 0)\n{load}"
    with attacking(load, f"at = int(row)\n{act}") as process:
        if process.probes["evaluator.mlock"] != "locked":
            pytest.skip("this user may not lock memory: tolerated, with a warning")
        drop(path)
        before = resident(path)
        if not last_stage and before:
            pytest.skip("this file system keeps its files in memory, whoever uses them")
        tell(process, str(page * mmap.PAGESIZE))
        after = resident(path)
    assert page in after or last_stage
    assert after == before or not last_stage


def test_a_futex_on_a_page_of_a_library(library, last_stage):
    """Two processes that map one file meet there, with no call that names it."""
    path = library / "0.data"
    at = random.randrange(256) * mmap.PAGESIZE
    woken = []

    def wait() -> None:
        address = mapped(path)
        word = ctypes.c_uint.from_address(address + at).value
        timeout = struct.pack("qq", 3, 0)
        woken.append(LIBC.syscall(202, ctypes.c_void_p(address + at), 0, word, timeout, None, 0))

    load = f"""
        import ctypes
        libc = ctypes.CDLL(None)
        libc.mmap.restype = ctypes.c_void_p
        f = open({str(path)!r}, "rb")
        address = libc.mmap(None, ctypes.c_size_t(1 << 20), 1, 1, f.fileno(), ctypes.c_long(0))
        """
    act = "libc.syscall(202, ctypes.c_void_p(address + int(row)), 1, 1, None, None, 0)"
    waiter = threading.Thread(target=wait)
    with attacking(load, act) as process:
        waiter.start()
        while waiter.is_alive() and not woken:
            tell(process, str(at))
        waiter.join()
    assert (woken == [0]) != last_stage


# ---- memory that runs, and the kernel's log ------------------------------------------------------

# A page that is shared is mapped a second time, filled there, and run as it was first mapped.
EXECUTE = """
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    for f in (libc.mmap, libc.mremap):
        f.restype = ctypes.c_void_p
    page, none = ctypes.c_size_t(4096), ctypes.c_size_t(0)
    first = libc.mmap(None, page, 5, 0x21, -1, ctypes.c_long(0))
    second = libc.mremap(ctypes.c_void_p(first), none, page, 1)
    if libc.mprotect(ctypes.c_void_p(second), page, 3):
        raise OSError
    ctypes.memmove(second, b"\\xb8\\x2a\\x00\\x00\\x00\\xc3", 6)  # mov eax, 42; ret
    found = ctypes.CFUNCTYPE(ctypes.c_int)(first)()
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the code is that of x86-64")
@pytest.mark.parametrize("locked", [True, False])
def test_code_in_memory_that_is_mapped_twice(locked):
    source = textwrap.dedent(EXECUTE) + "\ndef evaluate(*_, **__): return found"
    with EvaluatorProcess.start(locked=locked) as process:
        if locked:
            with pytest.raises(Exception, match="SR-EVAL"):
                process.load(source.encode())
        else:
            process.load(source.encode())
            assert tell(process, "") == 42.0


@pytest.mark.parametrize("quiet", [True, False])
def test_a_fault_that_the_kernel_writes_down(quiet, monkeypatch):
    """The line holds the address, and bytes of memory around the instruction."""
    if os.geteuid() != 0 or not Path("/dev/kmsg").exists():
        pytest.skip("needs root to read the kernel's log")
    if Path("/proc/sys/debug/exception-trace").read_text().strip() == "0":
        pytest.skip("this host writes no faults down")
    if not quiet:
        monkeypatch.setattr(lockdown, "_NOT_MAPPED", None)  # the default action
    address = secrets.randbelow(1 << 40) << 4
    with Path("/dev/kmsg").open("rb", buffering=0) as log:
        os.set_blocking(log.fileno(), False)
        log.seek(0, os.SEEK_END)
        with (
            attacking("import ctypes", "ctypes.string_at(int(row))") as process,
            pytest.raises(EvaluatorCrashed),
        ):
            tell(process, str(address))
        lines = b"".join(iter(lambda: log.read(8192) or b"", b""))
    assert (f"segfault at {address:x}".encode() in lines) != quiet


# ---- from one dataset to the other --------------------------------------------------------------

CARRYING = b"""
seen = []
class Environment:
    def reset(self, messages, ground_truth, **row):
        seen.append(ground_truth)
        return [{"role": "user", "content": " ".join(seen)}]
    def step(self, text):
        return {"done": True, "reward": 0}
"""


@pytest.mark.parametrize("apart", [True, False])
def test_truths_of_held_out_rows_in_prompts_of_the_training(apart, canary):
    evaluators = Evaluators.start()
    train, held_out = evaluators if apart else (evaluators.train,) * 2
    for process in evaluators:
        process.load(CARRYING, environment=True)
    jobs = [
        [Job(messages=[{"role": "user", "content": "?"}], ground_truth=truth)]
        for truth in (canary, "of training")
    ]
    held_out.reset(jobs[0])
    (prompt,) = train.reset(jobs[1])
    assert prompt is not None
    assert (canary in (prompt[0].content or "")) != apart
    held_out.close()
    train.close()
