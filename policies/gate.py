"""The admission gate: decides on a plan by the rules of a policy bundle.

Closed at every joint: a plan is allowed only when the rules' own decision is ``true`` *and* this
module sees a pass (or a waiver) from each rule in the manifest. A rule that is missing, undefined
or in error denies, and so does an interpreter that crashes or hangs. The decision is a pure
function of bundle, plan and day; rules reach no network and no clock.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from strongroom.crypto.digests import Sha256
from strongroom.policies import asking
from strongroom.policies.asking import Answer, Denial, Request
from strongroom.policies.bundle import (
    Bundle,
    Rule,
    Settings,
    read_bundle,
    read_settings,
    shipped_digest,
    write_bundle,
)
from strongroom.policies.errors import AdmissionDenied, DenialList

__all__ = [
    "Bundle",
    "Decision",
    "Denial",
    "Settings",
    "Waived",
    "decide",
    "denial_list",
    "evaluate",
    "evaluate_early",
    "explain",
    "read_bundle",
    "read_settings",
    "shipped_digest",
    "write_bundle",
]


class Waived(msgspec.Struct, frozen=True, kw_only=True):
    """An exception that was made: it is logged with its owner, reason and last day."""

    rule: str
    owner: str
    reason: str
    expires: str
    denials: tuple[Denial, ...]


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What the policy says about one plan."""

    allowed: bool
    denials: tuple[Denial, ...]
    passed: tuple[str, ...]
    waived: tuple[Waived, ...]
    bundle_digest: Sha256


def evaluate(bundle: Path, plan: Mapping[str, Any], *, now: datetime | None = None) -> Decision:
    """Decide on a plan (``Plan.to_dict()``) by the bundle in a folder; ``now`` is for waivers.

    Raises what ``read_bundle`` raises; a bundle that cannot be read admits nothing.
    """
    return decide(read_bundle(bundle), plan, now=now)


def evaluate_early(bundle: Path, plan: Mapping[str, Any]) -> Decision:
    """Decide by the rules that look at the run file alone, and let pass what only others refuse.

    ``plan`` is the part of a plan that follows from the run file. Raises what ``read_bundle``
    raises.
    """
    found = read_bundle(bundle)
    early = tuple(rule for rule in found.rules if rule.early)
    if not early:
        return Decision(allowed=True, denials=(), passed=(), waived=(), bundle_digest=found.digest)
    return decide(msgspec.structs.replace(found, rules=early), plan)


def decide(
    bundle: Bundle,
    plan: Mapping[str, Any],
    *,
    now: datetime | None = None,
    ask: Callable[[Request], Answer] = asking.ask,
) -> Decision:
    """Like :func:`evaluate`, for a bundle that was read; ``ask`` runs the rules."""
    today = (now or datetime.now(UTC)).astimezone(UTC).date().isoformat()
    data = {
        "settings": msgspec.to_builtins(bundle.settings),
        "manifest": {"rules": msgspec.to_builtins(bundle.rules)},
    }
    facts = {"plan": plan, "today": today, "bundle": {"digest": bundle.digest}}
    try:
        request = Request(
            modules=bundle.modules,
            data=json.dumps(data, allow_nan=False),
            input=json.dumps(facts, allow_nan=False),
        )
    except (TypeError, ValueError):
        return _broken(bundle, "a plan that is no JSON")
    answer = ask(request)
    if answer.error:
        return _broken(bundle, answer.error)
    return _decision(bundle, plan, answer)


def _decision(bundle: Bundle, plan: Mapping[str, Any], answer: Answer) -> Decision:
    rules = {rule.id: rule for rule in bundle.rules}
    passed = set(answer.passed) & set(rules)
    reasons = [reason for reason in answer.denied if reason.rule in rules]
    waived = _waived(plan, answer, reasons) if answer.waived else ()
    exempt = {exception.rule for exception in waived if rules[exception.rule].waivable}
    refused = {refusal.rule: refusal.reason for refusal in answer.refused_waivers}
    denials = [_with_note(reason, refused) for reason in reasons if reason.rule not in exempt]
    said = passed | exempt | {denial.rule for denial in denials}
    denials += [_undecided(rule, answer) for rule in bundle.rules if rule.id not in said]
    return Decision(
        allowed=answer.allow is True and set(rules) == passed | exempt and not denials,
        denials=tuple(sorted(denials, key=lambda denial: (denial.path, denial.rule))),
        passed=tuple(sorted(passed)),
        waived=tuple(sorted(waived, key=lambda exception: exception.rule)),
        bundle_digest=bundle.digest,
    )


def _waived(plan: Mapping[str, Any], answer: Answer, reasons: list[Denial]) -> tuple[Waived, ...]:
    given = plan["spec"]["spec"]["policy"]["waivers"]
    return tuple(
        Waived(
            rule=waiver["rule"],
            owner=waiver["owner"],
            reason=waiver["reason"],
            expires=waiver["expires"],
            denials=tuple(reason for reason in reasons if reason.rule == waiver["rule"]),
        )
        for waiver in (given[index] for index in answer.waived)
    )


def _broken(bundle: Bundle, reason: str) -> Decision:
    """Which rule failed is not known, so none passed."""
    denial = Denial(
        rule="bundle",
        control="closed by default",
        path="spec.policy.bundle",
        expected="rules that compile and decide",
        actual=reason,
        fix="Restore the bundle, or ask the policy's owner to check it",
    )
    return Decision(
        allowed=False, denials=(denial,), passed=(), waived=(), bundle_digest=bundle.digest
    )


def _undecided(rule: Rule, answer: Answer) -> Denial:
    missing = "no verdict: a fact that it needs is missing, or the rule itself"
    return Denial(
        rule=rule.id,
        control=rule.control,
        path=rule.path,
        expected=f"a pass of the rule: {rule.title}",
        actual="a denial whose text cannot be shown" if rule.id in answer.explained else missing,
        fix="Plan the run again; if it stays, ask the policy's owner to check the bundle",
    )


def _with_note(denial: Denial, refused: Mapping[str, str]) -> Denial:
    if denial.rule not in refused:
        return denial
    note = f"{denial.fix}. The waiver does not count: {refused[denial.rule]}"
    return msgspec.structs.replace(denial, fix=note)


def denial_list(decision: Decision, position: Callable[[str], str]) -> DenialList:
    """A refused decision as errors; ``position`` maps a run file path to ``run.yaml:9:3``."""
    return DenialList(
        [
            AdmissionDenied(
                place=position(denial.path),
                expected=denial.expected,
                actual=f"{denial.actual} ({denial.path}, rule {denial.rule}, {denial.control})",
                remedy=denial.fix,
            )
            for denial in decision.denials
        ]
    )


def explain(decision: Decision) -> str:
    """The decision as text for people."""
    lines = [
        f"{'allowed' if decision.allowed else 'denied'} by policy bundle {decision.bundle_digest}",
        f"rules passed: {len(decision.passed)}",
    ]
    for exception in decision.waived:
        lines.append(
            f"waived: {exception.rule} until {exception.expires} by {exception.owner}: "
            f"{exception.reason}"
        )
    for denial in decision.denials:
        lines += [
            f"denied: {denial.rule} ({denial.control}) at {denial.path}",
            f"  expected {denial.expected}",
            f"  found    {denial.actual}",
            f"  fix      {denial.fix}",
        ]
    return "\n".join(lines)
