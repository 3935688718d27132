"""The product in one page: plan, admit, start, release, open, verify, train, evaluate, publish.

The controller plans and drives; it holds no credential, no key, no ciphertext and no row. Whatever
happens is logged before the run goes on, and whatever fails is logged before it is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from strongroom.audit.events import types as events
from strongroom.crypto.digests import sha256
from strongroom.crypto.dsse import open_self_signed
from strongroom.crypto.manifest import DATASET_TYPE, DatasetManifest, decode_sealed
from strongroom.pipeline.broker.errors import OutputConflict
from strongroom.pipeline.planning.errors import (
    FactMissing,
    PlanNotAdmitted,
    RunExists,
    RunUnknown,
)
from strongroom.pipeline.planning.intent import check_same, new_run_id
from strongroom.pipeline.planning.objects import MANIFEST, RunLayout, run_objects
from strongroom.pipeline.planning.plan import Plan, build_plan
from strongroom.pipeline.run.admission import admit
from strongroom.pipeline.run.collect import collect_facts
from strongroom.pipeline.run.connections import Connections, connected
from strongroom.pipeline.run.errors import ReplayDiffers, RunFinished, RunUnfinished
from strongroom.pipeline.run.failures import told_before_a_plan
from strongroom.pipeline.run.session import RunSession
from strongroom.pipeline.run.watcher import Watcher
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
    with connected(loaded.spec, run_id, watcher) as connections:
        facts, _manifests = collect_facts(loaded.spec, connections)
        plan = build_plan(loaded.spec, facts, run_id)
    watcher.stage("admit")
    return plan, evaluate(Path(loaded.spec.spec.policy.bundle), plan.to_dict())


def run(loaded: LoadedRun, run_id: str, watcher: Watcher) -> Outcome:
    """One run from its file to its result."""
    with connected(loaded.spec, run_id, watcher) as connections:
        with told_before_a_plan(connections, unless=("running", "completed")):
            _unused(run_id, loaded.spec, connections)
        return _begin(loaded, run_id, connections)


def resume(spec: RunSpec, run_id: str, watcher: Watcher) -> Outcome:
    """Take a run up where its last checkpoint left it; the plan is the one that was admitted."""
    with connected(spec, run_id, watcher) as connections:
        return _go_on(spec, run_id, connections, finished_is_fine=False)


def run_or_resume(loaded: LoadedRun, run_id: str, watcher: Watcher) -> Outcome:
    """A run to its end, wherever it stands: begun, gone on with, or, when it is complete, told.

    For whoever starts a run without knowing whether somebody did before. Raises ``RunExists`` when
    the id is that of another run.
    """
    layout = RunLayout(loaded.spec.spec.outputs, run_id)
    with connected(loaded.spec, run_id, watcher) as connections:
        with told_before_a_plan(connections, unless=("running", "completed")):
            stored = connections.data.read(layout.plan, "run-read")
            if stored is not None:
                check_same(Plan.from_json(stored[0]), loaded.spec, layout)
        if stored is None:
            return _begin(loaded, run_id, connections)
        return _go_on(loaded.spec, run_id, connections, finished_is_fine=True)


def _begin(loaded: LoadedRun, run_id: str, connections: Connections) -> Outcome:
    spec = loaded.spec
    connections.watcher.stage("plan")
    with told_before_a_plan(connections, unless=()):
        facts, manifests = collect_facts(spec, connections)
        plan = build_plan(spec, facts, run_id)
    session = RunSession(plan, manifests, connections)
    with session.failing():
        session.enter("admit")
        admit(loaded, plan, session)
        source = spec.spec.evaluator.source
        session.publish_plan(None if source is None else source.read_bytes())
        return _execute(session)


def _go_on(
    spec: RunSpec, run_id: str, connections: Connections, *, finished_is_fine: bool
) -> Outcome:
    layout = RunLayout(spec.spec.outputs, run_id)
    connections.watcher.stage("plan")
    with told_before_a_plan(connections, unless=("completed",)):
        plan, manifests = _stored_plan(connections, layout)
        session = RunSession(plan, manifests, connections)
        history = [event.data for event in session.journal.history()]
        _check_admitted(plan, history, layout.plan)
    if any(isinstance(data, events.RunCompleted) for data in history):
        if not finished_is_fine:
            raise RunFinished(place=layout.result)
        session.hear(history)
        return _outcome(session)
    with session.failing():
        _restore_evaluator(spec, plan, layout, connections)
        session.go_on(history)
        return _execute(session)


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
        with told_before_a_plan(connections, unless=()):
            plan, manifests = _stored_plan(connections, layout)
            session = RunSession(plan, manifests, connections)
            history = [event.data for event in session.journal.history(run_id)]
            _check_admitted(plan, history, layout.plan)
            session.original = _complete(spec, layout, history, connections)
        try:
            with session.failing():
                session.go_on()
                outcome = _execute(session)
        except OutputConflict as error:
            _log_replay(session, "different")
            raise ReplayDiffers(
                place=error.place, expected=error.actual, actual=error.expected
            ) from None
        _log_replay(session, "same")
    return outcome


def _log_replay(session: RunSession, outcome: Literal["same", "different"]) -> None:
    plan = session.plan
    event = events.RunReplayed(
        original=plan.run, plan=plan.digest, step=session.course.checkpoint, outcome=outcome
    )
    session.journal.record("controller", event)


def _check_admitted(plan: Plan, history: list[events.EventData], place: str) -> None:
    admitted = {data.plan for data in history if isinstance(data, events.RunAdmitted)}
    if plan.digest not in admitted:
        raise PlanNotAdmitted(
            place=place, expected=" or ".join(sorted(admitted)), actual=plan.digest
        )


def _complete(
    spec: RunSpec, layout: RunLayout, history: list[events.EventData], connections: Connections
) -> events.TrainingFinished:
    """How the run's training ended. Raises ``RunUnfinished`` for a run that lacks an object, which
    a replay would write."""
    ended = [data for data in history if isinstance(data, events.TrainingFinished)]
    if not ended:
        raise RunUnfinished(place=layout.result)
    training = spec.spec.training.model_copy(update={"steps": ended[-1].step})
    written = {layout.folder + name for name in connections.data.sizes(layout.folder, "run-read")}
    missing = set(run_objects(layout, training)) - written
    if missing:
        raise RunUnfinished(place=min(missing))
    return ended[-1]


def _stored_plan(
    connections: Connections, layout: RunLayout
) -> tuple[Plan, dict[str, tuple[bytes, DatasetManifest]]]:
    """The plan as it lies in the bucket, and the manifests that it pins."""
    stored = connections.data.read(layout.plan, "run-read")
    if stored is None:
        raise RunUnknown(place=layout.plan)
    plan = Plan.from_json(stored[0])
    refs = {"train": plan.data.train, "held_out": plan.data.held_out}
    if plan.evaluator.sealed is not None:
        refs["evaluator"] = plan.evaluator.sealed
    manifests = {
        name: _stored_manifest(connections, ref.uri, ref.manifest_sha256)
        for name, ref in refs.items()
    }
    return plan, manifests


def _execute(session: RunSession) -> Outcome:
    # Beam takes a second to load, and neither a plan nor a run that is refused needs it.
    from strongroom.pipeline.run.stages import run_pipeline

    evidence = session.start_enclave()
    session.release_keys(evidence)
    run_pipeline(session)
    return _outcome(session)


def _outcome(session: RunSession) -> Outcome:
    course = session.course
    return Outcome(
        run=session.plan.run,
        step=course.chosen.step if course.chosen else 0,
        adapter=course.chosen.adapter if course.chosen else "",
        evaluations=course.evaluations,
        folder=session.layout.folder,
        trained_steps=course.checkpoint,
        ended=course.finished.reason if course.finished else "",
        alarms=sorted(course.alarms),
    )


def _unused(run_id: str, spec: RunSpec, connections: Connections) -> None:
    """Refuse a used id before the log says anything of a second run under it."""
    plan = RunLayout(spec.spec.outputs, run_id).plan
    if connections.data.read(plan, "run-read") is not None:
        raise RunExists(place=plan)


def _restore_evaluator(
    spec: RunSpec, plan: Plan, layout: RunLayout, connections: Connections
) -> None:
    """A run that was killed right after its plan was written has no evaluator beside it yet."""
    source = spec.spec.evaluator.source
    if source is None:
        return
    if connections.data.read(layout.evaluator, "run-read") is not None:
        return
    code = source.read_bytes() if source.is_file() else b""
    if sha256(code) != plan.evaluator.sha256:
        raise FactMissing(place=str(source), expected=plan.evaluator.sha256, actual=sha256(code))
    connections.data.create(layout.evaluator, "run-create", code)


def _stored_manifest(
    connections: Connections, uri: str, digest: str
) -> tuple[bytes, DatasetManifest]:
    place = uri + MANIFEST
    stored = connections.data.read(place, "data-read")
    if stored is None or sha256(stored[0]) != digest:
        raise FactMissing(
            place=place,
            expected=digest,
            actual="no object" if stored is None else sha256(stored[0]),
        )
    return stored[0], manifest_of(stored[0], place)


def manifest_of(envelope: bytes, place: str) -> DatasetManifest:
    """The manifest in an envelope whose digest is pinned, so that its signer may be any key."""
    payload, _signer = open_self_signed(envelope, DATASET_TYPE, place=place)
    return decode_sealed(payload, place)
