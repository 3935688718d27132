"""``strongroom evaluator test``: the evaluator on sealed rows, in an enclave, before any spend.

Everything is as in a run, up to the keys: the plan is made and admitted, an enclave starts on it,
the releaser checks its evidence. Then the enclave samples completions from the base model and has
them scored. The data broker gets no lease that could write, so that nothing can be left under the
outputs; what happened is in the audit log, under an id of its own.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from strongroom.audit.events import types as events
from strongroom.crypto.manifest import DatasetManifest
from strongroom.enclave.channel import capacity, frames
from strongroom.enclave.plan.document import Plan
from strongroom.pipeline.planning.intent import new_run_id
from strongroom.pipeline.planning.plan import build_plan
from strongroom.pipeline.run.admission import admit, admit_early
from strongroom.pipeline.run.collect import collect_facts
from strongroom.pipeline.run.connections import connected
from strongroom.pipeline.run.errors import TrialTooLarge
from strongroom.pipeline.run.failures import logging_failures_before_plan
from strongroom.pipeline.run.session import RunSession
from strongroom.pipeline.run.watcher import Watcher
from strongroom.pipeline.runfile.evaluator_file import read_evaluator
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


@dataclass(frozen=True)
class Tested:
    """What a trial found."""

    run: str
    plan: Plan
    samples: int
    """Completions of each row."""
    rows: int
    completions: int
    failures: int
    values: dict[str, float]
    histogram: tuple[int, ...]
    faults: tuple[Fault, ...]

    @property
    def untried(self) -> int:
        """Completions that were not asked for any more, since the evaluator had ended."""
        return self.rows * self.samples - self.completions - self.failures

    def bars(self) -> list[tuple[float, float, int]]:
        """The histogram with the ends of each bar."""
        low, high = self.values.get("score_min", 0.0), self.values.get("score_max", 0.0)
        width = (high - low) / capacity.TRIAL_BINS
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
    if rows * samples > capacity.TRIAL_COMPLETIONS:
        raise TrialTooLarge(
            expected=f"at most {capacity.TRIAL_COMPLETIONS}", actual=f"{rows * samples}"
        )
    spec = loaded.spec
    run_id = new_run_id(f"{spec.metadata.name[:40]}-trial")
    admit_early(loaded, run_id)
    with connected(spec, run_id, watcher, without=WRITES) as connections:
        watcher.stage("plan")
        with logging_failures_before_plan(connections, unless=()):
            facts, manifests = collect_facts(spec, connections)
            session = RunSession(build_plan(spec, facts, run_id), manifests, connections)
        with session.failing():
            session.recorder.enter("admit")
            admit(loaded, session.plan, session.journal)
            source = spec.spec.evaluator.source
            evidence = session.enclave.start(b"" if source is None else read_evaluator(source))
            session.enclave.release_keys(evidence, keep=False)
            _verify(session)
            session.recorder.enter("trial")
            sums, faults = session.enclave.test_evaluator(rows, samples)
            session.enclave.stop()
        tested = _tested(session.plan, manifests.train.manifest, samples, sums, faults)
        session.journal.record("enclave", _event(tested))
    return tested


def _verify(session: RunSession) -> None:
    """The training rows, as a run verifies them: all bad ones are named before any is used."""
    handles = [handle for handle in session.open_datasets() if handle.dataset == "train"]
    bad = sum(session.verify_shard(handle).bad_records for handle in handles)
    if bad:
        raise session.recorder.rejected(bad)


def _tested(
    plan: Plan,
    train: DatasetManifest,
    samples: int,
    sums: frames.EvaluatorTested,
    faults: list[frames.EvaluatorFault],
) -> Tested:
    return Tested(
        run=plan.run,
        plan=plan,
        samples=samples,
        rows=sums.rows,
        completions=sums.completions,
        failures=sums.failures,
        values=sums.values,
        histogram=sums.histogram,
        faults=tuple(
            Fault(
                place=f"{plan.data.train.uri}{_place(train, fault.row)}",
                row=fault.row,
                sample=fault.sample,
                code=fault.code,
                detail=fault.detail,
                line=fault.line,
            )
            for fault in faults
        ),
    )


def _place(train: DatasetManifest, row: int) -> str:
    """A row's shard and line, from how many rows each shard holds."""
    for shard in train.shards:
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
