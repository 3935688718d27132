"""The broker's side of one enclave: start it, serve what it asks for, admit what it says.

I/O on buckets is behind ``Objects``, which ``pipeline`` builds from ``connectors``; this module
sees sealed bytes and checked records only. A frame that breaks the rules kills the enclave.
"""

from __future__ import annotations

import base64
import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec
from typing_extensions import Buffer

from strongroom.crypto.digests import Sha256, sha256
from strongroom.crypto.dsse import KeyRef, sign_envelope
from strongroom.crypto.errors import CryptoError
from strongroom.crypto.manifest import CHECKPOINT_TYPE, encode
from strongroom.crypto.segments import HEADER_BYTES
from strongroom.enclave.assurance import Assurance
from strongroom.enclave.channel import capacity, frames
from strongroom.enclave.channel.errors import ChannelBroken, ChannelViolation, EnclaveKilled
from strongroom.enclave.channel.framing import Channel, Kind
from strongroom.enclave.channel.gate import Gate
from strongroom.enclave.channel.outgoing_words import DETAILS
from strongroom.enclave.checkpoints import checkpoint_manifest
from strongroom.enclave.evidence import Evidence, decode_evidence
from strongroom.enclave.sandbox import launch
from strongroom.errors import StrongroomError
from strongroom.errors.registry import all_codes

START_SILENCE_S = 900.0
"""How long an enclave may say nothing while it starts: it loads the model, and trains one step."""
WORK_SILENCE_S = 6 * 3600.0
"""The same for its work, which it reports step by step and shard by shard."""


class Objects(Protocol):
    """The bucket, as far as one enclave may use it."""

    def fetch(self, request: frames.Fetch) -> Iterator[Buffer]:
        """The bytes of one object that the plan lists."""
        ...

    def put(self, artifact: str, step: int, data: bytes) -> None:
        """Create a sealed object under the run's prefix; the same bytes again are no error."""
        ...

    def put_manifest(self, step: int, envelope: bytes) -> Sha256:
        """Create a checkpoint's manifest, last; returns the digest of the one that is there."""
        ...


class EnclaveHandle:
    """One running enclave, from its start to its end."""

    def __init__(
        self,
        *,
        plan: bytes,
        nonce: str,
        assurance: Assurance,
        threads: int,
        run: str,
        limits: capacity.Limits,
        objects: Objects,
        notify: Callable[[frames.Report], None],
    ) -> None:
        self._run = run
        self._plan_digest = sha256(plan)
        self._objects = objects
        self._notify = notify
        self._gate = Gate(limits, DETAILS)
        self._put: dict[tuple[str, int], frames.SealedEntry] = {}
        self._buffer = bytearray()
        ours, theirs = Channel.pair()
        self._channel = Channel(ours, "enclave")
        self._process = launch.start(
            "strongroom.enclave.roles.train", theirs.fileno(), assurance, threads=threads
        )
        theirs.close()
        self._channel.limit(START_SILENCE_S)
        try:
            self._channel.send_record(frames.Start(plan=plan, nonce=nonce))
            self.evidence = self._await_evidence()
            self._channel.limit(WORK_SILENCE_S)
        except StrongroomError as error:
            explained = self._explained(error)
            self.kill()
            raise explained from None
        except BaseException:
            self.kill()
            raise

    def give_keys(self, sealed: bytes) -> None:
        """Hand the releaser's sealed keys in and wait until the enclave has opened them."""
        self.run(frames.Keys(sealed=sealed))

    def run(self, command: frames.Command) -> None:
        """Give one command and serve the enclave until it is done. Raises what it reports."""
        try:
            self._channel.send_record(command)
            while True:
                record = self._channel.recv_record(frames.RECORDS)
                self._gate.admit(record)
                match record:
                    case frames.Done():
                        return
                    case frames.Fetch():
                        self._channel.send_object(self._objects.fetch(record))
                    case frames.Put():
                        self._receive(record)
                    case frames.CheckpointDone():
                        self._notify(self._finish_checkpoint(record))
                    case frames.Failure():
                        raise _failure(record)
                    case frames.EvidenceFrame() | frames.ShardSealed():
                        raise _unexpected(record, "a record of a run")
                    case _:
                        self._notify(record)
        except StrongroomError as error:
            explained = self._explained(error)
            self.kill()
            raise explained from None
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End the enclave in good order."""
        try:
            self._channel.send_record(frames.Stop())
            self._process.wait(timeout=5)
        except (StrongroomError, subprocess.TimeoutExpired):
            pass
        self.kill()

    def kill(self) -> None:
        """End the enclave at once. Plaintext dies with the process."""
        self._channel.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    @property
    def pid(self) -> int:
        """The enclave's process id."""
        return self._process.pid

    def _await_evidence(self) -> Evidence:
        while True:
            record = self._channel.recv_record(frames.RECORDS)
            self._gate.admit(record)
            match record:
                case frames.Fetch(kind="model"):
                    self._channel.send_object(self._objects.fetch(record))
                case frames.Progress():
                    self._notify(record)
                case frames.EvidenceFrame():
                    return decode_evidence(record.evidence)
                case frames.Failure():
                    raise _failure(record)
                case _:
                    raise _unexpected(record, "evidence first")

    def _receive(self, put: frames.Put) -> None:
        """One sealed object, whole, into the bucket."""
        data = bytearray()
        while True:
            kind, size = self._channel.recv_into(self._buffer)
            if kind is Kind.END:
                break
            if kind is not Kind.DATA or not 0 < size <= put.size_bytes - len(data):
                raise ChannelViolation(place="enclave", expected="the announced bytes")
            data += memoryview(self._buffer)[:size]
        if len(data) != put.size_bytes:
            raise ChannelViolation(place="enclave", expected="the announced bytes")
        sealed = bytes(data)
        self._gate.admit_sealed(sealed[:HEADER_BYTES], len(sealed))
        self._objects.put(put.artifact, put.index, sealed)
        self._put[put.artifact, put.index] = frames.SealedEntry(
            size_bytes=len(sealed),
            sha256=sha256(sealed),
            plaintext_sha256="",
            header=base64.b64encode(sealed[:HEADER_BYTES]).decode(),
        )

    def _finish_checkpoint(self, record: frames.CheckpointDone) -> frames.CheckpointWritten:
        """Rebuild the manifest from what was really written, check the signature, write it."""
        entries = {
            "adapter": record.adapter,
            "state": record.state,
            "rollouts": record.rollouts,
        }
        for name, entry in entries.items():
            written = self._put.get((name, record.step))
            blank = msgspec.structs.replace(entry, plaintext_sha256="")
            if written != blank:
                raise ChannelViolation(place="enclave", expected="the objects that were written")
        payload = encode(checkpoint_manifest(self._run, self._plan_digest, record.step, entries))
        signer = KeyRef(self.evidence.signing_key)
        signature = base64.b64decode(record.signature)
        try:  # an envelope whose signature does not verify is never made
            envelope = sign_envelope(CHECKPOINT_TYPE, payload, signer, lambda _message: signature)
        except CryptoError:
            raise ChannelViolation(place="enclave", expected="its own signature") from None
        return frames.CheckpointWritten(
            step=record.step,
            adapter=record.adapter,
            state=record.state,
            rollouts=record.rollouts,
            manifest=self._objects.put_manifest(record.step, envelope),
        )

    def _explained(self, error: StrongroomError) -> StrongroomError:
        """A broken channel as the way in which the process ended."""
        if not isinstance(error, ChannelBroken):
            return error
        try:
            status = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return error
        actual = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        killed = EnclaveKilled(place=f"enclave of run {self._run}", actual=actual)
        return self._process.refusal() or killed


def _unexpected(record: frames.Outgoing, expected: str) -> ChannelViolation:
    return ChannelViolation(place="enclave", expected=expected, actual=type(record).__name__)


def _failure(record: frames.Failure) -> StrongroomError:
    """The enclave's failure as an error, its place written from its numbers."""
    parts = []
    if record.shard >= 0:
        parts.append(f"{record.dataset}/shard-{record.shard:05d}.sealed")
    if record.segment >= 0:
        parts.append(f"segment {record.segment}")
    if record.step >= 0:
        parts.append(f"step {record.step}")
    if record.row >= 0:
        parts.append(f"{record.dataset} row {record.row}")
    if record.line > 0:
        column = f":{record.column}" if record.column >= 0 else ""
        parts.append(f"line {record.line}{column}")
    return all_codes()[record.code](place=" ".join(parts), actual=record.detail)
