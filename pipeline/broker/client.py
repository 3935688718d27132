"""The controller's end of a broker process."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from strongroom.audit.events import types as events
from strongroom.enclave.channel import frames
from strongroom.enclave.channel.ending import ending
from strongroom.enclave.channel.errors import ChannelBroken, ChannelViolation
from strongroom.enclave.channel.framing import Channel
from strongroom.enclave.evidence import Evidence
from strongroom.enclave.plan.parts import BucketFacts, Purpose
from strongroom.errors.registry import from_documents
from strongroom.isolated.compiled import compiled_set
from strongroom.isolated.start import Child, user_environment
from strongroom.pipeline.broker import messages
from strongroom.pipeline.broker.errors import BrokerLost

ANSWERS: msgspec.json.Decoder[messages.Answer] = msgspec.json.Decoder(messages.Answer)
R = TypeVar("R")


class BrokerClient:
    """Starts one broker process and asks it things, one at a time.

    ``on_report`` and ``on_lease`` are called for each report of the enclave and each lease, in the
    thread that asked.
    """

    def __init__(
        self,
        on_report: Callable[[frames.Report], None],
        on_lease: Callable[[events.LeaseIssued], None],
    ) -> None:
        ours, theirs = Channel.pair()
        self._process = Child(
            "strongroom.pipeline.broker.process",
            (str(theirs.fileno()), str(os.getpid())),
            environment=user_environment(),
            keep=[theirs.fileno()],
            measured=compiled_set(),
            start_new_session=True,  # Ctrl-C is for the controller, which ends its brokers in order
        )
        theirs.close()
        self._channel = Channel(ours, "broker")
        self._on_report = on_report
        self._on_lease = on_lease
        self._lock = threading.RLock()

    @property
    def pid(self) -> int:
        """The broker's process id."""
        return self._process.pid

    def configure(self, configure: messages.Configure) -> None:
        """Say who the broker is and which leases it may take; the first request of all."""
        self._ask(configure, messages.Done)

    def read(self, uri: str, purpose: Purpose) -> messages.Stored | None:
        """A control object; None when there is none."""
        return self._ask(messages.Read(uri=uri, purpose=purpose), messages.Contents).stored

    def read_many(self, uris: Sequence[str], purpose: Purpose) -> list[bytes | None]:
        """Control objects, at once; None for each that there is not."""
        found: list[bytearray | None] = [None] * len(uris)

        def take(notice: messages.Piece | messages.Page) -> None:
            if isinstance(notice, messages.Piece) and notice.data is not None:
                known = found[notice.index]
                found[notice.index] = (bytearray() if known is None else known) + notice.data

        request = messages.ReadMany(uris=tuple(uris), purpose=purpose)
        self._ask(request, messages.Done, take)
        return [None if each is None else bytes(each) for each in found]

    def read_version(self, uri: str, purpose: Purpose, version: str) -> bytes | None:
        """One control object as it was; None when that version is gone."""
        request = messages.ReadVersion(uri=uri, purpose=purpose, version=version)
        stored = self._ask(request, messages.Contents).stored
        return None if stored is None else stored.data

    def versions(self, uri: str, purpose: Purpose) -> list[messages.StoredVersion]:
        """Every version of the objects under ``uri``: by name, of each the newest first."""
        found: list[messages.StoredVersion] = []

        def take(notice: messages.Piece | messages.Page) -> None:
            if isinstance(notice, messages.Page):
                found.extend(notice.versions)

        self._ask(messages.Versions(uri=uri, purpose=purpose), messages.Done, take)
        return found

    def create(self, uri: str, purpose: Purpose, data: bytes) -> bool:
        """Create a control object; False when it exists."""
        request = messages.Create(uri=uri, purpose=purpose, data=data)
        return self._ask(request, messages.Written).written

    def replace(self, uri: str, purpose: Purpose, data: bytes, etag: str) -> bool:
        """Swap a control object; False when it has changed."""
        request = messages.Replace(uri=uri, purpose=purpose, data=data, etag=etag)
        return self._ask(request, messages.Written).written

    def sizes(self, uri: str, purpose: Purpose) -> dict[str, int]:
        """Sizes of the objects under ``uri``, by name below it."""
        return self._ask(messages.Sizes(uri=uri, purpose=purpose), messages.Listing).sizes

    def facts(self, uri: str, purpose: Purpose) -> BucketFacts:
        """What the store says about the bucket of ``uri``."""
        return self._ask(messages.BucketFacts(uri=uri, purpose=purpose), messages.Facts).facts

    def start_enclave(self, request: messages.StartEnclave) -> Evidence:
        """Start an enclave; what it says of itself."""
        return self._ask(request, messages.Started).evidence

    def give_keys(self, sealed: bytes) -> None:
        """Hand the releaser's sealed keys to the enclave."""
        self._ask(messages.GiveKeys(sealed=sealed), messages.Done)

    def command(self, command: frames.Command) -> None:
        """Give the enclave a command; returns once it has done it."""
        self._ask(messages.Run(command=command), messages.Done)

    def stop_enclave(self) -> None:
        """End the enclave in good order."""
        self._ask(messages.StopEnclave(), messages.Done)

    def close(self) -> None:
        """End the broker, and with it its enclave."""
        self._channel.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ask(
        self,
        request: messages.Request,
        kind: type[R],
        on_part: Callable[[messages.Piece | messages.Page], None] = lambda _part: None,
    ) -> R:
        """Send a request, pass on notices, return the reply. Raises what the broker reports."""
        with self._lock:
            try:
                self._channel.send_record(request)
                while True:
                    answer = self._channel.recv_record(ANSWERS)
                    match answer:
                        case messages.Reported(report=report):
                            self._on_report(report)
                        case messages.Leased(lease=lease):
                            self._on_lease(lease)
                        case messages.Piece() | messages.Page():
                            on_part(answer)
                        case messages.Refused(errors=errors):
                            raise from_documents(errors)
                        case _ if isinstance(answer, kind):
                            return answer
                        case _:
                            raise ChannelViolation(
                                place="broker",
                                expected=kind.__name__,
                                actual=type(answer).__name__,
                            )
            except ChannelBroken:
                how = ending(self._process)
                lost = self._process.refusal() or BrokerLost(place="broker", actual=how)
                raise lost from None
