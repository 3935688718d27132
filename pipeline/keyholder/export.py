"""``strongroom export``: a run's adapter in plain, for the holder of its key.

This process has the network and the ciphertext, and never the key or the weights: the exporter that
it starts gets the key from the releaser, sealed to it, and writes the weights into pipes. They go
on from there to files by ``splice(2)``, inside the kernel, so they are never in this memory either.
Once written they are files of the person who asked, and no longer under any seal.

The log says which adapter it is: its checkpoint's manifest has to be the logged one, and what the
exporter opens has to have the logged digest. The export is logged before the key is asked for.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from strongroom.audit.events import types as events
from strongroom.audit.events.entries import Event
from strongroom.connectors.buckets.errors import ObjectMissing
from strongroom.crypto.digests import sha256
from strongroom.crypto.errors import ObjectDigestMismatch
from strongroom.crypto.manifest import WrappedKeyset
from strongroom.enclave.channel import frames
from strongroom.enclave.checkpoints import ADAPTER
from strongroom.enclave.parent import TaskEnclave
from strongroom.enclave.plan.document import Plan
from strongroom.enclave.plan.objects import MANIFEST
from strongroom.enclave.plan.parts import ModelFile
from strongroom.pipeline.broker.reading import ReadAccess
from strongroom.pipeline.keyholder.errors import AdapterMissing
from strongroom.pipeline.keyholder.export_folder import (
    check_free,
    fill_file,
    new_folder,
    write_file,
)
from strongroom.pipeline.keyholder.model_card import adapter_config, model_card
from strongroom.pipeline.keyholder.outputs import (
    checkpoint_objects,
    output_keyset,
    sealed_object,
)
from strongroom.pipeline.planning.errors import PlanNotAdmitted, ReleaserMissing, RunUnknown
from strongroom.pipeline.planning.plan import check_plan
from strongroom.pipeline.releaser.client import ReleaserClient
from strongroom.pipeline.run.connections import connected
from strongroom.pipeline.run.watcher import Silent
from strongroom.pipeline.runfile.spec import RunSpec
from strongroom.trainer.config import LoraConfig

WEIGHTS = ".safetensors"
CARD = "README.md"

Form = Literal["adapter", "merged"]


@dataclass(frozen=True)
class Exported:
    """What was exported, and where it lies."""

    folder: Path
    form: Form
    step: int
    adapter: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class _Source:
    """The checkpoint that is exported, as log and bucket tell of it; all of it sealed or public."""

    plan: Plan
    written: events.CheckpointWritten
    history: Sequence[Event]
    keyset: WrappedKeyset
    sealed: bytes
    place: str


def export(
    spec: RunSpec, run: str, to: Path, *, step: int = 0, form: Form = "adapter", base: str = ""
) -> Exported:
    """Write the adapter of ``step`` (0: the published one, else the last) into the folder ``to``.

    ``merged`` writes the whole base model with the adapter added instead. ``base`` is what the
    adapter's configuration calls the base model; its URI if empty. Raises ``AdapterMissing``,
    ``DestinationTaken``, ``ExportNotWritten``, integrity errors by the object's name, and what
    the releaser refuses with.
    """
    if spec.spec.keys.releaser is None:
        raise ReleaserMissing(place="spec.keys.releaser")
    target = to.absolute()
    check_free(target)
    access = ReadAccess(spec, run)
    with connected(spec, run, Silent()) as connections:
        source = _source(access, connections.journal.events(), step)
        connections.journal.record("broker")  # the leases that reading took
    written = source.written
    exported = events.AdapterExported(step=written.step, adapter=written.adapter, form=form)
    releaser = ReleaserClient(spec.spec.keys.releaser)
    with new_folder(target) as folder:
        write_file(folder / CARD, model_card(source.plan, written, source.history, form).encode())
        if form == "merged":
            weights = _copy_others(access, source.plan, folder)
        else:
            lora = LoraConfig.model_validate(source.plan.spec["spec"]["model"]["lora"])
            config = adapter_config(lora, base or source.plan.model.uri)
            write_file(folder / "adapter_config.json", config)
            weights = ()
        _open_into(folder, releaser, access, source, weights, exported)
        files = tuple(sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()))
    return Exported(target, form, written.step, written.adapter, files)


# ---- what is exported --------------------------------------------------------------------------


def _source(access: ReadAccess, history: Sequence[Event], step: int) -> _Source:
    """The checkpoint of ``step``, held against the log."""
    written = _checkpoint(access, history, step)
    plan = _plan(access, history)
    keyset = output_keyset(access, AdapterMissing)
    folder = access.layout.checkpoint(written.step)
    place = folder + MANIFEST
    envelope = access.get(place)
    if envelope is None:
        raise AdapterMissing(place=place, expected=f"the checkpoint of step {written.step}")
    if sha256(envelope) != written.manifest:
        raise ObjectDigestMismatch(place=place, expected=written.manifest, actual=sha256(envelope))
    pinned = checkpoint_objects(envelope, place)[ADAPTER]
    place = folder + pinned.object
    sealed = sealed_object(access, place, pinned, AdapterMissing)
    return _Source(plan, written, history, keyset, sealed, place)


def _checkpoint(
    access: ReadAccess, history: Sequence[Event], step: int
) -> events.CheckpointWritten:
    """The logged checkpoint of ``step``; for 0 the published one, or the last without any."""
    logged: dict[int, events.CheckpointWritten] = {}
    published = ""
    for event in history:
        match event.data:
            case events.CheckpointWritten() as data:
                logged[data.step] = data
            case events.RunPublished() as data:
                published = data.manifest
    steps = ", ".join(map(str, sorted(logged)))
    if not logged or (step and step not in logged):
        raise AdapterMissing(
            place=access.layout.folder,
            expected=f"a checkpoint of step {step}" if step else "a checkpoint in the log",
            actual=f"checkpoints of steps {steps}" if steps else "none",
        )
    found = [data for data in logged.values() if data.manifest == published]
    return logged[step] if step else (found or [logged[max(logged)]])[0]


def _plan(access: ReadAccess, history: Sequence[Event]) -> Plan:
    """The run's plan: the one that the log says was admitted."""
    place = access.layout.plan
    data = access.get(place)
    if data is None:
        raise RunUnknown(place=place)
    admitted = {event.data.plan for event in history if isinstance(event.data, events.RunAdmitted)}
    if sha256(data) not in admitted:
        raise PlanNotAdmitted(
            place=place, expected=" or ".join(sorted(admitted)), actual=sha256(data)
        )
    plan = Plan.from_json(data, place=place)
    check_plan(plan)
    return plan


# ---- from sealed to plain ----------------------------------------------------------------------


def _copy_others(access: ReadAccess, plan: Plan, folder: Path) -> tuple[ModelFile, ...]:
    """Copy what of the base model is no weights (it is public); return the files that are."""
    for file in plan.model.files:
        if not file.name.endswith(WEIGHTS) and file.name != CARD:
            pieces = _model_file(access, plan, file)
            write_file(folder / file.name, b"".join(bytes(piece) for piece in pieces))
    return tuple(file for file in plan.model.files if file.name.endswith(WEIGHTS))


def _model_file(access: ReadAccess, plan: Plan, file: ModelFile) -> Iterator[memoryview]:
    """A file of the base model in pieces; it is the plan's when this has come to its end."""
    place = plan.model.uri + file.name
    digest = hashlib.sha256()
    try:
        for piece in access.stream(place):
            digest.update(piece)
            yield piece
    except ObjectMissing:
        raise ObjectMissing(place=place) from None
    actual = f"sha256:{digest.hexdigest()}"
    if actual != file.sha256:
        raise ObjectDigestMismatch(place=place, expected=file.sha256, actual=actual)


def _open_into(
    folder: Path,
    releaser: ReleaserClient,
    access: ReadAccess,
    source: _Source,
    weights: Sequence[ModelFile],
    exported: events.AdapterExported,
) -> None:
    """Have the exporter write the adapter (or each of ``weights``, merged) into ``folder``."""
    run, written = source.plan.run, source.written
    names = [file.name for file in weights] or ["adapter_model.safetensors"]
    limits = [file.size_bytes for file in weights] or [len(source.sealed)]
    inputs: list[Iterator[memoryview] | None] = [
        _model_file(access, source.plan, file) for file in weights
    ] or [None]
    arguments = [releaser.challenge(), run, "merged" if weights else "adapter"]
    with _pipes(len(names)) as (readers, writers):
        module = "strongroom.enclave.roles.export"
        with TaskEnclave("exporter", module, arguments, writers) as exporter:
            _close(writers)  # the exporter's are the last ones: its end is the end of the pipe
            evidence = exporter.evidence()
            released = releaser.release_export(evidence, run, source.keyset, exported)
            command = frames.Export(
                run=run,
                step=written.step,
                commitment=source.keyset.commitment,
                adapter=written.adapter,
            )
            exporter.send(frames.Keys(sealed=released.sealed), command)
            exporter.channel.send_object([source.sealed])
            for name, limit, data, reader in zip(names, limits, inputs, readers, strict=True):
                if data is not None:
                    exporter.channel.send_object(data)
                fill_file(folder / name, reader, limit)
                exporter.done(source.place)


@contextmanager
def _pipes(count: int) -> Iterator[tuple[list[int], list[int]]]:
    """``count`` pipes: the ends to read, and those to write; whichever are left are closed."""
    pairs = [os.pipe() for _ in range(count)]
    readers, writers = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    try:
        yield readers, writers
    finally:
        _close(readers)
        _close(writers)


def _close(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())
