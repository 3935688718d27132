"""Exposure held against luck, and what the report says of it."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import msgspec
import pytest

from strongroom.audit.events import types
from strongroom.audit.log.verify import Check
from strongroom.audit.report.charts import spans
from strongroom.audit.report.gather import from_log
from strongroom.audit.report.page import render
from strongroom.audit.report.planned import Planted
from strongroom.audit.report.remembered import (
    CONFIDENCE,
    Measured,
    Remembered,
    remembered,
)

RUN = "feedback-json-7f3a"
PLANTED = Planted(secrets=8, repetitions=4, words=128)


def measuring(run_events, before, after):
    """The invented run, as if it had planted secrets."""
    values = {"before": before, "after": after}

    def told(event):
        data = event.data
        if not isinstance(data, types.EvaluationFinished):
            return event
        mean, maximum = values[data.phase]
        numbers = {**data.values, "exposure_max": maximum, "exposure_mean": mean}
        return msgspec.structs.replace(
            event, data=msgspec.structs.replace(data, values=dict(sorted(numbers.items())))
        )

    return [told(event) for event in run_events]


def report(events, plan, planted=PLANTED):
    checks = [Check("Audit log: checkpoint", True, "checkpoint")]
    return from_log(events, RUN, checks, replace(plan, planted=planted))


def page(events, plan, planted=PLANTED):
    return " ".join(render(report(events, plan, planted)).split())


def test_luck_s_bounds_are_those_of_models_that_remember_nothing():
    found = Remembered(8, 4, 14.0, (Measured("trained", 1.4, 3.0),))
    draw = random.Random(0)
    means, maxima = [], []
    for _ in range(20_000):
        drawn = [-math.log2(1 - draw.random()) for _ in range(8)]
        means.append(sum(drawn) / 8)
        maxima.append(max(drawn))
    below_mean = sum(mean <= found.likely_mean for mean in means) / len(means)
    below_maximum = sum(value <= found.likely_maximum for value in maxima) / len(maxima)
    assert below_mean == pytest.approx(CONFIDENCE, abs=0.006)
    assert below_maximum == pytest.approx(CONFIDENCE, abs=0.006)


@pytest.mark.parametrize(
    ("mean", "maximum", "by_luck"),
    [(1.5, 4.0, True), (2.3, 7.2, True), (2.5, 4.0, False), (1.5, 7.5, False), (14, 14, False)],
)
def test_more_than_luck_is_said(run_events, plan, mean, maximum, by_luck):
    text = page(measuring(run_events, (1.3, 3.1), (mean, maximum)), plan)
    assert ("shows no more than luck" in text) is by_luck
    assert ("remembers more than luck explains" in text) is not by_luck


def test_lucky_draws_are_not_taken_for_memory(run_events, plan):
    """The base model never saw them: what it shows is luck, and half a bit more is no news."""
    text = page(measuring(run_events, (2.6, 8.1), (2.9, 8.6)), plan)
    assert "shows no more than luck" in text


def test_the_report_shows_both_models_and_the_settings(run_events, plan):
    text = page(measuring(run_events, (1.3, 3.1), (1.5, 4.2)), plan)
    assert "Exposure of 8 planted secrets" in text
    assert "14 bits" in text
    assert "prompts of 4 training rows" in text
    assert ">1.3 · 3.1<" in text
    assert ">1.5 · 4.2<" in text
    assert "this report measures none of it" not in text


def test_the_held_out_metric_stays_the_task_s(run_events, plan):
    events = measuring(run_events, (1.3, 3.1), (1.5, 4.2))
    assert report(events, replace(plan, metrics=())).held_out[0].metric == "score"


CONTROL = "memory"


@pytest.mark.parametrize(
    ("after", "status"), [((1.5, 4.2), "pass"), ((2.5, 4.2), "fail"), ((1.5, 7.5), "fail")]
)
def test_the_control_on_memory_says_what_was_measured(run_events, plan, after, status):
    (control,) = (
        each
        for each in report(measuring(run_events, (1.3, 3.1), after), plan).controls
        if each.id == CONTROL
    )
    assert control.verdict == status
    said = f"exposure of 8 planted secrets: mean {after[0]} bits, largest {after[1]};"
    assert control.findings[0].says.startswith(said)


def test_the_control_on_memory_is_not_tested_by_the_base_model_alone(run_events, plan):
    events = measuring(run_events, (1.3, 3.1), (1.5, 4.2))
    after = [event for event in events if getattr(event.data, "phase", "") == "after"]
    for told, planted, verdict in (
        ([event for event in events if event not in after], PLANTED, "not tested"),
        (run_events, PLANTED, "not tested"),
        (events, None, "fail"),  # of secrets that the plan does not plant
    ):
        found = report(told, plan, planted)
        verdicts = {control.id: control.verdict for control in found.controls}
        assert verdicts[CONTROL] == verdict
        assert "this report measures none of it" in page(told, plan, planted)


def test_without_secrets_the_report_says_so(run_events, plan):
    text = page(run_events, plan, None)
    assert "Not measured: the plan plants no secrets" in text
    assert "this report measures none of it" in text
    assert remembered(run_events, None) is None


def test_a_row_of_the_picture_says_its_numbers():
    svg = str(spans("Exposure", [("trained", 7.0, 20.0)], 14.0, [(1.44, "luck<")]))
    assert ">7 · 20<" in svg
    assert "luck&lt;" in svg
    assert 'width="139.0"' in svg  # half of the room; the maximum is held at its end
