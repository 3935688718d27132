"""The run file's JSON Schema, and the reference pages of run file and owner file.

All are made from ``pipeline.runfile.spec`` and ``pipeline.owner.owner_file``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from strongroom.pipeline.owner.owner_file import OwnerFile
from strongroom.pipeline.runfile.spec import RunSpec

Schema = dict[str, Any]

_HEAD = """# The run file

One YAML 1.2 document describes a training run. Unknown and repeated fields are refused, and all
errors are reported at once with line and column. This page is generated from
`pipeline/runfile/spec.py` and `trainer/config.py`.

Values may hold `${env.STRONGROOM_NAME}`, `${params.NAME}` (set with `--param NAME=VALUE`),
`${stack.NAME}` (the embedded stack) and `${run.name}` (the file's own `metadata.name`); `$${`
stands for a literal `${`. Variables are put in once, after parsing, and never in keys. A value that
is one variable takes the type that its field wants. Of the environment a run file may read those
variables only whose names begin with `STRONGROOM_`, since what it reads ends in plan and log;
`--param` hands any other value over.
Anchors, aliases, merge keys and tags are refused. Secrets are refused: keys and credentials are
named by reference.

Durations are whole numbers with `s`, `m` or `h`; sizes with `MiB`, `GiB` or `TiB`. Relative paths
start at the run file's folder. Dates are days in UTC.
"""

_OWNER_HEAD = """# The owner file

One YAML document says who puts sealed datasets, evaluators and base models into a bucket: the
data's owner, whose identity and role are not the broker's. `strongroom seal`, `dataset`,
`evaluator seal` and `model upload` read it (`--owner`, or `STRONGROOM_OWNER`); without one they use
the embedded stack's owner. It is checked as a run file is, but has no variables, and it holds no
secret. This page is generated from `pipeline/owner/owner_file.py`.
"""


def json_schema() -> Schema:
    """JSON Schema (2020-12) of a run file whose variables have been put in."""
    schema = RunSpec.model_json_schema(by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "strongroom run file",
        **{key: value for key, value in schema.items() if key != "title"},
    }


def reference_markdown() -> str:
    """The run file's reference page."""
    return _page(_HEAD, json_schema())


def owner_markdown() -> str:
    """The owner file's reference page."""
    return _page(_OWNER_HEAD, OwnerFile.model_json_schema(by_alias=True))


def _page(head: str, schema: Schema) -> str:
    """One table per part of the file."""
    sections = [head]
    for path, part in _parts(schema, schema, ""):
        title = f"`{path}`{_chosen(part)}" if path else "The document"
        sections.append(f"## {title}\n\n{part.get('about', '')}\n\n{_table(schema, part)}")
    return "\n".join(sections)


def _parts(schema: Schema, part: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Every object of the schema with its path, parents first."""
    yield path, part
    for name, field in part["properties"].items():
        child, suffix = field, ""
        if child.get("type") == "array":
            child, suffix = child["items"], "[]"
        options = _options(child)
        for option in options:
            found = _resolve(schema, option)
            if len(options) > 1:  # it is the type that chooses among them
                found = {**found, "required": [*found.get("required", ()), "type"]}
            if "properties" in found:
                yield from _parts(schema, found, f"{path}.{name}{suffix}".lstrip("."))


def _chosen(part: Schema) -> str:
    """What ``type`` says in a mapping that has one."""
    kind = part["properties"].get("type", {}).get("const")
    return f" of type `{kind}`" if kind else ""


def _options(field: Schema) -> list[Schema]:
    return field.get("oneOf") or field.get("anyOf") or [field]


def _resolve(schema: Schema, field: Schema) -> Schema:
    if "$ref" not in field:
        return field
    found: Schema = schema["$defs"][field["$ref"].rsplit("/", 1)[-1]]
    return {**found, "about": _paragraph(found.get("description", ""))}


def _table(schema: Schema, part: Schema) -> str:
    required = set(part.get("required", ()))
    rows = ["| field | type | default | meaning |", "|---|---|---|---|"]
    for name, field in sorted(part["properties"].items(), key=lambda item: item[0] != "type"):
        default = "required" if name in required else _default(field)
        about = field.get("description") or _resolve(schema, field).get("description", "")
        meaning = _paragraph(about).removesuffix(" Required.")
        cells = (f"`{name}`", _type(schema, field), default, meaning)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _default(field: Schema) -> str:
    default = field.get("default")
    if default in (None, [], ()):
        return "see below" if "$ref" in field or "oneOf" in field else "none"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{', '.join(default) if isinstance(default, list) else default}`"


def _type(schema: Schema, field: Schema) -> str:
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{choice}`" for choice in field["enum"])
    options = [option for option in _options(field) if option.get("type") != "null"]
    if len(options) > 1:
        return " or ".join(dict.fromkeys(_type(schema, option) for option in options))
    found = _resolve(schema, options[0])
    if "properties" in found:
        return "mapping"
    if "prefixItems" in found:
        return ", ".join(_type(schema, item) for item in found["prefixItems"])
    if found.get("type") == "array":
        return f"list of {_type(schema, found['items'])}"
    if found.get("type") == "object":
        return "mapping of text"
    names = {"string": "text", "integer": "whole number", "number": "number", "boolean": "boolean"}
    if found.get("type") != "string" and "const" not in found:
        return names[found["type"]] + _range(found)
    return _type(schema, found) if "const" in found or "enum" in found else "text"


def _range(field: Schema) -> str:
    bounds = (
        ("minimum", "≥"),
        ("exclusiveMinimum", ">"),
        ("maximum", "≤"),
        ("exclusiveMaximum", "<"),
    )
    parts = [f"{sign} {field[name]}" for name, sign in bounds if name in field]
    return f", {', '.join(parts)}" if parts else ""


def _paragraph(text: str) -> str:
    return " ".join(text.split())
