"""Asks the releaser. Knows its messages and nothing of how it decides."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TypeVar

import msgspec

from strongroom.crypto.manifest import WrappedKeyset
from strongroom.enclave.channel.errors import ChannelError
from strongroom.enclave.channel.framing import Channel
from strongroom.enclave.plan.parts import KeyRefs, KmsFacts
from strongroom.errors.registry import from_documents
from strongroom.pipeline.releaser import messages
from strongroom.pipeline.releaser.errors import ReleaserUnreachable, RequestMalformed

ANSWERS: msgspec.json.Decoder[messages.Answer] = msgspec.json.Decoder(messages.Answer)
A = TypeVar("A")


class ReleaserClient:
    """Asks the releaser on a socket. Raises what it refuses with."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def challenge(self) -> str:
        """A fresh nonce."""
        return self._ask(messages.Challenge(), messages.Nonce).nonce

    def release_run(
        self,
        plan: bytes,
        evidence: bytes,
        manifests: dict[str, bytes],
        outputs: WrappedKeyset | None,
    ) -> messages.Released:
        """A run's keys, sealed to its enclave."""
        request = messages.ReleaseRun(
            plan=plan, evidence=evidence, manifests=manifests, outputs=outputs
        )
        return self._ask(request, messages.Released)

    def release_seal(self, evidence: bytes, dataset: str, kms: str) -> messages.Released:
        """A new dataset keyset, sealed to the sealer."""
        request = messages.ReleaseSeal(evidence=evidence, dataset=dataset, kms=kms)
        return self._ask(request, messages.Released)

    def release_view(self, evidence: bytes, run: str, outputs: WrappedKeyset) -> messages.Released:
        """A run's output keyset, sealed to a viewer."""
        request = messages.ReleaseView(evidence=evidence, run=run, outputs=outputs)
        return self._ask(request, messages.Released)

    def release_export(
        self, evidence: bytes, run: str, outputs: WrappedKeyset
    ) -> messages.Released:
        """A run's output keyset, sealed to an exporter."""
        request = messages.ReleaseExport(evidence=evidence, run=run, outputs=outputs)
        return self._ask(request, messages.Released)

    def sign_note(self, kms: str, note: bytes) -> bytes:
        """The audit key's signature over a log checkpoint."""
        return self._ask(messages.SignNote(kms=kms, note=note), messages.Signed).signature

    def sign_manifest(self, payload: bytes) -> messages.Signed:
        """The owner's signature over a dataset manifest."""
        return self._ask(messages.SignManifest(payload=payload), messages.Signed)

    def public_keys(self, audit: str) -> messages.Public:
        """The audit key's public half."""
        return self._ask(messages.PublicKeys(audit=audit), messages.Public)

    def describe_keys(self, keys: KeyRefs) -> KmsFacts:
        """What the key services say of a run's keys."""
        return self._ask(messages.DescribeKeys(keys=keys), messages.KeysDescribed).kms

    def _ask(self, request: messages.Request, kind: type[A]) -> A:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(messages.TIMEOUT_S)
        try:
            sock.connect(str(self._path))
        except OSError as error:
            sock.close()
            raise ReleaserUnreachable(place=str(self._path), actual=type(error).__name__) from None
        channel = Channel(sock, "releaser")
        try:
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
