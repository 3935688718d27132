"""Which run is meant, and from where it is read: this machine's memory, a run file, or a copy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from strongroom.audit.events import types as events
from strongroom.audit.events.entries import from_entry
from strongroom.audit.log.note import parse_vkey
from strongroom.audit.log.verify import read_log
from strongroom.connectors.buckets.uri import parse
from strongroom.enclave.plan.objects import check_run_id
from strongroom.pipeline.inspection.errors import AddressNotOfRun
from strongroom.pipeline.inspection.offline import FolderReader, log_in
from strongroom.pipeline.planning.errors import RunUnknown
from strongroom.pipeline.runfile.spec import RunSpec


def named(run: str) -> tuple[str, str]:
    """A run's id, and its outputs prefix if it was named by its address; empty if by its id.

    Raises ``AddressNotOfRun``.
    """
    if "://" not in run:
        return check_run_id(run), ""
    location = parse(run.rstrip("/") + "/")
    prefix, _, name = location.key.rstrip("/").rpartition("/")
    if not name:
        raise AddressNotOfRun(place=run)
    outputs = f"{location.scheme}://{location.bucket}/{prefix}".rstrip("/") + "/"
    return check_run_id(name), outputs


def spec_of(run: str, recall: Callable[[str], RunSpec]) -> tuple[RunSpec, str]:
    """The run file of a run that is named by id or address, and its id.

    ``recall`` gives the run file of an id. Raises ``AddressNotOfRun`` where the run file says that
    the run lies elsewhere.
    """
    run_id, outputs = named(run)
    try:
        spec = recall(run_id)
    except RunUnknown as error:
        raise RunUnknown(
            place=run,
            expected=error.expected,
            remedy="Name the run file with --run-file, or a copy of the buckets with --offline.",
        ) from None
    if outputs and outputs != spec.spec.outputs:
        raise AddressNotOfRun(place=run, expected=f"a run below {spec.spec.outputs}")
    return spec, run_id


def in_copy(folder: Path, vkey: str, run: str) -> FolderReader:
    """A run in a copy of its buckets. Raises ``RunUnknown`` where its log does not name it."""
    run_id, outputs = named(run)
    if not outputs:
        origin = parse_vkey(vkey).name
        view = read_log(log_in(folder.resolve(), origin), vkey, origin)
        told = (from_entry(entry).data for _, entry in view.of_run(run_id))
        found = next((each for each in told if isinstance(each, events.RunAdmitted)), None)
        if found is None:
            raise RunUnknown(place=run, expected=f"a run that the log {origin} tells of")
        outputs = found.outputs
    return FolderReader(folder, vkey, run_id, outputs)
