"""Names of a run's objects."""

from __future__ import annotations

import pytest

from strongroom.connectors.buckets.uri import parse
from strongroom.enclave.checkpoints import OBJECT_NAMES
from strongroom.enclave.plan.objects import (
    CHECKPOINT_OBJECTS,
    RunLayout,
    complete_checkpoints,
    run_objects,
)
from strongroom.trainer.config import TrainingConfig

LAYOUT = RunLayout("s3://acme-data/runs/", "feedback-1")


def test_everything_lies_in_the_runs_folder():
    assert LAYOUT.folder == "s3://acme-data/runs/feedback-1/"
    names = (LAYOUT.plan, LAYOUT.keys, LAYOUT.evaluator, LAYOUT.result, LAYOUT.checkpoint(20))
    assert [name.removeprefix(LAYOUT.folder) for name in names] == [
        "plan.json",
        "keys.json",
        "evaluator.py",
        "result.json",
        "checkpoints/000020/",
    ]


@pytest.mark.parametrize(("step", "name"), [(1, "000001"), (999999, "999999"), (10**6, "1000000")])
def test_checkpoints_sort_by_step(step, name):
    assert LAYOUT.checkpoint(step) == f"{LAYOUT.folder}checkpoints/{name}/"


def test_a_checkpoint_is_complete_with_its_manifest():
    names = [LAYOUT.manifest(step).removeprefix(LAYOUT.checkpoints) for step in (20, 3)]
    names += ["000040/adapter.sealed", "000050/deeper/manifest.json", "x/manifest.json"]
    assert complete_checkpoints(names) == [3, 20]


def test_names_are_uris():
    for uri in (LAYOUT.plan, LAYOUT.checkpoint(3) + "manifest.json"):
        assert str(parse(uri)) == uri


def test_the_plan_lists_what_the_enclave_writes():
    training = TrainingConfig.model_validate(
        {
            "method": {"type": "grpo"},
            "steps": 5,
            "prompts_per_step": 2,
            "samples_per_prompt": 2,
            "learning_rate": 1e-3,
            "sampling": {"temperature": 1.0, "max_tokens": 4},
            "engine": {"type": "hf"},
            "seed": 1,
            "checkpoint_every": 2,
        }
    )
    listed = run_objects(LAYOUT, training)
    assert set(OBJECT_NAMES.values()) < set(CHECKPOINT_OBJECTS)
    for step in (2, 4, 5):
        assert {LAYOUT.checkpoint(step) + name for name in OBJECT_NAMES.values()} < set(listed)
    assert len(listed) == 4 + 3 * 4
