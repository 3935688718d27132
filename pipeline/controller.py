"""The product in one page: plan, admit, start, release, open, verify, train, evaluate, publish.

The controller plans and drives; it holds no credential, no key, no ciphertext and no row. What
happens is logged before the run goes on, and what fails is logged before it is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from strongroom.audit.events import types as events
from strongroom.enclave.plan.document import Plan
from strongroom.enclave.plan.objects import RunLayout
from strongroom.pipeline.broker.errors import OutputConflict
from strongroom.pipeline.planning.errors import PlanNotAdmitted
from strongroom.pipeline.planning.intent import check_same, new_run_id
from strongroom.pipeline.planning.plan import build_plan
from strongroom.pipeline.run.admission import admit, admit_early
from strongroom.pipeline.run.collect import collect_facts
from strongroom.pipeline.run.connections import Connections, connected
from strongroom.pipeline.run.errors import ReplayDiffers, RunFinished
from strongroom.pipeline.run.failures import logging_failures_before_plan
from strongroom.pipeline.run.record.history import History
from strongroom.pipeline.run.session import RunSession
from strongroom.pipeline.run.stored import (
    check_complete,
    check_unused,
    restore_evaluator,
    stored_manifests,
    stored_plan,
)
from strongroom.pipeline.run.watcher import Watcher
from strongroom.pipeline.runfile.evaluator_file import read_evaluator
from strongroom.pipeline.runfile.load import LoadedRun
from strongroom.pipeline.runfile.spec import RunSpec
from strongroom.policies.gate import Decision, evaluate


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    run: str
    step: int
    """Of the checkpoint that is the result."""
    adapter: str
    evaluations: dict[str, dict[str, float]]
    folder: str
    trained_steps: int
    ended: str
    """Why training ended: ``steps`` when there were no more."""
    alarms: list[str]


def make_plan(loaded: LoadedRun, run_id: str, watcher: Watcher) -> tuple[Plan, Decision]:
    """Collect facts, plan, and ask the policy, without writing anything."""
    watcher.stage("plan")
    admit_early(loaded, run_id)
    with connected(loaded.spec, run_id, watcher) as connections:
        facts, _manifests = collect_facts(loaded.spec, connections)
        plan = build_plan(loaded.spec, facts, run_id)
    watcher.stage("admit")
    return plan, evaluate(Path(loaded.spec.spec.policy.bundle), plan.to_dict())


def run(loaded: LoadedRun, run_id: str, watcher: Watcher) -> Outcome:
    """One run from its file to its result."""
    admit_early(loaded, run_id)
    layout = RunLayout(loaded.spec.spec.outputs, run_id)
    with connected(loaded.spec, run_id, watcher) as connections:
        with logging_failures_before_plan(connections, unless=("running", "completed")):
            check_unused(layout, connections.data)
        return _begin(loaded, run_id, connections)


def resume(spec: RunSpec, run_id: str, watcher: Watcher) -> Outcome:
    """Continue a run after its last checkpoint; the plan is the one that was admitted."""
    with connected(spec, run_id, watcher) as connections:
        return _resume(spec, run_id, connections, finished_is_fine=False)


def run_or_resume(loaded: LoadedRun, run_id: str, watcher: Watcher) -> Outcome:
    """A run to its end, wherever it stands: begun, resumed or, when it is complete, read.

    For callers that do not know whether the run was started before. Raises ``RunExists`` when the
    id is that of another run.
    """
    admit_early(loaded, run_id)
    layout = RunLayout(loaded.spec.spec.outputs, run_id)
    with connected(loaded.spec, run_id, watcher) as connections:
        with logging_failures_before_plan(connections, unless=("running", "completed")):
            stored = connections.data.read(layout.plan, "run-read")
            if stored is not None:
                check_same(Plan.from_json(stored.data), loaded.spec, layout)
        if stored is None:
            return _begin(loaded, run_id, connections)
        return _resume(loaded.spec, run_id, connections, finished_is_fine=True)


def replay(spec: RunSpec, run_id: str, watcher: Watcher) -> Outcome:
    """Do a finished run again, from its plan and its first step, and write nothing.

    Objects are sealed deterministically, so the broker compares every object of the replay with
    that of the run, byte for byte; the result is made anew from the replay's own events and
    compared likewise. What happens is logged under an id of its own. Raises ``ReplayDiffers`` for
    the first object that comes out otherwise.
    """
    layout = RunLayout(spec.spec.outputs, run_id)
    replay_id = new_run_id(f"{run_id[:40]}-replay")
    with connected(spec, run_id, watcher, log_as=replay_id) as connections:
        watcher.stage("plan")
        with logging_failures_before_plan(connections, unless=()):
            session = _stored_session(layout, connections)
            history = _admitted_history(session, run_id)
            session.original = check_complete(spec, layout, history.finished, connections.data)
        try:
            with session.failing():
                session.resume(History())
                outcome = _execute(session)
        except OutputConflict as error:
            _log_replay(session, "different")
            raise ReplayDiffers(
                place=error.place, expected=error.actual, actual=error.expected
            ) from None
        _log_replay(session, "same")
    return outcome


def _begin(loaded: LoadedRun, run_id: str, connections: Connections) -> Outcome:
    spec = loaded.spec
    connections.watcher.stage("plan")
    with logging_failures_before_plan(connections, unless=()):
        facts, manifests = collect_facts(spec, connections)
        plan = build_plan(spec, facts, run_id)
    session = RunSession(plan, manifests, connections)
    with session.failing():
        session.recorder.enter("admit")
        admit(loaded, plan, session.journal)
        source = spec.spec.evaluator.source
        session.publish_plan(None if source is None else read_evaluator(source))
        return _execute(session)


def _resume(
    spec: RunSpec, run_id: str, connections: Connections, *, finished_is_fine: bool
) -> Outcome:
    layout = RunLayout(spec.spec.outputs, run_id)
    connections.watcher.stage("plan")
    with logging_failures_before_plan(connections, unless=("completed",)):
        session = _stored_session(layout, connections)
        history = _admitted_history(session, run_id)
    if history.completed:
        if not finished_is_fine:
            raise RunFinished(place=layout.result)
        session.recorder.continue_from(history)
        return _outcome(session)
    with session.failing():
        restore_evaluator(spec, session.plan, layout, connections.data)
        session.resume(history)
        return _execute(session)


def _stored_session(layout: RunLayout, connections: Connections) -> RunSession:
    """A session of the run as its plan lies in the bucket."""
    plan = stored_plan(layout, connections.data)
    return RunSession(plan, stored_manifests(plan, connections.data), connections)


def _admitted_history(session: RunSession, run_id: str) -> History:
    """What the log says of the run. Raises ``PlanNotAdmitted`` for a plan that it does not name."""
    history = History.of(event.data for event in session.journal.events(run_id))
    if session.plan.digest not in history.admitted:
        raise PlanNotAdmitted(
            place=session.layout.plan,
            expected=" or ".join(sorted(history.admitted)),
            actual=session.plan.digest,
        )
    return history


def _execute(session: RunSession) -> Outcome:
    # Beam takes a second to load, and neither a plan nor a run that is refused needs it.
    from strongroom.pipeline.run.stages import run_pipeline

    evidence = session.enclave.start()
    session.enclave.release_keys(evidence)
    run_pipeline(session)
    return _outcome(session)


def _outcome(session: RunSession) -> Outcome:
    history = session.history
    return Outcome(
        run=session.plan.run,
        step=history.chosen.step if history.chosen else 0,
        adapter=history.chosen.adapter if history.chosen else "",
        evaluations=history.evaluations,
        folder=session.layout.folder,
        trained_steps=history.checkpoint,
        ended=history.finished.reason if history.finished else "",
        alarms=sorted(history.alarms),
    )


def _log_replay(session: RunSession, outcome: Literal["same", "different"]) -> None:
    plan = session.plan
    event = events.RunReplayed(
        original=plan.run, plan=plan.digest, step=session.history.checkpoint, outcome=outcome
    )
    session.journal.record("controller", event)
