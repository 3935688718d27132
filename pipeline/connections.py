"""The processes behind a run, and whoever watches it: what is there before a plan is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from crypto.dsse import KeyRef
from pipeline import rpc
from pipeline.broker_client import BrokerClient
from pipeline.journal import Journal, lease_event
from pipeline.releaser_socket import ReleaserClient


class Watcher(Protocol):
    """Whoever shows a run to a person; see ``pipeline.progress``."""

    def stage(self, name: str) -> None:
        """A stage of the run begins."""
        ...

    def progress(self, activity: str, done: int, total: int) -> None:
        """``done`` of ``total`` units of an activity."""
        ...

    def step(self, step: int, values: dict[str, float]) -> None:
        """A training step ended."""
        ...

    def fact(self, text: str) -> None:
        """Something worth a line."""
        ...

    def alarm(self, text: str) -> None:
        """Something that a person should look at."""
        ...


class Connections:
    """The processes behind a run, before and after its plan is known."""

    def __init__(
        self,
        *,
        run: str,
        audit_uri: str,
        audit_kms: str,
        configure: rpc.Configure,
        releaser: ReleaserClient,
        watcher: Watcher,
        run_folder: str,
    ) -> None:
        self.releaser = releaser
        self.run_folder = run_folder
        self.watcher = watcher
        self.on_record: Callable[[rpc.Notice], None] = lambda _notice: None
        public = releaser.public_keys(audit_kms)
        self.kms_owner = public.kms_owner
        self.data = BrokerClient(self._notice)
        self.log = BrokerClient(self._notice)
        self.journal = Journal(
            run,
            audit_uri,
            self.log,
            lambda note: releaser.sign_note(audit_kms, note),
            KeyRef(public.audit),
        )
        try:
            audit = tuple(ref for ref in configure.leases if ref.purpose == "audit-append")
            data = tuple(ref for ref in configure.leases if ref.purpose != "audit-append")
            self.data.ask(msgspec.structs.replace(configure, leases=data))
            self.log.ask(msgspec.structs.replace(configure, leases=audit))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End both brokers, and with them the enclave."""
        self.data.close()
        self.log.close()

    def _notice(self, notice: rpc.Notice) -> None:
        if notice.kind == "lease":
            self.journal.note("broker", lease_event(notice.data))
        else:
            self.on_record(notice)
