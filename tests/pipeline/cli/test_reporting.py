"""How a command ends: documents and exit codes, never a traceback or a text of an exception."""

from __future__ import annotations

import io
import json
from typing import Any

import msgspec
import pytest

from strongroom.crypto.errors import SegmentRefused
from strongroom.enclave.channel.errors import RecordRejected, RecordsRejected
from strongroom.enclave.errors import NonceMismatch
from strongroom.errors import ErrorDocument, ErrorList, Exit, StrongroomError
from strongroom.errors.listing import errors_of, exit_code
from strongroom.errors.registry import from_documents
from strongroom.pipeline.broker.errors import BrokerLost, PurposeRefused
from strongroom.pipeline.cli import reporting
from strongroom.pipeline.cli.console import Output, print_json
from strongroom.pipeline.planning.errors import FactMissing, RunUnknown

SECRET = "row 17 says hello"


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What goes to standard error."""
    stream = io.StringIO()
    monkeypatch.setattr(reporting, "err", Output(lambda: stream))
    return stream


def report(error: BaseException, *, as_json: bool = False) -> int:
    with pytest.raises(SystemExit) as caught, reporting.reporting(as_json):
        raise error
    code = caught.value.code
    assert isinstance(code, int)
    return code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BrokerLost(), Exit.FAILED),
        (RunUnknown(), Exit.BAD_INPUT),
        (PurposeRefused(), Exit.DENIED),
        (NonceMismatch(), Exit.KEY_REFUSED),
        (SegmentRefused(), Exit.INTEGRITY),
        (ErrorList([RunUnknown(), SegmentRefused(), BrokerLost()]), Exit.INTEGRITY),
        (ErrorList([RunUnknown(), PurposeRefused()]), Exit.DENIED),
        (ValueError(SECRET), Exit.FAILED),
        (KeyboardInterrupt(), Exit.FAILED),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_exit_codes(error, code, as_json, printed, capsys):
    assert report(error, as_json=as_json) == code


def test_nothing_happens_without_an_error(capsys):
    with reporting.reporting(True):
        print_json({"run": "r", "n": 1})
    assert capsys.readouterr().out == '{"run":"r","n":1}\n'


class Panic(BaseException):
    """As Rust libraries raise, which is no ``Exception``."""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ZeroDivisionError(), Exit.INTEGRITY),
        (Panic(), Exit.INTEGRITY),
        (BrokerLost(), Exit.INTEGRITY),
        (KeyboardInterrupt(), Exit.INTEGRITY),
        (RunUnknown(), Exit.BAD_INPUT),
    ],
)
def test_a_command_whose_1_says_something_fails_with_another_code(error, code, printed):
    with pytest.raises(SystemExit) as caught, reporting.reporting(False, failed=Exit.INTEGRITY):
        raise error
    assert caught.value.code == code


def test_every_end_of_a_json_command_is_a_document(capsys):
    for error in (KeyboardInterrupt(), Panic(), RunUnknown()):
        report(error, as_json=True)
        captured = capsys.readouterr()
        assert len(json.loads(captured.out)["errors"]) == 1
        assert captured.err == ""


def test_a_chosen_exit_code_passes():
    with pytest.raises(SystemExit) as caught, reporting.reporting(True):
        raise SystemExit(3)
    assert caught.value.code == 3


def test_errors_as_json_are_one_document(capsys):
    errors = [
        RecordRejected(place="s3://b/shard-00000.sealed:7", actual="not_json"),
        RecordsRejected(actual="1"),
    ]
    report(ErrorList(errors), as_json=True)
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.count("\n") == 1
    found = json.loads(captured.out)["errors"]
    assert [item["code"] for item in found] == ["SR-DATA-004", "SR-DATA-001"]
    assert str(from_documents(msgspec.convert(found, list[ErrorDocument]))) == str(
        ErrorList(errors)
    )


def test_errors_for_people_say_everything(printed, capsys):
    report(FactMissing(place="s3://b/x", expected="a manifest", actual="no object"))
    text = printed.getvalue()
    assert "s3://b/x: SR-RUN-205 something that the plan needs is missing" in text
    assert "expected a manifest" in text
    assert "found    no object" in text
    assert "fix      Check the URI" in text
    assert capsys.readouterr().out == ""


def test_several_errors_are_counted(printed):
    report(ErrorList([RunUnknown(place="a"), RunUnknown(place="b")]))
    assert "2 errors" in printed.getvalue()


def test_a_single_error_is_not_counted(printed):
    report(ErrorList([RunUnknown(place="a")]))
    assert "errors" not in printed.getvalue()


def test_a_long_place_stays_in_one_piece(printed):
    """So that it can be copied, and found by ``grep``."""
    place = f"s3://{'bucket' * 12}/datasets/feedback/train/shard-00000.sealed:17"
    report(RecordRejected(place=place, actual="not_json"))
    assert place in printed.getvalue()
    digest = "sha256:" + "a" * 64
    report(FactMissing(place="x", expected=f"{digest} or {digest}"))
    assert f"{digest} or {digest}" in printed.getvalue()


def test_what_looks_like_markup_is_text(printed):
    report(FactMissing(place="folder[bold]/x", expected="[/red]", actual="[link=x]y"))
    for text in ("folder[bold]/x", "[/red]", "[link=x]y"):
        assert text in printed.getvalue()


@pytest.mark.parametrize("as_json", [False, True])
def test_an_unforeseen_error_shows_class_and_place_only(as_json, printed, capsys):
    def inner() -> None:
        raise ZeroDivisionError(SECRET)

    with pytest.raises(SystemExit) as caught, reporting.reporting(as_json):
        inner()
    captured = capsys.readouterr()
    text = captured.out + captured.err + printed.getvalue()
    assert "SR-PROC-002" in text
    assert "ZeroDivisionError" in text
    assert "test_reporting.py:" in text
    assert "Traceback" not in text
    assert SECRET not in text
    assert caught.value.__suppress_context__


def test_an_interrupt_says_how_to_go_on(printed):
    report(KeyboardInterrupt())
    assert "strongroom resume" in printed.getvalue()
    assert "Traceback" not in printed.getvalue()


@pytest.mark.parametrize("error", [RunUnknown(), ErrorList([RunUnknown(), PurposeRefused()])])
def test_lists_and_single_errors_are_read_alike(error: Any):
    found = errors_of(error)
    assert all(isinstance(item, StrongroomError) for item in found)
    assert exit_code(error) == max(item.exit_code for item in found)
