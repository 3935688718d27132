"""Puts the values of variables into a run file's scalars, once, after parsing.

``${env.NAME}``, ``${params.NAME}``, ``${stack.NAME}`` and ``${run.NAME}`` are replaced inside
values and never in keys. What a variable holds is not read again, so it cannot add fields, nor
name further variables. ``$${`` stands for a literal ``${``.

Secrets do not belong into run files: text and values that look like one are reported by position
or by the variable's name, never by content.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping as Vars
from dataclasses import dataclass, field

from strongroom.errors import StrongroomError
from strongroom.pipeline.runfile.errors import BadInterpolation, MissingVariable, SecretInRunFile
from strongroom.pipeline.runfile.yaml_tree import (
    Mapping,
    Mark,
    Node,
    Scalar,
    Sequence,
    Source,
    scalars,
)

Path = tuple[str | int, ...]

_EXPRESSION = re.compile(r"\$\$\{|\$\{([^{}]*)(\}?)")
_VARIABLE = re.compile(r"(env|params|stack|run)\.([A-Za-z_][A-Za-z0-9_]*)")
_HOW_TO_SET = {
    "env": "Set it: export {name}=…",
    "params": "Set it: --param {name}=…",
    "stack": "It comes from the embedded stack: start it with `strongroom stack up`",
    "run": "Only ${{run.name}} is known",
}

# Forms that credentials have by their makers' documentation.
_SECRET = re.compile(
    r"""
    \b(?:AKIA|ASIA|AIDA|AROA)[A-Z0-9]{16}\b          # AWS access key ids
    | -----BEGIN\ [A-Z0-9 ]*PRIVATE\ KEY-----        # PEM, OpenSSH
    | \bhv[sbr]\.[A-Za-z0-9_-]{20,}                  # Vault and OpenBao tokens
    | \b[sbr]\.[A-Za-z0-9]{24,}\b                    # their older form
    | \bgh[pousr]_[A-Za-z0-9]{30,}                   # GitHub
    | \bgithub_pat_[A-Za-z0-9_]{30,}
    | \bglpat-[A-Za-z0-9_-]{20,}                     # GitLab
    | \bhf_[A-Za-z0-9]{30,}                          # Hugging Face
    | \bsk-[A-Za-z0-9_-]{20,}                        # OpenAI, Anthropic, Stripe
    | \bxox[abeprs]-[A-Za-z0-9-]{10,}                # Slack
    | \bAIza[A-Za-z0-9_-]{35}\b                      # Google API keys
    | \bya29\.[A-Za-z0-9_-]{20,}                     # Google access tokens
    | \beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\. # JSON web tokens
    | AGE-SECRET-KEY-1[A-Z0-9]{20,}
    """,
    re.VERBOSE,
)
# An AWS secret key has no mark of its own: 40 base64 characters with all three classes.
_AWS_SECRET = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])[A-Za-z0-9/+]{40}")


@dataclass
class Interpolated:
    """What was replaced.

    ``written`` maps the path of each replaced value to its text in the file; ``whole`` holds the
    paths whose text is one expression; ``failed`` those that have no usable value.
    """

    written: dict[Path, str] = field(default_factory=dict)
    whole: set[Path] = field(default_factory=set)
    failed: set[Path] = field(default_factory=set)
    errors: list[StrongroomError] = field(default_factory=list)


def looks_secret(value: str) -> bool:
    """Whether a value has the form of a credential."""
    return bool(_SECRET.search(value) or _AWS_SECRET.fullmatch(value.strip()))


def secrets_in(source: Source) -> list[StrongroomError]:
    """Secrets in the file's own text (keys and comments too), one error per line."""
    found: dict[int, SecretInRunFile] = {}
    for number, line in enumerate(source.text.splitlines(), start=1):
        match = _SECRET.search(line)
        if match:
            place = source.place(Mark(number, match.start() + 1))
            found[number] = SecretInRunFile(place=place)
    if source.root is not None:
        for _, scalar in scalars(source.root):
            if looks_secret(scalar.text):
                found.setdefault(scalar.mark.line, SecretInRunFile(place=source.place(scalar.mark)))
    return list(found.values())


def interpolate(source: Source, variables: Vars[str, Vars[str, str]]) -> Interpolated:
    """Replace every expression in the tree, in place; ``variables`` is by namespace."""
    result = Interpolated()
    if source.root is None:
        return result
    _refuse_in_keys(source, source.root, result)
    for path, scalar in scalars(source.root):
        if isinstance(scalar.value, str) and "${" in scalar.value:
            _replace(source, path, scalar, variables, result)
    return result


def _refuse_in_keys(source: Source, node: Node, result: Interpolated) -> None:
    if isinstance(node, Sequence):
        for item in node.items:
            _refuse_in_keys(source, item, result)
    elif isinstance(node, Mapping):
        for key in [key for key in node.entries if "${" in key]:
            place = source.place(node.key_marks[key])
            result.errors.append(
                BadInterpolation(place=place, expected="a literal key", actual=f"{key[:60]!r}")
            )
            del node.entries[key]
        for value in node.entries.values():
            _refuse_in_keys(source, value, result)


def _replace(
    source: Source,
    path: Path,
    scalar: Scalar,
    variables: Vars[str, Vars[str, str]],
    result: Interpolated,
) -> None:
    place = source.place(scalar.mark)
    problems: list[StrongroomError] = []

    def value_of(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        variable = _VARIABLE.fullmatch(match[1])
        if variable is None or not match[2]:
            problems.append(BadInterpolation(place=place, actual=f"{match[0][:60]!r}"))
            return ""
        namespace, name = variable[1], variable[2]
        known = variables.get(namespace, {})
        if name not in known:
            problems.append(_missing(place, namespace, name, known))
            return ""
        value = known[name]
        if looks_secret(value):
            problems.append(SecretInRunFile(place=place, actual=f"the value of {match[0]}"))
        return value

    text = str(scalar.value)
    matches = list(_EXPRESSION.finditer(text))
    if [match[0] for match in matches] != ["$${"] * len(matches):
        result.written[path] = text
    if len(matches) == 1 and matches[0][0] == text:
        result.whole.add(path)
    scalar.value = _EXPRESSION.sub(value_of, text)
    if problems:
        scalar.value = None
        result.failed.add(path)
        result.errors.extend(problems)


def _missing(place: str, namespace: str, name: str, known: Vars[str, str]) -> MissingVariable:
    hint = _HOW_TO_SET[namespace].format(name=name)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        hint += f"; did you mean ${{{namespace}.{close[0]}}}?"
    return MissingVariable(
        place=place, expected=f"a value for ${{{namespace}.{name}}}", actual="none", remedy=hint
    )
