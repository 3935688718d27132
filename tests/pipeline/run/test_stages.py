"""The graph of a run, with a session that plays the processes behind it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from strongroom.enclave.channel.errors import RecordRejected, RecordsRejected
from strongroom.errors import ErrorList, StrongroomError
from strongroom.errors.defect import Defect
from strongroom.pipeline.broker.errors import BrokerLost
from strongroom.pipeline.run import edges, stages
from strongroom.pipeline.run.errors import EdgeRefused
from strongroom.pipeline.runfile.runners import EmbeddedRunner

DIGEST = "sha256:" + "a" * 64
SECRET = "row 17 says hello"


@dataclass
class Plan:
    run: str = "r"
    digest: str = DIGEST
    spec: dict[str, Any] = field(
        default_factory=lambda: {"spec": {"runner": EmbeddedRunner().model_dump(mode="json")}}
    )


@dataclass
class Session:
    """Answers as ``RunSession`` does, and notes what it was asked."""

    shards: int = 3
    bad: int = 0
    breaks: dict[str, BaseException] = field(default_factory=dict)
    plan: Plan = field(default_factory=Plan)
    failure: StrongroomError | None = None
    interrupted: bool = False
    asked: list[str] = field(default_factory=list)

    def _ask(self, stage: str) -> None:
        self.asked.append(stage)
        if stage in self.breaks:
            raise self.breaks[stage]

    def open_datasets(self) -> Iterator[edges.ShardHandle]:
        self._ask("open")
        for shard in range(self.shards):
            yield edges.ShardHandle(run="r", dataset="train", shard=shard, sha256=DIGEST)

    def verify_shard(self, handle: edges.ShardHandle) -> edges.ShardReceipt:
        self._ask(f"verify {handle.shard}")
        bad = self.bad if handle.shard == 1 else 0
        return edges.ShardReceipt(
            run="r", dataset="train", shard=handle.shard, records=5, bad_records=bad
        )

    def train(self, receipts: list[edges.ShardReceipt]) -> edges.TrainedHandle:
        self._ask(f"train {sorted(receipt.shard for receipt in receipts)}")
        bad = sum(receipt.bad_records for receipt in receipts)
        if bad:
            listed = [RecordRejected(place=f"shard:{line}") for line in range(bad)]
            raise ErrorList([*listed, RecordsRejected(actual=str(bad))])
        return edges.TrainedHandle(run="r", step=4, adapter=DIGEST)

    def evaluate(self, trained: edges.TrainedHandle) -> edges.EvaluatedHandle:
        self._ask("evaluate")
        return edges.EvaluatedHandle(run="r", step=trained.step, adapter=trained.adapter, rows=6)

    def publish(self, evaluated: edges.EvaluatedHandle) -> edges.PublishedHandle:
        self._ask("publish")
        return edges.PublishedHandle(run="r", result=DIGEST)


def run(session: Any) -> None:
    stages.run_pipeline(session)


def test_stages_run_in_order():
    session = Session()
    run(session)
    assert session.asked == [
        "open",
        *(f"verify {shard}" for shard in range(3)),
        "train [0, 1, 2]",
        "evaluate",
        "publish",
    ]


def test_each_stage_runs_once_for_many_shards():
    """Training waits for every shard, however the runner cuts them into bundles."""
    session = Session(shards=150)
    run(session)
    assert session.asked.count(f"train {list(range(150))}") == 1
    assert len(session.asked) == 150 + 4


def test_bad_records_stop_the_run_with_every_one_listed():
    session = Session(bad=3)
    with pytest.raises(ErrorList) as caught:
        run(session)
    kinds = [type(error) for error in caught.value.errors]
    assert kinds == [RecordRejected, RecordRejected, RecordRejected, RecordsRejected]
    assert session.asked[-1] == "train [0, 1, 2]"


STAGES = ["open", "verify 1", "train [0, 1, 2]", "evaluate", "publish"]


@pytest.mark.parametrize("stage", STAGES)
def test_an_error_comes_out_as_it_is(stage):
    error = BrokerLost(place="broker", actual="signal 9")
    session = Session(breaks={stage: error})
    with pytest.raises(BrokerLost) as caught:
        run(session)
    assert caught.value is error
    assert session.failure is error
    assert session.asked[-1] == stage


@pytest.mark.parametrize("stage", STAGES)
def test_an_unforeseen_error_keeps_its_text_to_itself(stage, caplog):
    """Beam puts an exception's text into its own messages; none of ours may hold a row."""
    caplog.set_level(logging.DEBUG, logger="apache_beam")
    with pytest.raises(Defect) as caught:
        run(Session(breaks={stage: ValueError(SECRET)}))
    assert caught.value.actual == "ValueError"
    assert SECRET not in str(caught.value)
    assert SECRET not in caplog.text
    chain = caught.value.__context__
    while chain is not None:
        if not isinstance(chain, ValueError):
            assert SECRET not in str(chain)
        chain = chain.__context__


@pytest.mark.parametrize("stage", STAGES)
def test_an_interrupt_stays_one(stage):
    session = Session(breaks={stage: KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        run(session)
    assert session.failure is None
    assert session.asked[-1] == stage
    assert stages._SESSIONS == {}


def test_errors_are_only_codes_to_beam(caplog):
    caplog.set_level(logging.DEBUG, logger="apache_beam")
    with pytest.raises(RecordRejected):
        run(Session(breaks={"evaluate": RecordRejected(place=SECRET)}))
    assert "SR-DATA-004" in caplog.text
    assert SECRET not in caplog.text


def test_beam_prints_no_traceback_of_its_own(caplog):
    with pytest.raises(RecordRejected):
        run(Session(breaks={"evaluate": RecordRejected(place="here")}))
    assert caplog.text == ""


def test_what_a_stage_emits_must_be_a_handle():
    class Leaky(Session):
        def verify_shard(self, handle: edges.ShardHandle) -> Any:
            return SECRET

    with pytest.raises(Exception, match=EdgeRefused.code) as caught:
        run(Leaky())
    assert SECRET not in str(caught.value)


def test_sessions_are_forgotten():
    run(Session())
    with pytest.raises(BrokerLost):
        run(Session(breaks={"open": BrokerLost()}))
    assert stages._SESSIONS == {}


def test_one_runs_stages_find_their_own_session():
    one, two = Session(plan=Plan(run="r")), Session(plan=Plan(run="other"))
    stages._SESSIONS["other"] = two  # type: ignore[assignment]
    try:
        run(one)
    finally:
        del stages._SESSIONS["other"]
    assert two.asked == []


def test_a_dataset_without_shards_trains_nothing():
    session = Session(shards=0)
    run(session)
    assert session.asked == ["open"]
