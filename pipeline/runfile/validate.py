"""Hold a document against its schema: all errors at once, in the order of the file.

Types are strict: ``steps: "60"`` is refused. One exception: where a whole value is one variable
(``steps: ${params.steps}``) and the schema wants a number, the variable's text is read as one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from strongroom.errors import ErrorList, StrongroomError
from strongroom.pipeline.runfile.checks import Problem
from strongroom.pipeline.runfile.document import Document
from strongroom.pipeline.runfile.explain import Explainer
from strongroom.pipeline.runfile.part import Part
from strongroom.pipeline.runfile.yaml_tree import ScalarNode, core_value, find

P = TypeVar("P", bound=Part)

_NUMBERS = {"int_type", "float_type", "bool_type"}
_PLACE = re.compile(r":(\d+):(\d+)$")


def validated(
    document: Document,
    model: type[P],
    folder: Path,
    *,
    contradictions: Callable[[object], list[Problem]] = lambda _data: [],
    missing_files: Callable[[P], list[StrongroomError]] = lambda _part: [],
) -> P:
    """The document as ``model``; relative paths start at ``folder``.

    ``contradictions`` finds what fields do not hold together in plain data, also where a field is
    wrong by itself. ``missing_files`` is asked once all else is right. Raises ``ErrorList``.
    """
    part = _part(document, model, folder, contradictions) if document.is_read else None
    if part is not None and not (document.errors or document.secrets):
        document.errors.extend(missing_files(part))
    if part is None or document.errors or document.secrets:
        raise _all_errors(document)
    return part


def _all_errors(document: Document) -> ErrorList:
    errors = document.errors
    if document.secrets:
        # No other error repeats text of a file that holds a secret.
        errors = [
            type(error)(place=error.place, expected=error.expected, remedy=error.fix)
            for error in errors
        ]
    return ErrorList(sorted([*document.secrets, *errors], key=_in_file_order))


def _in_file_order(error: StrongroomError) -> tuple[int, int]:
    match = _PLACE.search(error.place)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _part(
    document: Document,
    model: type[P],
    folder: Path,
    contradictions: Callable[[object], list[Problem]],
) -> P | None:
    explainer = Explainer(document, _schema(model))
    try:
        return _parsed(document, model, folder, explainer)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    together = [
        problem
        for detail in details
        if detail["type"] == "run_together"
        for problem in detail["ctx"]["problems"]
    ]
    details = [detail for detail in details if detail["type"] != "run_together"]
    placed = explainer.explain(details)
    refused = document.failed | {where for where, _ in placed}
    document.errors.extend(error for where, error in placed if where not in document.failed)
    for problem in together or contradictions(document.data()):
        if not any(problem.path[: len(where)] == where for where in refused):
            document.errors.append(explainer.contradiction(problem))
    return None


@cache
def _schema(model: type[Part]) -> dict[str, Any]:
    return model.model_json_schema(by_alias=True)


def _parsed(document: Document, model: type[P], folder: Path, explainer: Explainer) -> P:
    """Validate; read whole variables as numbers where the schema wants numbers, and once more."""
    try:
        return model.parse(json.dumps(document.data()), folder=folder)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        if not _read_numbers(document, details, explainer):
            raise
    return model.parse(json.dumps(document.data()), folder=folder)


def _read_numbers(document: Document, details: list[ErrorDetails], explainer: Explainer) -> bool:
    changed = False
    for detail in details:
        where = explainer.path(detail["loc"])
        node, _ = find(document.root, where)
        if detail["type"] in _NUMBERS and where in document.whole and isinstance(node, ScalarNode):
            node.value = core_value(str(node.value))
            changed = changed or not isinstance(node.value, str)
    return changed
