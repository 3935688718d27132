"""The evaluator's source inside an enclave: fetched as it is, or sealed and opened here.

A sealed evaluator has the form of a dataset with one record. The plan pins its manifest's digest,
the releaser has checked the signature, and its keyset comes with those of the data; controller and
broker see ciphertext only.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping

import msgspec

from strongroom.crypto.keyset import Keyset
from strongroom.crypto.manifest import decode_evaluator, shard_ad
from strongroom.crypto.pinned import check_keyset
from strongroom.enclave.channel import frames
from strongroom.enclave.orders import Evaluator

EVALUATOR = "evaluator"
"""Name of its keyset among those that the releaser sends."""


def evaluator_source(
    fetch: Callable[[frames.Fetch, str], bytearray],
    pinned: Evaluator,
    keysets: Mapping[str, Keyset],
) -> bytes:
    """The source that the plan pins. ``fetch`` returns a whole object of this SHA-256, or raises.

    Raises errors of ``crypto`` for another key, manifest or object than those that were sealed.
    """
    if pinned.sealed is None:
        return bytes(fetch(frames.Fetch(kind="evaluator"), pinned.sha256))
    request = frames.Fetch(kind="evaluator_manifest")
    envelope = fetch(request, pinned.sealed.manifest_sha256)
    payload = base64.b64decode(msgspec.json.decode(envelope)["payload"])
    manifest = decode_evaluator(payload, "evaluator manifest")
    keyset = keysets[EVALUATOR]
    check_keyset(manifest.keyset, keyset, place=EVALUATOR)
    (shard,) = manifest.shards
    sealed = fetch(frames.Fetch(kind="evaluator"), shard.sha256)
    return bytes(keyset.streaming().open(sealed, shard_ad(manifest, shard), place=EVALUATOR))
