"""Puts the values of variables into a run file's scalars, once, after parsing.

``${env.STRONGROOM_NAME}``, ``${params.NAME}``, ``${stack.NAME}`` and ``${run.name}`` are replaced
inside values and never in keys. What a variable holds is not read again, so it cannot add fields,
nor name further variables. ``$${`` stands for a literal ``${``.

A run file may come from somebody who is not trusted with the environment of whoever runs it, and
what it says ends in the plan and the log. So it reads no variable but those whose names say that
they are meant for it; any other value is handed to it with ``--param``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

from strongroom.errors import ErrorList, StrongroomError
from strongroom.errors.visible import shortened
from strongroom.pipeline.runfile.document import Document
from strongroom.pipeline.runfile.errors import (
    BadInterpolation,
    MissingVariable,
    ParameterMalformed,
    SecretInRunFile,
    VariableForbidden,
)
from strongroom.pipeline.runfile.secrets import looks_secret
from strongroom.pipeline.runfile.yaml_tree import (
    MappingNode,
    Node,
    Path,
    ScalarNode,
    SequenceNode,
    scalars,
)

_EXPRESSION = re.compile(r"\$\$\{|\$\{([^{}]*)(\}?)")
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_VARIABLE = re.compile(rf"(env|params|stack|run)\.({_NAME})")
_PARAMETER = re.compile(rf"({_NAME})=(.*)", re.DOTALL)
ENV_PREFIX = "STRONGROOM_"
"""Of the environment's variables that a run file may read."""
_RUN_NAME: Path = ("metadata", "name")
_HOW_TO_SET = {
    "env": "Set it: export {name}=…",
    "params": "Set it: --param {name}=…",
    "stack": "It comes from the embedded stack: start it with `strongroom stack up`",
    "run": "Only ${{run.name}} is known: the file's own metadata.name",
}


def parameters(given: Iterable[str]) -> dict[str, str]:
    """``name=value`` of each ``--param``. Raises ``ErrorList`` with each that is none."""
    matches = [_PARAMETER.fullmatch(text) for text in given]
    errors = [
        ParameterMalformed(place=f"--param {number}", expected="name=value, such as steps=60")
        for number, match in enumerate(matches, 1)
        if match is None
    ]
    if errors:
        raise ErrorList(errors)
    return {match[1]: match[2] for match in matches if match is not None}


def put_in(document: Document, variables: Mapping[str, Mapping[str, str]]) -> None:
    """Replace every expression in the tree, in place; ``variables`` is by namespace.

    ``${run.name}`` is what ``metadata.name`` comes to.
    """
    _refuse_in_keys(document, document.root)
    found = dict(scalars(document.root))
    run: dict[str, str] = {}
    env = {
        name: value
        for name, value in variables.get("env", {}).items()
        if name.startswith(ENV_PREFIX)
    }
    variables = {**variables, "env": env, "run": run}
    if (name := found.pop(_RUN_NAME, None)) is not None:
        _replace(document, _RUN_NAME, name, variables)
        if isinstance(name.value, str):
            run["name"] = name.value
    for path, scalar in found.items():
        _replace(document, path, scalar, variables)


def _refuse_in_keys(document: Document, node: Node) -> None:
    if isinstance(node, SequenceNode):
        for item in node.items:
            _refuse_in_keys(document, item)
    elif isinstance(node, MappingNode):
        for key in [key for key in node.entries if "${" in key]:
            place = document.at(node.key_marks[key])
            document.errors.append(
                BadInterpolation(
                    place=place, expected="a literal key", actual=f"{shortened(key, 60)!r}"
                )
            )
            del node.entries[key]
        for value in node.entries.values():
            _refuse_in_keys(document, value)


def _replace(
    document: Document, path: Path, scalar: ScalarNode, variables: Mapping[str, Mapping[str, str]]
) -> None:
    text = scalar.value
    if not isinstance(text, str) or "${" not in text:
        return
    place = document.at(scalar.mark)
    problems: list[StrongroomError] = []

    def value_of(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        variable = _VARIABLE.fullmatch(match[1])
        if variable is None or not match[2]:
            problems.append(BadInterpolation(place=place, actual=f"{shortened(match[0], 60)!r}"))
            return ""
        namespace, name = variable[1], variable[2]
        known = variables.get(namespace, {})
        if namespace == "env" and not name.startswith(ENV_PREFIX):
            problems.append(VariableForbidden(place=place, actual=match[0]))
            return ""
        if name not in known:
            problems.append(_missing(place, namespace, name, known))
            return ""
        value = known[name]
        if looks_secret(value):
            problems.append(SecretInRunFile(place=place, actual=f"the value of {match[0]}"))
        return value

    matches = list(_EXPRESSION.finditer(text))
    if [match[0] for match in matches] != ["$${"] * len(matches):
        document.written[path] = text
    if len(matches) == 1 and matches[0][0] == text:
        document.whole.add(path)
    scalar.value = _EXPRESSION.sub(value_of, text)
    if problems:
        scalar.value = None
        document.failed.add(path)
        document.errors.extend(problems)


def _missing(place: str, namespace: str, name: str, known: Mapping[str, str]) -> MissingVariable:
    hint = _HOW_TO_SET[namespace].format(name=name)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        hint += f"; did you mean ${{{namespace}.{close[0]}}}?"
    return MissingVariable(
        place=place, expected=f"a value for ${{{namespace}.{name}}}", actual="none", remedy=hint
    )
