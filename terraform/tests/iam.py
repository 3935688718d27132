"""Decides requests by IAM policy documents, as AWS documents it; as much as the modules use.

Not AWS: a second reading of the same documents. An operator or element that it does not know is an
error, never a pass. Source: IAM User Guide, "Policy evaluation logic" and "Condition operators".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Request:
    """Who asks for what; ``context`` holds condition keys beside the principal's."""

    principal: str
    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def keys(self) -> dict[str, str]:
        """Every condition key of the request; names are compared without case."""
        keys = {"aws:PrincipalArn": self.principal, "aws:SecureTransport": "true"}
        keys |= {"s3:TlsVersion": "1.3"} if self.action.startswith("s3:") else {}
        return {name.lower(): value for name, value in (keys | dict(self.context)).items()}


def may(request: Request, identity: Iterable[Document], resource: Document | None = None) -> bool:
    """Whether all identity documents (role, session policy) allow it, or the resource's does.

    An explicit Deny anywhere decides. A resource's policy that names the role by condition is not
    limited by the session policy; the modules use that for keys.
    """
    documents = list(identity)
    verdicts = [_verdict(document, request) for document in documents]
    own = _verdict(resource, request) if resource is not None else None
    if "Deny" in (*verdicts, own):
        return False
    return own == "Allow" or (bool(verdicts) and all(verdict == "Allow" for verdict in verdicts))


def _verdict(document: Document, request: Request) -> str | None:
    effects = {s["Effect"] for s in document["Statement"] if _applies(s, request)}
    return "Deny" if "Deny" in effects else "Allow" if "Allow" in effects else None


def _applies(statement: Mapping[str, Any], request: Request) -> bool:
    known = {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}
    assert set(statement) <= known, f"elements not known here: {set(statement) - known}"
    if "Principal" in statement and not _is_named(statement["Principal"], request.principal):
        return False
    if not any(
        _like(action.lower(), request.action.lower()) for action in _list(statement["Action"])
    ):
        return False
    resources = _list(statement.get("Resource", "*"))
    if not any(_like(pattern, request.resource) for pattern in resources):
        return False
    return all(
        _holds(operator, name, _list(values), request.keys)
        for operator, names in statement.get("Condition", {}).items()
        for name, values in names.items()
    )


def _is_named(principal: object, arn: str) -> bool:
    if principal == "*":
        return True
    assert isinstance(principal, Mapping)
    named = [
        name for kind in ("AWS", "Service", "Federated") for name in _list(principal.get(kind, []))
    ]
    return arn in named or (principal.get("AWS") == "*" and arn.startswith("arn:"))


def _holds(operator: str, name: str, values: list[str], keys: Mapping[str, str]) -> bool:
    actual = keys.get(name.lower())
    match operator:
        case "Null":
            return values == [str(actual is None).lower()]
        case "StringNotEquals":
            return actual not in values  # holds for a missing key too
        case "ArnNotEquals":
            return actual is None or not any(_like(value, actual) for value in values)
        case "StringEquals" | "Bool":
            return actual in values
        case "StringLike" | "ArnEquals" | "ArnLike":
            return actual is not None and any(_like(value, actual) for value in values)
        case "NumericLessThan":
            return actual is not None and all(float(actual) < float(value) for value in values)
    raise AssertionError(f"operator not known here: {operator}")


def _like(pattern: str, text: str) -> bool:
    parts = (".*" if char == "*" else "." if char == "?" else re.escape(char) for char in pattern)
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


def _list(value: object) -> list[str]:
    return list(value) if isinstance(value, (list, tuple)) else [str(value)]
