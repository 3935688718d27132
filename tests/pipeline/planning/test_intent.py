"""The intent is what a run file asks for: spelling does not count, and anything asked for does."""

import msgspec
import pytest
from pydantic import create_model

from strongroom.crypto.digests import sha256
from strongroom.enclave.plan.objects import check_run_id
from strongroom.pipeline.planning.intent import intent, planned_intent, stable_run_id
from strongroom.pipeline.planning.plan import build_plan
from strongroom.pipeline.runfile.load import load
from strongroom.pipeline.runfile.spec import Model
from support import sample


@pytest.fixture
def written(tmp_path):
    """Write the example's run file, changed, and load it."""

    def write(old="", new="", evaluator=""):
        code = sample.EXAMPLE.with_name("evaluator.py").read_text() + evaluator
        (tmp_path / "evaluator.py").write_text(code)
        text = sample.EXAMPLE.read_text()
        assert old in text
        (tmp_path / "run.yaml").write_text(text.replace(old, new) if old else text)
        return load(tmp_path / "run.yaml", stack=sample.stack(tmp_path)).spec

    return write


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("learning_rate: 5.0e-4", "learning_rate: 0.0005"),
        ("temperature: 1.0  ", "temperature: 1    # as it is"),
        ("    seed: 0  ", "    # nothing  "),
    ],
)
def test_another_spelling_is_the_same_intent(written, old, new):
    assert intent(written(old, new)) == intent(written())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("steps: 60", "steps: 61"),
        ("seed: 0", "seed: 1"),
        ("ttl: 15m", "ttl: 30m"),
        ("datasets/feedback/train/", "datasets/feedback/other/"),
    ],
)
def test_whatever_is_asked_for_counts(written, old, new):
    assert intent(written(old, new)) != intent(written())


def test_the_evaluator_s_code_counts(written):
    assert intent(written(evaluator="# changed\n")) != intent(written())


SMALL = """
apiVersion: strongroom/v1
kind: TrainingRun
metadata: {name: small}
spec:
  data: {train: "local:///data/train/", held_out: "local:///data/held-out/"}
  model: {base: "local:///models/tiny/", digest: "sha256:DIGITS", lora: {rank: 16}}
  evaluator: {source: evaluator.py, range: [0, 1]}
  training:
    method: {type: rloo}
    steps: 20
    prompts_per_step: 4
    samples_per_prompt: 8
    learning_rate: 1.0e-4
  outputs: local:///runs/
  audit: local:///log/
  keys: {data: "vault://keys/a", outputs: "vault://keys/b", audit: "vault://keys/c"}
  policy:
    bundle: policies
    waivers: [{rule: log_lock, owner: Ada, reason: a trial, expires: 2026-01-31}]
"""


def test_the_intent_of_a_file_is_the_same_in_every_version(tmp_path):
    """Terraform would plan every finished run again if this digest changed."""
    (tmp_path / "evaluator.py").write_text("def evaluate(): ...\n")
    (tmp_path / "policies").mkdir()
    (tmp_path / "run.yaml").write_text(SMALL.replace("DIGITS", "0" * 64))
    assert intent(load(tmp_path / "run.yaml").spec) == (
        "sha256:9184c29a0873707e9c0f3886846ab5afd4c0ccde929a1390497ac27765e0dfca"
    )


def test_a_new_optional_field_changes_no_intent_until_it_is_used(written):
    wider = create_model("Wider", __base__=Model, adapter_seed=(int, 0))

    def with_seed(**said):
        spec = written()
        model = wider(**spec.spec.model.model_dump(by_alias=True), **said)
        return spec.model_copy(update={"spec": spec.spec.model_copy(update={"model": model})})

    assert "adapter_seed" in with_seed().spec.model.model_dump()  # a plan has it
    assert intent(with_seed()) == intent(written())
    assert intent(with_seed(adapter_seed=1)) != intent(written())


def test_methods_of_which_nothing_is_said_but_the_type_differ(written):
    method = """    method:
      type: grpo                     # group-relative policy optimisation
      clip: 0.2                      # how far one step may move the policy
      kl: 0.0                        # pull towards the base model; 0 is none
"""
    types = ("grpo", "dr_grpo", "dapo", "gspo", "cispo", "rloo")
    found = {intent(written(method, f"    method: {{type: {name}}}\n")) for name in types}
    assert len(found) == len(types)
    assert intent(written()) in found  # what the example says of grpo is what it is anyhow


@pytest.fixture
def planned(written):
    """The example's plan; its spec as ``change`` leaves it."""

    def plan(old="", new="", change=lambda spec: None):
        spec = written(old, new)
        code = sha256(spec.spec.evaluator.source.read_bytes())
        made = build_plan(spec, sample.facts(), "r")
        change(made.spec["spec"])
        return msgspec.structs.replace(
            made, evaluator=msgspec.structs.replace(made.evaluator, sha256=code)
        )

    return plan


@pytest.mark.parametrize(
    ("old", "new"), [("", ""), ("seed: 0", "seed: 1"), ("type: grpo ", "type: dapo ")]
)
def test_a_plan_has_the_intent_of_its_run_file(written, planned, old, new):
    assert planned_intent(planned(old, new)) == intent(written(old, new))


def test_a_plan_from_before_a_field_was_there_has_the_same_intent(written, planned):
    def older(spec):
        del spec["evaluator"]["concurrency"], spec["training"]["seed"]

    assert planned_intent(planned(change=older)) == intent(written())


@pytest.mark.parametrize("field", ["seed", "a_field_of_another_version"])
def test_a_plan_of_something_else_has_another_intent(written, planned, field):
    changed = planned(change=lambda spec: spec["training"].update({field: 7}))
    assert planned_intent(changed) != intent(written())


def test_a_stable_id_is_an_id(written):
    found = stable_run_id(written("name: feedback-json", "name: " + "n" * 60))
    assert check_run_id(found) == found
    assert len(found) <= 63
