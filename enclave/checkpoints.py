"""The manifest of a checkpoint, built by the enclave that signs it and the broker that writes it.

Both build it from the same record, so the enclave chooses no byte of it freely.
"""

from __future__ import annotations

from collections.abc import Mapping

from strongroom.crypto.digests import Sha256
from strongroom.crypto.manifest import CheckpointManifest, SealedObject
from strongroom.enclave.channel import frames

ADAPTER, STATE, ROLLOUTS = "adapter", "state", "rollouts"
"""What a checkpoint holds."""
OBJECT_NAMES = {name: f"{name}.sealed" for name in (ADAPTER, STATE, ROLLOUTS)}
"""Name of an artifact's object beside its manifest."""


def checkpoint_manifest(
    run: str, plan_digest: str, step: int, entries: Mapping[str, frames.SealedEntry]
) -> CheckpointManifest:
    """The manifest of the checkpoint at ``step`` with one entry per artifact."""
    return CheckpointManifest(
        run=run,
        step=step,
        plan_digest=Sha256(plan_digest),
        objects={
            name: SealedObject(
                object=OBJECT_NAMES[name],
                size_bytes=entry.size_bytes,
                sha256=Sha256(entry.sha256),
                plaintext_sha256=Sha256(entry.plaintext_sha256),
                header=entry.header,
            )
            for name, entry in entries.items()
        },
        cursor={"step": step},
    )
