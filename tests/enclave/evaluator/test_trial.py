"""A trial of an evaluator: every failing call is told, and the numbers are those of the scores."""

from __future__ import annotations

import math
import statistics

import msgspec
import pytest

from strongroom.enclave.channel import capacity, frames
from strongroom.enclave.channel.gate import Gate
from strongroom.enclave.channel.outgoing_words import DETAILS
from strongroom.enclave.evaluator.process import EvaluatorProcess
from strongroom.enclave.evaluator.trial import histogram, trial, trial_rows
from support import tiny_model as tiny

CONFIG = tiny.tiny_config()
LIMITS = capacity.Limits(
    steps=6,
    checkpoints=2,
    evaluations=0,
    shards=1,
    records=10,
    fetches=5,
    step_metrics=(),
    evaluation_metrics=("evaluator_size", "score_mean"),
    output_bytes=1000,
    memory_bytes=1 << 30,
)
LETTERS = """
def evaluate(messages, ground_truth, **row):
    text = messages[-1]["content"]
    return {"score": sum(c.isalpha() for c in text) / (len(text) + 1), "size": len(text)}
"""


@pytest.fixture(scope="module")
def policy():
    """A tiny model whose adapter matters."""
    return tiny.tiny_policy()


def records_of(policy, source: str, rows: int, samples: int, n_rows=10, config=CONFIG, **loading):
    """What a trial says; every record has to pass the broker's gate."""
    gate = Gate(msgspec.structs.replace(LIMITS, records=n_rows), DETAILS)
    indices = trial_rows(config, rows, n_rows)
    with EvaluatorProcess.start() as process:
        process.load(source.encode(), ["size"], **loading)
        records = list(trial(policy, tiny.tiny_rows(n_rows), indices, samples, process, config))
    for record in records:
        gate.admit(record)
    return records


def tried(policy, source: str, rows: int = 4, samples: int = 3, **loading):
    """Faults and summary of a trial."""
    records = records_of(policy, source, rows, samples, **loading)
    faults = [record for record in records if isinstance(record, frames.EvaluatorFault)]
    return faults, records[-1]


def test_the_numbers_are_those_of_the_scores(policy):
    faults, summary = tried(policy, LETTERS)
    assert faults == []
    assert (summary.rows, summary.completions, summary.failures) == (4, 12, 0)
    assert sum(summary.histogram) == 12
    values = summary.values
    assert values["score_min"] <= values["score_mean"] <= values["score_max"]
    assert 0 < values["score_std"] <= values["score_max"] - values["score_min"]
    assert 0 < values["seconds_mean"] <= values["seconds_max"] < 5
    assert 1 <= values["evaluator_size"] <= 8
    assert values["zero_variance_share"] < 1


def test_a_trial_of_more_steps_than_reports_of_progress_passes_the_gate(policy):
    """One step more than the gate lets reports pass: the last step has a single row."""
    rows = 2 * capacity.PROGRESS_LIMIT + 1
    config = tiny.tiny_config(steps=rows, prompts_per_step=2)
    constant = "def evaluate(messages, ground_truth, **row): return 0"
    records = records_of(policy, constant, rows, 1, n_rows=rows, config=config)
    told = [record.done for record in records if isinstance(record, frames.Progress)]
    assert len(told) > capacity.PROGRESS_LIMIT / 2
    assert told[-1] == rows


def test_a_trial_repeats_and_asks_the_base_model(policy):
    other = tiny.tiny_policy(seed=5)  # another adapter on the same base

    def scored(model) -> dict[str, float]:
        values = dict(tried(model, LETTERS)[1].values)
        return {name: value for name, value in values.items() if "seconds" not in name}

    assert scored(policy) == scored(other) == scored(policy)


def test_it_takes_the_rows_that_a_run_takes_first(policy):
    source = """
SEEN = []
def evaluate(messages, ground_truth, **row):
    SEEN.append(ground_truth)
    if len(SEEN) == 12:
        raise (ValueError, KeyError)[SEEN[::3] != {expected}]
    return 0
"""
    expected = trial_rows(CONFIG, 4, 10)
    assert len(set(expected)) == 4
    faults, _ = tried(policy, source.format(expected=expected))
    assert [fault.detail for fault in faults] == ["ValueError"]
    assert sorted(trial_rows(CONFIG, 99, 10)) == list(range(10))
    assert len(trial_rows(CONFIG, 99, 1000)) == CONFIG.steps * CONFIG.prompts_per_step


SOME_FAIL = """
def evaluate(messages, ground_truth, **row):
    if ground_truth % 2:
        return {}[messages[-1]["content"]]
    if ground_truth == 4:
        return float("nan")
    if ground_truth == 6:
        return 7.5
    return ground_truth / 10
"""


def test_every_failing_call_is_told_by_row_code_and_line(policy):
    faults, summary = tried(policy, SOME_FAIL, rows=10, samples=2, score_range=(0.0, 1.0))
    odd = [(row, s, "SR-EVAL-003", "KeyError", 4) for row in range(1, 10, 2) for s in (0, 1)]
    nan = [(4, s, "SR-EVAL-008", "", 2) for s in (0, 1)]
    far = [(6, s, "SR-EVAL-014", "", 2) for s in (0, 1)]
    told = [(f.row, f.sample, f.code, f.detail, f.line) for f in faults]
    assert sorted(told) == sorted([*odd, *nan, *far])
    assert (summary.completions, summary.failures) == (6, 14)
    assert summary.values["score_mean"] == pytest.approx(statistics.fmean([0, 0.2, 0.8]), rel=1e-3)
    assert summary.values["zero_variance_share"] == 1.0


def test_faults_beyond_the_limit_are_counted(policy):
    faults, summary = tried(policy, "def evaluate(*a, **k): 1 / 0", rows=10, samples=12)
    assert len(faults) == capacity.TRIAL_FAULT_LIMIT
    assert (summary.completions, summary.failures) == (0, 120)
    assert summary.histogram == (0,) * capacity.TRIAL_BINS
    assert set(summary.values) == {"seconds_max", "seconds_mean"}


def test_a_group_judge_fails_for_the_whole_row(policy):
    source = """
def evaluate_group(completions, ground_truth, **row):
    if ground_truth in {first}:
        raise ValueError
    return [len(messages[-1]["content"]) for messages in completions]
"""
    first = trial_rows(CONFIG, 1, 10)
    faults, summary = tried(policy, source.format(first=first))
    assert [(f.row, f.sample, f.code, f.line) for f in faults] == [(first[0], -1, "SR-EVAL-003", 4)]
    assert (summary.completions, summary.failures) == (9, 3)


def test_a_hang_ends_the_trial_and_keeps_what_was_found(policy):
    source = """
CALLS = 0
def evaluate(messages, ground_truth, **row):
    global CALLS
    CALLS += 1
    while CALLS == 6: pass
    return 0.5
"""
    faults, summary = tried(policy, source, rows=8, timeout_s=0.5)
    assert [(fault.sample, fault.code) for fault in faults] == [(2, "SR-EVAL-004")]
    assert (summary.completions, summary.failures) == (5, 1)


@pytest.mark.parametrize(("score", "faults"), [(1e9, 0), (1.000001e9, 30), (1e308, 30)])
def test_scores_at_the_ends_of_what_is_allowed_are_told_as_they_are(policy, score, faults):
    source = (
        f"def evaluate(messages, ground_truth, **row): return (1, -1)[ground_truth % 2] * {score}"
    )
    found, summary = tried(policy, source, rows=10)
    assert [fault.code for fault in found] == ["SR-EVAL-008"] * faults
    if not faults:
        assert (summary.values["score_min"], summary.values["score_max"]) == (-1e9, 1e9)


@pytest.mark.parametrize(
    ("numbers", "counts"),
    [
        ([], (0,) * 10),
        ([0.5] * 3, (3, *(0,) * 9)),
        ([0.0, 1.0], (1, *(0,) * 8, 1)),
        ([0.0, 0.05, 0.1, 0.99, 1.0], (2, 1, *(0,) * 7, 2)),
        ([0.0, math.ulp(0.0)], (1, *(0,) * 8, 1)),
    ],
)
def test_the_histogram_counts_each_number_once(numbers, counts):
    found = histogram(numbers)
    assert sum(found) == len(numbers)
    assert found == counts
