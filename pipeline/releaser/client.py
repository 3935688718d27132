"""Asks the releaser. Knows its messages and nothing of how it decides."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from strongroom.audit.events.entries import Event
from strongroom.audit.events.types import AdapterExported, RolloutsOpened
from strongroom.crypto.manifest import WrappedKeyset
from strongroom.enclave.channel.errors import ChannelBroken, ChannelError
from strongroom.enclave.channel.framing import Channel
from strongroom.enclave.plan.parts import KeyRefs, KmsFacts
from strongroom.errors.registry import from_documents
from strongroom.pipeline.releaser import messages
from strongroom.pipeline.releaser.errors import (
    ReleaserBusy,
    ReleaserUnreachable,
    RequestMalformed,
)

ANSWERS: msgspec.json.Decoder[messages.Answer] = msgspec.json.Decoder(messages.Answer)
A = TypeVar("A")
PATIENCE_S = 30.0
_PAUSE_S = 0.2


class ReleaserClient:
    """Asks the releaser on a socket. Raises what it refuses with."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def challenge(self) -> str:
        """A fresh nonce."""
        return self._ask(messages.Challenge(), messages.Nonce).nonce

    def release_run(
        self,
        run: str,
        plan: bytes,
        evidence: bytes,
        manifests: dict[str, bytes],
        outputs: WrappedKeyset | None,
    ) -> messages.Released:
        """A run's keys, sealed to its enclave; ``run`` is the id under which it is logged."""
        request = messages.ReleaseRun(
            run=run, plan=plan, evidence=evidence, manifests=manifests, outputs=outputs
        )
        return self._ask(request, messages.Released)

    def release_seal(self, evidence: bytes, dataset: str, kms: str) -> messages.Released:
        """A new dataset keyset, sealed to the sealer."""
        request = messages.ReleaseSeal(evidence=evidence, dataset=dataset, kms=kms)
        return self._ask(request, messages.Released)

    def release_view(
        self, evidence: bytes, run: str, outputs: WrappedKeyset, opened: RolloutsOpened
    ) -> messages.Released:
        """A run's output keyset, sealed to a viewer; that these rollouts are opened is logged."""
        request = messages.ReleaseView(evidence=evidence, run=run, outputs=outputs, opened=opened)
        return self._ask(request, messages.Released)

    def release_export(
        self, evidence: bytes, run: str, outputs: WrappedKeyset, exported: AdapterExported
    ) -> messages.Released:
        """A run's output keyset, sealed to an exporter; that it exports is logged."""
        request = messages.ReleaseExport(
            evidence=evidence, run=run, outputs=outputs, exported=exported
        )
        return self._ask(request, messages.Released)

    def append(self, events: Sequence[Event]) -> int:
        """Take events of one run into the log; returns the log's size once they are published.

        A releaser that is being started again is waited for: what was taken is not taken twice.
        """
        request = messages.Append(events=tuple(events))
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self._ask(request, messages.Taken).size
            except ReleaserUnreachable:
                if time.monotonic() > end:
                    raise
            time.sleep(_PAUSE_S)

    def sign_manifest(self, payload: bytes) -> messages.Signed:
        """The owner's signature over a dataset manifest."""
        return self._ask(messages.SignManifest(payload=payload), messages.Signed)

    def log(self) -> messages.Log:
        """The log that this releaser keeps."""
        return self._ask(messages.WhichLog(), messages.Log)

    def describe_keys(self, keys: KeyRefs) -> KmsFacts:
        """What the key services say of a run's keys."""
        return self._ask(messages.DescribeKeys(keys=keys), messages.KeysDescribed).kms

    def _ask(self, request: messages.Request, kind: type[A]) -> A:
        """The answer; a releaser that is busy is asked again."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self._ask_once(request, kind)
            except ReleaserBusy:
                if time.monotonic() > end:
                    raise
            time.sleep(_PAUSE_S)

    def _ask_once(self, request: messages.Request, kind: type[A]) -> A:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(messages.TIMEOUT_S)
        try:
            sock.connect(str(self._path))
        except BlockingIOError:  # as many wait to be let in as may
            sock.close()
            raise ReleaserBusy(place=str(self._path)) from None
        except OSError as error:
            sock.close()
            raise ReleaserUnreachable(place=str(self._path), actual=type(error).__name__) from None
        channel = Channel(sock, "releaser")
        try:
            with suppress(ChannelBroken):  # it may have answered that it is busy, and not read on
                channel.send_record(request)
            answer = channel.recv_record(ANSWERS)
        except ChannelError:
            raise ReleaserUnreachable(
                place=str(self._path), actual="it closed the connection"
            ) from None
        finally:
            channel.close()
        if isinstance(answer, messages.Denied):
            raise from_documents(answer.errors)
        if not isinstance(answer, kind):
            raise RequestMalformed(place=str(self._path), actual=type(answer).__name__)
        return answer
