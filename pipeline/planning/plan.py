"""The plan: everything that a run will read, write, hold and be allowed to do, under one digest.

``build_plan`` is pure: the same run file and facts give the same plan, byte for byte, on every
machine. Policy decides on the plan, the releaser and the enclave check its digest, and a run whose
plan has drifted since approval is refused.

The document is canonical JSON (RFC 8785). ``Plan.from_json`` accepts no other form of it.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

from strongroom.crypto.digests import Sha256, canonical, sha256
from strongroom.crypto.errors import NotCanonical
from strongroom.enclave.channel.capacity import Limits
from strongroom.errors import ErrorList
from strongroom.pipeline.planning.facts import (
    CodeFacts,
    DatasetFacts,
    Facts,
    ModelFile,
    PolicyFacts,
    model_digest,
)
from strongroom.pipeline.planning.leases import plan_leases
from strongroom.pipeline.planning.objects import (
    MANIFEST,
    PLAN,
    RunLayout,
    check_run_id,
    run_objects,
)
from strongroom.pipeline.planning.parts import (
    DataRefs,
    DatasetRef,
    EvaluatorRef,
    KeyRefs,
    LeaseRef,
    ModelRef,
    ObjectRef,
    Objects,
    PlanFacts,
    Precision,
    Writes,
)
from strongroom.pipeline.runfile.errors import FactsDisagree, PlanMalformed
from strongroom.pipeline.runfile.runners import RUNNER, AnyRunner
from strongroom.pipeline.runfile.spec import Enclave, Keys, RunSpec, TrainingRun
from strongroom.trainer.config import TrainingConfig

_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
MAX_PLAN_BYTES = 16 << 20


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The plan document. Build it with :func:`build_plan`."""

    version: Literal[1] = 1
    run: str
    spec: dict[str, Any]
    """The normalised run file: ``RunSpec.normalised()``."""
    outputs: str
    """Prefix under which the run's folder lies."""
    audit: str
    """Prefix of the audit log."""
    data: DataRefs
    model: ModelRef
    evaluator: EvaluatorRef
    code: CodeFacts
    policy: PolicyFacts
    objects: Objects
    leases: tuple[LeaseRef, ...]
    keys: KeyRefs
    facts: PlanFacts
    limits: Limits
    capacity_bits: int

    @property
    def training(self) -> TrainingConfig:
        """``spec.training`` of the run file."""
        return TrainingConfig.model_validate(self.spec["spec"]["training"])

    @property
    def enclave(self) -> Enclave:
        """``spec.enclave`` of the run file."""
        return Enclave.model_validate(self.spec["spec"]["enclave"])

    @property
    def runner(self) -> AnyRunner:
        """``spec.runner`` of the run file."""
        return RUNNER.validate_python(self.spec["spec"]["runner"])

    def to_json(self) -> bytes:
        """Canonical JSON; what is stored as ``plan.json`` and what the digest is over."""
        return canonical(self)

    @property
    def digest(self) -> Sha256:
        """SHA-256 of :meth:`to_json`."""
        return sha256(self.to_json())

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as policy rules read it."""
        data = msgspec.json.decode(self.to_json())
        return dict(data)

    @classmethod
    def from_json(cls, data: bytes, *, place: str = PLAN) -> Plan:
        """Read a plan; unknown, missing or repeated fields and other spellings are refused.

        Raises ``PlanMalformed``.
        """
        if len(data) > MAX_PLAN_BYTES:
            raise PlanMalformed(place=place, expected=f"at most {MAX_PLAN_BYTES} bytes")
        try:
            plan = msgspec.json.decode(data, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise PlanMalformed(place=place, actual=str(error)) from None
        except RecursionError:
            raise PlanMalformed(place=place, actual="a document nested too deeply") from None
        try:
            is_canonical = plan.to_json() == data
        except NotCanonical:
            is_canonical = False
        if not is_canonical:
            raise PlanMalformed(place=place, expected="canonical JSON", actual="another spelling")
        return plan


def build_plan(spec: RunSpec, facts: Facts, run_id: str) -> Plan:
    """The plan of one run. Pure.

    Raises ``BadRunId``, and ``ErrorList`` of ``FactsDisagree`` whose places are paths in the run
    file (``spec.model.digest``).
    """
    check_run_id(run_id)
    _check_facts(spec.spec, facts)
    run = spec.spec
    layout = RunLayout(run.outputs, run_id)
    data = DataRefs(
        train=_dataset(run.data.train, facts.train),
        held_out=_dataset(run.data.held_out, facts.held_out),
    )
    files = tuple(sorted(facts.model.files, key=lambda file: file.name))
    return Plan(
        run=run_id,
        spec=spec.normalised(),
        outputs=run.outputs,
        audit=run.audit,
        data=data,
        model=ModelRef(
            uri=run.model.base,
            digest=model_digest(files),
            files=files,
            precision=_precision(run, facts),
        ),
        evaluator=EvaluatorRef(
            name=facts.evaluator.name,
            sha256=facts.evaluator.sha256,
            size_bytes=facts.evaluator.size_bytes,
            metrics=run.evaluator.metrics,
            timeout_s=run.evaluator.timeout_s,
            score_range=run.evaluator.score_range,
            concurrency=run.evaluator.concurrency,
            sealed=_sealed_evaluator(run, facts),
        ),
        code=facts.code,
        policy=msgspec.structs.replace(facts.policy, rules=tuple(sorted(facts.policy.rules))),
        objects=Objects(
            reads=_reads(run, facts, files),
            writes=Writes(
                prefixes=(layout.folder, run.audit),
                objects=run_objects(
                    layout, run.training, sealed_evaluator=facts.evaluator.sealed is not None
                ),
            ),
        ),
        leases=plan_leases(run, layout),
        keys=key_refs(run.keys),
        facts=PlanFacts(
            data_bucket=facts.data_bucket,
            outputs_bucket=facts.outputs_bucket,
            audit_bucket=facts.audit_bucket,
            kms=facts.kms,
        ),
        limits=facts.limits,
        capacity_bits=facts.capacity_bits,
    )


def key_refs(keys: Keys) -> KeyRefs:
    """The keys that a run file names."""
    return KeyRefs(data=keys.data, outputs=keys.outputs, audit=keys.audit)


def _dataset(uri: str, facts: DatasetFacts) -> DatasetRef:
    manifest = facts.manifest
    return DatasetRef(
        uri=uri,
        manifest_sha256=facts.manifest_sha256,
        signer=facts.signer,
        name=manifest.name,
        shards=len(manifest.shards),
        records=manifest.records,
        ciphertext_bytes=sum(shard.size_bytes for shard in manifest.shards),
        plaintext_bytes=sum(shard.plaintext_bytes for shard in manifest.shards),
        keyset=manifest.keyset,
    )


def _sealed_evaluator(run: TrainingRun, facts: Facts) -> DatasetRef | None:
    if run.evaluator.sealed is None or facts.evaluator.sealed is None:
        return None
    return _dataset(run.evaluator.sealed, facts.evaluator.sealed)


def _precision(run: TrainingRun, facts: Facts) -> Precision:
    if run.model.precision == "auto":
        return "bfloat16" if facts.bfloat16 else "float32"
    return run.model.precision


def _reads(run: TrainingRun, facts: Facts, files: tuple[ModelFile, ...]) -> tuple[ObjectRef, ...]:
    found = {run.model.base + file.name: file.size_bytes for file in files}
    sealed = [(run.data.train, facts.train), (run.data.held_out, facts.held_out)]
    if run.evaluator.sealed is not None and facts.evaluator.sealed is not None:
        sealed.append((run.evaluator.sealed, facts.evaluator.sealed))
    for uri, dataset in sealed:
        found[uri + MANIFEST] = dataset.manifest_bytes
        found |= {uri + shard.object: shard.size_bytes for shard in dataset.manifest.shards}
    return tuple(ObjectRef(uri=uri, size_bytes=found[uri]) for uri in sorted(found))


def _check_facts(run: TrainingRun, facts: Facts) -> None:
    """What was found must be what the run file names, within the limits. All errors at once."""
    errors: list[FactsDisagree] = []

    def require(holds: bool, place: str, expected: str, actual: str) -> None:
        if not holds:
            errors.append(FactsDisagree(place=place, expected=expected, actual=actual))

    found = model_digest(facts.model.files)
    require(run.model.digest == found, "spec.model.digest", run.model.digest, found)
    names = [file.name for file in facts.model.files]
    require(bool(names), "spec.model.base", "the files of a model", "none")
    safe = all(_FILE.fullmatch(name) for name in names)
    require(safe, "spec.model.base", "plain file names", "a name that leaves the prefix")
    require(len(set(names)) == len(names), "spec.model.base", "each file once", "a repeated name")
    evaluator = facts.evaluator
    if run.evaluator.source is not None:
        name = run.evaluator.source.name
        same = evaluator.name == name and evaluator.sealed is None
        require(same, "spec.evaluator.source", name, evaluator.name[:80])
    else:
        sealed = evaluator.sealed is not None
        require(sealed, "spec.evaluator.sealed", "a sealed evaluator", "a source file")
    keysets = {"train": facts.train.manifest.keyset, "held_out": facts.held_out.manifest.keyset}
    for field, dataset in (("train", facts.train), ("held_out", facts.held_out)):
        require(dataset.manifest.records > 0, f"spec.data.{field}", "at least one record", "none")
    if evaluator.sealed is not None:
        keysets["the evaluator"] = evaluator.sealed.manifest.keyset
    for what, keyset in keysets.items():
        kms = keyset.kms
        require(kms == run.keys.data, "spec.keys.data", f"{kms}, which seals {what}", run.keys.data)
    if errors:
        raise ErrorList(errors)
