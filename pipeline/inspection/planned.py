"""What a report takes from a run's plan and signed manifests, and how it judges an enclave's walls.

The report's package reads no plan and knows no enclave; here both become its plain data.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from strongroom.audit.report import planned as report
from strongroom.connectors.buckets.uri import parse
from strongroom.crypto.digests import digest_of
from strongroom.crypto.manifest import DatasetManifest, WrappedKeyset
from strongroom.enclave.plan.document import Plan
from strongroom.enclave.plan.objects import (
    CHECKPOINT_OBJECTS,
    MANIFEST,
    MODEL_LIST,
    RunLayout,
    checkpoint_steps,
)
from strongroom.enclave.plan.parts import DatasetRef
from strongroom.enclave.sandbox.probe_names import EVALUATOR, MAIN, closed, known, tolerated
from strongroom.pipeline.runfile import spec as runfile


def planned_in(plan: Plan, manifests: Mapping[str, DatasetManifest]) -> report.Planned:
    """What a report takes from a plan; ``manifests`` are those that were verified, by address."""
    run = plan.spec["spec"]
    training, layout = plan.training, RunLayout(plan.outputs, plan.run)
    planted = None
    if (secrets := training.memorisation) is not None:
        planted = report.Planted(secrets.canaries, secrets.repetitions, secrets.words)
    waivers = (runfile.Waiver.model_validate(each) for each in run["policy"]["waivers"])
    return report.Planned(
        digest=plan.digest,
        outputs=plan.outputs,
        model_uri=plan.model.uri,
        keys=tuple(sorted(msgspec.structs.asdict(plan.keys).items())),
        method=training.method.type,
        metrics=plan.evaluator.metrics,
        planted=planted,
        capacity_bits=plan.capacity_bits,
        waivers=tuple(report.Waiver(w.rule, w.owner, w.reason, w.expires) for w in waivers),
        policy=plan.policy.digest,
        rules=len(plan.policy.rules),
        base_model=plan.model.digest,
        evaluator=plan.evaluator.sha256,
        measurement=plan.code.measurement,
        assurance=plan.run_file.enclave.assurance,
        datasets=tuple(
            _dataset(ref, manifests.get(ref.uri)) for ref in (plan.data.train, plan.data.held_out)
        ),
        keysets=_keysets(plan),
        leases=tuple(
            report.PlannedLease(
                purpose=lease.purpose,
                bucket=parse(lease.bucket + "/").bucket,
                role=lease.role,
                read=lease.read,
                create=lease.create,
                ttl_s=lease.ttl_s,
            )
            for lease in plan.leases
        ),
        checkpoints=tuple(
            report.PlannedCheckpoint(
                step=step,
                uri=layout.checkpoint(step),
                manifest=layout.manifest(step),
                objects=tuple(name for name in CHECKPOINT_OBJECTS if name != MANIFEST),
            )
            for step in checkpoint_steps(training)
        ),
        numbers=report.PlannedNumbers(
            step_metrics=plan.limits.step_metrics,
            evaluation_metrics=plan.limits.evaluation_metrics,
            steps=plan.limits.steps,
            checkpoints=plan.limits.checkpoints,
            evaluations=plan.limits.evaluations,
        ),
        inputs=_inputs(plan, layout),
        output_keyset=layout.keys,
        result=layout.result,
        buckets=tuple(
            report.PlannedBucket(
                holds=holds,
                uri=uri,
                versioned=facts.versioned,
                object_lock=facts.object_lock,
                lock_mode=facts.lock_mode,
                lock_days=facts.lock_days,
            )
            for holds, uri, facts in (
                ("the log", plan.audit, plan.facts.audit_bucket),
                ("the outputs", plan.outputs, plan.facts.outputs_bucket),
                ("the data", plan.data.train.uri, plan.facts.data_bucket),
            )
        ),
    )


def judged(probes: Mapping[str, str]) -> dict[str, report.Wall]:
    """Each probe of a training enclave as the releaser judges it, missing ones too."""
    found: dict[str, report.Wall] = dict.fromkeys((MAIN | EVALUATOR) - probes.keys(), "missing")
    for name, value in probes.items():
        if not known(name, value):
            found[name] = "open"
        elif closed(name, value):
            found[name] = "closed"
        else:
            found[name] = "tolerated" if tolerated(name, value) else "open"
    if probes.get("swap") != "none":
        unlocked = {name for name in ("mlock", "evaluator.mlock") if probes.get(name) != "locked"}
        found |= dict.fromkeys(unlocked & probes.keys(), "open")
    return found


def _dataset(ref: DatasetRef, manifest: DatasetManifest | None) -> report.PlannedDataset:
    shards = () if manifest is None else manifest.shards
    return report.PlannedDataset(
        name=ref.name,
        uri=ref.uri,
        manifest=ref.manifest_sha256,
        shards=ref.shards,
        records=ref.records,
        pinned=tuple(
            report.PlannedShard(shard.sha256, shard.records, shard.plaintext_bytes)
            for shard in shards
        ),
    )


def _keysets(plan: Plan) -> tuple[report.PlannedKeyset, ...]:
    sealed = {"train": plan.data.train.keyset, "held_out": plan.data.held_out.keyset}
    if plan.evaluator.sealed is not None:
        sealed["evaluator"] = plan.evaluator.sealed.keyset
    outputs = report.PlannedKeyset("outputs", plan.keys.outputs)
    return (*(_keyset(name, keyset) for name, keyset in sealed.items()), outputs)


def _keyset(name: str, keyset: WrappedKeyset) -> report.PlannedKeyset:
    digest = digest_of(keyset)
    return report.PlannedKeyset(name, keyset.kms, keyset.key_id, keyset.commitment, digest)


def _inputs(plan: Plan, layout: RunLayout) -> tuple[str, ...]:
    """Everything that is read: the shards of datasets and evaluator, the model, the source."""
    source = () if plan.evaluator.sealed is not None else (layout.evaluator,)
    return (*source, plan.model.uri + MODEL_LIST, *(ref.uri for ref in plan.objects.reads))
