"""Each command of an enclave has one answer, and only that one will do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from strongroom.enclave.channel import frames
from strongroom.enclave.channel.errors import ChannelViolation
from strongroom.enclave.plan.document import Plan
from strongroom.pipeline.planning.plan import build_plan
from strongroom.pipeline.run.enclave import RunEnclave
from strongroom.pipeline.run.manifests import Manifests, SignedManifest
from strongroom.pipeline.runfile.load import LoadedRun
from support import sample

DIGEST = "sha256:" + "a" * 64
SEALED = frames.SealedEntry(size_bytes=1, sha256=DIGEST, plaintext_sha256=DIGEST, header="")
RECEIPT = frames.ShardVerified(
    dataset="train", shard=1, records=8, bad_records=2, plaintext_bytes=1001
)
EVALUATED = frames.Evaluated(phase="during", rows=10, values={"score_mean": 0.5})
WRITTEN = frames.CheckpointWritten(
    step=20, adapter=SEALED, state=SEALED, rollouts=SEALED, manifest=DIGEST
)
TESTED = frames.EvaluatorTested(rows=4, completions=8, failures=0, histogram=(8,), values={})
FAULT = frames.EvaluatorFault(row=1, sample=0, code="SR-EVAL-003", detail="", line=3)
STEP = frames.StepDone(step=1, values={})
PROGRESS = frames.Progress(activity="trial", done=1, total=2)


@pytest.fixture
def plan(load_example: Callable[..., LoadedRun], example: str) -> Plan:
    return build_plan(load_example(example).spec, sample.facts(), "r")


@pytest.fixture
def recorded() -> list[Any]:
    """What of the last command is logged."""
    return []


@pytest.fixture
def asked(plan: Plan, recorded: list[Any]) -> Callable[..., Any]:
    """Asks an enclave that reports ``said``; the command before it had every answer."""
    facts = sample.facts()
    train, held_out = (SignedManifest(b"", each.manifest) for each in (facts.train, facts.held_out))
    commands: list[frames.Command] = []
    connections: Any = SimpleNamespace(releaser=None, journal=None)
    recorder: Any = SimpleNamespace(
        report=lambda _report: None,
        shard_opened=lambda *shard: recorded.append(shard),
        evaluated=recorded.append,
        checkpoint_written=recorded.append,
    )

    def ask(said: Sequence[frames.Report], command: Callable[[RunEnclave], Any]) -> Any:
        reports = iter(((RECEIPT, EVALUATED, WRITTEN, TESTED), said))

        def run(given: frames.Command) -> None:
            commands.append(given)
            for report in next(reports):
                connections.on_report(report)

        connections.data = SimpleNamespace(command=run)
        enclave = RunEnclave(plan, Manifests(train, held_out), connections, recorder)
        enclave.evaluate("during", 20)
        recorded.clear()
        return command(enclave)

    return ask


COMMANDS: dict[str, tuple[Callable[[RunEnclave], Any], Any]] = {
    "verify": (lambda enclave: enclave.verify("train", 1), RECEIPT),
    "evaluate": (lambda enclave: enclave.evaluate("during", 20), EVALUATED),
    "train": (lambda enclave: enclave.train(0, 20), WRITTEN),
    "test_evaluator": (lambda enclave: enclave.test_evaluator(4, 2), TESTED),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_answer_to_a_command_is_taken_and_logged(asked, recorded, name):
    command, answer = COMMANDS[name]
    asked([PROGRESS, STEP, answer, FAULT], command)
    assert recorded == {"verify": [("train", 1)], "test_evaluator": []}.get(name, [answer])


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("times", [0, 2])
def test_no_answer_and_two_are_none(asked, name, times):
    """The answer to the command before does not count."""
    command, answer = COMMANDS[name]
    with pytest.raises(ChannelViolation) as caught:
        asked([PROGRESS, STEP, *[answer] * times], command)
    assert caught.value.expected == f"one {type(answer).__name__}"


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("verify", {"shard": 2}),
        ("verify", {"dataset": "held_out"}),
        ("verify", {"records": 9}),
        ("verify", {"records": 10}),
        ("verify", {"bad_records": 0}),
        ("verify", {"plaintext_bytes": 1000}),
        ("evaluate", {"phase": "after"}),
        ("evaluate", {"rows": 9}),
        ("train", {"step": 40}),
    ],
)
def test_the_answer_to_another_command_is_refused_unlogged(asked, recorded, name, changes):
    command, answer = COMMANDS[name]
    with pytest.raises(ChannelViolation):
        asked([msgspec.structs.replace(answer, **changes)], command)
    assert recorded == []


def test_faults_of_a_trial_come_with_its_sums(asked):
    assert asked([FAULT, TESTED], COMMANDS["test_evaluator"][0]) == (TESTED, [FAULT])


def test_a_receipt_says_how_many_records_were_bad(asked):
    assert asked([RECEIPT], COMMANDS["verify"][0]).bad_records == 2
