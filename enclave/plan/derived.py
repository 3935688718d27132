"""How the fields of a plan follow from its run file, its run's id, and what was found.

:func:`derive` makes a plan, and :func:`check_derived` makes it again from the parts of one that no
rule derives, so that there is one set of rules and no field is left out. The planner, the broker,
the enclave, the releaser and ``strongroom verify`` all check, each for itself: what one of them
states, the others need not believe.

Given are ``run``, ``spec``, and what was found (``…Facts``, the manifests' references, the model's
files, a source's digest and size, the precision where it is ``auto``). :func:`check_manifest` holds
the references against the signed manifests. What vouches for the rest stands in
``docs/threat-model.md``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from strongroom.crypto.digests import Sha256, digest_of
from strongroom.crypto.manifest import shard_name
from strongroom.enclave.channel.capacity import Limits, capacity_bits
from strongroom.enclave.plan.document import Plan
from strongroom.enclave.plan.errors import PlanInconsistent
from strongroom.enclave.plan.leases import plan_leases
from strongroom.enclave.plan.objects import (
    MANIFEST,
    RunLayout,
    check_run_id,
    checkpoint_steps,
    run_objects,
)
from strongroom.enclave.plan.parts import (
    CodeFacts,
    DataRefs,
    DatasetFacts,
    DatasetRef,
    EvaluatorRef,
    KeyRefs,
    ModelFile,
    ModelRef,
    ObjectRef,
    Objects,
    PlanFacts,
    PolicyFacts,
    Precision,
    Source,
    Writes,
)
from strongroom.enclave.plan.run_file import DURATION, SIZE, NormalisedRun, quantity
from strongroom.errors import ErrorList
from strongroom.trainer.metric_names import EXPOSURE_METRICS, STEP_METRICS

#: Sealed bytes that one checkpoint may hold: far above any adapter, far below a dataset.
CHECKPOINT_BYTES = 1 << 30
InputName = Literal["train", "held_out", "evaluator"]
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_MOST_SHOWN = 20


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan says that no rule derives. The references' addresses do not count."""

    train: DatasetRef
    held_out: DatasetRef
    evaluator: DatasetRef | Source
    files: tuple[ModelFile, ...]
    precision: Precision
    """What ``auto`` is on the machine that plans."""
    code: CodeFacts
    policy: PolicyFacts
    facts: PlanFacts
    sizes: Mapping[str, int]
    """Of the objects of sealed inputs, by address."""


class Contradiction(NamedTuple):
    """One field that does not go with the others."""

    place: str
    expected: str
    actual: str


def derive(run: str, document: dict[str, Any], found: Found) -> Plan:
    """The plan of a run, from its normalised run file and what was found. Pure.

    Raises ``BadRunId``, ``PlanMalformed`` for what is no run file, and ``PlanInconsistent`` for an
    evaluator, or a number of shards, that was not found.
    """
    asked = NormalisedRun.of(document)
    layout = RunLayout(asked.outputs, check_run_id(run))
    data = DataRefs(
        train=_at(asked.data.train, found.train), held_out=_at(asked.data.held_out, found.held_out)
    )
    evaluator = _evaluator(asked, found.evaluator)
    files = tuple(sorted(found.files, key=lambda file: file.name))
    limits = run_limits(asked, data, len(files))
    planned = asked.model.precision
    return Plan(
        run=run,
        spec=document,
        outputs=asked.outputs,
        audit=asked.audit,
        data=data,
        model=ModelRef(
            uri=asked.model.base,
            digest=model_digest(files),
            files=files,
            precision=found.precision if planned == "auto" else planned,
        ),
        evaluator=evaluator,
        code=found.code,
        policy=msgspec.structs.replace(found.policy, rules=tuple(sorted(found.policy.rules))),
        objects=Objects(
            reads=_reads(asked.model.base, files, _sealed(data, evaluator.sealed), found.sizes),
            writes=planned_writes(asked, layout),
        ),
        leases=plan_leases(asked, layout),
        keys=key_refs(asked),
        facts=found.facts,
        limits=limits,
        capacity_bits=capacity_bits(limits),
    )


def check_derived(plan: Plan) -> None:
    """Raise ``PlanInconsistent``, or a list of them, unless each field follows from the others.

    Raises ``BadRunId`` and ``PlanMalformed`` where nothing can follow.
    """
    expected = derive(plan.run, plan.spec, _found(plan))
    _raise((*_differences("", plan, expected), *contradictions(plan)))


def check_manifest(plan: Plan, name: InputName, signed: DatasetFacts) -> None:
    """Raise ``PlanInconsistent`` unless the plan says of a sealed input what its manifest says."""
    place, ref = sealed_inputs(plan)[name]
    sizes = signed.sizes(ref.uri)
    stated = {item.uri: item.size_bytes for item in plan.objects.reads}
    _raise(
        (
            *_differences(place, ref, signed.at(ref.uri)),
            *_differences("objects.reads", {uri: stated.get(uri) for uri in sizes}, sizes),
        )
    )


def contradictions(plan: Plan) -> Iterator[Contradiction]:
    """Where what was found, and all that follows from it, is not what the run file names."""

    def unless(holds: bool, place: str, expected: str, actual: str) -> Iterator[Contradiction]:
        if not holds:
            yield Contradiction(place, expected, actual)

    asked = plan.run_file
    found = plan.model.digest
    yield from unless(asked.model.digest == found, "spec.model.digest", asked.model.digest, found)
    names = [file.name for file in plan.model.files]
    base = "spec.model.base"
    yield from unless(bool(names), base, "the files of a model", "none")
    safe = all(_FILE.fullmatch(name) for name in names)
    yield from unless(safe, base, "plain file names", "a name that leaves the prefix")
    yield from unless(len(set(names)) == len(names), base, "each file once", "a repeated name")
    sizes = {item.uri: item.size_bytes for item in plan.objects.reads}
    for place, ref in sealed_inputs(plan).values():
        field = f"spec.{place}"
        yield from unless(ref.records > 0, field, "at least one record", "none")
        shards = sum(sizes.get(ref.uri + shard_name(index), 0) for index in range(ref.shards))
        total = f"{ref.ciphertext_bytes} bytes in its shards"
        yield from unless(shards == ref.ciphertext_bytes, field, total, f"{shards}")
        kms = ref.keyset.kms
        sealing = f"{kms}, which seals {ref.name}"
        yield from unless(kms == asked.keys.data, "spec.keys.data", sealing, asked.keys.data)
        bound = ref.keyset.context == {"dataset": ref.name}
        yield from unless(bound, f"{place}.keyset", f"the keyset of {ref.name}", "another one")


def run_limits(asked: NormalisedRun, data: DataRefs, model_files: int) -> Limits:
    """What one enclave of this run may say: exactly what an honest one needs."""
    shards = data.train.shards + data.held_out.shards
    checkpoints = len(checkpoint_steps(asked.training))
    evaluations = checkpoints if asked.training.score_checkpoints else 0
    own = tuple(f"evaluator_{name}" for name in asked.evaluator.metrics)
    exposure = EXPOSURE_METRICS if asked.training.memorisation else ()
    return Limits(
        steps=asked.training.steps,
        checkpoints=checkpoints,
        evaluations=evaluations,
        shards=shards,
        records=max(data.train.records, data.held_out.records),
        # Model files, evaluator, two or three manifests; a checkpoint to resume from, two others'
        # adapters to score; each shard verified, loaded, and loaded for each further evaluation.
        fetches=model_files
        + 3
        + (asked.evaluator.sealed is not None)
        + 2
        + 2
        + (3 + evaluations) * shards,
        step_metrics=(*sorted(STEP_METRICS), *own),
        evaluation_metrics=("score_mean", *own, *exposure),
        output_bytes=checkpoints * CHECKPOINT_BYTES,
        memory_bytes=_read(asked.enclave.memory, SIZE, "spec.enclave.memory"),
    )


def sealed_inputs(plan: Plan) -> dict[InputName, tuple[str, DatasetRef]]:
    """A plan's sealed inputs, each with its place in the plan."""
    return _sealed(plan.data, plan.evaluator.sealed)


def planned_writes(asked: NormalisedRun, layout: RunLayout) -> Writes:
    """Where a run creates objects, and the names that are known beforehand."""
    sealed = asked.evaluator.sealed is not None
    objects = run_objects(layout, asked.training, sealed_evaluator=sealed)
    return Writes(prefixes=(layout.folder, asked.audit), objects=objects)


def key_refs(asked: NormalisedRun) -> KeyRefs:
    """The keys that a run file names."""
    return KeyRefs(data=asked.keys.data, outputs=asked.keys.outputs, audit=asked.keys.audit)


def model_digest(files: Iterable[ModelFile]) -> Sha256:
    """The digest that ``spec.model.digest`` pins: over names, sizes and SHA-256, sorted by name."""
    return digest_of(
        {
            "kind": "model",
            "version": 1,
            "files": msgspec.to_builtins(sorted(files, key=lambda file: file.name)),
        }
    )


def _found(plan: Plan) -> Found:
    evaluator = plan.evaluator
    return Found(
        train=plan.data.train,
        held_out=plan.data.held_out,
        evaluator=evaluator.sealed
        or Source(sha256=evaluator.sha256, size_bytes=evaluator.size_bytes),
        files=plan.model.files,
        precision=plan.model.precision,
        code=plan.code,
        policy=plan.policy,
        facts=plan.facts,
        sizes={item.uri: item.size_bytes for item in plan.objects.reads},
    )


def _at(uri: str, ref: DatasetRef) -> DatasetRef:
    return msgspec.structs.replace(ref, uri=uri)


def _evaluator(asked: NormalisedRun, found: DatasetRef | Source) -> EvaluatorRef:
    evaluator = asked.evaluator
    given = evaluator.source is not None, evaluator.sealed is not None
    if given != ((True, False) if isinstance(found, Source) else (False, True)):
        expected = "a source file" if isinstance(found, Source) else "a sealed evaluator"
        raise PlanInconsistent(place="spec.evaluator", expected=expected, actual="another")
    sealed = None
    if isinstance(found, DatasetRef):
        sealed = _at(evaluator.sealed or "", found)
        found = Source(sha256=sealed.manifest_sha256, size_bytes=sealed.plaintext_bytes)
    return EvaluatorRef(
        name=sealed.name if sealed else evaluator.source or "",
        sha256=found.sha256,
        size_bytes=found.size_bytes,
        metrics=evaluator.metrics,
        timeout_s=_read(evaluator.timeout, DURATION, "spec.evaluator.timeout"),
        score_range=evaluator.score_range,
        concurrency=evaluator.concurrency,
        sealed=sealed,
    )


def _sealed(
    data: DataRefs, evaluator: DatasetRef | None
) -> dict[InputName, tuple[str, DatasetRef]]:
    found: dict[InputName, tuple[str, DatasetRef]] = {
        "train": ("data.train", data.train),
        "held_out": ("data.held_out", data.held_out),
    }
    if evaluator is not None:
        found["evaluator"] = ("evaluator.sealed", evaluator)
    return found


def _reads(
    base: str,
    files: tuple[ModelFile, ...],
    sealed: Mapping[InputName, tuple[str, DatasetRef]],
    sizes: Mapping[str, int],
) -> tuple[ObjectRef, ...]:
    found = {base + file.name: file.size_bytes for file in files}
    for place, ref in sealed.values():
        if ref.shards > len(sizes):  # nobody counts to a number that somebody else chose
            actual = f"{ref.shards} shards, and {len(sizes)} objects"
            raise PlanInconsistent(place=place, expected="an object for each shard", actual=actual)
        for name in (MANIFEST, *map(shard_name, range(ref.shards))):
            found[ref.uri + name] = sizes.get(ref.uri + name, 0)
    return tuple(ObjectRef(uri=uri, size_bytes=found[uri]) for uri in sorted(found))


def _read(text: str, units: tuple[tuple[str, int], ...], place: str) -> int:
    value = quantity(text, units)
    if value is None:
        raise PlanInconsistent(place=place, expected="a whole number with a unit", actual=text[:40])
    return value


def _differences(place: str, actual: object, expected: object) -> Iterator[Contradiction]:
    """Each leaf at which two documents differ."""
    yield from _leaves(place, msgspec.to_builtins(actual), msgspec.to_builtins(expected))


def _leaves(place: str, actual: object, expected: object) -> Iterator[Contradiction]:
    pairs: Iterable[tuple[object, object, object]]
    if isinstance(actual, dict) and isinstance(expected, dict):
        keys = sorted(actual.keys() | expected.keys())
        pairs = ((key, actual.get(key), expected.get(key)) for key in keys)
    elif isinstance(actual, list | tuple) and isinstance(expected, list | tuple):
        if len(actual) != len(expected):
            yield Contradiction(place, _shown(expected), _shown(actual))
            return
        pairs = ((index, *pair) for index, pair in enumerate(zip(actual, expected, strict=True)))
    else:
        if actual != expected:
            yield Contradiction(place, _shown(expected), _shown(actual))
        return
    for key, *pair in pairs:
        yield from _leaves(f"{place}.{key}" if place else str(key), *pair)


def _shown(value: object) -> str:
    """A value of a plan, short; of a list, which may be long, how much it holds."""
    if isinstance(value, list | tuple | dict):
        return f"{len(value)} entries"
    return "none" if value is None else str(value)[:200]


def _raise(found: Iterable[Contradiction]) -> None:
    errors = [
        PlanInconsistent(place=each.place, expected=each.expected, actual=each.actual)
        for each in list(found)[:_MOST_SHOWN]
    ]
    if errors:
        raise errors[0] if len(errors) == 1 else ErrorList(errors)
