"""Reads a run file: YAML with positions, variables put in, strict schema, all errors at once.

Order: parse, look for secrets, put variables in, check fields, check what fields must hold
together. Each step reports everything that it finds; the caller gets one ``ErrorList`` in the
order of the file, with places such as ``run.yaml:9:3``.

Types are strict: ``steps: "60"`` is refused. One exception: where a whole value is one variable
(``steps: ${params.steps}``) and the schema wants a number, the variable's text is read as one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping as Vars
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from strongroom.errors import ErrorList, StrongroomError
from strongroom.pipeline.runfile.checks import problems_in
from strongroom.pipeline.runfile.errors import FileMissing, RunFileTooLarge
from strongroom.pipeline.runfile.explain import Explainer, find
from strongroom.pipeline.runfile.spec import RunSpec
from strongroom.pipeline.runfile.variables import Interpolated, interpolate, secrets_in
from strongroom.pipeline.runfile.yaml_reader import parse, read
from strongroom.pipeline.runfile.yaml_tree import Node, Scalar, Source, core_value, to_data

MAX_EVALUATOR_BYTES = 1 << 20
_NOTHING: Vars[str, str] = MappingProxyType({})
_NUMBERS = {"int_type", "float_type", "bool_type"}
_PLACE = re.compile(r":(\d+):(\d+)$")


@dataclass(frozen=True)
class LoadedRun:
    """A run file that was read: the run, where it came from, and where each field stands."""

    spec: RunSpec
    source: Path
    root: Node

    def position(self, path: str) -> str:
        """``run.yaml:9:3`` for a dotted path such as ``spec.access.0.ttl``.

        A field that was left to its default is placed at the part of the file that would hold it.
        """
        steps = tuple(int(step) if step.isdigit() else step for step in path.split(".") if step)
        mark = find(self.root, steps)[1]
        return f"{self.source.name}:{mark.line}:{mark.column}"


def load(
    source: Path,
    *,
    env: Vars[str, str] = _NOTHING,
    params: Vars[str, str] = _NOTHING,
    stack: Vars[str, str] = _NOTHING,
    run: Vars[str, str] = _NOTHING,
) -> LoadedRun:
    """Read a run file; the mappings give the values of ``${env.…}``, ``${params.…}`` and so on.

    Relative paths in the file start at its folder. Raises ``ErrorList`` with every error.
    """
    return _check(read(source), source, {"env": env, "params": params, "stack": stack, "run": run})


def load_text(
    text: str | bytes,
    source: Path,
    *,
    env: Vars[str, str] = _NOTHING,
    params: Vars[str, str] = _NOTHING,
    stack: Vars[str, str] = _NOTHING,
    run: Vars[str, str] = _NOTHING,
) -> LoadedRun:
    """Like :func:`load` for text that is at hand; ``source`` gives the name and the folder."""
    data = text.encode() if isinstance(text, str) else text
    variables = {"env": env, "params": params, "stack": stack, "run": run}
    return _check(parse(data, source.name), source, variables)


@cache
def _schema() -> dict[str, Any]:
    return RunSpec.model_json_schema(by_alias=True)


def _check(source: Source, path: Path, variables: Vars[str, Vars[str, str]]) -> LoadedRun:
    secrets = secrets_in(source)
    if source.root is None:
        _raise(source.errors, secrets)
    put_in = interpolate(source, variables)
    errors = [*source.errors, *put_in.errors]
    spec, problems = _validate(source, path, put_in)
    errors.extend(problems)
    if spec is not None and not errors and not secrets:
        errors.extend(_missing_files(source, spec))
    if spec is None or errors or secrets:
        _raise(errors, secrets)
    return LoadedRun(spec, path, source.root)


def _raise(errors: list[StrongroomError], secrets: list[StrongroomError]) -> NoReturn:
    if secrets:
        # No other error repeats text of a file that holds a secret.
        errors = [
            type(error)(place=error.place, expected=error.expected, remedy=error.fix)
            for error in errors
        ]
    raise ErrorList(sorted([*secrets, *errors], key=_in_file_order))


def _in_file_order(error: StrongroomError) -> tuple[int, int]:
    match = _PLACE.search(error.place)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _validate(
    source: Source, path: Path, put_in: Interpolated
) -> tuple[RunSpec | None, list[StrongroomError]]:
    root = source.root
    assert root is not None  # noqa: S101 - the caller raised
    explainer = Explainer(source, root, put_in.written, _schema())
    try:
        return _parse(root, path, put_in, explainer), []
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
    refused = put_in.failed | {where for where, _ in placed}
    found = [error for where, error in placed if where not in put_in.failed]
    for problem in together or problems_in(to_data(root)):
        if not any(problem.path[: len(where)] == where for where in refused):
            found.append(explainer.contradiction(problem))
    return None, found


def _parse(root: Node, path: Path, put_in: Interpolated, explainer: Explainer) -> RunSpec:
    """Validate; read whole variables as numbers where the schema wants numbers, and once more."""
    folder = path.resolve().parent
    try:
        return RunSpec.parse(json.dumps(to_data(root)), folder=folder)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        if not _read_numbers(root, details, put_in, explainer):
            raise
    return RunSpec.parse(json.dumps(to_data(root)), folder=folder)


def _read_numbers(
    root: Node, details: list[ErrorDetails], put_in: Interpolated, explainer: Explainer
) -> bool:
    changed = False
    for detail in details:
        where = explainer.path(detail["loc"])
        node, _ = find(root, where)
        if detail["type"] in _NUMBERS and where in put_in.whole and isinstance(node, Scalar):
            node.value = core_value(str(node.value))
            changed = changed or not isinstance(node.value, str)
    return changed


def _missing_files(source: Source, spec: RunSpec) -> list[StrongroomError]:
    """Files that planning reads. The broker's credentials are not among them: it alone may look."""
    root = source.root
    assert root is not None  # noqa: S101 - the file was valid

    def place(*path: str) -> str:
        return source.place(find(root, ("spec", *path))[1])

    found: list[StrongroomError] = []
    evaluator, bundle = spec.spec.evaluator.source, spec.spec.policy.bundle
    if evaluator is None:
        pass
    elif not evaluator.is_file():
        where = place("evaluator", "source")
        found.append(FileMissing(place=where, expected="a Python file", actual="none"))
    elif evaluator.stat().st_size > MAX_EVALUATOR_BYTES:
        where = place("evaluator", "source")
        limit = f"at most {MAX_EVALUATOR_BYTES} bytes"
        found.append(RunFileTooLarge(place=where, expected=limit, actual="a larger evaluator"))
    if not bundle.is_dir():
        where = place("policy", "bundle")
        found.append(FileMissing(place=where, expected="a policy bundle's folder", actual="none"))
    return found
