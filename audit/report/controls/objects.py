"""What went into the model and what came out, object by object."""

from __future__ import annotations

from collections.abc import Iterator

from strongroom.audit.events import types
from strongroom.audit.report.controls.row import (
    NO_PLAN,
    Case,
    Finding,
    each,
    faults,
    places,
    plural,
)
from strongroom.audit.report.entries import Entries, Entry, last, of
from strongroom.audit.report.planned import PlannedDataset, PlannedShard

USES = (types.TrainingStep, types.EvaluationFinished)


def data(case: Case) -> Iterator[Finding]:
    """In each enclave, before its first step or evaluation, all shards of both datasets were
    opened; each has the digest, the records and the plaintext's length of the signed manifest."""
    planned = {dataset.name: dataset for dataset in case.planned.datasets}
    opened = of(case.entries, types.ShardOpened)
    if not case.planned.known:
        yield NO_PLAN
        return
    for dataset in planned.values():
        if not dataset.pinned:
            yield Finding(f"the signed manifest of {dataset.name} was not read", None)
        elif len(dataset.pinned) != dataset.shards:
            yield Finding(f"plan and manifest of {dataset.name} count shards differently", False)
    yield from each(
        "each shard that was opened is the signed manifest’s, with all of its records",
        opened,
        lambda entry: _wrong_shard(entry.data, planned.get(entry.data.dataset)),
    )
    wanted = {(d.name, shard) for d in planned.values() for shard in range(len(d.pinned))}
    first: dict[int, Entries] = {}
    for session in case.sessions():
        if uses := of(session, *USES):
            first[uses[0].index] = session
    yield from each(
        f"all {len(wanted)} shards of {len(planned)} datasets before the first use",
        [entry for entry in case.entries if entry.index in first],
        lambda entry: _lacking(entry, first[entry.index], wanted),
    )


def _wrong_shard(shard: types.ShardOpened, dataset: PlannedDataset | None) -> str:
    if dataset is None:
        return f"{shard.dataset} is no dataset of the plan"
    if not dataset.pinned:
        return ""
    if shard.shard >= len(dataset.pinned):
        return f"{shard.dataset} has no shard {shard.shard}"
    found = PlannedShard(shard.sha256, shard.records, shard.plaintext_bytes)
    if found == dataset.pinned[shard.shard]:
        return ""
    return f"shard {shard.shard} of {shard.dataset} is another than the manifest’s"


def _lacking(use: Entry[types.EventData], session: Entries, wanted: set[tuple[str, int]]) -> str:
    """What an enclave had not opened when it came to its first step or evaluation."""
    opened = of(session, types.ShardOpened)
    seen = {(e.data.dataset, e.data.shard) for e in opened if e.index < use.index}
    left = len(wanted - seen)
    return f"{left} of {len(wanted)} shards had not been opened" if left else ""


def outputs(case: Case) -> Iterator[Finding]:
    """Each checkpoint is of a planned step, in its place, and has its planned sealed objects; its
    manifest was signed by an enclave that keys were released to, and all have the digests in the
    log. One that was written again is the same."""
    written = of(case.entries, types.CheckpointWritten)
    planned = {checkpoint.step: checkpoint for checkpoint in case.planned.checkpoints}
    if written and not case.planned.known:
        yield NO_PLAN
        return
    first: dict[int, types.CheckpointWritten] = {}

    def wrong(entry: Entry[types.CheckpointWritten]) -> str:
        data = entry.data
        want = planned.get(data.step)
        if want is None:
            return f"the plan has no checkpoint after step {data.step}"
        again = first.setdefault(data.step, data)
        return faults(
            (data.uri == want.uri, f"step {data.step} lies elsewhere than planned"),
            (
                sorted(item.name for item in data.objects) == sorted(want.objects),
                f"step {data.step} has other objects than planned",
            ),
            (data == again, f"step {data.step} was written again, and is another"),
        )

    yield from each(
        f"{plural(len(written), 'checkpoint')}, of planned steps, in their places, with their "
        "sealed objects",
        written,
        wrong,
    )
    uris = [
        uri
        for data in (entry.data for entry in written if entry.data.step in planned)
        for uri in (planned[data.step].manifest, *(data.uri + item.name for item in data.objects))
    ]
    if written:
        what = "manifests, each signed by an enclave that held keys, and what they name"
        yield case.objects(what, uris, places(written))
    finished = of(case.entries, types.TrainingFinished)
    there = {entry.data.step for entry in written}
    yield from each(
        "every planned step that training came to has its checkpoint",
        finished,
        lambda end: _none_left([s for s in planned if s <= end.data.step and s not in there]),
    )


def _none_left(steps: list[int]) -> str:
    return f"no checkpoint after step {', '.join(map(str, steps))}" if steps else ""


def result(case: Case) -> Iterator[Finding]:
    """Publication and completion name the checkpoint that training chose: adapter, manifest,
    objects and place; the result in the bucket follows from the log."""
    completed, published = (
        of(case.entries, types.RunCompleted),
        of(case.entries, types.RunPublished),
    )
    if not completed:
        return
    finished = last(of(case.entries, types.TrainingFinished))
    written = {w.data.step: w.data for w in of(case.entries, types.CheckpointWritten)}
    chosen = written.get(finished.chosen) if finished else None
    if finished is None or chosen is None or not published:
        says = "the run completed without a chosen checkpoint or a publication in the log"
        yield Finding(says, False, places(completed))
        return

    def other(entry: Entry[types.RunPublished | types.RunCompleted]) -> str:
        data = entry.data
        same = (data.adapter, data.manifest) == (chosen.adapter, chosen.manifest)
        where = True
        if isinstance(data, types.RunPublished):
            where = (data.uri, data.objects) == (chosen.uri, chosen.objects)
        else:
            where = data.steps == finished.step
        return faults((same and where, "differs from the checkpoint that training chose"))

    yield from each(
        f"published and completed with the checkpoint of step {finished.chosen}, which training "
        f"chose after step {finished.step}",
        (*published, *completed),
        other,
        beside=of(case.entries, types.TrainingFinished),
    )
    if case.planned.known:
        yield case.objects("the result in the bucket", filter(None, [case.planned.result]))
    else:
        yield NO_PLAN


def replay(case: Case) -> Iterator[Finding]:
    """Each repetition was of the admitted plan, to the same step, and gave the same bytes."""
    plans = {entry.data.plan for entry in of(case.entries, types.RunAdmitted)}
    finished = last(of(case.entries, types.TrainingFinished))
    yield from each(
        f"the whole run done again {plural(len(case.replays), 'time')}: the same, byte for byte",
        case.replays,
        lambda entry: faults(
            (entry.actor == "controller", f"said by the {entry.actor}"),
            (entry.data.outcome == "same", "it came out different"),
            (entry.data.plan in plans, "another plan was done again"),
            (finished is not None and entry.data.step == finished.step, "to another step"),
        ),
    )
