"""What the report is told of a plan, and of how a releaser judges an enclave's walls."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest

from strongroom.crypto.digests import digest_of
from strongroom.enclave.errors import EnclaveError
from strongroom.enclave.evidence import Evidence, Expectation, check_evidence
from strongroom.enclave.plan.document import Plan
from strongroom.enclave.sandbox import probe_names
from strongroom.pipeline.inspection.planned import judged, planned_in
from strongroom.pipeline.planning.plan import build_plan
from strongroom.pipeline.runfile.load import LoadedRun
from support import sample

RUN = "feedback-1"
DIGEST, NONCE = "sha256:" + "a" * 64, "n" * 22
KEY = base64.b64encode(bytes(32)).decode()


@pytest.fixture
def plan(load_example: Callable[..., LoadedRun], example: str) -> Plan:
    return build_plan(load_example(example).spec, sample.facts(), RUN)


def test_everything_that_controls_ask_for_is_taken_from_the_plan(plan: Plan) -> None:
    train = sample.facts().train.manifest
    found = planned_in(plan, {plan.data.train.uri: train})
    assert (found.digest, found.policy, found.rules) == (plan.digest, plan.policy.digest, 2)
    assert (found.measurement, found.assurance) == (plan.code.measurement, "A1")
    pinned, unread = found.datasets
    assert [shard.sha256 for shard in pinned.pinned] == [shard.sha256 for shard in train.shards]
    assert unread.pinned == ()
    keys = {key.name: key for key in found.keysets}
    assert set(keys) == {"train", "held_out", "outputs"}
    assert keys["train"].keyset == digest_of(plan.data.train.keyset)
    assert (keys["outputs"].kms, keys["outputs"].key_id) == (plan.keys.outputs, None)
    assert {lease.purpose for lease in found.leases} == {lease.purpose for lease in plan.leases}
    assert {lease.bucket for lease in found.leases} == {"acme-data", "acme-audit"}
    (last, *_) = sorted(found.checkpoints, key=lambda each: -each.step)
    assert (last.step, last.uri) == (
        plan.training.steps,
        last.manifest.removesuffix("manifest.json"),
    )
    assert set(last.objects) == {"adapter.sealed", "state.sealed", "rollouts.sealed"}
    everything = {*found.inputs, found.output_keyset, found.result}
    everything |= {uri for each in found.checkpoints for uri in (each.manifest,)}
    named = {ref.uri for ref in plan.objects.reads} | set(plan.objects.writes.objects)
    assert {uri for uri in everything if uri not in named} == {plan.model.uri + "model.json"}
    assert [bucket.holds for bucket in found.buckets] == ["the log", "the outputs", "the data"]
    assert found.buckets[0].lock_days == 1


TABLES = (*probe_names._STATES.values(), *probe_names._MAIN_STATES.values())
WORDS = sorted({"blocked", "open", "absent", "engine"}.union(*(v for t in TABLES for v in t)))


def values(name: str) -> list[str]:
    """What evidence may say of a probe."""
    return [word for word in WORDS if probe_names.known(name, word)]


def best(name: str) -> str:
    closed = [word for word in values(name) if probe_names.closed(name, word)]
    return [*closed, *(word for word in values(name) if probe_names.tolerated(name, word))][0]


GOOD = {name: best(name) for name in probe_names.MAIN | probe_names.EVALUATOR}


def released(probes: dict[str, str]) -> bool:
    """Whether the releaser would give a key to an enclave with these probes."""
    owed = tuple(sorted(n for n, v in probes.items() if n in GOOD and probe_names.tolerated(n, v)))
    evidence = Evidence(
        role="train",
        assurance="A1",
        measurement=DIGEST,
        plan_digest=DIGEST,
        nonce=NONCE,
        hpke_key=KEY,
        signing_key=f"ed25519:{KEY}",
        probes=probes,
        warnings=owed,
    )
    expectation = Expectation(
        role="train",
        min_assurance="A1",
        measurements=frozenset({DIGEST}),
        plan_digest=DIGEST,
        nonce=NONCE,
    )
    try:
        check_evidence(evidence, expectation)
    except EnclaveError:
        return False
    return True


def held(probes: dict[str, str]) -> bool:
    return not {"open", "missing"} & set(judged(probes).values())


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_wall_is_judged_as_the_releaser_judges_it(name: str) -> None:
    assert held(GOOD)
    assert released(GOOD)
    without = {other: value for other, value in GOOD.items() if other != name}
    assert judged(without)[name] == "missing"
    assert not released(without)
    for value in (*values(name), "anything"):
        probes = GOOD | {name: value}
        assert held(probes) == released(probes), (name, value)


@pytest.mark.parametrize("mlock", ["locked", "unlocked"])
@pytest.mark.parametrize("swap", ["none", "present", "unknown"])
def test_swap_is_judged_with_locked_memory(mlock: str, swap: str) -> None:
    for name in ("mlock", "evaluator.mlock"):
        probes = GOOD | {"swap": swap, name: mlock}
        assert held(probes) == released(probes) == (mlock == "locked" or swap == "none")


def test_a_probe_that_no_release_knows_is_open() -> None:
    probes = GOOD | {"anything": "blocked"}
    assert judged(probes)["anything"] == "open"
    assert not released(probes)
