"""What lies in a run's folder: what an earlier controller left, and what may be written again."""

from __future__ import annotations

import msgspec

from strongroom.audit.events import types as events
from strongroom.crypto.digests import sha256
from strongroom.crypto.dsse import open_self_signed
from strongroom.crypto.manifest import DATASET_TYPE, WrappedKeyset, decode_sealed
from strongroom.enclave.plan.derived import InputName, check_manifest, sealed_inputs
from strongroom.enclave.plan.document import Plan
from strongroom.enclave.plan.objects import MANIFEST, RunLayout, run_objects
from strongroom.enclave.plan.parts import DatasetFacts, DatasetRef
from strongroom.errors import bounded_json
from strongroom.pipeline.broker.client import BrokerClient
from strongroom.pipeline.broker.errors import OutputConflict
from strongroom.pipeline.planning.errors import FactMissing, RunExists, RunUnknown
from strongroom.pipeline.planning.plan import check_plan
from strongroom.pipeline.run.errors import RunUnfinished
from strongroom.pipeline.run.manifests import Manifests, SignedManifest
from strongroom.pipeline.runfile.evaluator_file import read_evaluator
from strongroom.pipeline.runfile.spec import RunSpec


def check_unused(layout: RunLayout, broker: BrokerClient) -> None:
    """Refuse a used id before the log says anything of a second run under it."""
    if broker.read(layout.plan, "run-read") is not None:
        raise RunExists(place=layout.plan)


def stored_plan(layout: RunLayout, broker: BrokerClient) -> Plan:
    """The plan as it lies in the bucket. Raises ``RunUnknown`` and ``PlanInconsistent``."""
    stored = broker.read(layout.plan, "run-read")
    if stored is None:
        raise RunUnknown(place=layout.plan)
    plan = Plan.from_json(stored.data)
    check_plan(plan)
    return plan


def stored_manifests(plan: Plan, broker: BrokerClient) -> Manifests:
    """The manifests that a plan pins. Raises ``FactMissing`` for one that is not the pinned one,
    and ``PlanInconsistent`` where the plan says otherwise than one of them."""
    found = {
        name: _pinned_manifest(plan, name, ref, broker)
        for name, (_place, ref) in sealed_inputs(plan).items()
    }
    return Manifests(found["train"], found["held_out"], found.get("evaluator"))


def _pinned_manifest(
    plan: Plan, name: InputName, ref: DatasetRef, broker: BrokerClient
) -> SignedManifest:
    place = ref.uri + MANIFEST
    stored = broker.read(place, "data-read")
    actual = "no object" if stored is None else sha256(stored.data)
    if stored is None or actual != ref.manifest_sha256:
        raise FactMissing(place=place, expected=ref.manifest_sha256, actual=actual)
    payload, signer = open_self_signed(stored.data, DATASET_TYPE, place=place)
    manifest = decode_sealed(payload, place)
    check_manifest(plan, name, DatasetFacts.of(stored.data, signer, manifest))
    return SignedManifest(stored.data, manifest)


def stored_keyset(layout: RunLayout, broker: BrokerClient) -> WrappedKeyset | None:
    """The wrapped output keyset; None before a run has one."""
    stored = broker.read(layout.keys, "run-read")
    if stored is None:
        return None
    try:
        return bounded_json.decode(stored.data, shape=WrappedKeyset)
    except msgspec.DecodeError:
        raise FactMissing(place=layout.keys, expected="a wrapped keyset") from None


def restore_evaluator(spec: RunSpec, plan: Plan, layout: RunLayout, broker: BrokerClient) -> None:
    """Write the evaluator's source where a run was killed right after its plan was written."""
    source = spec.spec.evaluator.source
    if source is None or broker.read(layout.evaluator, "run-read") is not None:
        return
    code = read_evaluator(source)
    if sha256(code) != plan.evaluator.sha256:
        raise FactMissing(place=str(source), expected=plan.evaluator.sha256, actual=sha256(code))
    broker.create(layout.evaluator, "run-create", code)


def check_complete(
    spec: RunSpec, layout: RunLayout, finished: events.TrainingFinished | None, broker: BrokerClient
) -> events.TrainingFinished:
    """How the run's training ended. Raises ``RunUnfinished`` for a run that lacks an object, which
    a replay would write."""
    if finished is None:
        raise RunUnfinished(place=layout.result)
    training = spec.spec.training.model_copy(update={"steps": finished.step})
    written = {layout.folder + name for name in broker.sizes(layout.folder, "run-read")}
    missing = set(run_objects(layout, training)) - written
    if missing:
        raise RunUnfinished(place=min(missing))
    return finished


def create_or_compare(broker: BrokerClient, uri: str, data: bytes) -> None:
    """Create an object of the run; the same bytes there are no error: another controller may have
    been quicker. Raises ``OutputConflict`` for others."""
    if broker.create(uri, "run-create", data):
        return
    stored = broker.read(uri, "run-read")
    if stored is None or stored.data != data:
        actual = "" if stored is None else sha256(stored.data)
        raise OutputConflict(place=uri, expected=sha256(data), actual=actual)
