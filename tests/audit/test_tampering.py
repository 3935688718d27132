"""What is done to a stored log, and who notices: every row of ``docs/tamper-matrix.md``."""

from __future__ import annotations

from pathlib import Path

import pytest

from strongroom.errors import Exit
from support import tampering
from support.tampering import ADMIN, KEY, OPEN, READERS, THIEF

PAGE = Path(__file__).parents[2] / "docs/tamper-matrix.md"
ROWS = tampering.rows()


@pytest.fixture(scope="module")
def outcomes():
    return {id(row): tampering.tried(row) for row in ROWS}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.what}, by {row.by.name}")
def test_whoever_can_notice_does(row, outcomes):
    found = outcomes[id(row)]
    codes = {reader: verdict.exit_code for reader, verdict in found.verdicts.items()}
    wanted = {r: Exit.INTEGRITY if r in row.noticed_by else Exit.OK for r in READERS}
    assert codes == wanted
    assert found.releaser != "goes on, and it stays", "the releaser puts right what it can"


def test_a_log_that_nobody_touched_is_noticed_by_nobody(outcomes):
    """The control: what is noticed is what was done."""
    untouched = tampering.Row("nothing", THIEF, lambda scene: None, frozenset())
    found = tampering.tried(untouched)
    assert {(v.exit_code, v.said) for v in found.verdicts.values()} == {(Exit.OK, ())}
    assert found.releaser == "goes on"


def test_who_does_not_notice_is_told_what_would(outcomes):
    for row in ROWS:
        assert bool(row.told_by) == (row.noticed_by != tampering.EVERYBODY), row.what
        said = outcomes[id(row)].verdicts[tampering.FIRST].said
        if row.told_by == tampering.HARMLESS and not row.by.removes:
            assert said, f"{row.what}: nothing is noted"


def test_each_does_what_they_can_and_no_more():
    for by, allowed in ((THIEF, ""), (ADMIN, "delete"), (OPEN, "delete remove"), (KEY, "sign")):
        for name in ("delete", "remove", "sign"):
            scene = tampering.Scene(by)
            argument = tampering.world().entries if name == "sign" else "checkpoint"
            if name in allowed.split():
                getattr(scene, name)(argument)
            else:
                with pytest.raises(tampering.NotAllowed):
                    getattr(scene, name)(argument)


def test_the_page_says_what_is_found(outcomes):
    assert len(ROWS) >= 30
    text = tampering.page([outcomes[id(row)] for row in ROWS])
    assert PAGE.read_text() == text, "make tamper-matrix"
