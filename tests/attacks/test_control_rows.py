"""A log that is signed and verifies, and tells of a run that was not as it should be.

Whoever holds the log's key can sign any story. Each attack changes one thing in a true one and
signs it anew; the log then verifies, and the report's row for it has to turn red all the same. The
control of each: the unchanged story passes that row, and the changed one every check of the log.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from strongroom.audit.events import types
from strongroom.audit.events.entries import Event, from_entry, to_entry
from strongroom.audit.log.copy import LogCopy
from strongroom.audit.log.note import LogKey
from strongroom.audit.log.sequencer import Sequencer
from strongroom.audit.log.store import DirectoryStore
from strongroom.audit.log.verify import Check, check_log
from strongroom.audit.report.controls.table import CONTROLS
from strongroom.audit.report.gather import from_log
from strongroom.audit.report.model import ReportData
from support import invented
from support.altered import CHANGES, EXPORT, OPENED, added

ORIGIN = "acme-audit/strongroom"
PRIVATE = Ed25519PrivateKey.generate()
KEY = LogKey(ORIGIN, PRIVATE.public_key().public_bytes_raw())


def report(folder: Path, story: list[Event]) -> ReportData:
    """The report on a log that really is signed over this story."""
    store, planned = DirectoryStore(folder), invented.planned()
    log = Sequencer(store, LogCopy(), KEY, PRIVATE.sign)
    log.append([to_entry(event) for event in story])
    found, view = check_log(store, KEY.vkey(), ORIGIN)
    assert view is not None
    checks = [
        Check(f"Audit log: {check.name}", check.ok, check.object, check.detail) for check in found
    ]
    return from_log(
        [from_entry(entry) for entry in view.entries],
        invented.RUN,
        [*checks, *invented.object_checks(planned)],
        planned,
        log=view,
        walls=invented.walls,
        deletions=(),
    )


def verdicts(found: ReportData) -> dict[str, str]:
    return {control.id: control.verdict for control in found.controls}


TRUE = dict.fromkeys((rule.id for rule in CONTROLS), "pass") | {
    **dict.fromkeys(("rollback", "memory", "replay", "hardware"), "not tested"),
    **{"retention": "customer", "people": "customer", "roles": "by design"},
}
"""What the rows say of the run as it was: nobody kept an earlier checkpoint, planted secrets or did
it again."""


@pytest.mark.parametrize("attack", CHANGES)
def test_a_signed_story_that_is_wrong_turns_its_row_red(attack: str, tmp_path: Path) -> None:
    row, change = CHANGES[attack]
    true = report(tmp_path / "true", invented.run_events())
    assert true.verified
    assert verdicts(true) == TRUE
    found = report(tmp_path / "false", change(invented.run_events()))
    assert found.verified, "the log is signed, and every check of it holds"
    assert verdicts(found)["log"] == "pass"
    assert verdicts(found)[row] == "fail"
    (control,) = (each for each in found.controls if each.id == row)
    assert any(finding.holds is False for finding in control.findings)


def test_every_row_that_rests_on_events_was_attacked() -> None:
    """What is left follows from checks, from the plan's facts, or from a listing of the buckets."""
    attacked = {row for row, _ in CHANGES.values()}
    can_fail = {rule.id for rule in CONTROLS if "fail" in rule.verdicts}
    assert can_fail - attacked == {"log", "rollback", "deletions", "retention"}


@pytest.mark.parametrize("data", [EXPORT, OPENED], ids=["an export", "an opening of rollouts"])
def test_honest_looks_after_the_run_leave_every_row_as_it_was(
    data: types.EventData, tmp_path: Path
) -> None:
    assert verdicts(report(tmp_path, added("releaser", data)(invented.run_events()))) == TRUE
