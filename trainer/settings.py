"""The base of all configuration: frozen, keyword-only, without unknown keys, NaN or infinity."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A part of a training run's configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
