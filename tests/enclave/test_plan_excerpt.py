"""An enclave acts on the plan's own bytes, and attests to their digest."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pydantic
import pytest

from strongroom.crypto.digests import canonical, sha256
from strongroom.enclave.channel import capacity
from strongroom.enclave.plan_excerpt import read_plan_excerpt
from strongroom.pipeline.planning.plan import Plan, build_plan
from strongroom.pipeline.runfile.load import load_text
from support import sample


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    (tmp_path / "evaluator.py").write_text("def evaluate(): ...\n")
    text = sample.EXAMPLE.read_text()
    loaded = load_text(text, tmp_path / "run.yaml", stack=sample.stack(tmp_path))
    return build_plan(loaded.spec, sample.facts(), "feedback-1")


def test_an_excerpt_says_what_the_plan_says(plan):
    excerpt = read_plan_excerpt(plan.to_json())
    assert excerpt.digest == plan.digest
    assert excerpt.run == plan.run
    assert excerpt.limits == plan.limits
    assert excerpt.data.train.manifest_sha256 == plan.data.train.manifest_sha256
    assert excerpt.data.held_out.manifest_sha256 == plan.data.held_out.manifest_sha256
    assert [file.sha256 for file in excerpt.model.files] == [f.sha256 for f in plan.model.files]
    assert excerpt.model.precision == plan.model.precision
    assert excerpt.evaluator.sha256 == plan.evaluator.sha256
    assert excerpt.evaluator.metrics == plan.evaluator.metrics
    assert excerpt.evaluator.timeout_s == plan.evaluator.timeout_s


def test_training_is_configured_as_planned(plan):
    excerpt = read_plan_excerpt(plan.to_json())
    given = plan.spec["spec"]
    assert excerpt.training.model_dump(mode="json") == given["training"]
    assert excerpt.lora.model_dump(mode="json") == given["model"]["lora"]
    assert excerpt.threads == given["enclave"]["threads"]


@pytest.mark.parametrize("part", ["training", "lora"])
def test_a_setting_that_the_trainer_does_not_know_is_refused(plan, part):
    plain = json.loads(plan.to_json())
    spec = plain["spec"]["spec"]
    (spec["training"] if part == "training" else spec["model"]["lora"])["adverbs"] = 0
    with pytest.raises(pydantic.ValidationError):
        read_plan_excerpt(canonical(plain))


def test_a_plan_cannot_state_its_own_digest(plan):
    lying = canonical({**plan.to_dict(), "digest": "sha256:" + "0" * 64})
    assert read_plan_excerpt(lying).digest == sha256(lying)


def test_every_byte_counts(plan):
    data = plan.to_json()
    assert read_plan_excerpt(data + b" ").digest != read_plan_excerpt(data).digest


@pytest.mark.parametrize("field", ["run", "spec", "data", "model", "evaluator", "limits"])
def test_an_excerpt_is_complete(plan, field):
    plain = plan.to_dict()
    del plain[field]
    with pytest.raises(msgspec.ValidationError):
        read_plan_excerpt(canonical(plain))


@pytest.mark.parametrize("field", [field.name for field in msgspec.structs.fields(capacity.Limits)])
def test_limits_are_complete(plan, field):
    plain = plan.to_dict()
    del plain["limits"][field]
    with pytest.raises(msgspec.ValidationError):
        read_plan_excerpt(canonical(plain))


def test_a_limit_that_is_not_known_here_is_refused(plan):
    """Ignoring it would lift it."""
    plain = plan.to_dict()
    plain["limits"]["adverbs"] = 0
    with pytest.raises(msgspec.ValidationError):
        read_plan_excerpt(canonical(plain))
