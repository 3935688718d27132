"""The report: it says what the log shows and no more, needs nothing, and runs nothing."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import msgspec
import pytest

from strongroom.audit.events import types
from strongroom.audit.events.entries import Event, new_event, to_entry
from strongroom.audit.log.verify import Check, check_log, read_log
from strongroom.audit.report.charts import Series, bars, curve
from strongroom.audit.report.formats import FORMATS
from strongroom.audit.report.gather import from_log
from strongroom.audit.report.model import HeldOut
from strongroom.audit.report.page import render
from strongroom.audit.report.picture import render as picture
from strongroom.audit.report.planned import Planned, Waiver
from strongroom.audit.report.rendering import clock, css, duration, size
from strongroom.errors.visible import visible
from support import invented

RUN = "feedback-json-7f3a"
HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}&lt;\u202e"
SHOWN = visible(HOSTILE)
GOOD = [Check("Audit log: checkpoint", True, "checkpoint")]


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()
        self.text = ""
        self._styling = False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {(name, value or "") for name, value in attrs}
        self._styling = tag == "style"

    def handle_endtag(self, tag):
        self.text += " " * (tag in ("b", "td", "dd", "strong"))
        self._styling = False

    def handle_data(self, data):
        if not self._styling:
            self.text += data


@pytest.fixture
def page(run_events, plan, maker, memory) -> Page:
    log = maker.sequencer(memory)
    for at in range(0, len(run_events), 5):
        log.append([to_entry(event) for event in run_events[at : at + 5]])
    view = read_log(memory, maker.vkey, maker.origin)
    checks, _ = check_log(memory, maker.vkey, maker.origin)
    return Page(render(from_log(run_events, RUN, checks, plan, log=view)))


def verdicts(events, plan, checks=None, **more) -> dict[str, str]:
    found = from_log(events, RUN, GOOD if checks is None else checks, plan, **more)
    return {control.id: control.verdict for control in found.controls}


def words(page: Page) -> str:
    return " ".join(page.text.split())


def test_a_whole_run_is_told(page, run_events, maker, memory):
    text = words(page)
    root = base64.b64encode(read_log(memory, maker.vkey, maker.origin).root).decode()
    assert root in memory.read("checkpoint")[0].decode().splitlines()
    for part in (
        "Verified",
        "0.54 → 0.91",
        "60 training steps, grpo",
        "3 min 52 s",
        "A1: software isolation on one machine; trusts its root and operator; no hardware",
        "at most 23,811 bits",
        "s3://acme-data/datasets/feedback/train/",
        "4 of 4",
        "vault://transit/feedback-outputs",
        "nonce_unknown",
        "datasets/feedback/held-out/",
        "object versions and delete markers were not examined",
        "new objects locked for 30 days, which nobody can shorten",
        "the run’s first until 2026-04-13",
        "customer’s",
        "by design",
        "not tested",
        f"strongroom verify {RUN} --vkey",
        maker.vkey,
        f"As of log size {len(run_events)} , root {root}",
        f"--vkey '{maker.vkey}'",
        run_events[-1].data.adapter,
    ):
        assert part in text, part
    assert "not verified" not in text.lower()
    assert "complian" not in text.lower()


def test_how_training_went_and_ended_is_told(run_events, plan):
    course = [
        new_event(RUN, "controller", data)
        for data in (
            types.TrainingAlarm(step=31, alarm="reward_fell"),
            types.TrainingFinished(step=40, reason="early_stopping", chosen=20),
        )
    ]
    replayed = types.RunReplayed(
        original=RUN, plan="sha256:" + "a" * 64, step=40, outcome="different"
    )
    entries = [*run_events, *course, new_event("another-replay", "controller", replayed)]
    text = words(Page(render(from_log(entries, RUN, GOOD, plan))))
    assert "Alarm at step 31: the reward fell far below its best" in text
    assert "ended after step 40: the held-out score rose no more" in text
    assert "the checkpoint of step 20, which had the highest held-out score" in text
    assert "done again from its plan came out different" in text


def test_the_curves_stand_alone_as_a_picture(run_events, plan):
    alarm = new_event(RUN, "controller", types.TrainingAlarm(step=31, alarm="no_signal"))
    drawn = picture(from_log([*run_events, alarm], RUN, GOOD, plan))
    root = ElementTree.fromstring(drawn)
    text = " ".join(" ".join(part.split()) for part in root.itertext())
    assert "Accuracy on 100 held-out records: 0.54 → 0.91" in text
    assert "Alarm at step 31: almost every group of completions scored all the same" in text
    assert "Reward, mean of the step’s completions" in text
    assert "Share of prompts that taught nothing" in text
    assert {part.tag.rpartition("}")[2] for part in root.iter()} <= {
        *("svg", "style", "rect", "text", "line", "circle", "path")
    }
    assert "url(" not in drawn
    assert "var(" not in drawn  # many viewers would paint it black
    assert ".paper { fill: #fff; }" in drawn
    assert len(drawn) < 30_000
    hostile = ElementTree.fromstring(
        picture(from_log(hostile_events(run_events), HOSTILE, GOOD, Planned(metrics=(HOSTILE,))))
    )
    assert "script" not in {part.tag.rpartition("}")[2] for part in hostile.iter()}
    assert SHOWN.capitalize() in "".join(hostile.itertext())


def test_a_picture_of_what_is_not_verified_says_so(run_events, plan):
    good = picture(from_log(run_events, RUN, GOOD, plan))
    assert "NOT VERIFIED" not in good
    bad = from_log(run_events, RUN, [Check("Audit log: tile", False, "t")], plan)
    assert "NOT VERIFIED: do not rely on these numbers" in picture(bad)


def test_no_format_trusts_a_string(run_events):
    """A format that is added is held to it too."""
    report = from_log(hostile_events(run_events), HOSTILE, GOOD, Planned(metrics=(HOSTILE,)))
    assert set(FORMATS) == {".html", ".json", ".svg"}
    for render_as in FORMATS.values():
        assert "<script>alert" not in render_as(report)
        assert "\u202e" not in render_as(report)


def test_the_page_needs_nothing_and_runs_nothing(page):
    assert page.tags.isdisjoint({"script", "img", "link", "iframe", "object", "embed", "form"})
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert not [name for name, _ in page.attributes if name in ("src", "action")]
    links = {value for name, value in page.attributes if name == "href"}
    places = {f"#{value}" for name, value in page.attributes if name == "id"}
    assert links == places, "the contents' links, into the page itself"
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes


def hostile_events(run_events):
    """The run with every string in it replaced: Structs can be built without being checked."""

    def poison(value):
        if isinstance(value, msgspec.Struct):
            return type(value)(
                **{name: poison(getattr(value, name)) for name in value.__struct_fields__}
            )
        if isinstance(value, tuple):
            return tuple(poison(item) for item in value)
        if isinstance(value, dict):
            return {HOSTILE + name: poison(item) for name, item in value.items()}
        return HOSTILE if isinstance(value, str) else value

    scored = types.EvaluationFinished("after", 60, 100, {f"evaluator_{HOSTILE}": 0.5})
    return [
        *(Event(HOSTILE, each.time, HOSTILE, HOSTILE, poison(each.data)) for each in run_events),
        Event(HOSTILE, run_events[-1].time, HOSTILE, HOSTILE, scored),
    ]


def test_hostile_strings_stay_text(run_events, page):
    events = hostile_events(run_events)
    events.append(
        Event(HOSTILE, events[-1].time, HOSTILE, HOSTILE, types.RunFailed(HOSTILE, HOSTILE, 1))
    )
    plan = Planned(
        keys=((HOSTILE, HOSTILE),),
        method=HOSTILE,
        metrics=(HOSTILE,),
        waivers=(Waiver(HOSTILE, HOSTILE, HOSTILE, HOSTILE),),
    )
    checks = [Check(HOSTILE, False, HOSTILE, HOSTILE), Check(HOSTILE, True, HOSTILE)]
    poisoned = Page(render(from_log(events, HOSTILE, checks, plan)))
    assert poisoned.tags <= page.tags
    assert not [name for name, _ in poisoned.attributes if name.startswith("on")]
    assert SHOWN in poisoned.text


def test_a_failed_check_is_the_first_thing_said(run_events, plan):
    checks = [*GOOD, Check("tile", False, "tile/0/000.p/6", "SR-AUDIT-008: differs")]
    text = words(Page(render(from_log(run_events, RUN, checks, plan))))
    assert text.startswith("NOT VERIFIED")
    assert "NOT VERIFIED: do not rely on this report 1 of 2 checks failed" in text
    assert text.index("tile/0/000.p/6") < text.index(
        "Contents" if "Contents" in text else "1Verdict"
    )
    assert verdicts(run_events, plan, checks)["log"] == "not tested"  # no log was given


def test_without_checks_nothing_is_called_verified(run_events, plan):
    report = from_log(run_events, RUN, [], plan)
    assert not report.verified
    assert "No checks were made" in words(Page(render(report)))


def test_a_log_without_the_run_still_gives_a_page():
    report = from_log([], "nothing", GOOD, Planned())
    text = words(Page(render(report)))
    assert report.outcome == "unfinished"
    assert "No dataset was admitted" in text
    assert "no enclave of this run is in the log" in text


def test_other_runs_stay_out(run_events, plan):
    other = new_event("another", "controller", types.RunFailed("SR-X-001", "train", 3))
    report = from_log([*run_events, other], RUN, GOOD, plan)
    assert report.outcome == "completed"
    assert sum(count for _, count in report.events) == len(run_events)


@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        (types.RunFailed("SR-ENCLAVE-001", "train", 7), ("failed", "SR-ENCLAVE-001 in train")),
        (types.RunCancelled(7), ("cancelled", "")),
        (types.RunResumed("sha256:" + "0" * 64, 20), ("unfinished", "")),
    ],
)
def test_the_last_word_decides_the_outcome(run_events, plan, data, outcome):
    events = [*run_events[:-1], new_event(RUN, "controller", data)]
    report = from_log(events, RUN, GOOD, plan)
    assert (report.outcome, report.error) == outcome


def test_a_denied_run_is_told_with_its_rules(digest_of):
    denial = types.RunDenied(
        plan=digest_of("plan"),
        policy=digest_of("policy"),
        denials=(types.Denial("lease-lifetime", "CC6.1"),),
    )
    report = from_log([new_event("r", "controller", denial)], "r", GOOD, Planned())
    assert report.outcome == "denied"
    assert "lease-lifetime (CC6.1)" in words(Page(render(report)))


@pytest.mark.parametrize(
    ("declared", "shown", "values"),
    [
        (("accuracy", "brevity"), "accuracy", (0.54, 0.91)),
        (("brevity", "accuracy"), "brevity", (0.8, 0.8)),
        (("never_reported", "accuracy"), "accuracy", (0.54, 0.91)),
        ((), "score", (0.9, 0.9)),
    ],
)
def test_the_held_out_result_is_the_first_metric_that_the_run_file_declares(
    run_events, plan, declared, shown, values
):
    report = from_log(run_events, RUN, GOOD, replace(plan, metrics=declared))
    before, after = values
    assert report.held_out[0] == HeldOut(shown, (("before", before), ("after", after)), 100)
    text = words(Page(render(report)))
    assert f"{before:g} → {after:g} {shown}, 100 held-out records" in text
    assert f"{shown.capitalize()} on 100 held-out records" in text
    drawn = "".join(ElementTree.fromstring(picture(report)).itertext())
    assert f"{shown.capitalize()} on 100 held-out records: {before:.2f} → {after:.2f}" in drawn


def test_a_repeated_step_counts_once(run_events, plan):
    again = new_event(RUN, "enclave", types.TrainingStep(60, {"reward_mean": 0.123}))
    report = from_log([*run_events, again], RUN, GOOD, plan)
    reward = next(series for series in report.curves if series.name == "reward_mean")
    assert len(reward.points) == 60
    assert reward.points[-1] == (60.0, 0.123)


@pytest.mark.parametrize(("starts", "bits"), [(0, "0"), (1, "23,811"), (3, "71,433")])
def test_the_capacity_is_of_all_starts(run_events, plan, starts, bits):
    """A resumed run starts an enclave again, and each may say as much as the first."""
    start = next(event for event in run_events if isinstance(event.data, types.EnclaveStarted))
    other = [event for event in run_events if not isinstance(event.data, types.EnclaveStarted)]
    text = words(Page(render(from_log([*other, *[start] * starts], RUN, GOOD, plan))))
    assert f"at most {bits} bits" in text
    assert f"{starts} start{'' if starts == 1 else 's'} of an enclave with at most 23,811" in text


def at(time: str, actor, data, run: str = RUN) -> Event:
    return msgspec.structs.replace(new_event(run, actor, data), time=time)


def test_the_period_ends_with_the_run_and_looks_are_told_apart(run_events, plan):
    before = from_log(run_events, RUN, GOOD, plan)
    lease = next(event.data for event in run_events if isinstance(event.data, types.LeaseIssued))
    later = "2026-07-01T12:00:00.000Z"
    uri = invented.checkpoint(60) + "rollouts.sealed"
    looks = [
        at(later, "broker", lease),
        at(later, "owner", types.RolloutsOpened(uri, invented.digest("rollouts.sealed60"))),
        at(later, "owner", types.AdapterExported(60, invented.digest("plain60"), "adapter")),
    ]
    after = from_log([*run_events, *looks], RUN, GOOD, plan)
    assert (after.began, after.ended, after.outcome) == (before.began, before.ended, "completed")
    assert after.events == before.events
    assert after.leases == before.leases
    assert [entry.index for entry in after.afterwards] == [79, 80, 81]
    text = words(Page(render(after)))
    assert "All that was logged after the run: 3 events" in text
    assert f"{clock(after.began)} to {clock(after.ended)} UTC" in text
    assert "Nobody had looked" in words(Page(render(before)))


def test_a_run_that_failed_has_ended_until_it_is_resumed(run_events, plan):
    failed = at(run_events[40].time, "controller", types.RunFailed("SR-X-001", "train", 26))
    lease = next(event for event in run_events if isinstance(event.data, types.LeaseIssued))
    broken = [*run_events[:41], failed, lease]
    report = from_log(broken, RUN, GOOD, plan)
    assert (report.ended, len(report.afterwards)) == (failed.time, 1)
    resumed = at(run_events[41].time, "controller", types.RunResumed(invented.digest("plan"), 20))
    report = from_log([*broken, resumed], RUN, GOOD, plan)
    assert (report.ended, report.afterwards) == (resumed.time, ())


def test_every_held_out_metric_is_told_before_and_after(page):
    text = words(page)
    for row in ("accuracy 0.54 0.91", "brevity 0.8 0.8", "score (mean of the evaluator’s scores)"):
        assert row in text


def test_the_machine_readable_form_has_the_same_rows(run_events, plan):
    report = from_log(run_events, RUN, GOOD, plan, walls=invented.walls)
    found = json.loads(FORMATS[".json"](report))
    assert found["verdict"] == "verified"
    assert {row["id"]: row["verdict"] for row in found["controls"]} == verdicts(
        run_events, plan, walls=invented.walls
    )
    (row,) = (row for row in found["controls"] if row["id"] == "receivers")
    assert row["looked_at"] == {"enclave.started": [2], "key.released": [4]}
    assert found["held_out"][0]["values"] == {"before": 0.54, "after": 0.91}
    failing = from_log(run_events, RUN, [Check("Audit log: tile", False, "t", "differs")], plan)
    assert json.loads(FORMATS[".json"](failing))["verdict"] == "not verified"


def test_the_same_log_gives_the_same_bytes(run_events, plan):
    for render_as in FORMATS.values():
        first, second = (
            render_as(from_log(run_events, RUN, GOOD, plan, walls=invented.walls)) for _ in range(2)
        )
        assert first == second


def test_in_print_each_page_has_run_number_and_warning(run_events, plan):
    good = render(from_log(run_events, RUN, GOOD, plan))
    assert f'@top-left {{ content: "{RUN}"' in good
    assert "counter(page)" in good
    assert "@top-center" not in good
    bad = render(from_log(run_events, RUN, [Check("Audit log: x", False, "x")], plan))
    assert '@top-center { content: "NOT VERIFIED"' in bad


def test_a_run_s_name_stays_a_string_of_the_style_sheet():
    assert css('a"; } * { x: url(//h) } \\a\n</style>').isascii()
    assert not re.search(r'["<>;{}()\n]', css('";\n{}()<>'))
    assert css("feedback-json_1.2") == "feedback-json_1.2"


def replace_start(run_events, **changes):
    return [
        msgspec.structs.replace(event, data=msgspec.structs.replace(event.data, **changes))
        if isinstance(event.data, types.EnclaveStarted)
        else event
        for event in run_events
    ]


def test_an_open_socket_and_a_missing_sandbox_are_not_glossed_over(run_events, plan):
    probes = {"socket.inet": "open", "exec": "blocked"}
    events = replace_start(run_events, probes=probes, assurance="A0")
    text = words(Page(render(from_log(events, RUN, GOOD, plan))))
    assert "of attempts 1 blocked, 1 open" in text
    assert "A0: no isolation" in text
    assert "an enclave of assurance A0 has no walls" in text
    assert verdicts(events, plan)["isolation"] == "fail"


@pytest.mark.parametrize(
    "points",
    [
        ((1.0, 0.5),),
        ((1.0, 0.0), (2.0, 0.0)),
        ((1.0, 1e-9), (2.0, 1e9)),
        ((1.0, -5.0), (2.0, -4.0)),
        tuple((float(i), float(i % 3)) for i in range(500)),
    ],
)
def test_curves_stay_inside_their_frame(points):
    svg = curve(Series("x", points))
    tags = Page(svg)
    assert "nan" not in svg
    assert "inf" not in svg
    for name, value in tags.attributes:
        if name in ("cx", "x1", "x2"):
            assert 0 <= float(value) <= 460
        if name in ("cy", "y1", "y2"):
            assert 0 <= float(value) <= 200


def test_charts_of_nothing_and_of_large_values():
    assert curve(Series("x", ())) == ""
    widths = {float(value) for name, value in Page(bars("t", [("a", 5.0), ("b", -1.0)])).attributes
              if name == "width"}  # fmt: skip
    assert max(widths) <= 460
    assert min(widths) >= 0


def test_words_for_figures():
    assert duration(0.2) == "0 s"
    assert duration(3661) == "1 h 1 min 1 s"
    assert size(512) == "512 B"
    assert size(1_843_200) == "1.8 MiB"
    assert clock("2026-03-14T09:26:53.589Z") == "2026-03-14 09:26:53"
