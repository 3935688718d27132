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

from connectors.bucket import Bucket
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
from pipeline import rpc
from pipeline.broker_process import Reach
from pipeline.layout import RunLayout
from pipeline.lease_plan import plan_leases
from pipeline.process_errors import FactMissing, IdentityMissing, ReleaserMissing
from pipeline.releaser_socket import ReleaserClient
from pipeline.spec import RunSpec
from pipeline.viewing_errors import OutputIsFile, RolloutsMissing

PURPOSE = "run-read"


def show_rollouts(spec: RunSpec, run: str, step: int, out_fd: int) -> None:
    """Write the sample rollouts of the checkpoint at ``step`` to ``out_fd``, as readable text.

    Raises ``RolloutsMissing`` for a step without a checkpoint, ``OutputIsFile``, the integrity
    errors of ``crypto.pinned`` by the object's name, and whatever the releaser refuses with.
    """
    if spec.spec.keys.releaser is None:
        raise ReleaserMissing(place="spec.keys.releaser")
    if stat.S_ISREG(os.fstat(out_fd).st_mode):
        raise OutputIsFile(place="standard output")
    layout = RunLayout(spec.spec.outputs, run)
    reach = _reach(spec, run, layout)
    keyset = _keyset(reach, layout)
    sealed, place = _sealed_rollouts(reach, layout, step)
    releaser = ReleaserClient(Path(spec.spec.keys.releaser.removeprefix("unix://")))
    viewer = _Viewer(releaser.challenge(), run, out_fd)
    try:
        released = releaser.release_view(viewer.evidence(), run, keyset)
        viewer.show(released.sealed, step, keyset.commitment, sealed, place)
    except ChannelBroken:
        raise EnclaveKilled(place="viewer", actual=viewer.ending()) from None
    finally:
        viewer.kill()


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


def _reach(spec: RunSpec, run: str, layout: RunLayout) -> Reach:
    """The run's folder under a lease that only reads it."""
    identity = spec.spec.identity
    if identity is None:
        raise IdentityMissing(place="spec.identity")
    leases = tuple(ref for ref in plan_leases(spec.spec, layout) if ref.purpose == PURPOSE)
    configure = rpc.Configure(
        run=run,
        identity=rpc.Identity(
            addr=identity.addr,
            credentials_file=str(identity.credentials),
            oidc_role=identity.oidc_role,
        ),
        leases=leases,
    )
    return Reach(configure, lambda _lease: None)


def _keyset(reach: Reach, layout: RunLayout) -> WrappedKeyset:
    bucket, key = reach.bucket(PURPOSE, layout.keys)
    try:
        data, _etag = bucket.get(key)
        return msgspec.json.decode(data, type=WrappedKeyset)
    except ObjectMissing:
        raise RolloutsMissing(
            place=layout.keys, expected="the run's wrapped output keyset", actual="no object"
        ) from None
    except msgspec.DecodeError:
        raise FactMissing(place=layout.keys, expected="a wrapped keyset") from None


def _sealed_rollouts(reach: Reach, layout: RunLayout, step: int) -> tuple[bytes, str]:
    """The sealed object as its manifest pins it, and its URI."""
    folder = layout.checkpoint(step)
    bucket, key = reach.bucket(PURPOSE, folder)
    place = f"{folder}manifest.json"
    try:
        envelope, _etag = bucket.get(f"{key}manifest.json")
    except ObjectMissing:
        raise RolloutsMissing(
            place=place, expected=f"a checkpoint of step {step}", actual=_steps(reach, layout)
        ) from None
    pinned = _pinned(envelope, place)
    sealed, place = _sealed(bucket, key + pinned.object, pinned), folder + pinned.object
    check_object(pinned, size_bytes=sealed[1], header=sealed[0][:HEADER_BYTES], place=place)
    check_digest(pinned, sha256(sealed[0]), place=place)
    return sealed[0], place


def _sealed(bucket: Bucket, key: str, pinned: SealedObject) -> tuple[bytes, int]:
    """The object and its length; not read at all when the length is wrong."""
    size = bucket.head(key).size_bytes
    if size != pinned.size_bytes:
        return b"", size
    return bucket.get(key, max_bytes=size)[0], size


def _pinned(envelope: bytes, place: str) -> SealedObject:
    try:
        payload = base64.b64decode(msgspec.json.decode(envelope)["payload"])
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        raise EnvelopeMalformed(place=place) from None
    objects = decode_checkpoint(payload, place).objects
    if ARTIFACT not in objects:
        raise RolloutsMissing(place=place, expected="rollouts among its objects")
    return objects[ARTIFACT]


def _steps(reach: Reach, layout: RunLayout) -> str:
    """Which checkpoints there are, for the error that says which there is not."""
    folder = layout.folder + "checkpoints/"
    bucket, prefix = reach.bucket(PURPOSE, folder)
    names = [info.key.removeprefix(prefix) for info in bucket.list(prefix)]
    steps = [name.removesuffix("/manifest.json") for name in names if "manifest.json" in name]
    found = ", ".join(str(int(step)) for step in sorted(steps) if step.isdecimal())
    return f"checkpoints of steps {found}" if found else "no checkpoint"
