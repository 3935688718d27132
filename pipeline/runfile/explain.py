"""Turns what the schema refused into errors with line, column and a suggestion.

Values appear in an error only as they were written in the file: where a variable's value was put
in, the expression is shown instead.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic_core import ErrorDetails

from strongroom.errors import StrongroomError
from strongroom.errors.visible import shortened
from strongroom.pipeline.runfile.checks import Problem
from strongroom.pipeline.runfile.document import Document
from strongroom.pipeline.runfile.errors import (
    Inconsistent,
    InvalidValue,
    MissingField,
    RunError,
    UnknownChoice,
    UnknownField,
    UnknownVersion,
    WrongType,
)
from strongroom.pipeline.runfile.yaml_tree import (
    MappingNode,
    Node,
    Path,
    ScalarNode,
    SequenceNode,
    exists,
    find,
)

Schema = Mapping[str, Any]

_TYPES = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "path_type": "a path as text",
    "none_required": "no value",
}


class Explainer:
    """Explains schema errors of one document; suggestions come from ``schema``, its JSON Schema."""

    def __init__(self, document: Document, schema: Schema) -> None:
        self.document = document
        self.schema = schema

    def explain(self, details: Iterable[ErrorDetails]) -> list[tuple[Path, StrongroomError]]:
        """One error per mistake, with its path: a misspelt required field counts once."""
        found: list[tuple[Path, StrongroomError]] = []
        missing: list[Path] = []
        suggested: set[Path] = set()
        for detail in details:
            path = self.path(detail["loc"])
            kind = detail["type"]
            if kind == "missing":
                missing.append((*path, detail["loc"][-1]))
            elif kind == "extra_forbidden":
                error, suggestion = self._unknown_field(path)
                suggested.add(suggestion)
                found.append((path, error))
            elif kind in ("union_tag_invalid", "union_tag_not_found"):
                found.append(self._tag(path, detail))
            else:
                found.append((path, self._value(path, detail)))
        found.extend((path, self._missing(path)) for path in missing if path not in suggested)
        return found

    def contradiction(self, problem: Problem) -> StrongroomError:
        """A problem between fields as an error."""
        return Inconsistent(
            place=self._place(problem.path), expected=problem.expected, actual=problem.actual
        )

    def _place(self, path: Path) -> str:
        return self.document.place(path)

    def path(self, location: tuple[int | str, ...]) -> Path:
        """A schema location without the tags of unions, as far as it exists in the file."""
        path: Path = ()
        for step in location:
            if exists(self.document.root, (*path, step)):
                path = (*path, step)
        return path

    def _unknown_field(self, path: Path) -> tuple[StrongroomError, Path]:
        parent, _ = find(self.document.root, path[:-1])
        name = str(path[-1])
        mark = parent.key_marks[name] if isinstance(parent, MappingNode) else parent.mark
        given = set(parent.entries) if isinstance(parent, MappingNode) else set()
        fields = self._fields(path[:-1])
        close = difflib.get_close_matches(name, [f for f in fields if f not in given], n=1)
        suggestion = f"Did you mean {close[0]}?" if close else ""
        error = UnknownField(
            place=self.document.at(mark),
            expected=", ".join(fields) if not close else "",
            actual=_dotted(path),
            remedy=suggestion,
        )
        return error, (*path[:-1], close[0]) if close else ()

    def _missing(self, path: Path) -> StrongroomError:
        about = self._schema(path).get("description", "")
        return MissingField(
            place=self._place(path[:-1]),
            expected=_dotted(path),
            remedy=f"Add it: {about}".removesuffix(" Required.").removesuffix(".") if about else "",
        )

    def _tag(self, path: Path, detail: ErrorDetails) -> tuple[Path, StrongroomError]:
        context = detail.get("ctx", {})
        name = str(context.get("discriminator", "'type'")).strip("'")
        tags = [tag.strip(" '") for tag in str(context.get("expected_tags", "")).split(",")]
        if tags == [""]:
            tags = sorted(self._schema(path).get("discriminator", {}).get("mapping", {}))
        path = (*path, name)
        if detail["type"] == "union_tag_not_found":
            return path, MissingField(
                place=self._place(path), expected=f"{_dotted(path)}: {', '.join(tags)}"
            )
        return path, self._choice(path, tags)

    def _choice(self, path: Path, choices: list[str]) -> StrongroomError:
        node, mark = find(self.document.root, path)
        text = node.text if isinstance(node, ScalarNode) else ""
        put_in = path in self.document.written
        close = difflib.get_close_matches(text, choices, n=1)
        error: type[RunError] = UnknownChoice
        if path in (("apiVersion",), ("kind",)):
            error = UnknownVersion
        return error(
            place=self.document.at(mark),
            expected=" or ".join(choices),
            actual=self._shown(path, node),
            remedy=f"Did you mean {close[0]}?" if close and not put_in else "",
        )

    def _value(self, path: Path, detail: ErrorDetails) -> StrongroomError:
        node, mark = find(self.document.root, path)
        kind = detail["type"]
        context = detail.get("ctx", {})
        if kind in ("literal_error", "enum"):
            text = str(context.get("expected", "")).replace(" or ", ", ")
            return self._choice(path, [choice.strip(" '") for choice in text.split(",")])
        shown = self._shown(path, node)
        place = self.document.at(mark)
        if kind in _TYPES:
            return WrongType(
                place=place, expected=_TYPES[kind], actual=f"{shown} for {_dotted(path)}"
            )
        if kind == "run_field":
            return InvalidValue(
                place=place,
                expected=str(context["expected"]),
                actual=f"{shown} for {_dotted(path)}",
            )
        message = detail["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        return InvalidValue(place=place, expected=message, actual=f"{shown} for {_dotted(path)}")

    def _shown(self, path: Path, node: Node) -> str:
        if path in self.document.written:
            return f"the value of {shortened(self.document.written[path], 80)!r}"
        match node:
            case MappingNode():
                return "a mapping"
            case SequenceNode():
                return f"a list of {len(node.items)}"
            case ScalarNode():
                if node.value is None:
                    return "nothing"
                shown = shortened(node.text, 60)
                return repr(shown) if isinstance(node.value, str) else shown

    def _fields(self, path: Path) -> list[str]:
        return list(self._schema(path).get("properties", {}))

    def _schema(self, path: Path) -> Schema:
        """The part of the JSON Schema for ``path``, unions chosen by the file's own ``type``."""
        part = self._resolve(self.schema, ())
        for index, step in enumerate(path):
            if isinstance(step, int):
                part = part.get("items", {})
            else:
                part = part.get("properties", {}).get(step, part.get("additionalProperties", {}))
            if not isinstance(part, dict):
                return {}
            part = self._resolve(part, path[: index + 1])
        return part

    def _resolve(self, part: Schema, path: Path) -> Schema:
        about = part.get("description")
        if "discriminator" in part:
            node, _ = find(self.document.root, (*path, part["discriminator"]["propertyName"]))
            tag = node.value if isinstance(node, ScalarNode) else None
            reference = part["discriminator"].get("mapping", {}).get(tag)
            part = part if reference is None else {"$ref": reference}
        for option in part.get("anyOf", []):
            if option.get("type") != "null":
                part = option
        if "$ref" in part:
            part = self.schema["$defs"][part["$ref"].rsplit("/", 1)[-1]]
        return {**part, "description": about} if about else part


def _dotted(path: Path) -> str:
    return shortened(".".join(str(step) for step in path), 200)
