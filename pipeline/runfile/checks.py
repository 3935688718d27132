"""What several fields of a run file must hold together.

The checks read plain data and skip what is absent or malformed, so that they can run beside the
checks of single fields and all errors appear at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from strongroom.pipeline.runfile.yaml_tree import Path


class Problem(NamedTuple):
    """One contradiction: where, what was expected, and what was found."""

    path: Path
    expected: str
    actual: str


def problems_in(data: object) -> list[Problem]:
    """Every contradiction in a run file's plain data, in the order of the checks."""
    spec = _get(data, "spec")
    return [problem for check in _CHECKS for problem in check(spec)]


def _get(data: object, *path: str | int) -> Any:
    for step in path:
        if isinstance(step, int):
            data = data[step] if isinstance(data, list) and step < len(data) else None
        else:
            data = data.get(step) if isinstance(data, dict) else None
    return data


def _items(spec: object, *path: str) -> list[Any]:
    found = _get(spec, *path)
    return found if isinstance(found, list) else []


_PREFIXES: tuple[Path, ...] = (
    ("data", "train"),
    ("data", "held_out"),
    ("model", "base"),
    ("evaluator", "sealed"),
    ("outputs",),
    ("audit",),
)


def _prefixes(spec: object) -> Iterator[tuple[Path, str]]:
    for path in _PREFIXES:
        uri = _get(spec, *path)
        if isinstance(uri, str) and "://" in uri and uri.endswith("/"):
            yield path, uri


def _dotted(path: Path) -> str:
    return ".".join(str(step) for step in ("spec", *path))


def prefixes_are_apart(spec: object) -> Iterator[Problem]:
    """No prefix lies in another: what is written can never be what is read."""
    seen: list[tuple[Path, str]] = []
    for path, uri in _prefixes(spec):
        for other_path, other in seen:
            if uri.startswith(other) or other.startswith(uri):
                relation = "the same prefix" if uri == other else "a prefix inside the other"
                yield Problem(
                    ("spec", *path), f"a prefix apart from {_dotted(other_path)}", relation
                )
        seen.append((path, uri))


def every_bucket_has_access(spec: object) -> Iterator[Problem]:
    """Each bucket that is used is covered by an access entry; local folders need none."""
    entries = [_get(entry, "uri") for entry in _items(spec, "access")]
    if not all(isinstance(entry, str) for entry in entries):
        return
    for path, uri in _prefixes(spec):
        if uri.startswith("local://") or any(uri.startswith(entry) for entry in entries):
            continue
        bucket = "/".join(uri.split("/")[:3]) + "/"
        yield Problem(("spec", *path), f"an entry for {bucket} in spec.access", "none")


def access_is_given_once(spec: object) -> Iterator[Problem]:
    """Two entries for one prefix would leave open which role applies."""
    seen: dict[str, int] = {}
    for index, entry in enumerate(_items(spec, "access")):
        uri = _get(entry, "uri")
        if not isinstance(uri, str):
            continue
        if uri in seen:
            yield Problem(
                ("spec", "access", index, "uri"),
                "one entry per prefix",
                f"the prefix of spec.access.{seen[uri]} again",
            )
        seen.setdefault(uri, index)


def web_identity_has_an_issuer(spec: object) -> Iterator[Problem]:
    """A role is assumed with a token, so the token needs an issuer."""
    if _get(spec, "identity") is None:
        for index, entry in enumerate(_items(spec, "access")):
            if isinstance(entry, dict) and entry.get("via", "web-identity") == "web-identity":
                yield Problem(
                    ("spec", "access", index, "via"), "spec.identity for web-identity", "none"
                )
                return


def audit_key_is_its_own(spec: object) -> Iterator[Problem]:
    """A signing key never wraps keys."""
    audit = _get(spec, "keys", "audit")
    for name in ("data", "outputs"):
        if isinstance(audit, str) and audit == _get(spec, "keys", name):
            yield Problem(
                ("spec", "keys", "audit"), "a signing key of its own", f"the key of {name}"
            )


def waivers_are_given_once(spec: object) -> Iterator[Problem]:
    """One exception per rule, so that its owner is clear."""
    seen: set[str] = set()
    for index, waiver in enumerate(_items(spec, "policy", "waivers")):
        rule = _get(waiver, "rule")
        if isinstance(rule, str) and rule in seen:
            yield Problem(
                ("spec", "policy", "waivers", index, "rule"), "one waiver per rule", "a second one"
            )
        if isinstance(rule, str):
            seen.add(rule)


def metrics_are_given_once(spec: object) -> Iterator[Problem]:
    """A metric is one number."""
    metrics = [m for m in _items(spec, "evaluator", "metrics") if isinstance(m, str)]
    for index, metric in enumerate(metrics):
        if metric in metrics[:index]:
            yield Problem(
                ("spec", "evaluator", "metrics", index), "each metric once", "a second one"
            )


def evaluator_is_given_once(spec: object) -> Iterator[Problem]:
    """The reward code is a file beside the run file, or sealed in a bucket."""
    evaluator = _get(spec, "evaluator")
    if isinstance(evaluator, dict):
        given = [name for name in ("source", "sealed") if evaluator.get(name) is not None]
        if len(given) != 1:
            found = "both" if given else "neither"
            yield Problem(("spec", "evaluator"), "either source or sealed", found)


def score_range_is_ascending(spec: object) -> Iterator[Problem]:
    """A range has room: its first number is below its second."""
    bounds = _items(spec, "evaluator", "range")
    if len(bounds) == 2 and all(isinstance(bound, int | float) for bound in bounds):
        low, high = bounds
        if not low < high:
            yield Problem(
                ("spec", "evaluator", "range"), "two numbers, the lower first", f"[{low}, {high}]"
            )


def seed_is_exact(spec: object) -> Iterator[Problem]:
    """The plan is JSON, whose readers agree on integers up to 2^53 only (RFC 8785)."""
    seed = _get(spec, "training", "seed")
    if isinstance(seed, int) and seed >= 1 << 53:
        yield Problem(("spec", "training", "seed"), "a seed below 2^53", "a larger one")


def assurance_can_be_had(spec: object) -> Iterator[Problem]:
    """A2 and A3 need confidential hardware, for which no enclave exists yet."""
    assurance = _get(spec, "enclave", "assurance")
    if assurance in ("A2", "A3"):
        yield Problem(("spec", "enclave", "assurance"), "A0 or A1 in this release", assurance)


_CHECKS: tuple[Callable[[object], Iterator[Problem]], ...] = (
    prefixes_are_apart,
    every_bucket_has_access,
    access_is_given_once,
    web_identity_has_an_issuer,
    audit_key_is_its_own,
    waivers_are_given_once,
    metrics_are_given_once,
    evaluator_is_given_once,
    score_range_is_ascending,
    seed_is_exact,
    assurance_can_be_had,
)
