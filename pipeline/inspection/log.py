"""The audit log as the commands that look at runs read it: each log once, and only what is new.

What this machine has read of a log is kept in its state folder, by the log's key. So a head that is
older than one seen before is noticed, by whichever command sees it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from strongroom.audit.events.entries import Event, from_entry
from strongroom.audit.log.copy import LogCopy
from strongroom.audit.log.note import parse_vkey
from strongroom.audit.log.verify import LogView, read_log
from strongroom.connectors.host.folders import private_folder
from strongroom.pipeline.broker.log import log_origin
from strongroom.pipeline.broker.reading import ReadAccess
from strongroom.pipeline.planning.errors import ReleaserMissing
from strongroom.pipeline.releaser.client import ReleaserClient
from strongroom.pipeline.runfile.spec import RunSpec


@dataclass(frozen=True)
class RunLog:
    """The verified log, and the events in it that are of one run, in order."""

    view: LogView
    events: tuple[Event, ...]


class Logs:
    """The logs that one command reads.

    ``state`` is the folder where copies are kept; without one nothing is remembered. ``vkey`` is
    the verifier key that whoever asks brings; without one each run's releaser is asked for it.
    """

    def __init__(self, state: Path | None = None, vkey: str | None = None) -> None:
        self._state = state
        self._vkey = None if vkey is None else parse_vkey(vkey).vkey()
        self._asked: dict[Path, str] = {}
        self._views: dict[tuple[str, str], LogView] = {}

    def key(self, spec: RunSpec) -> str:
        """The verifier key of a run's log. Raises ``ReleaserMissing``."""
        if self._vkey is not None:
            return self._vkey
        releaser = spec.spec.keys.releaser
        if releaser is None:
            raise ReleaserMissing(place="spec.keys.releaser")
        if releaser not in self._asked:
            self._asked[releaser] = ReleaserClient(releaser).log().vkey
        return self._asked[releaser]

    def of(self, spec: RunSpec, run: str) -> RunLog:
        """A run's events, from the log verified. Raises as ``read_log`` does."""
        vkey, audit = self.key(spec), spec.spec.audit
        view = self._views.get((vkey, audit))
        if view is None:
            store = ReadAccess(spec, run).log()
            view = read_log(store, vkey, log_origin(audit), self.copy(vkey))
            self._views[vkey, audit] = view
        return RunLog(view, tuple(from_entry(entry) for _, entry in view.of_run(run)))

    def copy(self, vkey: str) -> LogCopy:
        """What this machine has read of the log with this key. Raises ``LogCopyDamaged``."""
        if self._state is None:
            return LogCopy()
        name = hashlib.sha256(vkey.encode()).hexdigest()[:32]
        path = private_folder(private_folder(self._state) / "log") / f"{name}.sqlite3"
        return LogCopy(path)
