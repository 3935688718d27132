"""Who drives a run on this machine: one at a time, whoever dies, and how it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from strongroom.errors import ErrorList
from strongroom.pipeline.background import run_locks, supervisor
from strongroom.pipeline.background.errors import RunBusy
from strongroom.pipeline.broker.errors import BrokerLost
from strongroom.pipeline.planning.errors import FactMissing, RunExists
from strongroom.pipeline.releaser.errors import ReleaserUnreachable
from strongroom.pipeline.run.errors import RunFinished

RUN = "feedback-1"
SIT = """
import sys, time
from pathlib import Path
from strongroom.pipeline.background import run_locks
with run_locks.{what}:
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def held_elsewhere(state: Path, what: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a lock of the run."""
    code = SIT.format(what=what.format(state=f"Path({str(state)!r}), {RUN!r}"))
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        yield child
    finally:
        child.kill()
        child.communicate()


def test_nobody_drives_a_run_that_nobody_started(tmp_path):
    assert not run_locks.held(tmp_path, RUN)
    assert run_locks.ending(tmp_path, RUN) is None
    run_locks.end_holders(tmp_path, RUN)


def test_a_lock_is_held_once(tmp_path):
    with held_elsewhere(tmp_path, "hold({state}, 'controller')") as child:
        found = run_locks.holder(tmp_path, RUN, "controller")
        assert found is not None
        assert found.pid == child.pid
        with pytest.raises(RunBusy), run_locks.controlling(tmp_path, RUN):
            pass
        assert run_locks.holder(tmp_path, RUN, "controller") == found
        with run_locks.hold(tmp_path, RUN, "supervisor"):  # the control: another role is free
            assert run_locks.holder(tmp_path, RUN, "supervisor") is not None


def test_a_killed_process_leaves_its_lock(tmp_path):
    with held_elsewhere(tmp_path, "hold({state}, 'controller')") as child:
        child.kill()
        child.wait()
        assert not run_locks.held(tmp_path, RUN)
        with run_locks.controlling(tmp_path, RUN):
            pass


def test_whoever_drives_is_ended_in_order(tmp_path):
    with held_elsewhere(tmp_path, "controlling({state})") as child:
        run_locks.end_holders(tmp_path, RUN)
        assert not run_locks.held(tmp_path, RUN)
        child.wait(5)
    assert run_locks.ending(tmp_path, RUN) is None, "an interruption is no ending"


def test_sigterm_interrupts_and_the_handler_is_put_back(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), run_locks.controlling(tmp_path, RUN):
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before
    assert run_locks.ending(tmp_path, RUN) is None


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BrokerLost(place="broker"), 1),
        (FactMissing(place="s3://b/x"), 2),
        (ErrorList([FactMissing(place="a"), ReleaserUnreachable(place="b")]), 4),
    ],
)
def test_an_ending_is_kept_with_its_errors(error, code, tmp_path):
    with pytest.raises(type(error)), run_locks.controlling(tmp_path, RUN):
        raise error
    found = run_locks.ending(tmp_path, RUN)
    assert found is not None
    assert found.exit_code == code
    assert str(found.error()) == str(error)


def test_of_an_unforeseen_error_only_class_and_place_are_kept(tmp_path):
    with pytest.raises(ValueError), run_locks.controlling(tmp_path, RUN):
        raise ValueError("row 17 says hello")
    text = run_locks.file_of(tmp_path, RUN, "ended").read_text()
    assert "ValueError" in text
    assert "row 17" not in text


def test_a_good_ending_is_kept_and_the_next_start_forgets_it(tmp_path):
    with run_locks.controlling(tmp_path, RUN):
        pass
    assert run_locks.ending(tmp_path, RUN) == run_locks.Ending(0)
    with run_locks.controlling(tmp_path, RUN):
        assert run_locks.ending(tmp_path, RUN) is None


@pytest.mark.parametrize("refusal", [RunExists, RunFinished])
def test_a_refused_command_changes_no_ending(refusal, tmp_path):
    with run_locks.controlling(tmp_path, RUN):
        pass
    with pytest.raises(refusal), run_locks.controlling(tmp_path, RUN):
        raise refusal(place=RUN)
    assert run_locks.ending(tmp_path, RUN) == run_locks.Ending(0)


def test_a_refused_first_command_is_an_ending(tmp_path):
    """Else a supervisor would take it for a killed controller, and try again."""
    with pytest.raises(RunExists), run_locks.controlling(tmp_path, RUN):
        raise RunExists(place=RUN)
    found = run_locks.ending(tmp_path, RUN)
    assert found is not None
    assert not supervisor.worth_another_try(found)


def test_notes_are_private_and_hold_no_more_than_a_process(tmp_path):
    with run_locks.controlling(tmp_path / "state", RUN):
        path = run_locks.file_of(tmp_path / "state", RUN, "controller")
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert set(msgspec.json.decode(path.read_bytes())) == {
            "pid",
            "start_ticks",
            "boot_id",
        }


def test_a_damaged_note_is_nobody(tmp_path):
    with run_locks.controlling(tmp_path, RUN):
        run_locks.file_of(tmp_path, RUN, "controller").write_bytes(b"{")
        assert run_locks.holder(tmp_path, RUN, "controller") is None
