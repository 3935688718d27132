"""What the provider makes of the command's errors."""

from __future__ import annotations

from strongroom_terraform.command import CommandFailed, report
from tf.utils import Diagnostics

HOSTILE = "\x1b]0;owned\x07\x9b2J\u202e\u2028"


def test_errors_drive_no_terminal() -> None:
    error = dict.fromkeys(("place", "expected", "actual", "remedy"), HOSTILE)
    diagnostics = Diagnostics()
    report(diagnostics, CommandFailed([{"code": "SR-X", "title": "x", **error}], 2), lambda _: None)
    [said] = diagnostics.diagnostics
    assert said.detail.count(r"\x1b]0;owned\x07\x9b2J\u202e\u2028") == 4
    assert all(char == "\n" or char.isprintable() for char in said.detail)
