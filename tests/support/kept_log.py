"""A log that a notary keeps: in a folder, with a memory and a key of its own."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from strongroom.audit.events.entries import Event, from_entry
from strongroom.audit.events.order import check_history
from strongroom.audit.log.copy import LogCopy
from strongroom.audit.log.note import LogKey
from strongroom.audit.log.sequencer import Sequencer
from strongroom.audit.log.store import DirectoryStore, LogStore
from strongroom.audit.log.verify import check_log, read_log
from strongroom.pipeline.releaser.config import LogSettings
from strongroom.pipeline.releaser.notary import Notary

URI, ORIGIN = "s3://acme-audit/strongroom/", "acme-audit/strongroom"
KEY = "vault://transit/audit-log"
SETTINGS = LogSettings(
    uri=URI,
    key=KEY,
    role="unused",
    vault_addr="http://127.0.0.1:8200",
    credentials_file="unused",
    oidc_role="log",
    memory="unused",
)
"""What a releaser's settings say of it."""


class KeptLog:
    """A log without entries, and everything that its notary needs.

    ``store`` may be another than the folder's, such as one that fails.
    """

    def __init__(
        self,
        folder: Path,
        *,
        owners: Collection[str] = (),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        store: LogStore | None = None,
        key: Ed25519PrivateKey | None = None,
    ) -> None:
        self.store = store or DirectoryStore(folder)
        self.memory = LogCopy()
        self._private = key or Ed25519PrivateKey.generate()
        self.key = LogKey(ORIGIN, self._private.public_key().public_bytes_raw())
        self.vkey = self.key.vkey()
        self._owners, self._clock = owners, clock
        self.notary = self.started()

    def started(self) -> Notary:
        """A notary on this memory, as after a restart."""
        log = Sequencer(self.store, self.memory, self.key, self._private.sign)
        log.start()
        return Notary(log, self._owners, self._clock)

    def events(self, run: str | None = None) -> list[Event]:
        """The events of the verified log, all or one run's; none where nothing was published."""
        if self.store.read("checkpoint") is None:
            return []
        view = read_log(self.store, self.vkey, ORIGIN)
        found = [from_entry(entry) for entry in view.entries]
        return [event for event in found if run in (None, event.run)]

    def types(self, run: str | None = None) -> list[str]:
        """The types of these events."""
        return [event.type for event in self.events(run)]

    def check(self) -> None:
        """The log is whole, and no releaser would have refused any of it."""
        rows, view = check_log(self.store, self.vkey, ORIGIN)
        assert [row for row in rows if not row.ok] == []
        assert view is not None
        assert list(check_history(view.entries)) == []
