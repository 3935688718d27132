"""Ways to get plaintext out of an enclave process, each tried without and with the lock-down.

Without it the canary must come out (the control: the attack works here); with it, it must not.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from errno import EACCES, EPERM
from pathlib import Path

import pytest

from strongroom.enclave.evaluator.process import EvaluatorProcess
from strongroom.enclave.sandbox import launch
from strongroom.trainer.rollouts.evaluators import Job
from support import PROGRAMS, PYTHONPATH
from support.eavesdropper import eavesdropping, missing
from support.measured_too import with_folders
from support.users import nobody

LEAKER = PROGRAMS / "leaker.py"
BLOCKED = (EACCES, EPERM)
STAGES = ["none", "AB"]


@pytest.fixture
def canary() -> str:
    return "canary" + secrets.token_hex(12)


@dataclass
class Leaker:
    """A leaking process and how its attack ended (``None``: it ended itself)."""

    process: subprocess.Popen[bytes]
    ended: int | None


@contextlib.contextmanager
def leaking(
    stage: str,
    attack: str,
    canary: str,
    target: object = "",
    *,
    user: tuple[str, ...] = (),
    **options: object,
) -> Iterator[Leaker]:
    ours, theirs = os.pipe()
    null = subprocess.DEVNULL
    process = subprocess.Popen(
        [
            *(*user, sys.executable, "-I", "-B", str(LEAKER)),
            *(str(theirs), stage, attack, canary, str(target)),
        ],
        pass_fds=[theirs],
        **{"stdin": null, "stdout": null, "stderr": null, "env": {}, **options},
    )
    os.close(theirs)
    try:
        answer = os.read(ours, 1)
        yield Leaker(process, answer[0] if answer else None)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.fixture(name="nobody")
def as_nobody() -> tuple[str, ...]:
    command = nobody()
    if isinstance(command, str):
        pytest.skip(command)
    return command


def content(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("folder", ["/tmp", "/var/tmp", "/dev/shm", "."])
def test_a_row_in_a_file(stage, folder, canary, tmp_path):
    place = tmp_path if folder == "." else Path(folder)
    if not os.access(place, os.W_OK):
        pytest.skip(f"{place} is not writable here")
    target = place / canary[:12]
    try:
        with leaking(stage, "write", canary, target) as leaker:
            assert (leaker.ended == 0) == (stage == "none")
            assert (canary.encode() in content(target)) == (stage == "none")
    finally:
        target.unlink(missing_ok=True)


@pytest.mark.parametrize("stage", STAGES)
def test_a_row_in_a_file_name(stage, canary, tmp_path):
    with leaking(stage, "name_file", canary, tmp_path):
        assert (tmp_path / canary).exists() == (stage == "none")


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("kind", ["tcp", "udp", "unix", "abstract"])
def test_a_row_on_a_socket(stage, kind, canary, tmp_path):
    family = socket.AF_INET if kind in ("tcp", "udp") else socket.AF_UNIX
    form = socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM
    address: object = {"unix": str(tmp_path / "s"), "abstract": "\0" + canary[:16]}.get(
        kind, ("127.0.0.1", 0)
    )
    with socket.socket(family, form) as server:
        server.bind(address)
        server.settimeout(10 if stage == "none" else 0.3)
        if kind == "tcp":
            server.listen()
        name = server.getsockname()
        target = {"unix": name, "abstract": canary[:16]}.get(kind) or name[1]
        with leaking(stage, kind, canary, target) as leaker:
            got = b""
            with contextlib.suppress(TimeoutError):
                source = server.accept()[0] if kind == "tcp" else server
                got = source.recv(100)
            assert (got == canary.encode()) == (stage == "none")
            assert stage == "none" or leaker.ended in BLOCKED


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("attack", ["execute", "replace"])
def test_a_row_on_a_command_line(stage, attack, canary, tmp_path):
    target = tmp_path / "out"
    with leaking(stage, attack, canary, target, stdout=subprocess.DEVNULL) as leaker:
        while stage == "none" and not content(target):
            time.sleep(0.01)
        assert (content(target) == canary.encode()) == (stage == "none")
        assert stage == "none" or leaker.ended in BLOCKED


@pytest.mark.parametrize("stage", STAGES)
def test_a_row_in_a_core_file(stage, canary, tmp_path):
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if pattern.startswith(("|", "/")):
        pytest.skip(f"core files go to {pattern[0]}… on this host, not to the working folder")
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    if hard == 0:
        pytest.skip("this session may not write core files at all")
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    try:
        with leaking(stage, "crash", canary, cwd=tmp_path) as leaker:
            assert leaker.process.wait(30) == -signal.SIGSEGV
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
    cores = list(tmp_path.glob("core*"))
    assert bool(cores) == (stage == "none")
    assert any(canary.encode() in core.read_bytes() for core in cores) == (stage == "none")


def test_a_row_in_a_traceback(canary, tmp_path, monkeypatch):
    """The log that a crash leaves: at A0 it holds the row, from A1 on there is none."""
    folders = (tmp_path, LEAKER.parent)
    monkeypatch.setattr(launch, "compiled_set", with_folders(*folders))
    (tmp_path / "leak.py").write_text(
        "import leaker\n"
        "def main(fd, assurance, arguments):\n"
        "    leaker.main(fd, {'A0': 'none', 'A1': 'AB'}[assurance], 'complain', arguments[0])\n"
    )
    ours, theirs = socket.socketpair()
    captured = tmp_path / "log"
    with ours, theirs, captured.open("wb") as log:
        control = launch.start("leak", theirs.fileno(), "A0", arguments=[canary], log=log)
        assert control.wait(30) == 1
    assert content(captured).count(canary.encode()) >= 3

    # From A1 on the caller's own output is the only place where something could appear.
    broker = (
        "import pathlib, socket\nfrom strongroom.enclave.sandbox import launch\n"
        "from support.measured_too import with_folders\n"
        f"launch.compiled_set = with_folders(*map(pathlib.Path, {[*map(str, folders)]!r}))\n"
        "ours, theirs = socket.socketpair()\n"
        f"child = launch.start('leak', theirs.fileno(), 'A1', arguments=[{canary!r}])\n"
        "raise SystemExit(child.wait())"
    )
    command = [sys.executable, "-c", broker]
    done = subprocess.run(command, capture_output=True, check=False, env=PYTHONPATH)
    assert done.returncode == 1
    assert done.stdout + done.stderr == b""


@pytest.mark.parametrize("stage", STAGES)
def test_a_row_in_the_name_of_a_thread(stage, canary):
    with leaking(stage, "thread_name", canary) as leaker:
        seen = Path(f"/proc/{leaker.process.pid}/comm").read_text().strip()
        assert (seen == canary[:15]) == (stage == "none")


@pytest.mark.parametrize("stage", STAGES)
def test_a_row_in_the_mask_of_modes(stage, canary):
    with leaking(stage, "mode_mask", canary) as leaker:
        status = Path(f"/proc/{leaker.process.pid}/status").read_text()
        assert ("Umask:\t0123" in status) == (stage == "none")
        assert (leaker.ended == 0) == (stage == "none")


@pytest.mark.parametrize("stage", STAGES)
def test_a_row_in_the_process_list(stage, canary):
    with leaking(stage, "command_line", canary) as leaker:
        shown = Path(f"/proc/{leaker.process.pid}/cmdline").read_bytes()
        assert shown.startswith(canary.encode()) == (stage == "none")
        assert (shown == b"") == (stage == "AB")


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("attack", ["file_time", "file_mode", "file_attribute"])
def test_a_row_in_what_landlock_does_not_govern(stage, attack, canary, tmp_path):
    target = tmp_path / "file"
    target.write_text("")
    target.chmod(0o600)
    before = target.stat()
    with leaking(stage, attack, canary, target) as leaker:
        after = target.stat()
        attributes = []
        with contextlib.suppress(OSError):
            attributes = os.listxattr(target)
        changed = (before.st_mtime, before.st_mode) != (after.st_mtime, after.st_mode)
        if stage == "none" and leaker.ended:
            pytest.skip(f"this file system has no such attribute (errno {leaker.ended})")
        assert (changed or "user.note" in attributes) == (stage == "none")
        assert stage == "none" or leaker.ended in BLOCKED


@pytest.mark.parametrize("stage", STAGES)
def test_a_signal_to_another_process(stage, canary):
    got = []
    previous = signal.signal(signal.SIGUSR1, lambda *_: got.append(1))
    try:
        with leaking(stage, "signal_other", canary, os.getpid()):
            time.sleep(0.05)
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert bool(got) == (stage == "none")


@pytest.mark.parametrize("stage", STAGES)
def test_a_row_in_a_name_that_is_looked_up(stage, canary, tmp_path):
    """Whoever serves a mount hears it, before Landlock has a say."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    with eavesdropping(tmp_path) as heard, leaking(stage, "look_up", canary, tmp_path) as leaker:
        assert (canary in heard) == (stage == "none")
        assert (leaker.ended in BLOCKED) == (stage == "AB")


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    ("attack", "line"), [("masked", "SigBlk:\t0000000000000200"), ("more_threads", "Threads:\t2")]
)
def test_a_row_in_the_signal_mask_and_the_number_of_threads(stage, attack, line, canary):
    with leaking(stage, attack, canary) as leaker:
        status = Path(f"/proc/{leaker.process.pid}/status").read_text()
        assert (line in status) == (stage == "none")
        assert stage == "none" or leaker.ended in BLOCKED


@pytest.mark.parametrize("stage", STAGES)
def test_a_row_in_which_library_is_closed(stage, canary):
    """The last unmapping closes a file, and inotify tells of it."""
    with leaking(stage, "unmap_library", canary) as leaker:
        if stage == "AB" and leaker.ended == 0:
            pytest.skip("this kernel seals no mappings (before 6.10): tolerated, with a warning")
        assert leaker.ended == (0 if stage == "none" else EPERM)


READ_MEMORY = """
import sys
pid, canary = sys.argv[1], sys.argv[2][::-1].encode()
found = False
with open(f"/proc/{pid}/mem", "rb", 0) as memory:
    for line in open(f"/proc/{pid}/maps"):
        span, rights = line.split()[:2]
        start, end = (int(part, 16) for part in span.split("-"))
        if rights[0] == "r" and "[v" not in line and end - start < 1 << 28:
            memory.seek(start)
            found |= canary in memory.read(end - start)
raise SystemExit(0 if found else 3)
"""

ATTACH = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
PTRACE_SEIZE, PTRACE_DETACH = 0x4206, 17
status = libc.ptrace(PTRACE_SEIZE, int(sys.argv[1]), None, None)
raise SystemExit(0 if status == 0 else 1)
"""


@pytest.mark.parametrize("program", [READ_MEMORY, ATTACH], ids=["memory", "ptrace"])
def test_an_operator_of_the_same_user_without_root(program, canary, nobody):
    """Reads the memory of, or attaches to, a process of its own user: what ``gdb -p`` would do."""
    statuses = {}
    for stage in STAGES:
        with leaking(stage, "hold", canary, user=nobody) as leaker:
            attacker = [*nobody, sys.executable, "-I", "-c", program]
            arguments = [str(leaker.process.pid), canary[::-1]]
            done = subprocess.run([*attacker, *arguments], capture_output=True, check=False)
            statuses[stage] = done.returncode
    if statuses["none"]:
        scope = Path("/proc/sys/kernel/yama/ptrace_scope")
        note = scope.read_text().strip() if scope.exists() else "absent"
        pytest.skip(f"this host stops the control too (yama ptrace_scope: {note})")
    assert statuses["AB"] == 1


def test_an_operator_of_another_user(canary, nobody):
    if os.geteuid() != 0:
        pytest.skip("needs root to have a process of another user to look at")
    attacker = [*nobody, sys.executable, "-I", "-c", READ_MEMORY]
    with leaking("AB", "hold", canary) as leaker:
        command = [*attacker, str(leaker.process.pid), canary[::-1]]
        done = subprocess.run(command, capture_output=True, check=False)
        assert b"PermissionError" in done.stderr
        # The control: the same attacker reads its own kind.
    with leaking("none", "hold", canary, user=nobody) as leaker:
        command = [*attacker, str(leaker.process.pid), canary[::-1]]
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def preload(tmp_path):
    """A library that writes a file when it is loaded."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to make a library to preload")
    source, library, mark = (tmp_path / name for name in ("p.c", "p.so", "mark"))
    source.write_text(
        "#include <stdio.h>\n__attribute__((constructor)) static void f(void)"
        f'{{ FILE *m = fopen("{mark}", "w"); if (m) fclose(m); }}\n'
    )
    command = [compiler, "-shared", "-fPIC", "-o", str(library), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return library, mark


def test_a_library_that_the_starter_was_made_to_preload(preload, monkeypatch):
    library, mark = preload
    subprocess.run([sys.executable, "-I", "-c", ""], env={"LD_PRELOAD": str(library)}, check=True)
    assert mark.exists()
    mark.unlink()
    monkeypatch.setenv("LD_PRELOAD", str(library))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        # A module without main: the process starts, imports it, and ends with status 1.
        assert launch.start("errors", theirs.fileno(), "A1").wait(30) == 1
    assert not mark.exists()


def test_python_code_that_the_starter_s_environment_names(tmp_path, monkeypatch):
    mark = tmp_path / "mark"
    (tmp_path / "usercustomize.py").write_text(f"open({str(mark)!r}, 'w')\n")
    (tmp_path / "sitecustomize.py").write_text(f"open({str(mark)!r}, 'w')\n")
    environment = {"PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", ""], env=environment, check=True)
    assert mark.exists()
    mark.unlink()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert launch.start("errors", theirs.fileno(), "A1").wait(30) == 1
    assert not mark.exists()


EVALUATOR = """
import contextlib, os, socket, sys

def ways(row, folder, port):
    yield lambda: open(folder + "/file", "w").write(row)
    yield lambda: open("/dev/shm/" + row[:12], "w").write(row)
    yield lambda: os.mkdir(folder + "/" + row)
    yield lambda: os.symlink(row, folder + "/link")
    yield lambda: os.system("echo " + row + " > " + folder + "/shell")
    yield lambda: os.write(1, row.encode()) and os.write(2, row.encode())
    yield lambda: socket.create_connection(("127.0.0.1", port), 2).sendall(row.encode())

def evaluate(messages, ground_truth, **place):
    succeeded = 0
    for way in ways(messages[0]["content"], **place):
        with contextlib.suppress(OSError):
            way()
            succeeded += 1
    print(messages, file=sys.stderr)
    return succeeded
"""


@pytest.mark.parametrize("locked", [False, True])
def test_an_evaluator_that_tries_them_all(locked, canary, tmp_path, capfd):
    shm = Path("/dev/shm", canary[:12])
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        place = {"folder": str(tmp_path), "port": server.getsockname()[1]}
        job = Job(messages=[{"role": "assistant", "content": canary}], extra=place)
        try:
            with EvaluatorProcess.start(locked=locked) as process:
                process.load(EVALUATOR.encode())
                process.score([job])
            got = b""
            with contextlib.suppress(TimeoutError):
                got = server.accept()[0].recv(100)
            found = [path.name for path in tmp_path.iterdir()]
            leaks = [canary.encode() in got, shm.exists(), bool(found)]
            assert leaks == [not locked] * 3
            assert (set(found) == {"file", canary, "link", "shell"}) == (not locked)
        finally:
            shm.unlink(missing_ok=True)
    printed = capfd.readouterr()
    assert canary not in printed.out + printed.err


def test_secret_memory_hides_the_canary_from_root_where_the_kernel_has_it(canary):
    from strongroom.enclave.sandbox.secret_memory import SecretMemory

    libc = ctypes.CDLL(None)
    with SecretMemory(4096) as window:
        if window.kind != "memfd_secret":
            pytest.skip("this kernel or its limits give no memfd_secret")
        window.buffer[: len(canary)] = canary.encode()
        pid = libc.getpid()
        program = READ_MEMORY.replace("memory.seek(start)", "memory.seek(start); print(line)")
        command = [sys.executable, "-I", "-c", program, str(pid), canary[::-1]]
        maps = Path("/proc/self/maps").read_text()
        assert "secretmem" in maps
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "Input/output error" in done.stderr or "Permission" in done.stderr
