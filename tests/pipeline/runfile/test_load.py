"""The run file's reader: every mistake is reported at once, at its line and column."""

from __future__ import annotations

import contextlib
import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from strongroom.errors import ErrorList, Exit
from strongroom.pipeline.cli.main import app
from strongroom.pipeline.runfile.load import LoadedRun, load, load_text
from strongroom.pipeline.runfile.variables import parameters
from strongroom.pipeline.runfile.yaml_reader import MAX_BYTES, parse

Load = Callable[..., LoadedRun]


def errors_of(load_example: Load, text: str | bytes, **variables: dict[str, str]) -> list[str]:
    """``line:column code`` of every error."""
    with pytest.raises(ErrorList) as caught:
        load_example(text, **variables)
    return [f"{error.place.partition(':')[2]} {error.code}" for error in caught.value.errors]


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def test_the_example_is_read(load_example: Load, example: str) -> None:
    run = load_example(example).spec.spec
    assert (run.training.steps, run.training.prompts_per_step) == (60, 4)
    assert run.training.learning_rate == 5e-4
    assert run.access[0].ttl_s == 900
    assert run.enclave.memory_bytes == 8 << 30
    assert run.evaluator.timeout_s == 10


def test_five_mistakes_give_five_errors_at_their_lines(load_example: Load, example: str) -> None:
    text = (
        example.replace("checkpoint_every:", "checkpionts:")
        .replace("steps: 60", "steps: sixty")
        .replace("type: grpo", "type: gpro")
        .replace(
            "    train: s3://acme-data/datasets/feedback/train/", "    train: s3://acme-data/x"
        )
        .replace("    seed: 0", "    seed: 0\n    seed: 1")
    )
    found = errors_of(load_example, text)
    assert found == [
        f"{line_of(text, 'train: s3')}:12 SR-RUN-015",
        f"{line_of(text, 'gpro')}:13 SR-RUN-016",
        f"{line_of(text, 'sixty')}:12 SR-RUN-014",
        f"{line_of(text, 'seed: 1')}:5 SR-RUN-006",
        f"{line_of(text, 'checkpionts')}:5 SR-RUN-012",
    ]


def test_suggestions(load_example: Load, example: str) -> None:
    text = example.replace("checkpoint_every:", "checkpoint_evry:").replace(
        "type: grpo", "type: grpoo"
    )
    with pytest.raises(ErrorList) as caught:
        load_example(text)
    assert "Did you mean grpo?" in str(caught.value)
    assert "Did you mean checkpoint_every?" in str(caught.value)


def test_a_misspelt_required_field_is_one_error(load_example: Load, example: str) -> None:
    text = example.replace("    digest: ", "    digets: ")
    assert errors_of(load_example, text) == [f"{line_of(text, 'digets')}:5 SR-RUN-012"]


CHANGES = [
    ("  outputs: s3://acme-data/runs/", "  outputs: s3://acme-data/runs", "SR-RUN-015"),
    ("  outputs: s3://acme-data/runs/", "  outputs: s3://acme-data/", "SR-RUN-015"),
    ("  outputs: s3://acme-data/runs/", "  outputs: s3://acme-data/../x/", "SR-RUN-015"),
    ("  outputs: s3://acme-data/runs/", "  outputs: s3://acme-data/*/", "SR-RUN-015"),
    ("  outputs: s3://acme-data/runs/", "  outputs: ftp://acme-data/runs/", "SR-RUN-015"),
    ("  outputs: s3://acme-data/runs/", "  outputs: 7", "SR-RUN-014"),
    ("s3://acme-data/runs/", "s3://acme-data/datasets/feedback/train/runs/", "SR-RUN-021"),
    ("s3://acme-data/runs/", "s3://acme-data/datasets/", "SR-RUN-021"),
    ("s3://acme-data/runs/", "s3://other-bucket/runs/", "SR-RUN-021"),
    ("feedback/held-out/", "feedback/train/", "SR-RUN-021"),
    ("ttl: 15m", "ttl: 15", "SR-RUN-015"),
    ("ttl: 15m", "ttl: 13h", "SR-RUN-015"),
    ("ttl: 15m", "ttl: 14m", "SR-RUN-015"),
    ("ttl: 15m", "ttl: -15m", "SR-RUN-015"),
    ("memory: 8GiB", "memory: 8GB", "SR-RUN-015"),
    ("memory: 8GiB", "memory: 8", "SR-RUN-015"),
    ("threads: 2", "threads: 0", "SR-RUN-015"),
    ("threads: 2", "threads: 2.5", "SR-RUN-014"),
    ("threads: 2", "threads: '2'", "SR-RUN-014"),
    ("threads: 2", "threads: true", "SR-RUN-014"),
    ("threads: 2", "threads: .nan", "SR-RUN-014"),
    ("assurance: A1", "assurance: A4", "SR-RUN-016"),
    ("via: web-identity", "via: static", "SR-RUN-016"),
    ("apiVersion: strongroom/v1", "apiVersion: strongroom/v2", "SR-RUN-017"),
    ("kind: TrainingRun", "kind: Deployment", "SR-RUN-017"),
    ("name: feedback-json", "name: Feedback_JSON", "SR-RUN-015"),
    ("metrics: [accuracy]", "metrics: [accuracy, accuracy]", "SR-RUN-021"),
    ("metrics: [accuracy]", "metrics: [accuracy]\n    range: [1, 0]", "SR-RUN-021"),
    ("metrics: [accuracy]", "metrics: [accuracy]\n    range: [0, 0]", "SR-RUN-021"),
    ("metrics: [accuracy]", "metrics: [accuracy]\n    range: [0]", "SR-RUN-013"),
    ("metrics: [accuracy]", "metrics: [accuracy]\n    range: [0, 1, 2]", "SR-RUN-015"),
    ("metrics: [accuracy]", "metrics: [accuracy]\n    range: 1", "SR-RUN-014"),
    ("metrics: [accuracy]", "metrics: [accuracy]\n    range: [0, .inf]", "SR-RUN-014"),
    ("metrics: [accuracy]", "metrics: [accuracy]\n    concurrency: 65", "SR-RUN-015"),
    ("assurance: A1", "assurance: A2", "SR-RUN-021"),
    ("metrics: [accuracy]", "metrics: accuracy", "SR-RUN-014"),
    ("learning_rate: 5.0e-4", "learning_rate: 2", "SR-RUN-015"),
    ("seed: 0", f"seed: {2**53}", "SR-RUN-021"),
    ("data: vault://transit/feedback ", "data: file:///key ", "SR-RUN-015"),
    ("audit: vault://transit/audit-log", "audit: vault://transit/feedback", "SR-RUN-021"),
    ("unix://${stack.releaser_socket}", "tcp://1.2.3.4:5", "SR-RUN-015"),
    ("endpoint: ${stack.s3_endpoint}", "endpoint: http://example.com", "SR-RUN-015"),
    ("endpoint: ${stack.s3_endpoint}", "endpoint: https://user:pw@example.com", "SR-RUN-015"),
    ("endpoint: ${stack.s3_endpoint}", 'endpoint: "https://example.com/\\nx: y"', "SR-RUN-015"),
    ("endpoint: ${stack.s3_endpoint}", 'endpoint: "https://example.com/\\u202e"', "SR-RUN-015"),
    ("role: ${stack.broker_role}", "role: admin", "SR-RUN-015"),
    ("uri: s3://acme-audit/", "uri: s3://acme-data/", "SR-RUN-021"),
    ("source: evaluator.py", "source: missing.py", "SR-RUN-022"),
    ("bundle: ${stack.policy_bundle}", "bundle: nowhere", "SR-RUN-022"),
    ("waivers: []", "waivers: [{rule: lease_lifetime, owner: Ada}]", "SR-RUN-013"),
    (
        "waivers: []",
        'waivers: [{rule: a, owner: Ada, reason: "fine\\u202e", expires: "2026-12-31"}]',
        "SR-RUN-015",
    ),
    ("  identity:\n    type: openbao", "  identity:\n    type: okta", "SR-RUN-016"),
]


@pytest.mark.parametrize(("old", "new", "code"), CHANGES, ids=[new for _, new, _ in CHANGES])
def test_what_is_refused(load_example: Load, example: str, old: str, new: str, code: str) -> None:
    assert old in example
    found = errors_of(load_example, example.replace(old, new, 1))
    assert code in " ".join(found)
    assert len({entry.split(":")[0] for entry in found}) <= 2


def test_field_and_cross_field_errors_come_together(load_example: Load, example: str) -> None:
    text = example.replace("threads: 2", "threads: 0").replace(
        "outputs: s3://acme-data/runs/", "outputs: s3://other-bucket/runs/"
    )
    assert [entry.split()[1] for entry in errors_of(load_example, text)] == [
        "SR-RUN-021",
        "SR-RUN-015",
    ]


SYNTAX = [
    ("", "SR-RUN-003"),
    ("# nothing but a comment\n", "SR-RUN-003"),
    ("a: [1,", "SR-RUN-004"),
    ("a: b: c", "SR-RUN-004"),
    ("\ta: 1", "SR-RUN-004"),
    ("a: \x07", "SR-RUN-004"),
    ("a: 1\n---\nb: 2\n", "SR-RUN-005"),
    ("a: 1\nb: 2\na: 3\n", "SR-RUN-006"),
    ("a: &x 1\n", "SR-RUN-007"),
    ("a: *x\n", "SR-RUN-007"),
    ("<<: {a: 1}\n", "SR-RUN-007"),
    ("a: !!python/object/apply:os.system [id]\n", "SR-RUN-008"),
    ("a: !secret x\n", "SR-RUN-008"),
    ("%YAML 1.1\n---\na: 1\n", "SR-RUN-008"),
    ("a: " + "x" * MAX_BYTES, "SR-RUN-009"),
    ("[" + "1," * 12_000 + "1]", "SR-RUN-009"),
    ("[" * 10_000, "SR-RUN-010"),
    ("- " * 5_000 + "x", "SR-RUN-010"),
    ("1: 2\n", "SR-RUN-011"),
    ("? [a]\n: 1\n", "SR-RUN-011"),
    ("just text", "SR-RUN-014"),
    ("[]", "SR-RUN-014"),
]


@pytest.mark.parametrize(("text", "code"), SYNTAX, ids=[text[:20] for text, _ in SYNTAX])
def test_yaml_that_is_refused(load_example: Load, text: str, code: str) -> None:
    assert code in " ".join(errors_of(load_example, text))


def test_an_alias_bomb_is_refused_without_expansion(load_example: Load) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    found = errors_of(load_example, "\n".join(lines))
    assert "SR-RUN-007" in " ".join(found)


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", "é".encode("latin-1"), "a: 1".encode("utf-16")])
def test_other_encodings_are_refused(load_example: Load, data: bytes) -> None:
    assert errors_of(load_example, data)[0].endswith(("SR-RUN-002", "SR-RUN-004"))


def test_a_byte_order_mark_is_no_mistake(load_example: Load, example: str) -> None:
    assert load_example("\ufeff" + example).spec.metadata.name == "feedback-json"


def test_duplicate_keys_name_both_places(load_example: Load, example: str) -> None:
    text = example.replace("    seed: 0", "    seed: 0\n    seed: 1")
    with pytest.raises(ErrorList) as caught:
        load_example(text)
    second = line_of(text, "seed: 1")
    assert f"run.yaml:{second}:5" in str(caught.value)
    assert f"first given at run.yaml:{second - 1}:5" in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ErrorList, match="SR-RUN-001"):
        load(tmp_path / "none.yaml")


# Interpolation


def test_variables_are_put_in_once(load_example: Load, example: str) -> None:
    text = example.replace("team: support-ml", 'team: "${params.team}"')
    run = load_example(text, params={"team": "a-team"})
    assert run.spec.metadata.labels == {"team": "a-team"}
    found = errors_of(load_example, text, params={"team": "${env.HOME}"})
    assert [entry.split()[1] for entry in found] == ["SR-RUN-015"]


def test_the_run_s_name_is_the_file_s_own(load_example: Load, example: str) -> None:
    text = example.replace("outputs: s3://acme-data/runs/", "outputs: s3://acme-data/${run.name}/")
    assert text != example
    assert load_example(text).spec.spec.outputs == "s3://acme-data/feedback-json/"
    text = text.replace("name: feedback-json ", "name: feedback-${params.kind} ")
    found = load_example(text, params={"kind": "xml"}).spec
    assert (found.metadata.name, found.spec.outputs) == (
        "feedback-xml",
        "s3://acme-data/feedback-xml/",
    )


def test_the_run_s_name_does_not_name_itself(load_example: Load, example: str) -> None:
    text = example.replace("name: feedback-json ", "name: x-${run.name} ")
    assert errors_of(load_example, text) == [f"{line_of(text, 'x-${')}:9 SR-RUN-018"]


def test_parameters_are_names_with_values() -> None:
    given = parameters(["steps=60", "note=a=b\nc", "empty="])
    assert given == {"steps": "60", "note": "a=b\nc", "empty": ""}


@pytest.mark.parametrize("text", ["steps", "", "=60", "steps 60", "9=a", "a-b=c", "steps:60"])
def test_a_parameter_without_its_form_is_one_error_that_says_it(text: str) -> None:
    with pytest.raises(ErrorList) as caught:
        parameters(["rate=1", text])
    (error,) = caught.value.errors
    assert (error.code, error.place) == ("SR-RUN-023", "--param 2")
    assert "name=value" in error.expected


def test_the_command_says_the_form_of_a_parameter(example: str, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(example.replace("steps: 60", "steps: ${params.steps}"))
    arguments = ["validate", str(file), "--state", str(tmp_path), "--param", "steps", "--json"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == Exit.BAD_INPUT
    assert [error["code"] for error in json.loads(done.stdout)["errors"]] == ["SR-RUN-023"]


def test_a_whole_variable_takes_the_type_of_its_field(load_example: Load, example: str) -> None:
    text = example.replace("steps: 60", "steps: ${params.steps}").replace(
        "learning_rate: 5.0e-4", "learning_rate: ${params.rate}"
    )
    training = load_example(text, params={"steps": "40", "rate": "1e-3"}).spec.spec.training
    assert (training.steps, training.learning_rate) == (40, 1e-3)
    assert "SR-RUN-014" in " ".join(
        errors_of(load_example, text, params={"steps": "many", "rate": "1e-3"})
    )
    part = example.replace("steps: 60", "steps: 4${params.zero}")
    assert "SR-RUN-014" in " ".join(errors_of(load_example, part, params={"zero": "0"}))


def test_text_stays_text(load_example: Load, example: str) -> None:
    text = example.replace("team: support-ml", "team: ${params.team}")
    assert load_example(text, params={"team": "42"}).spec.metadata.labels == {"team": "42"}


def test_a_variable_cannot_add_structure(load_example: Load, example: str) -> None:
    text = example.replace("assurance: A1", "assurance: ${params.level}")
    found = errors_of(load_example, text, params={"level": "A0\n    threads: 9"})
    assert "SR-RUN-016" in " ".join(found)


@pytest.mark.parametrize(
    ("expression", "code", "hint"),
    [
        ("${env.STRONGROOM_NOWHERE}", "SR-RUN-018", "export STRONGROOM_NOWHERE="),
        ("${params.nothing}", "SR-RUN-018", "--param nothing="),
        ("${stack.broker_rol}", "SR-RUN-018", "did you mean ${stack.broker_role}?"),
        ("${run.id}", "SR-RUN-018", "${run.name}"),
        ("${secrets.KEY}", "SR-RUN-019", "${env.STRONGROOM_NAME}"),
        ("${env.A B}", "SR-RUN-019", "${env.STRONGROOM_NAME}"),
        ("${env.HOME", "SR-RUN-019", "${env.STRONGROOM_NAME}"),
        ("${}", "SR-RUN-019", "${env.STRONGROOM_NAME}"),
    ],
)
def test_variables_that_have_no_value(
    load_example: Load, example: str, expression: str, code: str, hint: str
) -> None:
    text = example.replace("team: support-ml", f'team: "{expression}"')
    with pytest.raises(ErrorList) as caught:
        load_example(text)
    (error,) = caught.value.errors
    assert error.code == code
    assert error.place == f"run.yaml:{line_of(text, expression)}:11"
    assert hint in str(error)


def test_keys_are_never_interpolated(load_example: Load, example: str) -> None:
    text = example.replace("    team: support-ml", '    "${params.key}": support-ml')
    assert errors_of(load_example, text, params={"key": "team"}) == [
        f"{line_of(text, 'params.key')}:5 SR-RUN-019"
    ]


def test_a_doubled_dollar_is_a_literal(load_example: Load, example: str) -> None:
    text = example.replace("team: support-ml", 'team: "$${x}"')
    with pytest.raises(ErrorList) as caught:
        load_example(text)
    assert "SR-RUN-015" in str(caught.value)  # a label's value cannot hold "${x}"


# Secrets

SECRETS = [
    "AKIA" + "ABCDEFGHIJKLMNOP",
    "hvs." + "CAESIJ1234567890abcdefghij",
    "ghp_" + "a1" * 18,
    "sk-" + "a1b2" * 8,
    "eyJhbGciOiJI.eyJzdWIiOiIx." + "abc",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "-----BEGIN " + "PRIVATE KEY-----",
    "https://user:" + "hunter2" + "@host/x",
    "https://host/x?a=1&X-Amz-Signature=" + "0a1b2c",
    "https://host/x?access_token=" + "hunter2",
]


@pytest.mark.parametrize("secret", SECRETS, ids=[secret[:6] for secret in SECRETS])
@pytest.mark.parametrize("where", ["value", "comment", "variable"])
def test_secrets_are_refused_and_never_shown(
    load_example: Load, example: str, secret: str, where: str
) -> None:
    if where == "comment" and secret.startswith("wJ"):
        return  # forty mixed characters mean something as a whole value only
    text, params = example, {}
    if where == "value":
        text = example.replace("team: support-ml", f'team: "{secret}"\n    colour: 7')
    elif where == "comment":
        text = example.replace("threads: 2", f"threads: two  # {secret}")
    else:
        text = example.replace("team: support-ml", "team: ${params.t}")
        params = {"t": secret}
    with pytest.raises(ErrorList) as caught:
        load_example(text, params=params)
    assert "SR-RUN-020" in [error.code for error in caught.value.errors]
    shown = str(caught.value) + repr(caught.value.errors)
    assert secret not in shown
    assert secret[4:] not in shown


def test_values_of_variables_are_not_shown(load_example: Load, example: str) -> None:
    text = example.replace("steps: 60", "steps: ${env.STRONGROOM_STEPS}")
    with pytest.raises(ErrorList) as caught:
        load_example(text, env={"STRONGROOM_STEPS": "not-for-your-eyes"})
    assert "not-for-your-eyes" not in str(caught.value)
    assert "${env.STRONGROOM_STEPS}" in str(caught.value)


# Positions, and robustness


def test_positions(load_example: Load, example: str) -> None:
    run = load_example(example)
    ttl = line_of(example, "ttl: 15m")
    assert run.position("spec.access.0.ttl") == f"run.yaml:{ttl}:12"
    training = line_of(example, "  training:\n") + 0
    assert run.position("spec.training") == f"run.yaml:{training}:3"
    assert run.position("spec.training.warmup_steps") == f"run.yaml:{training}:3"
    assert run.position("") == run.position("apiVersion.x").replace(
        str(line_of(example, "apiVersion")) + ":13", f"{line_of(example, 'apiVersion')}:1"
    )


def test_relative_paths_start_at_the_run_file(
    load_example: Load, example: str, tmp_path: Path
) -> None:
    run = load_example(example).spec.spec
    assert run.evaluator.source == tmp_path / "evaluator.py"


def test_errors_pickle(load_example: Load, example: str) -> None:
    with pytest.raises(ErrorList) as caught:
        load_example(example.replace("steps: 60", "steps: sixty"))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=400))
def test_any_text_is_read_or_refused(text: str) -> None:
    source = parse(text.encode("utf-8", "surrogatepass"), "run.yaml")
    assert source.root is not None or source.errors
    for error in source.errors:
        assert re.match(r"run\.yaml(:\d+:\d+)?$", error.place)


@settings(max_examples=60, deadline=None)
@given(
    cut=st.integers(min_value=0, max_value=4000), junk=st.sampled_from(["", "\0", "[", "&", "${"])
)
def test_a_damaged_example_never_crashes_the_reader(cut: int, junk: str) -> None:
    example = (Path(__file__).parents[3] / "examples" / "feedback" / "run.yaml").read_text()
    with contextlib.suppress(ErrorList):
        load_text(example[:cut] + junk, Path("run.yaml"))
