"""The processes behind a run, from before its plan until its end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import msgspec

from strongroom.audit.events import types as events
from strongroom.enclave.channel import frames
from strongroom.enclave.plan.leases import plan_leases
from strongroom.enclave.plan.objects import RunLayout, check_run_id
from strongroom.enclave.plan.run_file import NormalisedRun
from strongroom.pipeline.broker import messages
from strongroom.pipeline.broker.client import BrokerClient
from strongroom.pipeline.broker.log import BrokerLog
from strongroom.pipeline.planning.errors import IdentityMissing, LogNotKept, ReleaserMissing
from strongroom.pipeline.releaser.client import ReleaserClient
from strongroom.pipeline.run.record.journal import PURPOSE, Journal
from strongroom.pipeline.run.watcher import Watcher
from strongroom.pipeline.runfile.spec import RunSpec


class Connections:
    """The processes behind a run, before and after its plan is known."""

    def __init__(
        self,
        *,
        run: str,
        audit_uri: str,
        configure: messages.Configure,
        releaser: ReleaserClient,
        watcher: Watcher,
        run_folder: str,
    ) -> None:
        self.releaser = releaser
        self.run_folder = run_folder
        self.watcher = watcher
        self.on_report: Callable[[frames.Report], None] = lambda _report: None
        log = releaser.log()
        if log.uri != audit_uri:
            raise LogNotKept(place="spec.audit", expected=log.uri, actual=audit_uri)
        self.data = BrokerClient(self._report, self._lease)
        self.log = BrokerClient(self._report, self._lease)
        store = BrokerLog(self.log, audit_uri, PURPOSE)
        self.journal = Journal(run, audit_uri, releaser, store, log.vkey)
        try:
            audit = tuple(ref for ref in configure.leases if ref.purpose == PURPOSE)
            data = tuple(ref for ref in configure.leases if ref.purpose != PURPOSE)
            self.data.configure(msgspec.structs.replace(configure, leases=data))
            self.log.configure(msgspec.structs.replace(configure, leases=audit))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End both brokers, and with them the enclave."""
        self.data.close()
        self.log.close()

    def _report(self, report: frames.Report) -> None:
        self.on_report(report)

    def _lease(self, lease: events.LeaseIssued) -> None:
        self.journal.note("broker", lease)


@contextmanager
def connected(
    spec: RunSpec,
    run_id: str,
    watcher: Watcher,
    log_as: str = "",
    without: Collection[str] = (),
) -> Iterator[Connections]:
    """The processes behind a run, for as long as they are needed.

    ``log_as`` is the id under which events are logged, where it is not the run's; ``without`` are
    purposes that the brokers get no lease for.
    """
    run = spec.spec
    if run.identity is None:
        raise IdentityMissing(place="spec.identity")
    if run.keys.releaser is None:
        raise ReleaserMissing(place="spec.keys.releaser")
    layout = RunLayout(run.outputs, check_run_id(run_id))
    asked = NormalisedRun.of(spec.normalised())
    connections = Connections(
        run=log_as or run_id,
        audit_uri=run.audit,
        configure=messages.Configure(
            run=run_id,
            identity=messages.Identity(
                addr=run.identity.addr,
                credentials_file=str(run.identity.credentials),
                oidc_role=run.identity.oidc_role,
            ),
            leases=tuple(ref for ref in plan_leases(asked, layout) if ref.purpose not in without),
        ),
        releaser=ReleaserClient(run.keys.releaser),
        watcher=watcher,
        run_folder=layout.folder,
    )
    try:
        yield connections
    finally:
        connections.close()
