"""Every field of a plan is asked for, follows from others, or was found and is vouched for.

``VOUCHED`` names the fields that somebody could change alone without a contradiction in the plan,
and who sees that they are so. Each other field is changed here, one at a time, and refused.
"""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from strongroom.enclave.channel import capacity
from strongroom.enclave.plan.derived import check_derived, check_manifest, sealed_inputs
from strongroom.enclave.plan.document import Plan
from strongroom.enclave.plan.errors import PlanError, PlanInconsistent
from strongroom.enclave.plan.parts import DatasetFacts
from strongroom.errors import ErrorList, StrongroomError
from strongroom.errors.listing import errors_of
from strongroom.pipeline.planning.facts import Facts
from strongroom.pipeline.planning.plan import build_plan
from support import sample

Path = tuple[str | int, ...]

MANIFEST = "the signed manifest: check_manifest"
ASKED = "asked for: policy decides, and the digest pins it"
VOUCHED = {
    r"spec\.(apiVersion|kind|metadata\..*)": ASKED,
    r"spec\.spec\.(identity|policy|runner)\..*": ASKED,
    r"spec\.spec\.(training|model\.lora)\..*": ASKED,
    r"spec\.spec\.enclave\.(assurance|threads)": ASKED,
    r"spec\.spec\.access\.\d+\.(uri|via)": ASKED,
    r"spec\.spec\.keys\.releaser": ASKED,
    r"spec\.spec\.model\.precision": ASKED,
    r"(data\.\w+|evaluator\.sealed)\.(manifest_sha256|signer|records|plaintext_bytes)": MANIFEST,
    r"(data\.\w+|evaluator\.sealed)\.keyset\.(wrapped|key_id|commitment)": MANIFEST,
    r"objects\.reads\.\d+\.size_bytes": MANIFEST,
    r"evaluator\.(sha256|size_bytes)": "the enclave and verify, by the source itself",
    r"model\.precision": "nobody: it changes numbers, and a replay of the run shows it",
    r"code\.measurement": "the releaser, by the evidence",
    r"code\.(python|packages)(\..*)?": "nobody: they describe the measurement to people",
    r"policy\.(digest|rules(\.\d+)?)": "the releaser, by its own bundle, and verify, by the log",
    r"facts\.kms\..*": "the releaser, which asks the key services",
    r"facts\.\w+_bucket\..*": "nobody: the controller's word for what the store answered",
}


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every leaf of a document; of a list also the list itself, which could be shorter."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        yield path
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))
    else:
        yield path


def changed(plan: Plan, path: Path) -> Plan:
    """The plan with one field changed. Raises ``PlanError`` where no plan has such a field."""
    document = json.loads(plan.to_json())
    holder = document
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = other(holder[path[-1]])
    return Plan.from_json(msgspec.json.encode(document, order="deterministic"))


def other(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case list():
            return value[:-1] or ["other"]
        case None:
            return "other"
        case "A1":
            return "A0"
        case "bfloat16":
            return "float32"
        case str() if value.startswith("sha256:"):
            return "sha256:" + "0" * 64
        case str() if re.fullmatch(r"\d+[hms]", value):
            return "30m"
        case "8GiB":
            return "16GiB"
    return f"{value}x"


def dotted(path: Path) -> str:
    return ".".join(map(str, path))


@pytest.fixture(params=["source", "sealed"])
def plan(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Plan:
    return sample.plan(tmp_path, sealed=request.param == "sealed")


def test_an_honest_plan_is_consistent(plan: Plan) -> None:
    check_derived(plan)
    check_derived(Plan.from_json(plan.to_json()))


def test_each_field_follows_from_others_or_has_somebody_who_vouches_for_it(plan: Plan) -> None:
    free = set()
    for path in leaves(plan.to_dict()):
        try:
            check_derived(changed(plan, path))
        except (PlanError, ErrorList):
            continue
        free.add(dotted(path))
    unexplained = {path for path in free if not any(re.fullmatch(p, path) for p in VOUCHED)}
    assert unexplained == set()
    # Nothing is excused that needs no excuse: a rule that is lost shows here.
    assert {dotted(path) for path in leaves(plan.to_dict())} - free >= {
        "outputs",
        "audit",
        "run",
        "capacity_bits",
        "model.digest",
        "model.uri",
        "evaluator.timeout_s",
        "data.train.uri",
        "data.train.name",
        "data.train.shards",
        "data.train.ciphertext_bytes",
        "data.held_out.keyset.kms",
        "data.held_out.keyset.context.dataset",
        "keys.audit",
        "leases.0.ttl_s",
        "leases",
        "objects.writes.objects",
        "objects.reads.0.uri",
        *(f"limits.{field.name}" for field in msgspec.structs.fields(capacity.Limits)),
        *(f"model.files.0.{field}" for field in ("name", "size_bytes", "sha256")),
    }


def test_every_excuse_is_used(tmp_path: pathlib.Path) -> None:
    """A pattern that excuses no field would excuse the next one that happens to match."""
    plans = [sample.plan(tmp_path, sealed=sealed) for sealed in (False, True)]
    paths = {dotted(path) for plan in plans for path in leaves(plan.to_dict())}
    for pattern in VOUCHED:
        assert any(re.fullmatch(pattern, path) for path in paths), pattern


def test_a_difference_says_field_expected_and_actual(plan: Plan) -> None:
    lying = msgspec.structs.replace(plan, capacity_bits=20_000)
    with pytest.raises(PlanInconsistent) as caught:
        check_derived(lying)
    assert caught.value.place == "capacity_bits"
    assert caught.value.expected == str(plan.capacity_bits)
    assert caught.value.actual == "20000"


def test_limits_that_would_carry_more_are_refused_whatever_capacity_is_stated(plan: Plan) -> None:
    wide = msgspec.structs.replace(plan.limits, steps=10**8)
    for bits in (plan.capacity_bits, capacity.capacity_bits(wide)):
        lying = msgspec.structs.replace(plan, limits=wide, capacity_bits=bits)
        assert "limits.steps" in {error.place for error in refusals(lying)}


def test_other_files_under_the_approved_digest_are_refused(plan: Plan) -> None:
    swapped = msgspec.structs.replace(plan.model.files[0], sha256="sha256:" + "0" * 64)
    files = (swapped, *plan.model.files[1:])
    lying = msgspec.structs.replace(plan, model=msgspec.structs.replace(plan.model, files=files))
    assert "model.digest" in {error.place for error in refusals(lying)}


def test_a_run_file_that_pins_another_model_is_refused(plan: Plan) -> None:
    spec = json.loads(json.dumps(plan.spec))
    spec["spec"]["model"]["digest"] = "sha256:" + "0" * 64
    lying = msgspec.structs.replace(plan, spec=spec)
    assert {error.place for error in refusals(lying)} == {"spec.model.digest"}


def test_nobody_counts_to_a_number_that_a_plan_states(plan: Plan) -> None:
    train = msgspec.structs.replace(plan.data.train, shards=2**50)
    data = msgspec.structs.replace(plan.data, train=train)
    assert refusals(msgspec.structs.replace(plan, data=data))


def test_what_a_plan_says_of_a_sealed_input_is_what_its_manifest_says(plan: Plan) -> None:
    facts: dict[str, DatasetFacts] = {
        "train": sample.facts().train,
        "held_out": sample.facts().held_out,
        "evaluator": sample.sealed_evaluator(),
    }
    for name, (place, ref) in sealed_inputs(plan).items():
        check_manifest(plan, name, facts[name])
        for field in leaves(json.loads(msgspec.json.encode(ref))):
            if field == ("uri",):
                continue  # the address is the run file's
            path = (*place.split("."), *field)
            with pytest.raises((PlanInconsistent, ErrorList)) as caught:
                check_manifest(changed(plan, path), name, facts[name])
            assert {error.place for error in errors_of(caught.value)} == {dotted(path)}
        for index, read in enumerate(plan.objects.reads):
            if read.uri.startswith(ref.uri):
                lying = changed(plan, ("objects", "reads", index, "size_bytes"))
                with pytest.raises(PlanInconsistent, match=r"objects\.reads"):
                    check_manifest(lying, name, facts[name])


def refusals(plan: Plan) -> tuple[StrongroomError, ...]:
    with pytest.raises(StrongroomError) as caught:
        check_derived(plan)
    found = errors_of(caught.value)
    assert all(isinstance(error, PlanInconsistent) for error in found)
    return found


def test_facts_of_another_evaluator_make_no_plan(tmp_path: pathlib.Path) -> None:
    facts: Facts = msgspec.structs.replace(sample.facts(), evaluator=sample.sealed_evaluator())
    with pytest.raises(PlanInconsistent, match="a sealed evaluator"):
        build_plan(sample.spec(tmp_path), facts, "feedback-1")
