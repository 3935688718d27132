"""The releaser on a Unix socket: a server for its owner, a client for everybody else.

Each peer's user id is checked (``SO_PEERCRED``): only the owner's own user, root and those whom the
owner names may ask; unless some are named, the socket's mode is 0600. Keys still need evidence.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from crypto.manifest import WrappedKeyset
from enclave.channel import Channel
from enclave.channel_errors import ChannelError
from errors import ErrorList, StrongroomError, from_dict
from pipeline import releaser_rpc as rpc
from pipeline.process_errors import ReleaserUnreachable, RequestMalformed, defect
from pipeline.releaser import Releaser

REQUESTS: msgspec.json.Decoder[rpc.Request] = msgspec.json.Decoder(rpc.Request)
ANSWERS: msgspec.json.Decoder[rpc.Answer] = msgspec.json.Decoder(rpc.Answer)
TIMEOUT_S = 60.0

A = TypeVar("A")


def serve(
    releaser: Releaser,
    path: Path,
    ready: Callable[[], None] = lambda: None,
    allowed_uids: Sequence[int] = (),
) -> None:
    """Answer on ``path`` until the process ends. A stale socket of a dead server is replaced."""
    uids = {os.getuid(), 0, *allowed_uids}
    path.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o111 if allowed_uids else 0o177)
    try:
        server.bind(str(path))
    finally:
        os.umask(mask)
    server.listen(16)
    ready()
    while True:
        peer, _ = server.accept()
        threading.Thread(target=_converse, args=(releaser, peer, uids), daemon=True).start()


def _converse(releaser: Releaser, peer: socket.socket, uids: Collection[int]) -> None:
    with peer:
        peer.settimeout(TIMEOUT_S)
        _pid, uid, _gid = struct.unpack(
            "3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        )
        if uid not in uids:
            return
        channel = Channel(peer, "releaser's client")
        try:
            request = channel.recv_record(REQUESTS)
        except ChannelError:
            answer: rpc.Answer = rpc.Denied(errors=(RequestMalformed().to_dict(),))
        else:
            try:
                answer = releaser.answer(request)
            except Exception as error:
                answer = rpc.Denied(errors=(defect(error).to_dict(),))
        try:
            channel.send_record(answer)
        except ChannelError:
            return


class ReleaserClient:
    """Asks the releaser on a socket. Raises what it refuses with."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def challenge(self) -> str:
        """A fresh nonce."""
        return self._ask(rpc.Challenge(), rpc.Nonce).nonce

    def release_run(
        self,
        plan: bytes,
        evidence: bytes,
        manifests: dict[str, bytes],
        outputs: WrappedKeyset | None,
    ) -> rpc.Released:
        """A run's keys, sealed to its enclave."""
        request = rpc.ReleaseRun(plan=plan, evidence=evidence, manifests=manifests, outputs=outputs)
        return self._ask(request, rpc.Released)

    def release_seal(self, evidence: bytes, dataset: str, kms: str) -> rpc.Released:
        """A new dataset keyset, sealed to the sealer."""
        request = rpc.ReleaseSeal(evidence=evidence, dataset=dataset, kms=kms)
        return self._ask(request, rpc.Released)

    def release_view(self, evidence: bytes, run: str, outputs: WrappedKeyset) -> rpc.Released:
        """A run's output keyset, sealed to a viewer."""
        request = rpc.ReleaseView(evidence=evidence, run=run, outputs=outputs)
        return self._ask(request, rpc.Released)

    def release_export(self, evidence: bytes, run: str, outputs: WrappedKeyset) -> rpc.Released:
        """A run's output keyset, sealed to an exporter."""
        request = rpc.ReleaseExport(evidence=evidence, run=run, outputs=outputs)
        return self._ask(request, rpc.Released)

    def sign_note(self, kms: str, note: bytes) -> bytes:
        """The audit key's signature over a log checkpoint."""
        return self._ask(rpc.SignNote(kms=kms, note=note), rpc.Signed).signature

    def sign_manifest(self, payload: bytes) -> rpc.Signed:
        """The owner's signature over a dataset manifest."""
        return self._ask(rpc.SignManifest(payload=payload), rpc.Signed)

    def public_keys(self, audit: str) -> rpc.Public:
        """The audit key's public half."""
        return self._ask(rpc.PublicKeys(audit=audit), rpc.Public)

    def _ask(self, request: rpc.Request, kind: type[A]) -> A:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(TIMEOUT_S)
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
        if isinstance(answer, rpc.Denied):
            raise _rebuilt(answer)
        if not isinstance(answer, kind):
            raise RequestMalformed(place=str(self._path), actual=type(answer).__name__)
        return answer


def _rebuilt(answer: rpc.Denied) -> StrongroomError:
    found = [from_dict(error) for error in answer.errors]
    return found[0] if len(found) == 1 else ErrorList(found)
