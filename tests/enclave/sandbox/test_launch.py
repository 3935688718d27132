from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from strongroom.enclave.assurance import Assurance
from strongroom.enclave.sandbox import launch
from support import PYTHONPATH
from support.measured_too import with_folders


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module that a launched process can import."""
    monkeypatch.setattr(launch, "compiled_set", with_folders(tmp_path))

    def write(code: str) -> str:
        body = "import json, os, signal, sys, time\ndef main(fd, assurance, arguments):\n"
        (tmp_path / "launched.py").write_text(body + textwrap.indent(textwrap.dedent(code), "    "))
        return "launched"

    return write


@pytest.fixture
def started():
    """Start a process and read what it writes to its descriptor; killed at the end of the test."""
    processes = []

    def start(name: str, assurance: Assurance = "A1", **options: object):
        ours, theirs = socket.socketpair()
        process = launch.start(name, theirs.fileno(), assurance, **options)
        theirs.close()
        ours.settimeout(20)
        processes.append((process, ours))
        return process, ours

    yield start
    for process, ours in processes:
        ours.close()
        process.kill()
        process.wait()


def test_it_runs_main_with_its_descriptor_and_arguments(module, started):
    name = module("os.write(fd, json.dumps([assurance, list(arguments)]).encode())")
    process, channel = started(name, arguments=("a", "b c"))
    assert json.loads(channel.recv(1000)) == ["A1", ["a", "b c"]]
    assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("code", "status"), [("return", 0), ("raise ValueError('row')", 1), ("sys.exit(0)", 1)]
)
def test_its_status_says_whether_main_returned(module, started, code, status):
    process, channel = started(module(code))
    assert process.wait(20) == status
    assert channel.recv(10) == b""


def test_it_inherits_neither_environment_nor_descriptors(module, started, monkeypatch):
    for name in ("AWS_SECRET_ACCESS_KEY", "LD_PRELOAD_CANARY", "PYTHONPATH", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "canary")
    leaked = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leaked, True)
    code = """
    from strongroom.enclave.sandbox.probes import open_fds
    from strongroom.isolated import boot
    boot.guard.forget_parent()
    names = [os.readlink(f"/proc/self/fd/{i}") for i in (0, 1, 2)]
    os.write(fd, json.dumps([dict(os.environ), sorted(open_fds() - {fd}), names]).encode())
    """
    _, channel = started(module(code), threads=3)
    environment, descriptors, standard = json.loads(channel.recv(1 << 16))
    os.close(leaked)
    assert "canary" not in environment.values()
    ours = {**launch.environment(3), "LANG": "C.UTF-8", "LC_CTYPE": "C.UTF-8"}
    assert environment.items() <= ours.items()
    assert descriptors == [0, 1, 2]
    assert standard == ["/dev/null"] * 3


def test_output_is_for_a0_alone(module, started, tmp_path):
    name = module("print('canary', flush=True); raise ValueError('canary')")
    with (tmp_path / "log").open("wb") as log:
        with pytest.raises(ValueError, match="without a sandbox"):
            started(name, "A1", log=log)
        process, _ = started(name, "A0", log=log)
        assert process.wait(20) == 1
    text = (tmp_path / "log").read_text()
    assert text.count("canary") >= 2
    assert "Traceback" in text


def test_it_cannot_dump_core_from_its_first_instructions(module, started):
    code = """
    import resource
    from strongroom.enclave.sandbox import syscalls
    os.write(fd, json.dumps([
        resource.getrlimit(resource.RLIMIT_CORE), syscalls.prctl(syscalls.PR_GET_DUMPABLE)
    ]).encode())
    """
    _, channel = started(module(code))
    assert json.loads(channel.recv(1000)) == [[0, 0], 0]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except FileNotFoundError:
        return False


def test_it_outlives_the_thread_that_started_it(module, started):
    name = module("os.write(fd, b'up'); signal.pause()")
    found = []
    thread = threading.Thread(target=lambda: found.append(started(name)))
    thread.start()
    thread.join()
    process, channel = found[0]
    assert channel.recv(2) == b"up"
    time.sleep(0.2)
    assert alive(process.pid)


@pytest.mark.parametrize("locked", [False, True])
def test_it_dies_with_the_process_that_started_it(module, tmp_path, locked):
    """Locked too: new credentials make the kernel forget the death signal."""
    lock = (
        "from strongroom.enclave.sandbox import lockdown; lockdown.lock_files_and_network()"
        if locked
        else "pass"
    )
    module(f"{lock}\nos.write(fd, str(os.getpid()).encode())\nsignal.pause()")
    ours, theirs = socket.socketpair()
    broker = f"""
import pathlib, sys
from strongroom.enclave.sandbox import launch
from support.measured_too import with_folders
launch.compiled_set = with_folders(pathlib.Path({str(tmp_path)!r}))
launch.start("launched", {theirs.fileno()}, "A1").wait()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", broker],
        pass_fds=[theirs.fileno()],
        start_new_session=True,
        env=PYTHONPATH,
    )
    theirs.close()
    ours.settimeout(20)
    pid = int(ours.recv(10))
    assert alive(pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert ours.recv(10) == b""  # its end closed: it is gone
    while alive(pid):
        time.sleep(0.01)
    ours.close()


def test_a_command_that_cannot_run_raises(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(FileNotFoundError):
        launch.start("launched", theirs.fileno(), "A1")
