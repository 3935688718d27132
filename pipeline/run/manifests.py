"""The signed manifests of a run's sealed inputs."""

from __future__ import annotations

from dataclasses import dataclass

from strongroom.crypto.manifest import DatasetManifest
from strongroom.enclave.channel import frames


@dataclass(frozen=True)
class SignedManifest:
    """A manifest with the envelope that it came in."""

    envelope: bytes
    manifest: DatasetManifest


@dataclass(frozen=True)
class Manifests:
    """Those of both datasets, and of a sealed evaluator, which no stage opens."""

    train: SignedManifest
    held_out: SignedManifest
    evaluator: SignedManifest | None = None

    def of(self, dataset: frames.Dataset) -> DatasetManifest:
        """The manifest of one dataset."""
        return (self.train if dataset == "train" else self.held_out).manifest

    def envelopes(self) -> dict[str, bytes]:
        """What the releaser checks, by the name of the keyset that it is about."""
        found = {"train": self.train.envelope, "held_out": self.held_out.envelope}
        if self.evaluator is not None:
            found["evaluator"] = self.evaluator.envelope
        return found
