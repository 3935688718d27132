"""The objects that one run's enclave may ask for and write: those of its plan."""

from __future__ import annotations

from collections.abc import Iterator

from typing_extensions import Buffer

from strongroom.crypto.digests import Sha256, sha256
from strongroom.crypto.dsse import open_self_signed
from strongroom.crypto.errors import CryptoError
from strongroom.crypto.manifest import CHECKPOINT_TYPE, DATASET_TYPE, decode_sealed, shard_name
from strongroom.enclave.channel import frames
from strongroom.enclave.channel.errors import ChannelViolation, PlanMismatch
from strongroom.enclave.channel.framing import MAX_CONTROL_BYTES
from strongroom.enclave.checkpoints import OBJECT_NAMES
from strongroom.enclave.plan.derived import check_manifest, sealed_inputs
from strongroom.enclave.plan.document import Plan
from strongroom.enclave.plan.objects import MANIFEST, RunLayout
from strongroom.enclave.plan.parts import DatasetFacts
from strongroom.pipeline.broker.errors import OutputConflict
from strongroom.pipeline.broker.reach import Reach, create_once


class RunObjects:
    """The objects that one run's enclave may ask for and write: those of its plan."""

    def __init__(self, reach: Reach, plan: Plan, evaluator: bytes = b"") -> None:
        self._reach = reach
        self._evaluator = evaluator
        self._plan = plan
        self._layout = RunLayout(plan.outputs, plan.run)

    def fetch(self, request: frames.Fetch) -> Iterator[Buffer]:
        """See ``enclave.broker.Objects.fetch``."""
        if request.kind == "evaluator" and self._evaluator:
            yield self._evaluator
            return
        purpose, uri = self._locate(request)
        bucket, key = self._reach.bucket(purpose, uri)
        yield from bucket.stream(key, chunk_bytes=1 << 20)

    def check_manifests(self) -> None:
        """Raise ``PlanMismatch`` and ``PlanInconsistent`` unless the plan says of each sealed input
        what the manifest that it pins says."""
        for name, (_place, ref) in sealed_inputs(self._plan).items():
            place = ref.uri + MANIFEST
            bucket, key = self._reach.bucket("data-read", place)
            envelope, _etag = bucket.get(key, max_bytes=MAX_CONTROL_BYTES)
            if sha256(envelope) != ref.manifest_sha256:
                raise PlanMismatch(
                    place=place, expected=ref.manifest_sha256, actual=sha256(envelope)
                )
            payload, signer = open_self_signed(envelope, DATASET_TYPE, place=place)
            manifest = decode_sealed(payload, place)
            check_manifest(self._plan, name, DatasetFacts.of(envelope, signer, manifest))

    def put(self, artifact: str, step: int, data: bytes) -> None:
        """See ``enclave.broker.Objects.put``."""
        uri = self._planned(self._layout.checkpoint(step) + OBJECT_NAMES[artifact])
        existing = create_once(self._reach, uri, data)
        if existing is not None and existing != data:
            raise OutputConflict(place=uri, expected=sha256(data), actual=sha256(existing))

    def put_manifest(self, step: int, envelope: bytes) -> Sha256:
        """See ``enclave.broker.Objects.put_manifest``.

        A manifest that is there already stays if it says the same of the same objects: then an
        earlier enclave of this run wrote it, and only its signature differs. Any other is none of
        ours, and is not adopted.
        """
        uri = self._planned(self._layout.manifest(step))
        existing = create_once(self._reach, uri, envelope)
        if existing is None:
            return sha256(envelope)
        if not _same_payload(envelope, existing, uri):
            raise OutputConflict(place=uri, expected=sha256(envelope), actual=sha256(existing))
        return sha256(existing)

    def _planned(self, uri: str) -> str:
        if uri not in self._plan.objects.writes.objects:
            raise ChannelViolation(place="enclave", expected="an object of the plan")
        return uri

    def _locate(self, request: frames.Fetch) -> tuple[str, str]:
        plan = self._plan
        dataset = plan.data.of(request.dataset)
        match request.kind:
            case "model" if request.index < len(plan.model.files):
                return "data-read", plan.model.uri + plan.model.files[request.index].name
            case "evaluator" if plan.evaluator.sealed is None:
                return "run-read", self._layout.evaluator
            case "evaluator" if plan.evaluator.sealed is not None:
                return "data-read", plan.evaluator.sealed.uri + shard_name(0)
            case "evaluator_manifest" if plan.evaluator.sealed is not None:
                return "data-read", plan.evaluator.sealed.uri + MANIFEST
            case "manifest":
                return "data-read", dataset.uri + MANIFEST
            case "shard" if request.index < dataset.shards:
                return "data-read", dataset.uri + shard_name(request.index)
            case "artifact" if request.artifact in OBJECT_NAMES:
                folder = self._layout.checkpoint(request.index)
                return "run-read", folder + OBJECT_NAMES[request.artifact]
        raise ChannelViolation(place="enclave", expected="an object of the plan")


def _same_payload(ours: bytes, found: bytes, place: str) -> bool:
    payload, _signer = open_self_signed(ours, CHECKPOINT_TYPE, place=place)
    try:
        return open_self_signed(found, CHECKPOINT_TYPE, place=place)[0] == payload
    except CryptoError:
        return False
