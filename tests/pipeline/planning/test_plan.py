"""The plan: exact, deterministic, strict to read, and nothing of the machine in it."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strongroom.crypto.digests import canonical, sha256
from strongroom.enclave.plan.derived import model_digest
from strongroom.enclave.plan.document import Plan
from strongroom.enclave.plan.errors import BadRunId, PlanMalformed
from strongroom.enclave.plan.leases import FACTS_PURPOSES, HISTORY_PURPOSES
from strongroom.errors import ErrorList
from strongroom.pipeline.cli.console import Output
from strongroom.pipeline.cli.runs.plan_view import lease_policies, print_plan, size_text
from strongroom.pipeline.planning.facts import ModelFacts
from strongroom.pipeline.planning.plan import build_plan
from strongroom.pipeline.runfile.load import LoadedRun
from strongroom.pipeline.runfile.spec import RunSpec
from support import sample

Load = Callable[..., LoadedRun]


@pytest.fixture
def spec(load_example: Load, example: str) -> RunSpec:
    return load_example(example).spec


@pytest.fixture
def plan(spec: RunSpec) -> Plan:
    return build_plan(spec, sample.facts(), "feedback-1")


def test_reads_are_exact(plan: Plan) -> None:
    data = "s3://acme-data/datasets/feedback/"
    model = "s3://acme-data/models/smollm2-135m-instruct/"
    shards = sample.facts().train.manifest.shards
    expected = {
        f"{data}train/manifest.json": 900,
        f"{data}held-out/manifest.json": 900,
        f"{data}held-out/shard-00000.sealed": shards[0].size_bytes,
        **{f"{data}train/{shard.object}": shard.size_bytes for shard in shards},
        **{model + file.name: file.size_bytes for file in sample.FILES},
    }
    assert {item.uri: item.size_bytes for item in plan.objects.reads} == expected


def test_writes_are_named_beforehand(plan: Plan) -> None:
    run = "s3://acme-data/runs/feedback-1/"
    assert plan.objects.writes.prefixes == (run, "s3://acme-audit/strongroom/")
    assert f"{run}plan.json" in plan.objects.writes.objects
    for step in ("000020", "000040", "000060"):
        for name in ("adapter.sealed", "state.sealed", "manifest.json"):
            assert f"{run}checkpoints/{step}/{name}" in plan.objects.writes.objects
    assert all(uri.startswith(run) for uri in plan.objects.writes.objects)


def test_the_last_step_has_a_checkpoint(load_example: Load, example: str) -> None:
    spec = load_example(example.replace("steps: 60", "steps: 50")).spec
    writes = build_plan(spec, sample.facts(), "feedback-1").objects.writes.objects
    steps = {uri.split("/")[-2] for uri in writes if "/checkpoints/" in uri}
    assert steps == {"000020", "000040", "000050"}


def test_leases_are_as_narrow_as_their_use(plan: Plan) -> None:
    found = {lease.purpose: lease for lease in plan.leases}
    inputs = (
        "datasets/feedback/held-out/",
        "datasets/feedback/train/",
        "models/smollm2-135m-instruct/",
    )
    assert found["facts-read"].read == found["data-read"].read == inputs
    assert (found["run-read"].read, found["run-read"].create) == (("runs/feedback-1/",), ())
    assert (found["run-create"].read, found["run-create"].create) == ((), ("runs/feedback-1/",))
    assert found["audit-read"].bucket == "s3://acme-audit"
    assert found["audit-read"].role.endswith("strongroom-audit")
    assert found["audit-read"].read == ("strongroom/",)
    assert {lease.ttl_s for lease in plan.leases} == {900}
    assert {lease.purpose for lease in plan.leases if lease.create} == {"run-create"}


def test_the_narrowest_access_entry_applies(load_example: Load, example: str) -> None:
    entry = (
        "  access:\n    - uri: s3://acme-data/runs/\n      role: arn:aws:iam::111122223333:role/w\n"
    )
    spec = load_example(example.replace("  access:\n", entry)).spec
    plan = build_plan(spec, sample.facts(), "feedback-1")
    roles = {lease.purpose: lease.role.rpartition("/")[2] for lease in plan.leases}
    assert roles["run-create"] == roles["run-read"] == "w"
    assert roles["data-read"] == "strongroom"


def test_the_digest_is_over_canonical_json(plan: Plan) -> None:
    assert plan.to_json() == canonical(json.loads(plan.to_json()))
    assert plan.digest == sha256(plan.to_json())
    assert Plan.from_json(plan.to_json()) == Plan.from_json(plan.to_json())
    assert Plan.from_json(plan.to_json()).digest == plan.digest


def test_nothing_of_the_machine_is_in_the_plan(
    plan: Plan, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = plan.to_json().decode()
    assert str(tmp_path_factory.getbasetemp()) not in text
    assert '"credentials":"broker.json"' in text
    assert '"releaser":"unix://releaser.sock"' in text


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(min_value=0, max_value=2**32))
def test_order_of_facts_does_not_matter(spec: RunSpec, seed: int) -> None:
    facts, mix = sample.facts(), random.Random(seed)

    def shuffled(values: Any) -> Any:
        values = list(values)
        mix.shuffle(values)
        return values

    other = msgspec.structs.replace(
        facts,
        model=ModelFacts(files=tuple(shuffled(facts.model.files))),
        policy=msgspec.structs.replace(facts.policy, rules=tuple(shuffled(facts.policy.rules))),
        code=msgspec.structs.replace(
            facts.code, packages=dict(shuffled({"a": "1", "b": "2", "c": "3"}.items()))
        ),
    )
    same = msgspec.structs.replace(
        facts, code=msgspec.structs.replace(facts.code, packages={"a": "1", "b": "2", "c": "3"})
    )
    digest = build_plan(spec, same, "feedback-1").digest
    assert build_plan(spec, other, "feedback-1").digest == digest


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in leaves(item, (*path, key))]
    if isinstance(value, list):
        return [leaf for i, item in enumerate(value) for leaf in leaves(item, (*path, i))]
    return [path]


def test_every_leaf_counts_for_the_digest(plan: Plan) -> None:
    data = plan.to_dict()
    for path in leaves(data):
        changed = json.loads(plan.to_json())
        holder = changed
        for step in path[:-1]:
            holder = holder[step]
        holder[path[-1]] = "changed"
        assert sha256(canonical(changed)) != plan.digest


def test_what_the_run_file_says_changes_the_digest(
    load_example: Load, example: str, plan: Plan
) -> None:
    for old, new in (("seed: 0", "seed: 1"), ("ttl: 15m", "ttl: 16m"), ("team: s", "team: t")):
        spec = load_example(example.replace(old, new, 1)).spec
        assert build_plan(spec, sample.facts(), "feedback-1").digest != plan.digest
    comment = load_example(example + "\n# a comment\n").spec
    assert build_plan(comment, sample.facts(), "feedback-1").digest == plan.digest


def test_a_normalised_run_file_is_a_run_file(spec: RunSpec) -> None:
    again = RunSpec.parse(json.dumps(spec.normalised()))
    assert again.normalised() == spec.normalised()


def refused(plan: Plan, change: Callable[[dict[str, Any]], None]) -> None:
    data = json.loads(plan.to_json())
    change(data)
    with pytest.raises(PlanMalformed):
        Plan.from_json(canonical(data))


def test_reading_is_strict(plan: Plan) -> None:
    text = plan.to_json()
    refused(plan, lambda data: data.update(extra=1))
    refused(plan, lambda data: data.pop("limits"))
    refused(plan, lambda data: data.update(version=2))
    refused(plan, lambda data: data["leases"][0].update(purpose="cleanup"))
    refused(plan, lambda data: data["leases"][0].update(delete=[]))
    refused(plan, lambda data: data["leases"][0].update(ttl_s="900"))
    for other in (b"", b"null", b"[]", text[:-1], text + b" ", b" " + text, b"\xff", b"[" * 90_000):
        with pytest.raises(PlanMalformed):
            Plan.from_json(other)
    twice = text.replace(b'"version":1', b'"version":1,"version":1')
    with pytest.raises(PlanMalformed):
        Plan.from_json(twice)


@pytest.mark.parametrize("run_id", ["", "A", "-a", "a-", "a/b", "a" * 64, "1a", "a\n", "..", "ä"])
def test_run_ids(spec: RunSpec, run_id: str) -> None:
    with pytest.raises(BadRunId):
        build_plan(spec, sample.facts(), run_id)


@pytest.mark.parametrize(
    ("asked", "bfloat16", "planned"),
    [
        ("auto", True, "bfloat16"),
        ("auto", False, "float32"),
        ("bfloat16", False, "bfloat16"),
        ("float32", True, "float32"),
    ],
)
def test_the_plan_names_one_precision(
    spec: RunSpec, asked: str, bfloat16: bool, planned: str
) -> None:
    model = spec.spec.model.model_copy(update={"precision": asked})
    spec = spec.model_copy(update={"spec": spec.spec.model_copy(update={"model": model})})
    facts = msgspec.structs.replace(sample.facts(), bfloat16=bfloat16)
    assert build_plan(spec, facts, "feedback-1").model.precision == planned


def test_facts_that_disagree_are_reported_together(spec: RunSpec) -> None:
    facts = sample.facts()
    other = msgspec.structs.replace(
        facts,
        model=ModelFacts(files=facts.model.files[:1]),
        train=msgspec.structs.replace(
            facts.train,
            manifest=msgspec.structs.replace(
                facts.train.manifest,
                keyset=msgspec.structs.replace(facts.train.manifest.keyset, kms="vault://x/y"),
            ),
        ),
    )
    with pytest.raises(ErrorList) as caught:
        build_plan(spec, other, "feedback-1")
    places = [error.place for error in caught.value.errors]
    assert places == ["spec.model.digest", "spec.keys.data"]


@pytest.mark.parametrize("name", ["../x", "/x", "a//b", "", "a/../b", "a b"])
def test_model_files_stay_in_their_folder(spec: RunSpec, name: str) -> None:
    file = msgspec.structs.replace(sample.FILES[0], name=name)
    facts = msgspec.structs.replace(sample.facts(), model=ModelFacts(files=(file,)))
    with pytest.raises(ErrorList, match="leaves the prefix"):
        build_plan(spec, facts, "feedback-1")


def test_the_model_digest_is_over_every_file() -> None:
    first, second = sample.FILES
    digest = model_digest((first, second))
    assert model_digest((second, first)) == digest
    assert model_digest((first,)) != digest
    for change in ({"name": "x"}, {"size_bytes": 1}, {"sha256": sha256(b"x")}):
        assert model_digest((msgspec.structs.replace(first, **change), second)) != digest


def test_the_plan_is_shown_whole(plan: Plan) -> None:
    text = io.StringIO()
    print_plan(Output(lambda: text), plan)
    shown = text.getvalue()
    for expected in (
        plan.digest,
        "s3://acme-data/runs/feedback-1/checkpoints/000060/",
        "s3://acme-data/datasets/feedback/train/",
        "run-create",
        "15 min",
        "vault://transit/feedback-outputs",
        f"{plan.capacity_bits:,} bits",
        plan.evaluator.sha256,
    ):
        assert expected in shown


def test_the_session_policies_that_are_sent(plan: Plan) -> None:
    documents = lease_policies(plan.leases)
    assert [document["purpose"] for document in documents] == [
        lease.purpose for lease in plan.leases
    ]
    for document in documents:
        text = json.dumps(document["session_policy"])
        assert "Delete" not in text
        assert "Statement" in document["session_policy"]
        assert ("s3:GetBucketVersioning" in text) == (document["purpose"] in FACTS_PURPOSES)
        assert ("s3:ListBucketVersions" in text) == (document["purpose"] in HISTORY_PURPOSES)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (9999, "9,999 B"), (10_240, "10.0 KiB"), (269_060_552, "256.6 MiB")],
)
def test_sizes_are_readable(size: int, text: str) -> None:
    assert size_text(size) == text
