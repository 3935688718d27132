"""``strongroom evaluator test``: the evaluator on sealed rows, in an enclave, before any spend.

Everything is as in a run, up to the keys: the plan is made and admitted, an enclave starts on it,
the releaser checks its evidence. Then the enclave samples completions from the base model and has
them scored. The data broker gets no lease that could write, so that nothing can be left under the
outputs; what happened is in the audit log, under an id of its own.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from strongroom.audit.events import types as events
from strongroom.crypto.manifest import DatasetManifest
from strongroom.enclave.channel import frames
from strongroom.pipeline.broker import messages
from strongroom.pipeline.planning.intent import new_run_id
from strongroom.pipeline.planning.plan import Plan, build_plan
from strongroom.pipeline.run.admission import admit
from strongroom.pipeline.run.collect import collect_facts
from strongroom.pipeline.run.connections import connected
from strongroom.pipeline.run.errors import TrialTooLarge
from strongroom.pipeline.run.failures import told_before_a_plan
from strongroom.pipeline.run.session import RunSession
from strongroom.pipeline.run.watcher import Watcher
from strongroom.pipeline.runfile.load import LoadedRun

WRITES = ("run-create",)
"""Purposes that a trial's broker gets no lease for."""


@dataclass(frozen=True)
class Fault:
    """One failed call. ``place`` is the shard and line of its row; ``line`` is the evaluator's."""

    place: str
    row: int
    sample: int
    code: str
    detail: str
    line: int


@dataclass
class Tested:
    """What a trial found."""

    run: str
    plan: Plan
    samples: int
    rows: int = 0
    completions: int = 0
    failures: int = 0
    values: dict[str, float] = field(default_factory=dict)
    histogram: tuple[int, ...] = ()
    faults: list[Fault] = field(default_factory=list)

    @property
    def untried(self) -> int:
        """Completions that nobody asked for any more, since the evaluator had ended."""
        return self.rows * self.samples - self.completions - self.failures

    def bars(self) -> list[tuple[float, float, int]]:
        """The histogram with the ends of each bar."""
        low, high = self.values.get("score_min", 0.0), self.values.get("score_max", 0.0)
        width = (high - low) / frames.TRIAL_BINS
        if not width:
            return [(low, high, self.completions)] if self.completions else []
        return [
            (low + width * index, low + width * (index + 1), count)
            for index, count in enumerate(self.histogram)
        ]


def try_evaluator(loaded: LoadedRun, rows: int, samples: int, watcher: Watcher) -> Tested:
    """Try the run file's evaluator on ``samples`` completions of each of ``rows`` rows.

    Raises whatever planning, admission, key release and loading the evaluator raise; a call that
    fails is a ``Fault`` and raises nothing.
    """
    if rows * samples > frames.TRIAL_COMPLETIONS:
        raise TrialTooLarge(
            expected=f"at most {frames.TRIAL_COMPLETIONS}", actual=f"{rows * samples}"
        )
    spec = loaded.spec
    run_id = new_run_id(f"{spec.metadata.name[:40]}-trial")
    with connected(spec, run_id, watcher, without=WRITES) as connections:
        watcher.stage("plan")
        with told_before_a_plan(connections, unless=()):
            facts, manifests = collect_facts(spec, connections)
            session = RunSession(build_plan(spec, facts, run_id), manifests, connections)
        tested = Tested(run_id, session.plan, samples)
        with session.failing():
            session.enter("admit")
            admit(loaded, session.plan, session)
            source = spec.spec.evaluator.source
            evidence = session.start_enclave(b"" if source is None else source.read_bytes())
            session.release_keys(evidence, keep=False)
            _verify(session)
            session.enter("trial")
            hearing = _Hearing(tested, manifests["train"][1], watcher)
            connections.on_record = hearing.heard
            command = frames.TestEvaluator(rows=rows, samples=samples)
            connections.data.ask(messages.Run(command=command))
            connections.data.ask(messages.StopEnclave())
        session.journal.record("enclave", _event(tested))
    return tested


def _verify(session: RunSession) -> None:
    """The training rows, as a run verifies them: all that are bad are told before any is used."""
    handles = [handle for handle in session.open_datasets() if handle.dataset == "train"]
    bad = sum(session.verify_shard(handle).bad_records for handle in handles)
    if bad:
        raise session.rejected(bad)


class _Hearing:
    """Takes what the enclave says of a trial."""

    def __init__(self, tested: Tested, train: DatasetManifest, watcher: Watcher) -> None:
        self._tested = tested
        self._uri = tested.plan.data.train.uri
        self._train = train
        self._watcher = watcher

    def heard(self, notice: messages.Notice) -> None:
        data: dict[str, Any] = notice.data
        match notice.kind:
            case "progress":
                self._watcher.progress(data["activity"], data["done"], data["total"])
            case "evaluator_fault":
                place = f"{self._uri}{self._place(data['row'])}"
                self._tested.faults.append(Fault(place, **data))
            case "evaluator_tested":
                for name, value in data.items():
                    setattr(self._tested, name, value)

    def _place(self, row: int) -> str:
        """A row's shard and line, from how many rows each shard holds."""
        for shard in self._train.shards:
            if row < shard.records:
                return f"{shard.object}:{row + 1}"
            row -= shard.records
        return ""


def _event(tested: Tested) -> events.EvaluatorTested:
    return events.EvaluatorTested(
        plan=tested.plan.digest,
        evaluator=tested.plan.evaluator.sha256,
        rows=tested.rows,
        completions=tested.completions,
        failures=tested.failures,
        faults=dict(sorted(Counter(fault.code for fault in tested.faults).items())),
        values=tested.values,
    )
