"""Attributes that several resources and data sources have, and which of them an error is about."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tf.schema import Attribute
from tf.types import Map, String, TfType

_LINE = re.compile(r":(\d+)(?::\d+)?$")
_PARAM = re.compile(r"\$\{params\.([A-Za-z_][A-Za-z0-9_]*)\}")


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


def attribute_of(config: dict[str, Any], place: str) -> list[Any]:
    """The attribute that an error at ``place`` (``run.yaml:9:3``) is about."""
    match = _LINE.search(place)
    if match is not None:
        try:
            lines = Path(config["run_file"]).read_text(encoding="utf-8").splitlines()
            found = _PARAM.search(lines[int(match[1]) - 1])
        except (OSError, UnicodeDecodeError, IndexError):
            found = None
        if found is not None and found[1] in (config.get("params") or {}):
            return ["params", (found[1],)]
    return ["run_file"]
