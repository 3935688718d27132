"""The table of controls: each row can come to each verdict that it says it can, and to no other."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from dataclasses import replace

import msgspec
import pytest

from strongroom.audit.events import types
from strongroom.audit.events.entries import Event, new_event
from strongroom.audit.log.verify import Check, LogView
from strongroom.audit.report.controls.order import EXTENDS
from strongroom.audit.report.controls.table import CONTROLS
from strongroom.audit.report.formats import FORMATS
from strongroom.audit.report.gather import from_log
from strongroom.audit.report.model import ReportData
from strongroom.audit.report.planned import Planned, Planted
from support import invented
from support.altered import CHANGES, exposed, replayed, without

LOG = Check("Audit log: checkpoint", True, "checkpoint")
SEEN = Check(EXTENDS[0], True, "checkpoint", "extends size 3, seen before")


def whole(
    story: list[Event] | None = None,
    checks: tuple[Check, ...] = (LOG, SEEN),
    planned: Planned | None = None,
    deletions: tuple[str, ...] | None = (),
) -> ReportData:
    """A report for which everything was looked at that can be."""
    found = invented.planned() if planned is None else planned
    events = replayed("same")(invented.run_events()) if story is None else story
    return from_log(
        events,
        invented.RUN,
        [*checks, *invented.object_checks(found)],
        found,
        log=LogView("acme-audit/strongroom", "vkey", len(events), b"root", (), ()),
        walls=invented.walls,
        deletions=deletions,
    )


def reports() -> Iterator[ReportData]:
    """Reports of everything, of nothing, and with each thing wrong."""
    planted = replace(invented.planned(), planted=Planted(8, 4, 128))
    yield whole(exposed(1.5, 4.0)(replayed("same")(invented.run_events())), planned=planted)
    yield from_log([], invented.RUN, [], Planned())
    yield whole(checks=(replace(LOG, ok=False), replace(SEEN, ok=False)))
    yield whole(deletions=("s3://acme-audit/strongroom/checkpoint",))
    log, *others = invented.planned().buckets
    unlocked = (replace(log, object_lock=False), *others)
    yield whole(planned=replace(invented.planned(), buckets=unlocked))
    for _, change in CHANGES.values():
        yield whole(change(invented.run_events()))


def test_each_row_comes_to_each_of_its_verdicts() -> None:
    seen: dict[str, set[str]] = {rule.id: set() for rule in CONTROLS}
    for report in reports():
        for control in report.controls:
            seen[control.id].add(control.verdict)
    assert seen == {rule.id: set(rule.verdicts) for rule in CONTROLS}


def test_rows_have_names_and_questions_of_their_own() -> None:
    assert len({rule.id for rule in CONTROLS}) == len(CONTROLS)
    assert all(rule.question.endswith("?") for rule in CONTROLS)


def test_what_nothing_is_known_of_passes_no_row() -> None:
    nothing = from_log([], invented.RUN, [], Planned())
    assert {control.verdict for control in nothing.controls} == {
        *("not tested", "customer", "by design")
    }


def test_a_row_that_names_its_entries_names_them_by_index_and_type() -> None:
    events = invented.run_events()
    other = new_event("another", "controller", types.RunCancelled(0))
    report = whole([other, *events])
    for control in report.controls:
        for kind, indices in control.looked_at:
            assert {([other, *events])[index].type for index in indices} == {kind}
    looked = {control.id: dict(control.looked_at) for control in report.controls}
    assert looked["receivers"] == {"enclave.started": (3,), "key.released": (5,)}
    assert looked["data"]["shard.opened"] == (6, 7, 8, 9, 10)


def test_without_a_plan_nothing_that_needs_it_passes() -> None:
    report = whole(planned=Planned())
    passing = {control.id for control in report.controls if control.verdict == "pass"}
    of_the_log = {"isolation", "order", "refusals", "log", "rollback", "looks", "replay"}
    assert passing == {*of_the_log, "deletions"}


def verdict(row: str, report: ReportData) -> str:
    return {control.id: control.verdict for control in report.controls}[row]


def test_a_lease_that_the_log_does_not_have_is_not_said_to_be_narrow() -> None:
    assert verdict("leases", whole()) == "pass"
    for purpose in (0, 1):
        story = without(types.LeaseIssued, purpose)(invented.run_events())
        assert verdict("leases", whole(story)) == "not tested"


def test_every_checkpoint_is_scored_where_the_plan_says_so() -> None:
    planned = invented.planned()
    assert planned.numbers is not None
    scoring = replace(planned, numbers=replace(planned.numbers, evaluations=3))
    story = invented.run_events()
    assert verdict("evaluations", whole(story, planned=scoring)) == "fail"
    for step in (60, 40, 20):
        at = max(i for i, e in enumerate(story) if getattr(e.data, "step", 0) == step
                 and isinstance(e.data, types.CheckpointWritten))  # fmt: skip
        scored = new_event(invented.RUN, "enclave", invented.held_out("during", step, 0.8))
        story.insert(at + 1, msgspec.structs.replace(scored, time=story[at].time))
    report = whole(story, planned=scoring)
    assert [verdict(row, report) for row in ("evaluations", "order", "channel")] == ["pass"] * 3
    assert verdict("evaluations", whole(without(types.EvaluationFinished, 2)(story),
                                        planned=scoring)) == "fail"  # fmt: skip


def test_a_plan_that_counts_other_shards_than_its_manifest_fails() -> None:
    train, held_out = invented.planned().datasets
    for shards in (3, 5, 10**15):
        other = replace(invented.planned(), datasets=(replace(train, shards=shards), held_out))
        assert verdict("data", whole(planned=other)) == "fail"


@pytest.mark.parametrize("seed", range(40))
def test_no_story_however_odd_keeps_the_report_from_being_made(seed: int) -> None:
    """Changes upon changes, events left out, doubled and in any order."""
    draw = random.Random(seed)
    story = invented.run_events()
    for name in draw.sample(sorted(CHANGES), 6):
        with contextlib.suppress(IndexError):  # what it changes is gone
            story = CHANGES[name][1](story)
    story = [event for event in story for _ in range(draw.choice((0, 1, 1, 1, 2)))]
    if seed % 2:
        draw.shuffle(story)
    planned = invented.planned() if seed % 3 else Planned()
    report = whole(story, planned=planned)
    for render in FORMATS.values():
        assert render(report)
    assert report.controls_failed


def test_a_log_that_did_not_verify_passes_no_row() -> None:
    """Nor does one that nobody checked; what is wrong with its story is told all the same."""
    bad = Check("Audit log: tile", False, "tile/0/000", "differs")
    for checks in ((bad,), (LOG, bad), ()):
        report = whole(checks=checks)
        assert "pass" not in {control.verdict for control in report.controls}
        assert verdict("leases", report) == "not tested"
        story = CHANGES["may create in the datasets"][1](invented.run_events())
        assert verdict("leases", whole(story, checks=checks)) == "fail"


def test_objects_that_were_not_read_leave_their_rows_untested() -> None:
    report = from_log(invented.run_events(), invented.RUN, [LOG], invented.planned())
    verdicts = {control.id: control.verdict for control in report.controls}
    rows = ("inputs", "custody", "outputs", "result", "evaluations", "isolation", "deletions")
    assert {verdicts[row] for row in rows} == {"not tested"}


def test_objects_that_are_not_what_they_have_to_be_fail_their_rows() -> None:
    planned = invented.planned()
    for row, uri in (
        ("inputs", planned.inputs[0]),
        ("custody", planned.output_keyset),
        ("outputs", planned.checkpoints[1].manifest),
        ("outputs", planned.checkpoints[2].uri + "state.sealed"),
        ("result", planned.result),
        ("evaluations", planned.result),
    ):
        report = whole(checks=(LOG, Check("Objects", False, uri, "another digest")))
        verdicts = {control.id: control.verdict for control in report.controls}
        assert verdicts[row] == "fail", uri
