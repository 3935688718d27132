"""Attributes that several resources and data sources have."""

from __future__ import annotations

from collections.abc import Mapping

from tf.schema import Attribute
from tf.types import Map, String, TfType


def computed(types: Mapping[str, tuple[TfType, str]]) -> list[Attribute]:
    """Attributes that the command tells: name to type and description."""
    return [
        Attribute(name, kind, computed=True, description=text)
        for name, (kind, text) in types.items()
    ]


def run_file() -> list[Attribute]:
    """A run file and its parameters."""
    return [
        Attribute("run_file", String(), required=True, description="Path of the run file."),
        Attribute(
            "params",
            Map(String()),
            optional=True,
            description="Values of `${params.NAME}` in the run file.",
        ),
    ]
