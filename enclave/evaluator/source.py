"""The evaluator's source inside an enclave: fetched as it is, or sealed and opened here.

A sealed evaluator has the form of a dataset with one record. The plan pins its manifest's digest,
the releaser has checked the signature, and its keyset comes with those of the data; controller and
broker see ciphertext only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from strongroom.crypto.dsse import open_self_signed
from strongroom.crypto.keyset import Keyset
from strongroom.crypto.manifest import DATASET_TYPE, decode_evaluator, shard_ad
from strongroom.crypto.pinned import check_keyset
from strongroom.enclave.channel import frames
from strongroom.enclave.channel.errors import PlanMismatch
from strongroom.enclave.plan.derived import check_manifest
from strongroom.enclave.plan.document import Plan
from strongroom.enclave.plan.parts import DatasetFacts

EVALUATOR: Final = "evaluator"
"""Name of its keyset among those that the releaser sends."""


def evaluator_source(
    fetch: Callable[[frames.Fetch, str], bytearray],
    plan: Plan,
    keysets: Mapping[str, Keyset],
) -> bytes:
    """The source that the plan pins. ``fetch`` returns a whole object of this SHA-256, or raises.

    Raises errors of ``crypto`` for another key, manifest or object than those that were sealed.
    """
    pinned = plan.evaluator
    if pinned.sealed is None:
        source = bytes(fetch(frames.Fetch(kind="evaluator"), pinned.sha256))
        if len(source) != pinned.size_bytes:
            size = f"{pinned.size_bytes} bytes"
            raise PlanMismatch(place=EVALUATOR, expected=size, actual=f"{len(source)} bytes")
        return source
    request = frames.Fetch(kind="evaluator_manifest")
    envelope = fetch(request, pinned.sealed.manifest_sha256)
    place = "evaluator manifest"
    payload, signer = open_self_signed(bytes(envelope), DATASET_TYPE, place=place)
    manifest = decode_evaluator(payload, place)
    check_manifest(plan, EVALUATOR, DatasetFacts.of(bytes(envelope), signer, manifest))
    keyset = keysets[EVALUATOR]
    check_keyset(manifest.keyset, keyset, place=EVALUATOR)
    (shard,) = manifest.shards
    sealed = fetch(frames.Fetch(kind="evaluator"), shard.sha256)
    return bytes(keyset.streaming().open(sealed, shard_ad(manifest, shard), place=EVALUATOR))
