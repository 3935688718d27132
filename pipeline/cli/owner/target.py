"""Whose bucket a sealed input goes into, and what it is called there."""

from __future__ import annotations

from pathlib import Path

from strongroom.pipeline.embedded.owner import Embedded
from strongroom.pipeline.owner.owner import Owner
from strongroom.pipeline.owner.owner_file import OwnerFile


def data_owner(file: Path | None, state: Path) -> Owner:
    """Who an owner file says; without one, the embedded stack's owner."""
    return Embedded.load(state).owner() if file is None else Owner(OwnerFile.load(file))


def dataset_name(key: str) -> str:
    """``datasets/feedback/train/`` is called ``feedback.train``."""
    parts = [part for part in key.split("/") if part and part != "datasets"]
    return ".".join(parts).lower()
