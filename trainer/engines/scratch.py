"""The folder in which an engine that reads files finds the model and the adapter.

Loads no library, since an enclave makes the files before its lock-down.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

Buffer = bytes | bytearray | memoryview

BASE, ADAPTER = "base", "adapter"
ADAPTER_CONFIG = f"{ADAPTER}/adapter_config.json"
ADAPTER_WEIGHTS = f"{ADAPTER}/adapter_model.safetensors"
_MOST_CONFIG_BYTES, _MOST_ADAPTER_BYTES = 1 << 16, 4 << 30


class Scratch(Protocol):
    """A folder whose files the trainer fills and an engine reads."""

    @property
    def path(self) -> Path:
        """The folder."""

    def put(self, name: str, data: Buffer) -> None:
        """Fill the file of this name, a path below the folder; later with as many bytes."""

    def drop(self, name: str) -> None:
        """Free a file's memory. The file must not be used again."""


def base_names(files: Mapping[str, object]) -> dict[str, str]:
    """The base model's files that an engine reads, by the model's name: the name in the scratch.

    Names in the scratch are ours, since the model's might lead out of the folder.
    """
    weights = sorted(name for name in files if name.endswith(".safetensors"))
    numbered = {name: f"{BASE}/{index:05d}.safetensors" for index, name in enumerate(weights)}
    return {"config.json": f"{BASE}/config.json", **numbered}


def most_bytes(sizes: Mapping[str, int]) -> dict[str, int]:
    """Every file that an engine needs and its largest size; ``sizes`` are the base model's."""
    base = {inside: sizes.get(name, 0) for name, inside in base_names(sizes).items()}
    return {**base, ADAPTER_CONFIG: _MOST_CONFIG_BYTES, ADAPTER_WEIGHTS: _MOST_ADAPTER_BYTES}


class FolderScratch:
    """A scratch in a folder of the file system: for tests and benches, outside an enclave."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def put(self, name: str, data: Buffer) -> None:
        """See :class:`Scratch`. In place, as an engine may hold the file open."""
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)

    def drop(self, name: str) -> None:
        """See :class:`Scratch`."""
        (self.path / name).unlink()
