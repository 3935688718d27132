from __future__ import annotations

import importlib.util
import os
import secrets
import signal
import socket
from errno import EACCES, ENOENT, EPERM, EROFS
from pathlib import Path

import pytest

STAGES = ["A", "AB"]
CLOSED = {EACCES, ENOENT, EROFS}


@pytest.mark.parametrize("stage", ["none", *STAGES])
def test_files_outside_the_libraries_cannot_be_read(inside_as, stage):
    seen = inside_as(
        """
        lock()
        paths = ("/etc/passwd", "/proc/1/status", "/proc/stat")
        report([attempt(lambda: open(path)) for path in paths])
        """,
        stage,
    )
    # In a root of its own they are not even there.
    assert all((errno == 0) if stage == "none" else (errno in CLOSED) for errno in seen)


def test_a_file_of_the_same_user_cannot_be_read_or_written(inside, tmp_path):
    secret = tmp_path / "state"
    secret.write_text("x")
    code = f"""
    lock()
    report([attempt(lambda: open({str(secret)!r}, mode)) for mode in ("r", "a")])
    """
    assert inside(code, "none") == [0, 0]
    assert set(inside(code, "A")) <= CLOSED


@pytest.mark.parametrize("stage", ["none", *STAGES])
def test_our_other_packages_cannot_be_read(inside, stage):
    paths = {
        name: importlib.util.find_spec(name).origin
        for name in ("strongroom.crypto", "strongroom.connectors")
    }
    code = f"lock(); report({{n: attempt(lambda: open(p)) for n, p in {paths!r}.items()}})"
    seen = inside(code, stage)
    assert (seen["strongroom.crypto"] == 0) == (stage != "AB")  # by then nothing is left to read
    assert (seen["strongroom.connectors"] == 0) == (stage == "none")


def test_nothing_is_writable_but_the_null_device(inside_as):
    seen = inside_as(
        """
        lock()
        paths = ("/tmp/x", "/var/tmp/x", "/dev/shm/x", "/proc/self/comm", "/dev/null")
        report([attempt(lambda: os.open(path, os.O_WRONLY | os.O_CREAT)) for path in paths])
        """,
        "A",
    )
    assert set(seen[:-1]) <= CLOSED
    assert seen[-1] == 0


@pytest.mark.parametrize("stage", ["none", *STAGES])
def test_a_server_on_this_host_cannot_be_reached(inside_as, stage):
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = f"""
        lock()
        def reach():
            socket.socket().connect(("127.0.0.1", {server.getsockname()[1]}))
        report(attempt(reach))
        """
        seen = inside_as(code, stage)
    assert (seen == 0) == (stage == "none")


def test_privileges_are_gone_for_good(inside_as):
    seen = inside_as(
        """
        lockdown.lock_files_and_network()
        lines = Path("/proc/self/status").read_text().splitlines()
        status = dict(line.split(":", 1) for line in lines if line)
        lockdown.lock_system_calls()
        report({
            "caps": int(status["CapEff"], 16) & ~(1 << 14),
            "bounding": int(status["CapBnd"], 16),
            "ambient": int(status["CapAmb"], 16),
            "new_privs": status["NoNewPrivs"].strip(),
            "dumpable": syscalls.prctl(syscalls.PR_GET_DUMPABLE),
            "core": resource.getrlimit(resource.RLIMIT_CORE),
            "files": resource.getrlimit(resource.RLIMIT_FSIZE),
            "raise": attempt(lambda: syscalls.call("setns", 0, 0)),
        })
        """
    )
    assert seen == {
        "caps": 0,
        "bounding": 0 if os.geteuid() == 0 else seen["bounding"],
        "ambient": 0,
        "new_privs": "1",
        "dumpable": 0,
        "core": [0, 0],
        "files": [0, 0],
        "raise": EPERM,
    }


def test_a_second_lock_down_cannot_give_back_what_the_first_took(inside):
    seen = inside(
        """
        from strongroom.enclave.sandbox import landlock
        lock()
        landlock.restrict([Path("/")])
        report(attempt(lambda: os.listdir("/")))
        """,
        "A",
    )
    assert seen == EACCES


MOUNTED = """
    lock()
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    paths = [os.devnull, "/", *(str(path.resolve()) for path in lockdown.library_paths())]
    report([[mount[4], mount[4] in paths, mount[5].split(",")[0]] for mount in mounts])
"""


def test_nothing_is_mounted_but_what_may_be_read(inside_as):
    """Not even below it, and not for writing; every path means what it meant before."""
    assert not all(readable for _, readable, _ in inside_as(MOUNTED, "none"))
    seen = inside_as(MOUNTED, "A")
    assert all(readable for _, readable, _ in seen)
    assert {point for point, _, rights in seen if rights != "ro"} <= {"/dev/null", "/dev/urandom"}


def test_a_mount_below_a_library_is_left_behind(inside):
    if os.geteuid() != 0:
        pytest.skip("needs root to mount")
    code = """
        libc = ctypes.CDLL(None)
        libc.unshare(0x20000)
        libc.mount(b"none", b"/", None, (1 << 14) | (1 << 18), None)
        assert libc.mount(b"foreign", b"/usr/lib/tmpfiles.d", b"tmpfs", 0, None) == 0
        lock()
        report("/usr/lib/tmpfiles.d" in Path("/proc/self/mountinfo").read_text())
        """
    if not Path("/usr/lib/tmpfiles.d").is_dir():
        pytest.skip("this host has no folder to mount something on")
    assert inside(code, "none")
    assert not inside(code, "A")


def test_where_no_root_can_be_made_the_old_one_stays_and_is_told_of(inside):
    seen = inside(
        """
        def fails(*_):
            raise OSError(1, "pivot_root")
        lockdown.own_root._restrict = fails
        done = lockdown.lock_files_and_network()
        report([done["mounts"], probes.facts()["mounts"], attempt(lambda: open("/etc/passwd"))])
        """
    )
    assert seen == ["failed", "shared", EACCES]


def test_it_refuses_a_process_with_threads(inside):
    seen = inside(
        """
        import threading
        from strongroom.enclave.errors import LockdownOrder
        threading.Thread(target=lambda: signal.pause(), daemon=True).start()
        try:
            lockdown.lock_files_and_network()
        except LockdownOrder as error:
            report([error.code, error.actual])
        """
    )
    assert seen == ["SR-ENCLAVE-001", "2 threads"]


@pytest.mark.parametrize("stage", ["A", "AB"])
def test_stage_b_reaches_threads_that_already_run(inside, stage):
    seen = inside(
        """
        import threading
        lockdown.lock_files_and_network()
        go, found = threading.Event(), []
        def body():
            go.wait()
            found.append(attempt(socket.socket))
        thread = threading.Thread(target=body)
        thread.start()
        if STAGE == "AB":
            lockdown.lock_system_calls()
        go.set()
        thread.join()
        report(found)
        """,
        stage,
    )
    assert seen == [EPERM if stage == "AB" else 0]


@pytest.mark.parametrize("stage", STAGES)
def test_a_system_call_that_nobody_named_kills(inside, stage):
    status, _ = inside.raw("lock(); ctypes.CDLL(None).syscall(9999); report(0)", stage)
    assert status == (-signal.SIGSYS if stage == "AB" else 0)


@pytest.mark.parametrize("stage", STAGES)
def test_a_call_that_kills_leaves_no_line_in_the_kernel_s_log(inside, stage):
    """The control is the kernel's own way to kill, which writes down the call's number."""
    if os.geteuid() != 0 or not Path("/dev/kmsg").exists():
        pytest.skip("needs root to read the kernel's log")
    number = 1_000_000 + secrets.randbelow(1_000_000)
    code = f"lock(); ctypes.CDLL(None).syscall({number}); report(0)"
    if stage == "A":
        code = "from strongroom.enclave.sandbox import seccomp\n" + code.replace(
            "lock();", "seccomp._RET_TRAP = 0x80000000; lock(); lockdown.lock_system_calls();"
        )
    with Path("/dev/kmsg").open("rb", buffering=0) as log:
        os.set_blocking(log.fileno(), False)
        log.seek(0, os.SEEK_END)
        assert inside.raw(code, stage)[0] == -signal.SIGSYS
        lines = b"".join(iter(lambda: log.read(8192) or b"", b""))
    if stage == "A" and b"audit" not in lines:
        pytest.skip("this kernel writes no such line at all")
    assert (f"syscall={number}".encode() in lines) == (stage == "A")


def test_the_command_line_that_others_see_is_empty(inside_as):
    code = "lock(); os.write(FD, b'x'); signal.pause()"

    def look(pid: int) -> str:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode()

    assert "lockdown" in inside_as(code, "none", look=look)
    assert inside_as(code, "A", look=look) == ""


def test_memory_can_be_mapped_after_the_lock(inside_as):
    """A finite limit on locked memory would let the lock succeed and this fail."""
    assert inside_as("lock(); report(len(bytearray(64 << 20)) >> 20)") == 64


@pytest.mark.parametrize("stage", STAGES)
def test_neither_a_thread_nor_a_process_can_be_started_after_stage_b(inside, stage):
    seen = inside(
        """
        import threading
        lock()
        try:
            threading.Thread(target=print).start()
        except RuntimeError:
            report(["refused", attempt(os.fork)])
        report(["started", 0])
        """,
        stage,
    )
    assert seen == (["started", 0] if stage == "A" else ["refused", EPERM])


def test_only_a_held_pidfd_can_be_stopped_and_killed(inside):
    seen = inside(
        """
        lockdown.lock_files_and_network()
        me, child = os.getpid(), os.fork()
        if not child:
            syscalls.die_with_parent(me)
            signal.pause()
        held = os.pidfd_open(child)
        lockdown.lock_system_calls()
        kill = attempt(lambda: os.kill(child, 9))
        stop = attempt(lambda: signal.pidfd_send_signal(held, signal.SIGSTOP))
        other = attempt(lambda: signal.pidfd_send_signal(held, signal.SIGUSR1))
        signal.pidfd_send_signal(held, signal.SIGKILL)
        report([kill, stop, other, os.waitid(os.P_PIDFD, held, os.WEXITED).si_status])
        """
    )
    assert seen == [EPERM, 0, EPERM, signal.SIGKILL]


def test_a_pipe_filled_by_the_parent_can_still_be_read(inside):
    """What a locked process holds, it can use: the channel to its broker above all."""
    seen = inside(
        """
        a, b = socket.socketpair()
        lock()
        b.settimeout(1)
        a.sendall(b"row")
        report(b.recv(9).decode())
        """
    )
    assert seen == "row"


def test_library_paths_name_neither_the_home_nor_the_checkout():
    from strongroom.enclave.sandbox.lockdown import library_paths

    paths = library_paths()
    checkout = Path(importlib.util.find_spec("strongroom.enclave").origin).resolve().parents[1]
    assert checkout not in paths
    assert Path.home() not in paths
    assert Path("/") not in paths
    assert Path("/etc") not in paths


DROP_CACHES = Path("/proc/sys/vm/drop_caches")


@pytest.mark.skipif(not os.access(DROP_CACHES, os.W_OK), reason="needs root to drop caches")
@pytest.mark.parametrize(("stays", "errno"), [(True, 0), (False, EACCES)])
def test_what_it_may_read_of_itself_stays_readable_when_memory_is_short(inside, stays, errno):
    code = f"""
    if not {stays}:
        lockdown.os.chdir = lambda _: None  # the control
    ready, go = os.pipe(), os.pipe()
    if os.fork() == 0:
        lockdown.lock_files_and_network()
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        report(attempt(lambda: os.close(os.open("/proc/self/status", os.O_RDONLY))))
    os.read(ready[0], 1)
    Path("{DROP_CACHES}").write_text("2")
    os.write(go[1], b"x")
    os.wait()
    """
    assert inside(code, "A") == errno
