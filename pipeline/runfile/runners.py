"""Which Beam runner drives a run, and its settings. ``pipeline.run.runners`` makes them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, TypeAdapter

from strongroom.pipeline.runfile.part import Part


class EmbeddedRunner(Part):
    """Beam's runner inside the controller's own process."""

    type: Literal["embedded"] = Field(
        default="embedded", description="Which Beam runner: embedded. Default: embedded."
    )


AnyRunner = EmbeddedRunner
"""A union by ``type``, once there are several."""
RUNNER: TypeAdapter[AnyRunner] = TypeAdapter(AnyRunner)
