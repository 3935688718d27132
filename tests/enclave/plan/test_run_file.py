"""What a plan's fields follow from is what the run file says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from strongroom.enclave.plan.errors import PlanMalformed
from strongroom.enclave.plan.run_file import DURATION, SIZE, NormalisedRun, quantity
from strongroom.pipeline.runfile.spec import RunSpec
from support import sample


@pytest.fixture
def spec(tmp_path: Path) -> RunSpec:
    return sample.spec(tmp_path)


def test_it_says_what_the_run_file_says(spec: RunSpec) -> None:
    asked, run = NormalisedRun.of(spec.normalised()), spec.spec
    assert asked.training == run.training
    assert asked.model.lora == run.model.lora
    assert asked.model.digest == run.model.digest
    assert asked.data.train == run.data.train
    assert asked.evaluator.score_range == run.evaluator.score_range
    assert quantity(asked.evaluator.timeout, DURATION) == run.evaluator.timeout_s
    assert quantity(asked.enclave.memory, SIZE) == run.enclave.memory_bytes
    assert [quantity(each.ttl, DURATION) for each in asked.access] == [
        each.ttl_s for each in run.access
    ]


@pytest.mark.parametrize("part", ["training", "lora"])
def test_a_setting_that_the_trainer_does_not_know_is_refused(spec: RunSpec, part: str) -> None:
    document = spec.normalised()
    run = document["spec"]
    (run["training"] if part == "training" else run["model"]["lora"])["adverbs"] = 0
    with pytest.raises(PlanMalformed, match="adverbs"):
        NormalisedRun.of(document)


@pytest.mark.parametrize(
    "field", ["data", "model", "evaluator", "training", "outputs", "audit", "access", "keys"]
)
def test_nothing_may_be_missing(spec: RunSpec, field: str) -> None:
    document = spec.normalised()
    del document["spec"][field]
    with pytest.raises(PlanMalformed, match=field):
        NormalisedRun.of(document)


@pytest.mark.parametrize("document", [{}, {"spec": None}, {"spec": []}, {"spec": {"data": 1}}])
def test_what_is_no_run_file_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(PlanMalformed):
        NormalisedRun.of(document)


@pytest.mark.parametrize(
    "text", ["", "15", "m", "-1m", "1.5h", "1d", "15m ", "9" * 16 + "s", "1GiB"]
)
def test_a_quantity_has_a_unit(text: str) -> None:
    assert quantity(text, DURATION) is None
