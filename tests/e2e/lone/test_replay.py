"""``strongroom replay``: a finished run done again comes out the same, or is told apart."""

from __future__ import annotations

from typing import Any

import pytest

from strongroom.audit.events import types as events
from strongroom.connectors.stack.stack import admin_client
from strongroom.errors import Exit

RUN = "main-job"


@pytest.fixture(scope="module")
def finished(main_job: Any) -> Any:
    return main_job.result


def told(auditor: Any) -> list[events.RunReplayed]:
    """What the log says of replays, whatever ids they have."""
    found = [event.data for event in auditor.every_event()]
    return [data for data in found if isinstance(data, events.RunReplayed)]


def test_a_replay_comes_out_the_same_and_writes_nothing(
    strongroom: Any, auditor: Any, finished: Any
) -> None:
    before = auditor.of(RUN)
    types = auditor.types(RUN)
    replayed = strongroom("replay", RUN)
    assert replayed.code == 0, replayed.out + replayed.err
    assert replayed.data["adapter_sha256"] == finished["adapter_sha256"]
    assert replayed.data["evaluation"] == finished["evaluation"]
    assert auditor.of(RUN) == before
    assert auditor.types(RUN) == types  # its events stand under an id of its own
    last = told(auditor)[-1]
    assert (last.original, last.outcome, last.step) == (RUN, "same", 4)
    assert strongroom("verify", RUN).code == 0


@pytest.mark.usefixtures("finished")
def test_a_published_adapter_that_does_not_follow_from_the_plan_is_refuted(
    strongroom: Any, auditor: Any, lone_job: Any
) -> None:
    """Another adapter in its place, as sealed and as long: only doing it again tells."""
    client = admin_client(lone_job.stack.state)
    key = f"runs/{RUN}/checkpoints/000002/adapter.sealed"
    whole = client.get_object(Bucket="acme-data", Key=key)["Body"].read()
    client.put_object(Bucket="acme-data", Key=key, Body=whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        replayed = strongroom("replay", RUN)
    finally:
        client.put_object(Bucket="acme-data", Key=key, Body=whole)
    assert replayed.code == Exit.INTEGRITY
    assert "SR-RUN-214" in replayed.out + replayed.err
    assert key in replayed.out + replayed.err
    assert told(auditor)[-1].outcome == "different"


MOODY = """
import time

def evaluate(messages, ground_truth, **row):
    return {"score": time.perf_counter_ns() % 997 / 997, "accuracy": 0.0}
"""


@pytest.mark.full
def test_a_run_that_its_plan_does_not_determine_is_refuted(
    strongroom: Any, auditor: Any, lone_job: Any
) -> None:
    """Nothing was changed and ``verify`` holds, but the evaluator scores as the clock stands."""
    file = lone_job.run_file("moody", evaluator=MOODY, steps=2)
    assert strongroom("run", file, "--id", "moody").code == 0
    assert strongroom("verify", "moody").code == 0
    replayed = strongroom("replay", "moody")
    assert replayed.code == Exit.INTEGRITY
    assert "SR-RUN-214" in replayed.out + replayed.err
    last = told(auditor)[-1]
    assert (last.original, last.outcome) == ("moody", "different")


@pytest.mark.usefixtures("finished")
def test_an_unfinished_run_is_not_replayed(strongroom: Any, lone_job: Any) -> None:
    client = admin_client(lone_job.stack.state)
    result = {"Bucket": "acme-data", "Key": f"runs/{RUN}/result.json"}
    marker = client.delete_object(**result)["VersionId"]
    try:
        replayed = strongroom("replay", RUN)
    finally:
        client.delete_object(**result, VersionId=marker)
    assert replayed.code == Exit.BAD_INPUT
    assert "SR-RUN-215" in replayed.out + replayed.err
    assert "result.json" in replayed.out + replayed.err
