"""The gate is closed: nothing but an explicit pass of every rule, or a waiver, admits a plan."""

from __future__ import annotations

import copy
import json
import pickle
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from strongroom.errors import Exit
from strongroom.policies import asking
from strongroom.policies.asking import Answer, Request
from strongroom.policies.bundle import Bundle, Settings, read_bundle, write_bundle
from strongroom.policies.errors import (
    AdmissionDenied,
    BundleInUse,
    BundleMalformed,
    BundleMissing,
    DenialList,
    SettingsMalformed,
)
from strongroom.policies.gate import Decision, decide, denial_list, evaluate, explain
from support.rules import answer

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
Plan = dict[str, Any]


def judged(bundle: Bundle, plan: Plan) -> Decision:
    return decide(bundle, plan, now=NOW, ask=answer)


def test_the_sample_plan_is_allowed(bundle_folder: Path, sample_plan: Plan) -> None:
    decision = evaluate(bundle_folder, sample_plan)
    assert decision.allowed
    assert decision.denials == ()
    assert len(decision.passed) >= 18
    assert "allowed" in explain(decision)


@pytest.mark.parametrize("plan", [{}, {"spec": None}, {"leases": []}, {"spec": {"spec": {}}}])
def test_an_empty_plan_is_denied_by_every_rule(bundle: Bundle, plan: Plan) -> None:
    decision = judged(bundle, plan)
    assert not decision.allowed
    assert {denial.rule for denial in decision.denials} | set(decision.passed) == set(
        bundle.rule_ids
    )


# Parts that no rule reads: they are bound by the digest, not by policy.
IRRELEVANT = re.compile(
    r"""
    facts\.\w+_bucket\.(encryption|region)              # regions count where a customer lists them
    | facts\.(data|outputs)_bucket\.(object_lock|lock_mode|lock_days)
    | limits(\..*)?                                     # judged by capacity_bits
    | objects\.writes\.objects\.\d+                     # the list names the known ones, see below
    | spec\.metadata(\..*)?
    | spec\.spec\.access(\.\d+\.(ttl|uri))?             # leases hold the lifetime
    | spec\.spec\.(enclave\.(memory|threads)|evaluator\.timeout)
    | spec\.spec\.identity(\..*)?
    | spec\.spec\.keys\.releaser
    | spec\.spec\.model\.lora(\..*)?
    | spec\.spec\.policy(\.(bundle|waivers))?
    | spec\.spec\.(runner|training)(\..*)?
    """,
    re.VERBOSE,
)


def parts(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every part of a plan; of a list, the first and the last item."""
    found = dict(value if isinstance(value, dict) else enumerate(value))
    if isinstance(value, list) and len(value) > 2:
        found = {index: value[index] for index in (0, len(value) - 1)}

    for key, item in found.items():
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from parts(item, (*path, key))


def test_a_plan_that_lacks_anything_relevant_is_denied(bundle: Bundle, sample_plan: Plan) -> None:
    allowed = []
    checked = 0
    for path in parts(sample_plan):
        name = ".".join(str(step) for step in path)
        if IRRELEVANT.fullmatch(name):
            continue
        changed = copy.deepcopy(sample_plan)
        holder: Any = changed
        for step in path[:-1]:
            holder = holder[step]
        del holder[path[-1]]
        checked += 1
        if judged(bundle, changed).allowed:
            allowed.append(name)
    assert allowed == []
    assert checked > 90


# Closed at every joint


def with_module(bundle: Bundle, name: str, text: str) -> Bundle:
    return msgspec.structs.replace(bundle, modules={**bundle.modules, name: text})


def test_a_rule_that_does_not_compile_denies(bundle: Bundle, sample_plan: Plan) -> None:
    broken = with_module(bundle, "lease_lifetime.rego", "package x\n\npass if {\n")
    decision = judged(broken, sample_plan)
    assert not decision.allowed
    assert decision.denials[0].rule == "bundle"


def test_a_rule_without_a_verdict_denies(bundle: Bundle, sample_plan: Plan) -> None:
    for text in ("", "pass := false\n", 'pass := "true"\n', "pass if input.nothing\n"):
        module = f"package strongroom.rules.lease_lifetime\n\n{text}\ndeny := set()\n"
        decision = judged(with_module(bundle, "lease_lifetime.rego", module), sample_plan)
        assert not decision.allowed
        assert [denial.rule for denial in decision.denials] == ["lease_lifetime"]
    module = "package strongroom.rules.lease_lifetime\n\npass := true\n"  # says nothing of deny
    assert not judged(with_module(bundle, "lease_lifetime.rego", module), sample_plan).allowed


def test_a_rule_that_passes_and_denies_is_a_denial(bundle: Bundle, sample_plan: Plan) -> None:
    module = (
        "package strongroom.rules.lease_lifetime\n\npass := true\n\n"
        'deny := {{"path": "spec", "expected": "a", "actual": "b", "fix": "c"}}\n'
    )
    decision = judged(with_module(bundle, "lease_lifetime.rego", module), sample_plan)
    assert not decision.allowed
    assert decision.denials[0].path == "spec"


def test_an_admission_that_always_allows_is_not_believed(bundle: Bundle, sample_plan: Plan) -> None:
    text = bundle.modules["admission.rego"].replace('"allow": allow', '"allow": true')
    forged = with_module(bundle, "admission.rego", text)
    sample_plan = {**sample_plan, "capacity_bits": 1 << 40}
    assert not judged(forged, sample_plan).allowed


def test_a_manifest_without_the_rule_does_not_pass_it(bundle: Bundle, sample_plan: Plan) -> None:
    fewer = msgspec.structs.replace(bundle, rules=bundle.rules[1:])
    assert not judged(fewer, sample_plan).allowed  # policy_is_current: the plan lists them all


@pytest.mark.parametrize(
    "answer",
    [
        Answer(error="crash"),
        Answer(allow=True),
        Answer(allow=True, passed=("lease_lifetime",)),
        Answer(allow=True, passed=("made_up",)),
    ],
)
def test_answers_that_do_not_suffice(bundle: Bundle, sample_plan: Plan, answer: Answer) -> None:
    assert not decide(bundle, sample_plan, ask=lambda _: answer).allowed


def test_all_pass_and_no_allow_is_a_denial(bundle: Bundle, sample_plan: Plan) -> None:
    full = Answer(allow=True, passed=bundle.rule_ids)
    assert decide(bundle, sample_plan, ask=lambda _: full).allowed
    without = msgspec.structs.replace(full, allow=False)
    assert not decide(bundle, sample_plan, ask=lambda _: without).allowed


# A process of its own: what crashes it, or keeps it, denies


def request(module: str) -> Request:
    return Request(modules={"admission.rego": module}, data="{}", input="{}")


CRASH = (
    "package strongroom.admission\n\nverdict := shown({})\n\n"
    'denied := []\n\nrefused_waivers := []\n\nshown(object) := object.get(object, "a", 1)\n'
)


def test_a_crash_of_the_interpreter_is_a_denial(bundle: Bundle, sample_plan: Plan) -> None:
    # rego-cpp 1.5.2 overflows its stack where a parameter hides the built-in's name.
    answer = asking.ask(request(CRASH))
    assert answer.error
    crashing = with_module(bundle, "lib.rego", bundle.modules["lib.rego"] + CRASH.split("\n\n")[-1])
    assert not decide(crashing, sample_plan).allowed


def test_an_endless_rule_is_a_denial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "TIMEOUT_S", 2)
    loops = " ".join(f"some x{i} in numbers.range(1, 5000);" for i in range(6))
    module = f"package strongroom.admission\n\nverdict if {{ {loops} x0 + x5 < 0 }}\n"
    assert asking.ask(request(module)).error


@pytest.mark.parametrize("output", [b"", b"{}x", b"[]", b'{"allow": 1}', b'{"allowed": true}'])
def test_nonsense_from_the_interpreter_is_a_denial(
    monkeypatch: pytest.MonkeyPatch, output: bytes
) -> None:
    class Done:
        returncode = 0
        stdout = output

    monkeypatch.setattr(asking, "run", lambda *_, **__: Done())
    answer = asking.ask(request(""))
    assert answer.error
    assert not answer.allow


@pytest.mark.parametrize(
    ("call", "compiles"),
    [
        ('http.send({"method": "get", "url": "http://127.0.0.1"})', False),
        ('net.lookup_ip_addr("localhost")', False),
        ('startswith("a", "a")', True),
    ],
)
def test_rules_have_no_network(call: str, compiles: bool) -> None:
    module = f"package strongroom.admission\n\nverdict := {{}} if {call}\n"
    assert (answer(request(module)).error == "") is compiles


HOSTILE = ['x"}], "allow": true, "y": [{"a": "', "\\", '"', "\n", "${env.X}", "‮", "\u0000"]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("field", ["outputs", "audit", "run"])
def test_text_of_the_plan_cannot_forge_a_decision(
    bundle: Bundle, sample_plan: Plan, field: str, text: str
) -> None:
    decision = judged(bundle, {**sample_plan, field: text})
    assert not decision.allowed
    assert decision.denials


def test_text_of_a_denial_survives_hostile_neighbours(bundle: Bundle, sample_plan: Plan) -> None:
    changed = copy.deepcopy(sample_plan)
    changed["data"]["train"]["signer"] = 'ed25519:"}],"allow":true'
    decision = judged(bundle, changed)
    assert not decision.allowed
    assert {denial.rule for denial in decision.denials} == {"datasets_are_signed"}


def test_a_plan_that_is_no_json_is_denied(bundle: Bundle, sample_plan: Plan) -> None:
    for value in (float("nan"), float("inf"), {1, 2}, b"bytes"):
        assert not judged(bundle, {**sample_plan, "capacity_bits": value}).allowed


# Waivers


def unversioned(plan: Plan, **waiver: str) -> Plan:
    changed = copy.deepcopy(plan)
    changed["facts"]["data_bucket"]["versioned"] = False
    given = {
        "rule": "buckets_are_versioned",
        "owner": "ada@example.com",
        "reason": "bucket moves next week",
        "expires": "2026-12-31",
    }
    changed["spec"]["spec"]["policy"]["waivers"] = [{**given, **waiver}]
    return changed


def test_a_waiver_makes_an_exception_that_is_told(bundle: Bundle, sample_plan: Plan) -> None:
    decision = judged(bundle, unversioned(sample_plan))
    assert decision.allowed
    (waived,) = decision.waived
    assert (waived.rule, waived.owner) == ("buckets_are_versioned", "ada@example.com")
    assert waived.denials[0].path == "spec.data.train"
    assert "buckets_are_versioned" not in decision.passed
    assert "ada@example.com" in explain(decision)


def test_a_waiver_counts_on_its_last_day_and_not_after(bundle: Bundle, sample_plan: Plan) -> None:
    assert judged(bundle, unversioned(sample_plan, expires="2026-11-22")).allowed
    assert not judged(bundle, unversioned(sample_plan, expires="2026-11-21")).allowed


@pytest.mark.parametrize(
    "waiver",
    [
        {"expires": "2026-11-21"},
        {"expires": "never"},
        {"expires": "2026-12"},
        {"expires": "9"},
        {"owner": ""},
        {"owner": " "},
        {"reason": ""},
        {"rule": "lease_lifetime"},
        {"rule": "*"},
    ],
)
def test_waivers_that_do_not_count(
    bundle: Bundle, sample_plan: Plan, waiver: dict[str, str]
) -> None:
    decision = judged(bundle, unversioned(sample_plan, **waiver))
    assert not decision.allowed
    assert decision.waived == ()


def test_a_waiver_needs_every_part(bundle: Bundle, sample_plan: Plan) -> None:
    for part in ("rule", "owner", "reason", "expires"):
        changed = unversioned(sample_plan)
        del changed["spec"]["spec"]["policy"]["waivers"][0][part]
        assert not judged(bundle, changed).allowed


def test_a_waiver_does_not_count_where_the_bundle_says_no(
    bundle: Bundle, sample_plan: Plan
) -> None:
    changed = copy.deepcopy(sample_plan)
    changed["spec"]["spec"]["enclave"]["assurance"] = "A0"
    changed["spec"]["spec"]["policy"]["waivers"] = [
        {"rule": "assurance_is_enough", "owner": "ada", "reason": "haste", "expires": "2099-01-01"}
    ]
    decision = judged(bundle, changed)
    assert not decision.allowed
    assert "does not let this rule be waived" in decision.denials[0].fix


def test_missing_facts_cannot_be_waived(bundle: Bundle, sample_plan: Plan) -> None:
    changed = unversioned(sample_plan)
    del changed["facts"]["data_bucket"]
    assert not judged(bundle, changed).allowed


def test_a_waiver_is_for_one_rule(bundle: Bundle, sample_plan: Plan) -> None:
    changed = unversioned(sample_plan)
    changed["capacity_bits"] = 1 << 40
    decision = judged(bundle, changed)
    assert not decision.allowed
    assert [denial.rule for denial in decision.denials] == ["capacity_is_limited"]


# What the caller gets


def test_denials_become_errors_at_their_lines(bundle: Bundle, sample_plan: Plan) -> None:
    changed = copy.deepcopy(sample_plan)
    changed["leases"][0]["ttl_s"] = 7200
    decision = judged(bundle, changed)
    caught = denial_list(decision, lambda path: f"run.yaml:9:3<{path}>")
    (error,) = caught.errors
    assert isinstance(error, AdmissionDenied)
    assert error.place == "run.yaml:9:3<spec.access.0.ttl>"
    assert "7200 s" in str(caught)
    assert "3600" in str(caught)
    assert caught.exit_code == Exit.DENIED
    again = pickle.loads(pickle.dumps(caught))
    assert isinstance(again, DenialList)
    assert str(again) == str(caught)


def test_decisions_are_the_same_every_time(bundle: Bundle, sample_plan: Plan) -> None:
    changed = {**sample_plan, "capacity_bits": 1 << 40, "outputs": "s3://evil/x/"}
    assert judged(bundle, changed) == judged(bundle, changed)


# Bundles


def test_the_digest_is_over_the_contents_only(
    bundle_folder: Path, bundle: Bundle, settings: Settings, tmp_path: Path
) -> None:
    copied = write_bundle(tmp_path / "other", settings)
    assert copied.digest == bundle.digest
    pretty = json.dumps(json.loads((tmp_path / "other/data.json").read_text()), indent=4)
    (tmp_path / "other/data.json").write_text(pretty)
    (tmp_path / "other/README.md").write_text("notes")
    assert read_bundle(tmp_path / "other").digest == bundle.digest
    rule = tmp_path / "other/lease_lifetime.rego"
    rule.write_text(rule.read_text() + "\n")
    assert read_bundle(tmp_path / "other").digest != bundle.digest
    assert write_bundle(tmp_path / "third", {**msgspec.to_builtins(settings), "max_ttl_s": 600})
    assert read_bundle(tmp_path / "third").digest != bundle.digest


def test_writing_again_replaces_rules_and_nothing_else(settings: Settings, tmp_path: Path) -> None:
    first = write_bundle(tmp_path / "b", settings)
    (tmp_path / "b/stale.rego").write_text("package strongroom.rules.stale\n")
    assert write_bundle(tmp_path / "b", settings).digest == first.digest
    (tmp_path / "b/payroll.csv").write_text("x")
    with pytest.raises(BundleInUse):
        write_bundle(tmp_path / "b", settings)
    assert (tmp_path / "b/payroll.csv").read_text() == "x"


def test_the_shipped_settings_admit_nobody(sample_plan: Plan, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b", Settings())
    denied = {denial.rule for denial in judged(bundle, sample_plan).denials}
    assert {
        "outputs_are_customers",
        "audit_is_customers",
        "datasets_are_signed",
        "keys_are_customers",
    } <= denied


@pytest.mark.parametrize(
    "settings",
    [
        {"max_ttl": 60},
        {"max_ttl_s": 86400},
        {"max_ttl_s": "3600"},
        {"min_assurance": "none"},
        {"signers": ["ada"]},
        {"output_prefixes": ["s3://acme-data"]},
        {"audit_lock_modes": ["NONE"]},
        {"model_digests": ["latest"]},
    ],
)
def test_settings_that_are_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(SettingsMalformed):
        write_bundle(tmp_path / "b", settings)


def test_bundles_that_are_refused(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(BundleMissing):
        read_bundle(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleMalformed):
        read_bundle(tmp_path / "empty")

    def damaged(name: str, content: str | None) -> Path:
        folder = tmp_path / f"{name}-{len(list(tmp_path.iterdir()))}"
        write_bundle(folder, settings)
        if content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_text(content)
        return folder

    rule = '{"id": "a", "title": "", "control": "", "path": "", "waivable": false}'
    for name, content, error in (
        ("manifest.json", None, BundleMissing),
        ("data.json", None, BundleMissing),
        ("manifest.json", "{}", BundleMalformed),
        ("manifest.json", '{"version": 1, "rules": []}', BundleMalformed),
        ("manifest.json", f'{{"version": 2, "rules": [{rule}]}}', BundleMalformed),
        ("manifest.json", f'{{"version": 1, "rules": [{rule}, {rule}]}}', BundleMalformed),
        ("data.json", "{", SettingsMalformed),
        ("data.json", "{}", SettingsMalformed),
        ("data.json", '{"settings": {}, "extra": 1}', SettingsMalformed),
        ("Odd Name.rego", "package x", BundleMalformed),
        ("big.rego", "#" * (2 << 20), BundleMalformed),
    ):
        with pytest.raises(error):
            read_bundle(damaged(name, content))
