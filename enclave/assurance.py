"""How far an enclave is isolated from its host.

``A0``: no sandbox, for development. ``A1``: isolated by software; the host's root and its operator
are trusted. ``A2`` and ``A3`` need hardware, and no enclave of this version has them.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

Assurance: TypeAlias = Literal["A0", "A1"]
"""What an enclave of this version can be."""

Level: TypeAlias = Literal["A0", "A1", "A2", "A3"]
"""What a key's owner may ask for."""

LEVELS: tuple[Level, ...] = ("A0", "A1", "A2", "A3")
"""All of them, the weakest first."""
