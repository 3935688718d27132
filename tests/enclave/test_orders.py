"""An enclave's orders are the plan's own bytes, and their digest is the plan's."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from strongroom.crypto.digests import canonical, sha256
from strongroom.enclave.channel import frames
from strongroom.enclave.orders import read_orders
from strongroom.pipeline.planning.plan import Plan, build_plan
from strongroom.pipeline.runfile.load import load_text
from strongroom.trainer.config import LoraConfig, TrainingConfig
from support import sample


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    (tmp_path / "evaluator.py").write_text("def evaluate(): ...\n")
    text = sample.EXAMPLE.read_text()
    loaded = load_text(text, tmp_path / "run.yaml", stack=sample.stack(tmp_path))
    return build_plan(loaded.spec, sample.facts(), "feedback-1")


def test_orders_are_the_plans(plan):
    orders = read_orders(plan.to_json())
    assert orders.digest == plan.digest
    assert orders.run == plan.run
    assert orders.limits == plan.limits
    assert orders.data.train.manifest_sha256 == plan.data.train.manifest_sha256
    assert orders.data.held_out.manifest_sha256 == plan.data.held_out.manifest_sha256
    assert [file.sha256 for file in orders.model.files] == [f.sha256 for f in plan.model.files]
    assert orders.model.precision == plan.model.precision
    assert orders.evaluator.sha256 == plan.evaluator.sha256
    assert orders.evaluator.metrics == plan.evaluator.metrics
    assert orders.evaluator.timeout_s == plan.evaluator.timeout_s


def test_training_is_configured_from_them(plan):
    spec = read_orders(plan.to_json()).spec.spec
    config = TrainingConfig.model_validate(spec.training)
    lora = LoraConfig.model_validate(spec.model.lora)
    given = plan.spec["spec"]
    assert config.model_dump(mode="json") == given["training"]
    assert lora.model_dump(mode="json") == given["model"]["lora"]
    assert spec.enclave.threads == given["enclave"]["threads"]


def test_a_plan_cannot_state_its_own_digest(plan):
    lying = canonical({**plan.to_dict(), "digest": "sha256:" + "0" * 64})
    assert read_orders(lying).digest == sha256(lying)


def test_every_byte_counts(plan):
    data = plan.to_json()
    assert read_orders(data + b" ").digest != read_orders(data).digest


@pytest.mark.parametrize("field", ["run", "spec", "data", "model", "evaluator", "limits"])
def test_orders_are_complete(plan, field):
    plain = plan.to_dict()
    del plain[field]
    with pytest.raises(msgspec.ValidationError):
        read_orders(canonical(plain))


@pytest.mark.parametrize("field", [field.name for field in msgspec.structs.fields(frames.Limits)])
def test_limits_are_complete(plan, field):
    plain = plan.to_dict()
    del plain["limits"][field]
    with pytest.raises(msgspec.ValidationError):
        read_orders(canonical(plain))


def test_a_limit_that_is_not_known_here_is_refused(plan):
    """Ignoring it would lift it."""
    plain = plan.to_dict()
    plain["limits"]["adverbs"] = 0
    with pytest.raises(msgspec.ValidationError):
        read_orders(canonical(plain))
