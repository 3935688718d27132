"""Every rule passes what it should and denies what it should, with the place and the reason.

The cases stand beside the rules (``policies/rules/<rule>_test.json``): changes to a plan that
passes, and what one rule makes of it. The mutation test breaks each rule in turn and shows that a
case notices.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from strongroom.policies.bundle import SHIPPED, Bundle, Settings
from strongroom.policies.gate import Decision, decide
from support.rules import answer

FOLDER = SHIPPED
RULES = [rule["id"] for rule in json.loads((FOLDER / "manifest.json").read_text())["rules"]]
Case = dict[str, Any]


def cases(rule: str) -> list[Case]:
    return list(json.loads((FOLDER / f"{rule}_test.json").read_text())["cases"])


def at(document: Any, pointer: str) -> Any:
    for step in pointer.split("/"):
        document = document[int(step) if isinstance(document, list) else step]
    return document


def resolve(value: Any, plan: dict[str, Any]) -> Any:
    """``<model/digest>`` stands for the sample plan's own value."""
    if isinstance(value, str) and re.fullmatch(r"<[a-z0-9_/]+>", value):
        return at(plan, value[1:-1])
    if isinstance(value, list):
        return [resolve(item, plan) for item in value]
    return value


def apply(case: Case, plan: dict[str, Any], bundle: Bundle) -> tuple[dict[str, Any], Bundle]:
    changed = copy.deepcopy(plan)
    if "settings" in case:
        wanted = {key: resolve(value, plan) for key, value in case["settings"].items()}
        settings = {**msgspec.to_builtins(bundle.settings), **wanted}
        bundle = msgspec.structs.replace(bundle, settings=msgspec.convert(settings, Settings))
    for pointer, *value in case["change"]:
        *parents, last = pointer.split("/")
        holder = at(changed, "/".join(parents)) if parents else changed
        key = int(last) if isinstance(holder, list) else last
        if value:
            holder[key] = resolve(value[0], plan)
        else:
            del holder[key]
    return changed, bundle


def alone(rule: str, plan: dict[str, Any], bundle: Bundle) -> tuple[dict[str, Any], Bundle]:
    """A bundle of one rule, and the plan for it: the same answers, many times faster."""
    names = ("admission.rego", "lib.rego", f"{rule}.rego")
    bundle = msgspec.structs.replace(
        bundle,
        modules={name: bundle.modules[name] for name in names},
        rules=tuple(found for found in bundle.rules if found.id == rule),
    )
    return {**plan, "policy": {"digest": bundle.digest, "rules": [rule]}}, bundle


def notices(rule: str, case: Case, plan: dict[str, Any], bundle: Bundle) -> str:
    """What is wrong with the rule's answer to a case; empty when it is right."""
    changed, bundle = apply(case, *alone(rule, plan, bundle))
    return difference(rule, case, decide(bundle, changed, ask=answer))


def difference(rule: str, case: Case, decision: Decision) -> str:
    passed = rule in decision.passed
    if case.get("passes"):
        return "" if passed else f"denied: {[d for d in decision.denials if d.rule == rule]}"
    if passed:
        return "passed"
    own = [denial for denial in decision.denials if denial.rule == rule]
    if not own:
        return "no denial"
    fitting = [
        denial
        for denial in own
        if denial.path == case["path"] and case.get("actual", "") in denial.actual
    ]
    return "" if fitting else f"other denials: {own}"


def test_every_rule_has_cases_for_both_answers() -> None:
    files = {path.name.removesuffix("_test.json") for path in FOLDER.glob("*_test.json")}
    assert files == set(RULES)
    for rule in RULES:
        assert any(case.get("passes") for case in cases(rule)), rule
        assert any(not case.get("passes") for case in cases(rule)), rule


def test_the_sample_plan_is_allowed(sample_plan: dict[str, Any], bundle: Bundle) -> None:
    decision = decide(bundle, sample_plan, ask=answer)
    assert decision.allowed
    assert decision.passed == tuple(sorted(RULES))
    assert decision.denials == ()


@pytest.mark.parametrize("rule", RULES)
def test_rule(rule: str, sample_plan: dict[str, Any], bundle: Bundle) -> None:
    wrong = {case["why"]: notices(rule, case, sample_plan, bundle) for case in cases(rule)}
    assert {why: text for why, text in wrong.items() if text} == {}


@pytest.mark.parametrize("rule", RULES)
def test_denials_say_what_to_do(rule: str, sample_plan: dict[str, Any], bundle: Bundle) -> None:
    for case in cases(rule):
        changed, theirs = apply(case, *alone(rule, sample_plan, bundle))
        for denial in decide(theirs, changed, ask=answer).denials:
            assert "cannot be shown" not in denial.actual
            assert denial.control
            assert denial.path.split(".")[0] in ("spec", "apiVersion", "kind", "version")
            assert denial.expected
            assert denial.actual
            assert denial.fix


# What a careless edit does to a rule. Each mutant must be noticed by a case of the rule.
COMPARISONS = {"==": "!=", "!=": "==", "<=": "<", ">=": ">", " > ": " >= ", " < ": " <= "}


def mutants(text: str) -> Iterator[tuple[str, str]]:
    """Every single-place change of a rule: name and text."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line.strip().startswith(("#", '"')):
            continue  # comments and texts
        for old, new in COMPARISONS.items():
            for match in re.finditer(re.escape(old), line):
                changed = line[: match.start()] + new + line[match.end() :]
                yield f"line {number + 1}: {line.strip()} -> {new}", _with(lines, number, changed)
        if "not " in line:
            yield f"line {number + 1}: no `not`", _with(lines, number, line.replace("not ", "", 1))
        condition = line.startswith("\t") and not line.rstrip().endswith(("{", "(", ",", "["))
        if condition and line.strip() not in ("}", ")", "])", "})"):
            yield f"line {number + 1}: drop {line.strip()}", _with(lines, number, "")


def _with(lines: list[str], number: int, line: str) -> str:
    return "\n".join([*lines[:number], line, *lines[number + 1 :]]) + "\n"


def verdict_only(text: str) -> str:
    """The rule without its denials, so that what they catch too does not hide a weaker `pass`."""
    parts = text.split("\n\n")
    return (
        "\n\n".join(part for part in parts if "deny contains" not in part) + "\n\ndeny := set()\n"
    )


def is_noticed(rule: str, text: str, plan: dict[str, Any], bundle: Bundle) -> bool:
    """Whether a case sees the change, in the denials or in the bare verdict."""
    name = f"{rule}.rego"
    whole = msgspec.structs.replace(bundle, modules={**bundle.modules, name: text})
    bare = msgspec.structs.replace(bundle, modules={**bundle.modules, name: verdict_only(text)})
    for case in cases(rule):
        changed, theirs = apply(case, *alone(rule, plan, bare))
        passed = rule in decide(theirs, changed, ask=answer).passed
        if passed != bool(case.get("passes")) or notices(rule, case, plan, whole):
            return True
    return False


@pytest.mark.parametrize("rule", RULES)
def test_every_mutant_of_a_rule_is_noticed(
    rule: str, sample_plan: dict[str, Any], bundle: Bundle
) -> None:
    assert not is_noticed(rule, bundle.modules[f"{rule}.rego"], sample_plan, bundle)
    survivors = [
        what
        for what, text in mutants(bundle.modules[f"{rule}.rego"])
        if not is_noticed(rule, text, sample_plan, bundle)
    ]
    assert survivors == []


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_that_always_passes_is_noticed(
    rule: str, sample_plan: dict[str, Any], bundle: Bundle
) -> None:
    text = f"package strongroom.rules.{rule}\n\npass := true\n\ndeny := set()\n"
    mutated = msgspec.structs.replace(bundle, modules={**bundle.modules, f"{rule}.rego": text})
    missed = [case["why"] for case in cases(rule) if notices(rule, case, sample_plan, mutated)]
    refusals = [case["why"] for case in cases(rule) if not case.get("passes")]
    assert missed == refusals


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_that_is_deleted_denies(
    rule: str, sample_plan: dict[str, Any], bundle: Bundle
) -> None:
    modules = {name: text for name, text in bundle.modules.items() if name != f"{rule}.rego"}
    decision = decide(msgspec.structs.replace(bundle, modules=modules), sample_plan, ask=answer)
    assert not decision.allowed
    assert [denial.rule for denial in decision.denials] in ([rule], ["bundle"])
