"""``strongroom evaluator test`` and ``strongroom evaluator seal`` through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from strongroom.audit.events import types as events
from strongroom.errors import Exit

VOWELS = """
def evaluate(messages, ground_truth, **row):
    text = messages[-1]["content"]
    vowels = sum(text.count(vowel) for vowel in "aeiou")
    return {"score": vowels / (len(text) + 1.0), "accuracy": float(ground_truth in text)}
"""
SOME_FAIL = """
def evaluate(messages, ground_truth, **row):
    number = int(row["id"].removeprefix("row-"))
    if number % 3 == 0:
        raise KeyError(messages)
    if number % 3 == 1:
        return 1.5
    return {"score": 0.5, "accuracy": 1.0}
"""
KEY = "vault://transit/feedback"


# ---- a trial -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trial(strongroom: Any, small_job: Any, auditor: Any) -> tuple[Any, dict[str, int], Any]:
    """A trial of an evaluator that fails on two rows of three; the outputs before; the file."""
    path = small_job.run_file("trial-fails", evaluator=SOME_FAIL)
    path.write_text(path.read_text().replace("timeout: 10s", "timeout: 10s, range: [0, 1]"))
    before = auditor.objects("runs/")
    return strongroom("evaluator", "test", path, "--rows", "99", "--samples", "2"), before, path


def test_a_trial_tells_every_failing_call(trial: Any) -> None:
    result = trial[0]
    assert result.code == Exit.FAILED, result.out + result.err
    found = result.data
    # The run takes two rows in each of its four steps: no more are there to try.
    assert (found["rows"], found["samples"], found["untried"]) == (8, 2, 0)
    assert found["completions"] + found["failures"] == 16
    assert len(found["faults"]) == found["failures"] > 0
    for fault in found["faults"]:
        # The training rows are row-0 to row-19, eight in a shard.
        shard, line = divmod(fault["row"], 8)
        place = f"s3://acme-data/datasets/tiny/train/shard-{shard:05d}.sealed:{line + 1}"
        assert fault["place"] == place
        expected = [("SR-EVAL-003", "KeyError", 5), ("SR-EVAL-014", "", 2)][fault["row"] % 3]
        assert (fault["code"], fault["detail"], fault["line"]) == expected
    assert "nice about number" not in result.out + result.err


def test_a_trial_tells_the_distribution(strongroom: Any, small_job: Any) -> None:
    path = small_job.run_file("trial-good", evaluator=VOWELS)
    result = strongroom("evaluator", "test", path, "--rows", "6")
    assert result.code == 0, result.out + result.err
    found = result.data
    assert (found["completions"], found["failures"], found["faults"]) == (24, 0, [])
    values = found["values"]
    assert values["score_min"] <= values["score_mean"] <= values["score_max"]
    assert sum(bar["count"] for bar in found["histogram"]) == 24
    assert found["histogram"][0]["from"] == values["score_min"]
    assert 0 <= values["evaluator_accuracy"] <= 1


def test_a_trial_writes_nothing_and_is_logged(trial: Any, auditor: Any) -> None:
    result, before, _path = trial
    run = result.data["run"]
    assert auditor.of(run) == {}
    assert before.items() <= auditor.objects("runs/").items()  # other runs go on meanwhile
    told = auditor.types(run)
    for wanted in ("run.admitted", "enclave.started", "key.released", "evaluator.tested"):
        assert told.count(wanted) == 1
    assert "run.completed" not in told
    leases = [event.data for event in auditor.events(run) if event.type == "lease.issued"]
    assert leases
    assert {lease.purpose for lease in leases} >= {"facts-read", "data-read", "audit-read"}
    assert "run-create" not in {lease.purpose for lease in leases}
    last = auditor.events(run)[-1].data
    assert isinstance(last, events.EvaluatorTested)
    assert last.failures == result.data["failures"]
    assert sum(last.faults.values()) == result.data["failures"]
    assert last.values == result.data["values"]


def test_a_trial_of_a_file_that_is_no_evaluator_says_where(strongroom: Any, small_job: Any) -> None:
    path = small_job.run_file("trial-syntax", evaluator="def evaluate(:\n")
    result = strongroom("evaluator", "test", path, "--rows", "2")
    assert (result.code, result.codes) == (Exit.BAD_INPUT, ["SR-EVAL-001"])
    assert result.errors[0]["place"] == "evaluator.py:1:14"


def test_a_row_that_no_completion_can_be_sampled_for_is_told(
    strongroom: Any, small_job: Any
) -> None:
    rows = [{"messages": [{"role": "user", "content": "word " * n}]} for n in (1, 5000, 1)]
    train = small_job.seal_rows("trial/long", [json.dumps(row) for row in rows])
    path = small_job.run_file("trial-long", train=train)
    result = strongroom("evaluator", "test", path, "--rows", "3", "--samples", "1")
    assert result.codes == ["SR-DATA-004", "SR-DATA-001"]
    assert result.errors[0]["place"] == f"{train}shard-00000.sealed:2"
    assert result.errors[0]["actual"] == "prompt_too_long"


def test_a_trial_has_a_limit(strongroom: Any, small_job: Any) -> None:
    path = small_job.run_file("trial-large")
    result = strongroom("evaluator", "test", path, "--rows", "4000", "--samples", "4000")
    assert (result.code, result.codes) == (Exit.BAD_INPUT, ["SR-RUN-230"])


# ---- sealed evaluators ---------------------------------------------------------------------------


def sealed_run_file(strongroom: Any, small_job: Any, name: str, text: str) -> Path:
    """A run file whose evaluator is sealed; its source is gone."""
    path: Path = small_job.run_file(name, evaluator=text)
    source = small_job.folder / f"{name}_evaluator.py"
    uri = f"s3://acme-data/evaluators/{name}/"
    result = strongroom("evaluator", "seal", source, uri, "--key", KEY)
    assert result.code == 0, result.out + result.err
    source.unlink()
    path.write_text(path.read_text().replace(f"source: {source.name}", f"sealed: {uri}"))
    return path


@pytest.fixture(scope="module")
def sealed_run(strongroom: Any, small_job: Any) -> tuple[Any, Path]:
    path = sealed_run_file(strongroom, small_job, "sealed-evaluator", VOWELS)
    result = strongroom("run", path, "--id", "sealed-evaluator")
    assert result.code == 0, result.out + result.err
    return result.data, path


def test_a_run_with_a_sealed_evaluator_comes_out_as_with_its_source(
    strongroom: Any, small_job: Any, sealed_run: Any
) -> None:
    path = small_job.run_file("plain-evaluator", evaluator=VOWELS)
    plain = strongroom("run", path, "--id", "plain-evaluator")
    assert plain.code == 0, plain.out + plain.err
    assert sealed_run[0]["adapter_sha256"] == plain.data["adapter_sha256"]
    assert sealed_run[0]["evaluation"] == plain.data["evaluation"]


def test_a_run_with_a_sealed_evaluator_verifies_and_keeps_no_source(
    strongroom: Any, auditor: Any, sealed_run: Any
) -> None:
    verified = strongroom("verify", "sealed-evaluator")
    assert verified.code == 0, verified.out
    checked = [check for check in verified.data["checks"] if check["name"] == "Evaluator"]
    assert [check["object"] for check in checked] == [
        "s3://acme-data/evaluators/sealed-evaluator/shard-00000.sealed"
    ]
    assert "evaluator.py" not in auditor.names("sealed-evaluator")
    released = [e.data for e in auditor.events("sealed-evaluator") if e.type == "key.released"]
    assert [key.name for key in released[0].keys] == ["train", "held_out", "evaluator", "outputs"]


def test_another_source_in_its_place_is_refused(
    strongroom: Any, auditor: Any, sealed_run: Any
) -> None:
    """Whole, sealed and signed, but not the one that the plan of the run pins."""
    uri = "s3://acme-data/evaluators/sealed-evaluator/shard-00000.sealed"
    whole = auditor.get(uri)
    auditor.put(uri, whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        assert strongroom("verify", "sealed-evaluator").code == Exit.INTEGRITY
        tried = strongroom("evaluator", "test", sealed_run[1], "--rows", "1", "--samples", "1")
    finally:
        auditor.put(uri, whole)
    assert tried.codes == ["SR-CHANNEL-005"]


def test_a_sealed_evaluator_s_errors_come_with_their_lines(strongroom: Any, small_job: Any) -> None:
    path = sealed_run_file(strongroom, small_job, "sealed-fails", SOME_FAIL)
    result = strongroom("evaluator", "test", path, "--rows", "6", "--samples", "1")
    faults = {(fault["code"], fault["line"]) for fault in result.data["faults"]}
    assert ("SR-EVAL-003", 5) in faults


def test_a_slip_in_an_evaluator_is_told_before_it_is_sealed(
    strongroom: Any, small_job: Any, auditor: Any
) -> None:
    source = small_job.folder / "slip.py"
    source.write_text("x = 1\ndef evaluate(:\n")
    result = strongroom(
        "evaluator", "seal", source, "s3://acme-data/evaluators/slip/", "--key", KEY
    )
    assert (result.code, result.codes) == (Exit.BAD_INPUT, ["SR-EVAL-001"])
    assert result.errors[0]["place"] == f"{source}:2:14"
    assert auditor.objects("evaluators/slip/") == {}
    missing = strongroom(
        "evaluator", "seal", "nowhere.py", "s3://acme-data/evaluators/slip/", "--key", KEY
    )
    assert (missing.code, missing.codes) == (Exit.BAD_INPUT, ["SR-SEAL-010"])


@pytest.mark.usefixtures("sealed_run")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            "sealed: s3://acme-data/evaluators/sealed-evaluator/",
            "sealed: s3://acme-data/datasets/tiny/train/",
        ),
        (
            "held_out: s3://acme-data/datasets/tiny/held-out/",
            "held_out: s3://acme-data/evaluators/sealed-evaluator/",
        ),
    ],
)
def test_rows_are_no_evaluator_and_an_evaluator_is_no_rows(
    strongroom: Any, small_job: Any, sealed_run: Any, old: str, new: str
) -> None:
    text = sealed_run[1].read_text()
    assert old in text
    text = text.replace(old, new)
    if "held_out" in old:
        text = text.replace(
            "evaluator: {sealed: s3://acme-data/evaluators/sealed-evaluator/",
            "evaluator: {source: e.py",
        )
        (small_job.folder / "e.py").write_text(VOWELS)
    else:
        text = text.replace(
            "train: s3://acme-data/datasets/tiny/train/",
            "train: s3://acme-data/datasets/tiny/other/",
        )
    path = small_job.folder / "confused.yaml"
    path.write_text(text)
    assert "SR-CRYPTO-0" in " ".join(strongroom("plan", path).codes)


@pytest.mark.parametrize(
    "evaluator", ["{metrics: [accuracy]}", "{source: e.py, sealed: s3://acme-data/evaluators/x/}"]
)
def test_a_run_file_names_one_evaluator(strongroom: Any, small_job: Any, evaluator: str) -> None:
    path = small_job.run_file("which-evaluator")
    (small_job.folder / "e.py").write_text(VOWELS)
    lines = path.read_text().splitlines()
    number = next(n for n, line in enumerate(lines) if line.startswith("  evaluator:"))
    lines[number] = f"  evaluator: {evaluator}"
    path.write_text("\n".join(lines))
    result = strongroom("validate", path)
    assert result.codes == ["SR-RUN-021"]
    assert result.errors[0]["place"].endswith(f":{number + 1}:3")


def test_json_is_one_document(trial: Any) -> None:
    assert len(trial[0].out.splitlines()) == 1
    assert json.loads(trial[0].out)
