"""``strongroom rollouts``: sealed sample rollouts of a run, shown to whoever may have the key.

This process has the network and the ciphertext, and never the key or the text: the viewer that it
starts gets both from elsewhere (the key from the releaser, sealed to it; the text stays there) and
writes to the descriptor that it is handed. What the viewer may say back is ``done`` or an error's
code.

The object is held against its checkpoint's manifest, which names damage; what proves that an
enclave of this run wrote it is the seal itself, since nobody else holds the run's output key.
"""

from __future__ import annotations

import base64
import os
import socket
import stat
import subprocess
from pathlib import Path

import msgspec

from audit import event_types as events
from connectors.errors import ObjectMissing
from crypto.digests import sha256
from crypto.errors import EnvelopeMalformed
from crypto.manifest import SealedObject, WrappedKeyset, decode_checkpoint
from crypto.pinned import check_digest, check_object
from crypto.segments import HEADER_BYTES
from enclave import frames, launch
from enclave.broker import RECORDS
from enclave.channel import Channel
from enclave.channel_errors import ChannelBroken, ChannelViolation, EnclaveKilled
from enclave.viewer import ARTIFACT
from errors import all_codes
from pipeline.access import ReadAccess
from pipeline.controller import connected
from pipeline.process_errors import FactMissing, ReleaserMissing
from pipeline.progress import Silent
from pipeline.releaser_socket import ReleaserClient
from pipeline.spec import RunSpec
from pipeline.viewing_errors import OutputIsFile, RolloutsMissing


def show_rollouts(spec: RunSpec, run: str, step: int, out_fd: int) -> None:
    """Write the sample rollouts of the checkpoint at ``step`` to ``out_fd``, as readable text.

    Raises ``RolloutsMissing`` for a step without a checkpoint, ``OutputIsFile``, the integrity
    errors of ``crypto.pinned`` by the object's name, and whatever the releaser refuses with.
    """
    if spec.spec.keys.releaser is None:
        raise ReleaserMissing(place="spec.keys.releaser")
    if stat.S_ISREG(os.fstat(out_fd).st_mode):
        raise OutputIsFile(place="standard output")
    access = ReadAccess(spec, run)
    keyset = _keyset(access)
    sealed, place = _sealed_rollouts(access, step)
    _log(spec, run, events.RolloutsOpened(uri=place, sha256=sha256(sealed)))
    releaser = ReleaserClient(Path(spec.spec.keys.releaser.removeprefix("unix://")))
    viewer = _Viewer(releaser.challenge(), run, out_fd)
    try:
        released = releaser.release_view(viewer.evidence(), run, keyset)
        viewer.show(released.sealed, step, keyset.commitment, sealed, place)
    except ChannelBroken:
        raise EnclaveKilled(place="viewer", actual=viewer.ending()) from None
    finally:
        viewer.kill()


def _log(spec: RunSpec, run: str, event: events.RolloutsOpened) -> None:
    """Write the event, and the lease that writing it took. Without a log nothing is shown."""
    with connected(spec, run, Silent()) as connections:
        connections.journal.record("owner", event)
        connections.journal.record("broker")


class _Viewer:
    """The ``view`` enclave, and what it may say."""

    def __init__(self, nonce: str, run: str, out_fd: int) -> None:
        self._run = run
        ours, theirs = Channel.pair()
        # Queued before the child starts: it takes the descriptor before it locks itself in.
        socket.send_fds(ours, [b"\0"], [out_fd])
        self._channel = Channel(ours, "viewer")
        self._process = launch.start(
            "enclave.viewer", theirs.fileno(), "A1", arguments=[nonce, run]
        )
        theirs.close()

    def evidence(self) -> bytes:
        """What it says of itself, for the releaser."""
        record = self._channel.recv_record(RECORDS)
        if not isinstance(record, frames.EvidenceFrame):
            raise ChannelViolation(place="viewer", expected="evidence")
        return record.evidence

    def show(self, keys: bytes, step: int, commitment: str, sealed: bytes, place: str) -> None:
        """Hand in keys and object, and wait until all is written. Raises what it reports."""
        self._channel.send_record(frames.Keys(sealed=keys))
        self._channel.send_record(frames.View(run=self._run, step=step, commitment=commitment))
        self._channel.send_object([sealed])
        match self._channel.recv_record(RECORDS):
            case frames.Done():
                return
            case frames.Failure(code=code) if code in all_codes():
                raise all_codes()[code](place=place)
            case _:
                raise ChannelViolation(place="viewer", expected="done, or the code of an error")

    def kill(self) -> None:
        """End it; plaintext dies with the process."""
        self._channel.close()
        self._process.kill()
        self._process.wait()

    def ending(self) -> str:
        """How its process ended, once its channel is closed."""
        try:
            status = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "it closed its channel"
        return f"signal {-status}" if status < 0 else f"exit status {status}"


def _keyset(access: ReadAccess) -> WrappedKeyset:
    place = access.layout.keys
    data = access.get(place)
    if data is None:
        raise RolloutsMissing(place=place, expected="the run's wrapped output keyset")
    try:
        return msgspec.json.decode(data, type=WrappedKeyset)
    except msgspec.DecodeError:
        raise FactMissing(place=place, expected="a wrapped keyset") from None


def _sealed_rollouts(access: ReadAccess, step: int) -> tuple[bytes, str]:
    """The sealed object, as its manifest pins it, and its URI."""
    folder = access.layout.checkpoint(step)
    place = folder + "manifest.json"
    envelope = access.get(place)
    if envelope is None:
        raise RolloutsMissing(
            place=place, expected=f"a checkpoint of step {step}", actual=_steps(access)
        )
    pinned = _pinned(envelope, place)
    place = folder + pinned.object
    sealed = bytearray()
    try:
        for piece in access.stream(place):
            sealed += piece
            if len(sealed) > pinned.size_bytes:
                break
    except ObjectMissing:
        raise RolloutsMissing(place=place, expected=f"{pinned.size_bytes} bytes") from None
    check_object(pinned, size_bytes=len(sealed), header=sealed[:HEADER_BYTES], place=place)
    check_digest(pinned, sha256(sealed), place=place)
    return bytes(sealed), place


def _pinned(envelope: bytes, place: str) -> SealedObject:
    try:
        payload = base64.b64decode(msgspec.json.decode(envelope)["payload"])
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        raise EnvelopeMalformed(place=place) from None
    objects = decode_checkpoint(payload, place).objects
    if ARTIFACT not in objects:
        raise RolloutsMissing(place=place, expected="rollouts among its objects")
    return objects[ARTIFACT]


def _steps(access: ReadAccess) -> str:
    """Which checkpoints there are, for the error that says which there is not."""
    paths = [name.split("/") for name in access.names(access.layout.folder + "checkpoints/")]
    steps = [int(path[0]) for path in paths if path[1:] == ["manifest.json"]]
    return f"checkpoints of steps {', '.join(map(str, sorted(steps)))}" if steps else "none"
