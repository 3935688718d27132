"""What every mapping of a run file or an owner file is: typed, frozen, closed."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A mapping of the run file, or of a file in its words: frozen, unknown fields refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", serialize_by_alias=True, allow_inf_nan=False
    )

    @classmethod
    def parse(cls, data: str | bytes, *, folder: Path | None = None) -> Self:
        """From JSON text with strict types; relative paths start at ``folder``.

        Raises ``pydantic.ValidationError``.
        """
        context = None if folder is None else {"folder": folder}
        return cls.model_validate_json(data, strict=True, context=context)
