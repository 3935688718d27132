"""Standard streams: any encoding, any reader, any disk; a command ends as its work did."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SAY = r"""
import sys
from strongroom.pipeline.cli.console import err, out, print_json
from strongroom.pipeline.cli.reporting import begin, reporting
begin()
as_json, code = sys.argv[1] == "json", int(sys.argv[2])
with reporting(as_json, failed=5 if len(sys.argv) > 4 else 1):
    for _ in range(int(sys.argv[3])):
        print_json({"a": "\u00e9"}) if as_json else out.say("a \u00b7 \u2192 \u00e9")
    err.say("work done")
    if code:
        raise SystemExit(code)
"""


def say(
    *words: object, shell: str = "{}", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Say a line some times and end with a code; ``shell`` says what its streams are."""
    words = (*words, *("text", 0, 1)[len(words) :])
    command = f'"$PYTHON" -I -c "$SAY" {" ".join(map(str, words))}'
    return subprocess.run(
        ["bash", "-c", shell.format(command)],
        capture_output=True,
        env={"PYTHON": sys.executable, "SAY": SAY, "PATH": os.defpath, **environment},
    )


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"LC_ALL": "C.UTF-8"}, "a · → é\n".encode()),
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, b"a - -> \\xe9\n"),
    ],
)
def test_what_an_encoding_lacks_is_spelled_out(environment: dict[str, str], said: bytes) -> None:
    command = '"$PYTHON" -c "$SAY" text 0 1'  # which reads its environment
    done = subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        env={"PYTHON": sys.executable, "SAY": SAY, "PATH": os.defpath, **environment},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, said, b"work done\n")


@pytest.mark.parametrize(
    ("encoding", "said"), [("ascii", b"a - -> \\xe9\n"), ("latin-1", b"a \xb7 -> \xe9\n")]
)
def test_an_encoding_that_is_asked_for(encoding: str, said: bytes) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SAY, "text", "0", "1"],
        capture_output=True,
        env={"PYTHONIOENCODING": encoding},
    )
    assert (done.returncode, done.stdout) == (0, said)
    assert subprocess.run(
        [sys.executable, "-c", SAY, "json", "0", "1"],
        capture_output=True,
        env={"PYTHONIOENCODING": encoding},
    ).stdout == b'{"a":"\\u00e9"}\n'  # fmt: skip


@pytest.mark.parametrize("code", [0, 3])
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_reader_that_leaves_is_done_without(form: str, code: int) -> None:
    done = say(form, code, 5000, shell="({}; echo $? >&2) | head -n 1")
    assert done.stdout.count(b"\n") == 1
    assert done.stderr.decode().split("\n") == ["work done", str(code), ""]


@pytest.mark.parametrize("code", [0, 3])
@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("lines", [1, 5000])
def test_a_full_disk_is_told_once_the_work_is_done(form: str, code: int, lines: int) -> None:
    done = say(form, code, lines, shell="{} >/dev/full")
    said = done.stderr.decode()
    assert said.startswith("work done\nstandard output: SR-PROC-006")
    assert "No space left on device" in said
    assert said.count("SR-PROC-006") == 1
    assert done.returncode == (code or 1)


@pytest.mark.parametrize("words", ["--help", "--version", "validate --help", "stack"])
def test_help_that_cannot_be_written_is_told(words: str) -> None:
    command = f'"$PYTHON" -I -m strongroom {words} >/dev/full'
    environment = {"PYTHON": sys.executable, "PATH": os.defpath}
    done = subprocess.run(["bash", "-c", command], capture_output=True, env=environment)
    assert done.returncode == (2 if words == "stack" else 1)
    assert b"SR-PROC-006" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_full_disk_is_no_verdict() -> None:
    assert say("text", 0, 1, "verify", shell="{} >/dev/full").returncode == 5


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "2>/dev/full"])
@pytest.mark.parametrize("code", [0, 3])
def test_closed_streams_are_not_missed(closed: str, code: int) -> None:
    done = say("text", code, 2, shell=f"{{}} {closed}")
    assert done.returncode == code
    assert b"Traceback" not in done.stderr + done.stdout


def test_no_file_takes_the_place_of_a_closed_stream(tmp_path: Path) -> None:
    program = SAY.replace(
        "with reporting", f"open({str(tmp_path / 'kept')!r}, 'w')\nwith reporting"
    )
    command = '"$PYTHON" -I -c "$SAY" text 0 1 >&- 2>&-'
    environment = {"PYTHON": sys.executable, "SAY": program, "PATH": os.defpath}
    assert subprocess.run(["bash", "-c", command], env=environment).returncode == 0
    assert (tmp_path / "kept").read_bytes() == b""


def test_what_libraries_log_and_threads_fail_at_is_said_as_all_else() -> None:
    program = """
import logging, threading, warnings
from strongroom.pipeline.cli.reporting import begin
begin()
logging.getLogger("some.library").error("got %s", "\\x1b]0;owned\\x07")
warnings.warn("\\x1b]0;owned\\x07")
class Hostile(Exception): pass
def fail(): raise Hostile("\\x1b]0;owned\\x07")
thread = threading.Thread(target=fail); thread.start(); thread.join()
class Dying:
    def __del__(self): fail()
Dying()
"""
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True)
    assert "\x1b" not in done.stderr
    assert r"some.library: got \x1b]0;owned\x07" in done.stderr
    assert done.stderr.count("SR-PROC-002") == 2
    assert "Traceback" not in done.stderr
