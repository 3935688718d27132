"""Text from outside that wants to drive a terminal, to pass for other text, or holds a password.

Each attack is a real command on a real terminal (a pty), of which every byte is looked at; with the
defence off the same bytes get through.
"""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from ruamel.yaml import YAML

from strongroom.crypto.digests import sha256
from strongroom.enclave.plan.document import Plan
from strongroom.pipeline import trial
from strongroom.pipeline.cli import console
from strongroom.pipeline.cli.console import Output
from strongroom.pipeline.cli.runs.plan_view import print_plan
from strongroom.pipeline.cli.runs.trial_view import show
from strongroom.pipeline.planning.plan import build_plan
from strongroom.pipeline.runfile.load import load
from strongroom.policies.gate import Decision, Denial
from support import sample
from support.forks import Forks
from support.screens import Commands, Screen, on_terminal, plain

HOSTILE = "\x1b]0;owned\x07\x9b2J\r\x7f\u202e\u2066\u200b\u2028[/x][link=https://evil.example]y"
PASSWORD = "hunter2-swordfish"
URL = f"https://user:{PASSWORD}@bucket.example/x?X-Amz-Signature={PASSWORD}#{PASSWORD}"
COMMAND = "from strongroom.pipeline.cli.main import main\nmain()"
MARKS = {"\x1b]": r"\x1b]0;owned\x07", "\x9b": r"\x9b2J", "\u202e": r"\u202e", "\u200b": r"\u200b"}
UNESCAPED = """
from strongroom.pipeline.cli import console, progress
console.visible = progress.visible = str
"""
"""The defence against control characters, turned off."""
UNHIDDEN = """
import strongroom.errors, strongroom.errors.visible
from strongroom.pipeline.cli import console
strongroom.errors.without_credentials = strongroom.errors.visible.without_credentials = str
console.without_credentials = str
from strongroom.pipeline.runfile import yaml_reader
yaml_reader.secrets_in = lambda document: []
"""
"""The defence of passwords, turned off."""
RUN = f"""
from strongroom.pipeline.background import registry, submit
from strongroom.pipeline.broker import reading
from strongroom.pipeline.inspection import denials, log, report, status, verify
from strongroom.audit.log.verify import Check
from types import SimpleNamespace as Found
H = {HOSTILE!r}
registry.recall = lambda *_: None
registry.known_runs = lambda _state: [H]
log.Logs.key = lambda *_: H
log.Logs.copy = reading.ReadAccess = lambda *_: None
checks = (Check(H, False, H, H), Check(H, True, H, H, noted=True))
verify.verify = lambda *_: Found(checks=checks)
denials.denials = lambda *_: [Found(time=H, event=H, reason=H)]
counts = {{"checks_made": 1, "checks_failed": 1, "verified": False, "intact": False}}
made = Found(controls=[], controls_failed=[Found(question=H)], **counts)
report.write_report = lambda *_: (H, made)
row = Found(run=H, state=H, step=1, steps=2, reward_mean=None, alarms=[H], code=H, reason=H)
submit.run_status = lambda *_: row
"""
"""What stores and logs may hold, in place of what they do."""


@pytest.fixture(scope="module")
def strongroom() -> Iterator[Commands]:
    """The command on a terminal."""
    with Forks("support.programs.on_terminal") as forks:
        yield Commands(forks)


def assert_inert(shown: bytes) -> str:
    """Nothing but lines of what can be seen, and our own colours; returns them without those."""
    text = plain(shown.decode()).replace("\r\n", "\n")
    found = {char for char in text if char != "\n" and not char.isprintable()}
    assert not found, (found, text)
    assert b"\x1b]" not in shown
    assert "Traceback" not in text
    return text


def raw(shown: bytes) -> set[str]:
    """Which of the attacker's own characters are there."""
    return {mark for mark in MARKS if mark.encode() in shown}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Run files and owner files of an attacker, in YAML's and JSON's escapes."""
    hostile, url = json.dumps(HOSTILE), json.dumps(URL)
    example = (Path(__file__).parents[2] / "examples/feedback/run.yaml").read_text()
    for name, text in {
        "key": f"{hostile}: 1\n",
        "nested-key": f"spec: {{data: {{{hostile}: 1}}}}\n",
        "twice": f"{hostile}: 1\n{hostile}: 2\n",
        "expression": f'{{"${{{hostile[1:-1]}}}": 1}}\n',
        "value": f"metadata: {{name: {hostile}}}\n",
        "choice": f"kind: {hostile}\n",
        "variable": f'metadata: {{name: "${{env.{hostile[1:-1]}}}"}}\n',
        "url": example.replace("assurance:", f"releaser: {url}\n    assurance:"),
        "url-key": f"{url}: 1\n",
        "url-name": f"metadata: {{name: {url}}}\n",
        "url-long": f"metadata: {{name: {json.dumps(URL.replace('user', 'u' * 40))}}}\n",
    }.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    (tmp_path / "settings.json").write_text(json.dumps({HOSTILE: HOSTILE}))
    return tmp_path


def test_a_terminal_gets_what_is_printed() -> None:
    """The control of all: bytes of a plain ``print`` do reach it."""
    program = [sys.executable, "-I", "-c", f"print({HOSTILE!r})"]
    _code, shown = on_terminal(program)
    assert raw(shown) == set(MARKS)


@pytest.mark.parametrize(
    "name", ["key", "nested-key", "twice", "expression", "value", "choice", "variable"]
)
def test_run_files(name: str, files: Path, strongroom: Commands) -> None:
    file = str(files / f"{name}.yaml")
    for columns in (80, 200):
        code, shown = strongroom("validate", file, columns=columns)
        assert code == 2
        assert r"\x1b]0;owned\x07" in assert_inert(shown)
    if name in ("key", "nested-key"):  # others are quoted by `repr`, too
        assert raw(strongroom("validate", file, before=UNESCAPED)[1])


@pytest.mark.parametrize(
    "arguments",
    [
        [HOSTILE],
        ["stack", HOSTILE],
        ["validate", HOSTILE],
        ["validate", f"--{HOSTILE}", "x"],
        ["validate", "x", HOSTILE],
        ["validate", "x", "--state", HOSTILE],
        ["validate", "x", "--param", HOSTILE],
        ["evaluator", "test", "x", "--rows", HOSTILE],
        ["launch", "x", "--print", HOSTILE],
        ["wait", HOSTILE],
        ["wait", "x", "--timeout", HOSTILE],
        ["status", HOSTILE],
        ["verify", HOSTILE],
        ["resume", HOSTILE],
        ["cancel", HOSTILE],
        ["explain", "denial", HOSTILE],
        ["dataset", HOSTILE],
        ["dataset", "s3://a/b/", "--owner", HOSTILE],
        ["seal", HOSTILE, HOSTILE, "--key", HOSTILE],
        ["policy", "show", HOSTILE],
        ["policy", "write", "x", "--settings", HOSTILE],
        ["releaser", "serve", HOSTILE],
        ["quickstart", "--example", HOSTILE],
    ],
    ids=lambda words: " ".join(words).replace(HOSTILE, "HOSTILE"),
)
def test_command_lines(arguments: list[str], tmp_path: Path, strongroom: Commands) -> None:
    state = {} if "--state" in arguments else {"STRONGROOM_STATE": str(tmp_path)}
    code, shown = strongroom(*arguments, **state)
    assert code
    assert_inert(shown)
    again, said = strongroom(*arguments, "--json", **state)
    assert (again, said.count(b"\n")) == (code, 1)
    assert json.loads(said)["errors"]
    assert said.decode("ascii").rstrip("\r\n").isprintable()


def test_the_defence_of_command_lines_is_this_one(tmp_path: Path, strongroom: Commands) -> None:
    state = {"STRONGROOM_STATE": str(tmp_path)}
    assert r"\u202e" in assert_inert(strongroom("validate", HOSTILE, **state)[1])
    assert raw(strongroom("validate", HOSTILE, before=UNESCAPED, **state)[1]) == set(MARKS)


def test_names_that_are_no_text(tmp_path: Path, strongroom: Commands) -> None:
    code, shown = strongroom("validate", "\udcff\x1b[2J", STRONGROOM_STATE=str(tmp_path))
    assert code == 2
    assert r"\udcff\x1b[2J" in assert_inert(shown)


def test_environments_and_help_pages(tmp_path: Path, strongroom: Commands) -> None:
    for name in ("HOME", "STRONGROOM_STATE", "USER", "COLUMNS", "STRONGROOM_OWNER"):
        for arguments in (["--help"], ["validate", "--help"], ["seal", "--help"], ["stack"]):
            assert_inert(strongroom(*arguments, **{name: HOSTILE})[1])
    link = tmp_path / "\x1b]0;owned\x07"
    link.write_text(f"#!{sys.executable} -I\n{COMMAND}\n")
    link.chmod(0o755)
    assert_inert(on_terminal([str(link), "--help"])[1])
    assert_inert(on_terminal([str(link), "nope"])[1])


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["verify", "r"], 5),
        (["explain", "denial", "r"], 0),
        (["report", "r"], 5),
        (["status"], 0),
    ],
)
def test_names_in_stores_and_logs(
    arguments: list[str], code: int, tmp_path: Path, strongroom: Commands
) -> None:
    """Object names, reasons and states: none is markup, none ends the command, all are shown."""
    state = {"STRONGROOM_STATE": str(tmp_path)}
    ended, shown = strongroom(*arguments, before=RUN, **state)
    text = assert_inert(shown)
    assert ended == code
    for sign in (*MARKS.values(), "[/x][link=https://evil.example]y"):
        assert sign in text
    assert raw(strongroom(*arguments, before=RUN + UNESCAPED, **state)[1]) == set(MARKS)


@pytest.fixture
def hostile_plan(tmp_path: Path) -> Plan:
    """A plan whose every name is hostile."""
    example = Path(__file__).parents[2] / "examples/feedback/run.yaml"
    spec = load(example, stack=sample.stack(tmp_path)).spec
    plan = build_plan(spec, sample.facts(), "feedback-1")
    named = replace(plan.data.train, name=HOSTILE, signer=HOSTILE)
    return replace(
        plan,
        run=HOSTILE,
        audit=HOSTILE,
        data=replace(plan.data, train=named, held_out=named),
        model=replace(plan.model, uri=HOSTILE),
        evaluator=replace(plan.evaluator, name=HOSTILE, metrics=(HOSTILE,)),
        keys=replace(plan.keys, data=HOSTILE, outputs=HOSTILE, audit=HOSTILE),
    )


@pytest.mark.parametrize("stream", [Screen, io.StringIO])
def test_plans_and_trials(
    stream: type[io.StringIO], hostile_plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names of datasets, models, evaluators and metrics, and places and details of failed calls."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "400")
    fault = trial.Fault(place=HOSTILE, row=1, sample=1, code="SR-EVAL-003", detail=HOSTILE, line=1)
    values = {f"evaluator_{HOSTILE}": 1.0}
    tested = trial.Tested(HOSTILE, hostile_plan, 1, 1, 0, 1, values, (), (fault,))
    refused = dict.fromkeys(("rule", "control", "path", "expected", "actual", "fix"), HOSTILE)
    denials = (Denial(**refused),)
    decision = Decision(
        allowed=False, denials=denials, passed=(), waived=(), bundle_digest=sha256(b"")
    )

    def shown() -> bytes:
        screen = stream()
        output = Output(lambda: screen)
        print_plan(output, hostile_plan, decision)
        show(tested, output)
        return screen.getvalue().encode()

    text = assert_inert(shown())
    assert text.count(r"\x1b]0;owned\x07") >= 15
    assert text.count("[/x][link=https://evil.example]y") >= 15
    monkeypatch.setattr(console, "visible", str)
    assert raw(shown()) == set(MARKS)


def test_markup_in_the_name_of_an_object_hid_every_failure(
    tmp_path: Path, strongroom: Commands
) -> None:
    """With names taken for markup ``verify`` fails before it has said what is wrong."""
    state = {"STRONGROOM_STATE": str(tmp_path)}
    markup = """
from rich.text import Text
console.text = lambda *parts: Text.from_markup("".join(getattr(p, "text", p) for p in parts))
"""
    code, shown = strongroom("verify", "r", before=RUN + UNESCAPED + markup, **state)
    assert b"NOT VERIFIED" not in shown
    assert code == 5, "a failure inside the verifier is never a verdict"
    code, shown = strongroom("verify", "r", before=RUN, **state)
    assert b"NOT VERIFIED" in shown


@pytest.mark.parametrize("raised", ["ZeroDivisionError()", "BaseException()", "MemoryError()"])
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_defect_of_the_verifier_is_no_verdict(
    raised: str, form: list[str], tmp_path: Path, strongroom: Commands
) -> None:
    defect = f"\ndef fail(*_): raise {raised}\nverify.verify = denials.denials = fail\n"
    state = {"STRONGROOM_STATE": str(tmp_path)}
    code, shown = strongroom("verify", "r", *form, before=RUN + defect, **state)
    assert (code, b"SR-PROC-002" in shown, b"Traceback" in shown) == (5, True, False)
    # The control: elsewhere a defect is exit code 1.
    assert strongroom("explain", "denial", "r", *form, before=RUN + defect, **state)[0] == 1


def test_errors_of_every_kind() -> None:
    program = f"""
from strongroom.errors.registry import all_codes
from strongroom.errors import ErrorList
from strongroom.pipeline.cli.reporting import begin, reporting
begin()
H = {HOSTILE!r}
kinds = [kind for kind in all_codes().values() if not issubclass(kind, ErrorList)]
with reporting(False):
    raise ErrorList([kind(place=H, expected=H, actual=H, remedy=H) for kind in kinds])
"""
    _code, shown = on_terminal([sys.executable, "-I", "-c", program])
    text = assert_inert(shown)
    assert text.count(r"\x1b]0;owned\x07") > 400


def test_progress_and_its_notes() -> None:
    program = f"""
from strongroom.pipeline.cli.console import out
from strongroom.pipeline.cli.progress import Terminal
H = {HOSTILE!r}
with Terminal(out, 2) as watcher:
    watcher.stage(H)
    watcher.fact(H)
    watcher.alarm(H)
    watcher._bars.refresh()
"""
    _code, shown = on_terminal([sys.executable, "-I", "-c", program])
    assert assert_inert(shown).count("[/x][link=https://evil.example]y") >= 3
    off = [sys.executable, "-I", "-c", UNESCAPED + program]
    assert raw(on_terminal(off)[1]) == set(MARKS)


def test_a_job_that_is_written_for_others_is_ascii() -> None:
    program = f"""
from types import SimpleNamespace as Found
from strongroom.pipeline.launch.job import yaml_text
from strongroom.pipeline.launch.kubernetes import config_map
from strongroom.pipeline.cli.console import document
H = {HOSTILE!r}
source = "# " + H + chr(233) + chr(10)
files = {{"run.yaml": H, "evaluator.py": source, "readable.py": "a" + chr(10)}}
document(yaml_text(config_map(Found(run=H, labels={{H: H}}, files=files))))
"""
    _code, shown = on_terminal([sys.executable, "-I", "-c", program])
    text = assert_inert(shown)
    assert text.isascii()
    found = YAML(typ="safe", pure=True).load(text)["data"]
    assert found["evaluator.py"] == f"# {HOSTILE}é\n"
    assert "readable.py: |\n    a\n" in text


# ---- passwords -----------------------------------------------------------------------------------

ADDRESSED = [
    ["validate", "{files}/url.yaml"],
    ["validate", "{files}/url-key.yaml"],
    ["validate", "{files}/url-name.yaml"],
    ["validate", "{files}/url-long.yaml"],
    ["dataset", URL],
    ["seal", "x", URL, "--key", URL],
    ["model", "upload", "x", URL],
    ["wait", URL],
    ["evaluator", "test", "x", "--rows", URL],
    ["launch", "x", "--print", URL],
    ["status", f"user:{PASSWORD}@bucket.example"],
]


@pytest.mark.parametrize("arguments", ADDRESSED, ids=lambda words: " ".join(words[:3])[-40:])
def test_no_password_of_an_address_is_shown(
    arguments: list[str], files: Path, strongroom: Commands
) -> None:
    words = [word.replace("{files}", str(files)) for word in arguments]
    state = {"STRONGROOM_STATE": str(files)}
    for form in ([], ["--json"]):
        code, shown = strongroom(*words, *form, **state)
        assert code == 2
        assert PASSWORD.encode() not in shown
        assert not re.search(rb"hunter2|swordfish", shown)


@pytest.mark.parametrize(
    "arguments", [each for each in ADDRESSED if "key" in each[1] or each[0] == "launch"]
)
def test_the_defence_of_passwords_is_this_one(
    arguments: list[str], files: Path, strongroom: Commands
) -> None:
    words = [word.replace("{files}", str(files)) for word in arguments]
    _code, shown = strongroom(*words, before=UNHIDDEN, STRONGROOM_STATE=str(files))
    assert PASSWORD.encode() in shown.replace(b"\r\n", b"")
