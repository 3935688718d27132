"""The private folder in memory: there for one process, and closed once it is locked down."""

from __future__ import annotations

import os
import textwrap
from errno import EACCES, ENOENT, EPERM
from pathlib import Path

import pytest

from strongroom.enclave.sandbox.scratch import MOUNT_POINT

HERE = """
from strongroom.enclave.sandbox.scratch import Scratch
NAME = "adapter/weights"
scratch = Scratch({NAME: 1 << 20, "base/config": 64})
target = scratch.path / NAME
def mount():
    if STAGE == "none":
        lockdown.mount_unlocked(scratch)
    else:
        lockdown.lock_files_and_network(scratch=scratch)
    scratch.put(NAME, b"first")
    if STAGE == "AB":
        scratch.close()
        lockdown.lock_system_calls(lockdown.filters.trainer(engine=True))
"""


@pytest.mark.parametrize("stage", ["none", "AB"])
def test_what_is_put_can_be_read_by_path_and_replaced_in_place(inside_as, stage):
    code = """
    mount()
    first = target.read_text()
    scratch.put(NAME, b"again")
    report([first, target.read_text(), [path.name for path in scratch.path.iterdir()]])
    """
    first, again, names = inside_as(HERE + textwrap.dedent(code), stage)
    assert (first, again) == ("first", "again")
    assert sorted(names) == ["adapter", "base"]


WRITES = """
mount()
new = scratch.path / "new"
report({
    "write": attempt(lambda: os.close(os.open(target, os.O_WRONLY))),
    "truncate": attempt(lambda: os.truncate(target, 0)),
    "create": attempt(lambda: os.close(os.open(new, os.O_WRONLY | os.O_CREAT))),
    "mkdir": attempt(new.mkdir),
    "rename": attempt(lambda: target.rename(target.with_name("other"))),
    "unlink": attempt(target.unlink),
})
"""


def test_no_other_way_to_write_is_left(inside):
    assert set(inside(HERE + WRITES, "AB").values()) <= {EACCES, EPERM}
    # Stage A refuses all of it alone.
    assert set(inside(HERE + WRITES, "A").values()) <= {EACCES, EPERM}


def test_without_the_lock_down_it_is_a_folder_like_any_other(inside):
    found = inside(HERE + WRITES, "none")
    assert found == {**dict.fromkeys(found, 0), "mkdir": 17, "unlink": ENOENT}


def test_a_file_keeps_the_size_that_it_was_first_given(inside):
    code = """
    mount()
    def refused(name, data):
        try:
            scratch.put(name, data)
        except ValueError:
            return True
        return False
    report([refused(NAME, b"longer than before"), refused("base/config", b"late"), \
target.read_text()])
    """
    assert inside(HERE + textwrap.dedent(code), "AB") == [True, True, "first"]


def test_it_is_closed_to_the_evaluator(inside):
    """The evaluator has neither a mapping nor a descriptor of it, nor the right to open it."""
    code = """
    from strongroom.enclave.evaluator.process import EvaluatorProcess
    from strongroom.trainer.rollouts.evaluators import Job
    mount()
    process = EvaluatorProcess.start(locked=STAGE != "none")
    source = '''
    import os
    PATH = %r
    try:
        readable = open(PATH).read() == "first"
    except OSError:
        readable = False
    open_fds = 0
    for fd in range(3, 64):
        try:
            open_fds += os.fstat(fd).st_size == 5
        except OSError:
            pass
    def evaluate(messages, ground_truth, **row):
        return {"score": readable + 2.0 * open_fds}
    ''' % str(target)
    import textwrap
    process.load(textwrap.dedent(source).encode())
    job = Job(messages=[{"role": "user", "content": "x"}], extra={})
    report(process.score([job])[0].score)
    """
    assert inside(HERE + textwrap.dedent(code), "A") == 0.0
    assert (
        inside(HERE + textwrap.dedent(code), "none") == 1.0
    )  # it is the lock-down that keeps it out


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to look through /proc/PID/root")
def test_no_other_process_has_it(inside):
    def look(pid: int) -> tuple[list[str], list[str]]:
        theirs = Path(f"/proc/{pid}/root{MOUNT_POINT}")
        return sorted(path.name for path in theirs.iterdir()), sorted(
            path.name for path in MOUNT_POINT.iterdir() if path.name in ("adapter", "base")
        )

    code = """
    mount()
    os.write(FD, b"{}")
    import time; time.sleep(30)
    """
    theirs, ours = inside(HERE + textwrap.dedent(code), "A", look=look)
    assert theirs == ["adapter", "base"]  # root sees into it, as the threat model says
    assert ours == []
