"""The event reference, ``docs/reference/events.md``, made from the classes themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from strongroom.audit.events.ocsf import VERSION
from strongroom.audit.events.types import TYPES


def events_reference() -> str:
    """The page as Markdown."""
    lines = [
        "# Events",
        "",
        "Every event is one entry of the audit log: canonical JSON (RFC 8785) of an OCSF "
        f"{VERSION} object. The event's own fields stand under `unmapped`, its type under "
        "`metadata.event_code`, its run under `metadata.correlation_uid`, its id under "
        "`metadata.uid`, and the role that saw it under `metadata.product.feature.name`. No field "
        "holds free text.",
    ]
    for name, kind in sorted(TYPES.items()):
        ocsf = kind.ocsf
        lines += [
            "",
            f"## `{name}`",
            "",
            " ".join((kind.__doc__ or "").split()),
            "",
            f"OCSF: {ocsf.class_name} ({ocsf.class_uid}), {ocsf.activity_name}.",
        ]
        if fields := msgspec.structs.fields(kind):
            schema = msgspec.json.schema(kind)["$defs"]
            rows = _rows(schema[kind.__name__], schema)
            lines += ["", "| field | what it holds |", "|---|---|"]
            lines += [f"| `{field.name}` | {rows[field.name]} |" for field in fields]
    return "\n".join(lines) + "\n"


def _rows(struct: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, str]:
    properties: dict[str, Any] = struct["properties"]
    return {name: _describe(value, schema) for name, value in properties.items()}


def _describe(value: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """A field's JSON schema in words."""
    if "$ref" in value:
        inner = schema[value["$ref"].rpartition("/")[2]]
        text = "; ".join(f"`{key}`: {row}" for key, row in _rows(inner, schema).items())
    elif value.get("type") == "array":
        text = f"a list of {_describe(value['items'], schema)}"
    elif value.get("type") == "object":
        names = _describe(value.get("propertyNames", {"description": "name"}), schema)
        text = f"for each {names}: {_describe(value['additionalProperties'], schema)}"
    elif "enum" in value:
        text = "one of " + ", ".join(f"`{item}`" for item in value["enum"])
    else:
        text = str(value.get("description", value.get("type", "")))
    return text.replace("|", "\\|")
