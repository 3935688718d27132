"""Checkpoints of a run, sealed on their way out and opened on their way back in.

Objects are sealed deterministically (docs/adr/0001), so that a step that is computed again after an
interruption meets the bytes that are there. The manifest is signed with the enclave's own key.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import msgspec

from strongroom.crypto.digests import sha256
from strongroom.crypto.dsse import pae
from strongroom.crypto.manifest import CHECKPOINT_TYPE, encode, encode_header, object_ad
from strongroom.crypto.segments import HEADER_BYTES
from strongroom.enclave.attest import Attested
from strongroom.enclave.channel import frames
from strongroom.enclave.channel.framing import Channel
from strongroom.enclave.checkpoints import checkpoint_manifest
from strongroom.enclave.plan.document import Plan
from strongroom.enclave.roles.fetcher import Fetcher
from strongroom.trainer.checkpoints.checkpoint import Checkpoint
from strongroom.trainer.rollouts.scoring import ScoredRollout

OUTPUTS = "outputs"
"""Name of the output keyset among those that the releaser sends."""


class CheckpointStore:
    """The checkpoints of the run that ``plan`` names."""

    def __init__(self, channel: Channel, plan: Plan, attested: Attested) -> None:
        self._channel = channel
        self._fetcher = Fetcher(channel)
        self._plan = plan
        self._key = attested.keysets[OUTPUTS].streaming()
        self._signing_key = attested.signing_key

    def read(self, step: int) -> Checkpoint:
        """The checkpoint after ``step``; only an enclave of this run can have sealed it."""
        return Checkpoint(step=step, adapter=self.adapter(step), state=self._object(step, "state"))

    def adapter(self, step: int) -> bytes:
        """That checkpoint's adapter alone."""
        return self._object(step, "adapter")

    def write(self, checkpoint: Checkpoint, rollouts: Sequence[ScoredRollout]) -> None:
        """Seal and send a checkpoint's objects and sample rollouts, then sign its manifest."""
        lines = b"".join(msgspec.json.encode(rollout) + b"\n" for rollout in rollouts)
        adapter = self._put("adapter", checkpoint.step, checkpoint.adapter)
        state = self._put("state", checkpoint.step, checkpoint.state)
        sample = self._put("rollouts", checkpoint.step, lines)
        manifest = checkpoint_manifest(
            self._plan.run,
            self._plan.digest,
            checkpoint.step,
            {"adapter": adapter, "state": state, "rollouts": sample},
        )
        signature = self._signing_key.sign(pae(CHECKPOINT_TYPE, encode(manifest)))
        self._channel.send_record(
            frames.CheckpointDone(
                step=checkpoint.step,
                adapter=adapter,
                state=state,
                rollouts=sample,
                signature=base64.b64encode(signature).decode(),
            )
        )

    def _object(self, step: int, artifact: frames.Artifact) -> bytes:
        request = frames.Fetch(kind="artifact", index=step, artifact=artifact)
        sealed = self._fetcher.whole(request, None)
        ad = object_ad(self._plan.run, step, artifact)
        return bytes(self._key.open(sealed, ad, place=f"checkpoint {step} {artifact}"))

    def _put(self, artifact: frames.Artifact, step: int, plaintext: bytes) -> frames.SealedEntry:
        sealed = self._key.seal_deterministic(plaintext, object_ad(self._plan.run, step, artifact))
        self._channel.send_record(frames.Put(artifact=artifact, index=step, size_bytes=len(sealed)))
        self._channel.send_object([sealed])
        return frames.SealedEntry(
            size_bytes=len(sealed),
            sha256=sha256(sealed),
            plaintext_sha256=sha256(plaintext),
            header=encode_header(bytes(sealed[:HEADER_BYTES])),
        )
