"""Every field of every event of a run, changed in turn: a row of the report turns red, or it is
said here what holds the field instead.

It is the class behind ``test_control_rows``: a field that a new event brings is held against
something, or somebody has to write down why not.
"""

from __future__ import annotations

import pytest

from strongroom.audit.log.verify import Check, LogView
from strongroom.audit.report.gather import from_log
from support import invented
from support.altered import EXPORT, OPENED, added, replayed
from support.every_field import altered

STORY = replayed("same")(
    added("releaser", OPENED)(added("releaser", EXPORT)(invented.run_events()))
)
BUCKET = "verify holds it against an object in the bucket"
ONLY_HERE = "nothing else has it: it is as true as whoever signed the log"
ELSEWHERE = {
    "lease.issued lease": "a name that nothing refers to",
    "enclave.started signing_key": BUCKET,
    "key.denied role": ONLY_HERE,
    "key.denied evidence": ONLY_HERE,
    "key.denied reasons": ONLY_HERE,
    "training.step values": ONLY_HERE,
    "checkpoint.written objects.sha256": BUCKET,
    "checkpoint.written objects.size_bytes": BUCKET,
    "checkpoint.written adapter": BUCKET,
    "checkpoint.written manifest": BUCKET,
    "training.finished reason": BUCKET,
    "evaluation.finished values": BUCKET,
    "run.completed seconds": ONLY_HERE,
    "adapter.exported form": ONLY_HERE,
    "run.replayed original": "it is a row of the run that it names",
}
"""Fields that no row holds, and what does."""
LESS = {"lease.issued read.length", "lease.issued create.length"}
"""A lease that allows less than the plan has for it is no wrong."""


def red(story: list[invented.Event]) -> set[str]:
    planned = invented.planned()
    report = from_log(
        story,
        invented.RUN,
        [Check("Audit log: checkpoint", True, "checkpoint"), *invented.object_checks(planned)],
        planned,
        log=LogView("acme-audit/strongroom", "vkey", len(story), b"root", (), ()),
        walls=invented.walls,
        deletions=(),
    )
    return {control.id for control in report.controls_failed}


FIELDS = dict(altered(STORY))


def test_the_story_itself_has_no_red_row() -> None:
    assert red(STORY) == set()


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_that_is_changed_turns_a_row_red(field: str) -> None:
    held = field not in ELSEWHERE and field not in LESS
    assert bool(red(FIELDS[field])) == held


def test_every_field_that_is_held_elsewhere_is_one() -> None:
    assert FIELDS.keys() >= ELSEWHERE.keys()
