"""The broker process: bucket credentials and sealed bytes, no keys and no plaintext.

Started by the controller with one descriptor; speaks ``pipeline.rpc``. It leases credentials per
purpose (``data-read``, ``run-read``, ``run-create``, ``audit-append``) when the first object of
that purpose is asked for, each scoped to that purpose's prefixes, and refuses everything outside
them on its own account too. It ends when the controller ends.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue

import msgspec
from typing_extensions import Buffer

from connectors.aws import endpoint_and_region
from connectors.bucket import Bucket
from connectors.errors import ObjectChanged, ObjectExists, ObjectMissing
from connectors.facts import bucket_facts
from connectors.identity import OpenBaoIdentity
from connectors.leased import open_leased
from connectors.leases import Lease, Scope
from connectors.uri import parse
from crypto.digests import Sha256, sha256
from crypto.errors import CryptoError
from crypto.manifest import CHECKPOINT_TYPE, shard_name
from enclave import frames, syscalls
from enclave.broker import EnclaveHandle
from enclave.channel import Channel
from enclave.channel_errors import ChannelBroken, ChannelViolation
from enclave.checkpoints import OBJECT_NAMES
from errors import ErrorList, StrongroomError
from pipeline import layout, rpc
from pipeline.claimed import open_claimed
from pipeline.lease_plan import FACTS_PURPOSES
from pipeline.plan import Plan
from pipeline.plan_parts import LeaseRef
from pipeline.process_errors import OutputConflict, PurposeRefused, defect

REQUESTS: msgspec.json.Decoder[rpc.Request] = msgspec.json.Decoder(rpc.Request)


class Reach:
    """Every bucket that this broker may reach, by purpose, under leases taken when needed.

    ``issued`` hears of each lease when it is taken and whenever it is renewed, in any thread.
    """

    def __init__(self, config: rpc.Configure, issued: Callable[[Lease], None]) -> None:
        self._config = config
        self._issued = issued
        self._held: dict[LeaseRef, tuple[Bucket, Lease]] = {}

    def bucket(self, purpose: str, uri: str) -> tuple[Bucket, str]:
        """The bucket and key of ``uri``, with the credentials of ``purpose``."""
        ref = self._ref(purpose, uri)
        return self._leased(ref)[0], parse(uri).key

    def facts(self, purpose: str, uri: str) -> dict[str, object]:
        """What the store says about the bucket of ``uri``."""
        ref = self._ref(purpose, uri)
        lease = self._leased(ref)[1]
        facts = bucket_facts(parse(uri), lease.credentials, *endpoint_and_region(ref.endpoint))
        return dict(msgspec.to_builtins(facts))

    def _ref(self, purpose: str, uri: str) -> LeaseRef:
        parse(uri)  # strict, so that what begins with a folder's name lies in that folder
        for ref in self._config.leases:
            prefixes = (f"{ref.bucket}/{prefix}" for prefix in (*ref.read, *ref.create))
            if ref.purpose == purpose and any(uri.startswith(prefix) for prefix in prefixes):
                return ref
        raise PurposeRefused(place=uri, expected=f"an object in the scope of {purpose}")

    def _leased(self, ref: LeaseRef) -> tuple[Bucket, Lease]:
        if ref not in self._held:
            identity = self._config.identity
            location = parse(ref.bucket + "/")
            bucket, lease = open_leased(
                location,
                OpenBaoIdentity(identity.addr, Path(identity.credentials_file), identity.oidc_role),
                Scope(
                    bucket=location.bucket,
                    read=ref.read,
                    create=ref.create,
                    facts=ref.purpose in FACTS_PURPOSES,
                ),
                role=ref.role,
                endpoint=ref.endpoint,
                ttl_s=ref.ttl_s,
                purpose=ref.purpose,
                session_name=f"strongroom-{self._config.run}"[:64],
            )
            self._issued(lease)
            lease.on_renewal = self._issued
            self._held[ref] = bucket, lease
        return self._held[ref]


class RunObjects:
    """The objects that one run's enclave may ask for and write: those of its plan."""

    def __init__(self, reach: Reach, plan: Plan, evaluator: bytes = b"") -> None:
        self._reach = reach
        self._evaluator = evaluator
        self._plan = plan
        self._layout = layout.RunLayout(plan.outputs, plan.run)

    def fetch(self, request: frames.Fetch) -> Iterator[Buffer]:
        """See ``enclave.broker.Objects.fetch``."""
        if request.kind == "evaluator" and self._evaluator:
            yield self._evaluator
            return
        purpose, uri = self._locate(request)
        bucket, key = self._reach.bucket(purpose, uri)
        yield from bucket.stream(key, chunk_bytes=1 << 20)

    def put(self, artifact: str, step: int, data: bytes) -> None:
        """See ``enclave.broker.Objects.put``."""
        uri = self._planned(self._layout.checkpoint(step) + OBJECT_NAMES[artifact])
        existing = create_once(self._reach, uri, data)
        if existing is not None and existing != data:
            raise OutputConflict(place=uri, expected=sha256(data), actual=sha256(existing))

    def put_manifest(self, step: int, envelope: bytes) -> Sha256:
        """See ``enclave.broker.Objects.put_manifest``.

        A manifest that is there already stays if it says the same of the same objects: then an
        earlier enclave of this run wrote it, and only its signature differs. Any other is none of
        ours, and is not adopted.
        """
        uri = self._planned(self._layout.checkpoint(step) + "manifest.json")
        existing = create_once(self._reach, uri, envelope)
        if existing is None:
            return sha256(envelope)
        if not _same_payload(envelope, existing, uri):
            raise OutputConflict(place=uri, expected=sha256(envelope), actual=sha256(existing))
        return sha256(existing)

    def _planned(self, uri: str) -> str:
        if uri not in self._plan.objects.writes.objects:
            raise ChannelViolation(place="enclave", expected="an object of the plan")
        return uri

    def _locate(self, request: frames.Fetch) -> tuple[str, str]:
        plan = self._plan
        dataset = plan.data.train if request.dataset == "train" else plan.data.held_out
        match request.kind:
            case "model" if request.index < len(plan.model.files):
                return "data-read", plan.model.uri + plan.model.files[request.index].name
            case "evaluator" if plan.evaluator.sealed is None:
                return "run-read", self._layout.evaluator
            case "evaluator" if plan.evaluator.sealed is not None:
                return "data-read", plan.evaluator.sealed.uri + shard_name(0)
            case "evaluator_manifest" if plan.evaluator.sealed is not None:
                return "data-read", plan.evaluator.sealed.uri + "manifest.json"
            case "manifest":
                return "data-read", dataset.uri + "manifest.json"
            case "shard" if request.index < dataset.shards:
                return "data-read", dataset.uri + shard_name(request.index)
            case "artifact" if request.artifact in OBJECT_NAMES:
                folder = self._layout.checkpoint(request.index)
                return "run-read", folder + OBJECT_NAMES[request.artifact]
        raise ChannelViolation(place="enclave", expected="an object of the plan")


def create_once(reach: Reach, uri: str, data: bytes) -> bytes | None:
    """Create an object of the run; the bytes that were there already, if any."""
    bucket, key = reach.bucket("run-create", uri)
    try:
        bucket.create(key, data)
    except ObjectExists:
        reader, key = reach.bucket("run-read", uri)
        return reader.get(key, max_bytes=max(len(data), 1 << 20) + 1)[0]
    return None


def _same_payload(ours: bytes, found: bytes, place: str) -> bool:
    payload, _signer = open_claimed(ours, CHECKPOINT_TYPE, place)
    try:
        return open_claimed(found, CHECKPOINT_TYPE, place)[0] == payload
    except CryptoError:
        return False


class BrokerProcess:
    """Answers the controller's requests, one at a time."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._reach: Reach | None = None
        self._enclave: EnclaveHandle | None = None
        self._run = ""
        self._leases: SimpleQueue[rpc.Notice] = SimpleQueue()
        """Taken or renewed, and not told yet. Threads that prefetch renew too; they must not write
        into the channel, which is the serving thread's."""

    def serve(self) -> None:
        """Until the controller is gone."""
        while True:
            try:
                request = self._channel.recv_record(REQUESTS)
            except ChannelBroken:
                break
            try:
                reply: rpc.Answer = self._answer(request)
            except ErrorList as errors:
                reply = rpc.Refused(errors=tuple(error.to_dict() for error in errors.errors))
            except StrongroomError as error:
                reply = rpc.Refused(errors=(error.to_dict(),))
            except Exception as error:
                reply = rpc.Refused(errors=(defect(error).to_dict(),))
            try:
                self._tell_leases()
                self._channel.send_record(reply)
            except ChannelBroken:
                break
        if self._enclave is not None:
            self._enclave.kill()

    def _answer(self, request: rpc.Request) -> rpc.Reply:
        match request:
            case rpc.Configure():
                self._reach = Reach(request, self._lease_issued)
                self._run = request.run
                return rpc.Reply()
            case rpc.BucketFacts():
                return rpc.Reply(value=self._need_reach().facts(request.purpose, request.uri))
            case rpc.Head():
                bucket, key = self._need_reach().bucket(request.purpose, request.uri)
                found = {info.key.removeprefix(key): info.size_bytes for info in bucket.list(key)}
                return rpc.Reply(value=found)
            case rpc.Read():
                bucket, key = self._control(request.purpose, request.uri)
                try:
                    data, etag = bucket.get(key)
                except ObjectMissing:
                    return rpc.Reply()
                return rpc.Reply(value=etag, data=data)
            case rpc.Create():
                bucket, key = self._control(request.purpose, request.uri)
                try:
                    bucket.create(key, request.data)
                except ObjectExists:
                    return rpc.Reply(value=False)
                return rpc.Reply(value=True)
            case rpc.Replace():
                bucket, key = self._control(request.purpose, request.uri)
                try:
                    bucket.replace(key, request.data, request.etag)
                except (ObjectChanged, ObjectMissing):
                    return rpc.Reply(value=False)
                return rpc.Reply(value=True)
            case rpc.StartEnclave():
                return self._start(request)
            case rpc.GiveKeys():
                self._need_enclave().give_keys(request.sealed)
                return rpc.Reply()
            case rpc.Run():
                self._need_enclave().run(request.command)
                return rpc.Reply()
            case rpc.StopEnclave():
                if self._enclave is not None:
                    self._enclave.stop()
                    self._enclave = None
                return rpc.Reply()

    def _start(self, request: rpc.StartEnclave) -> rpc.Reply:
        plan = Plan.from_json(request.plan)
        self._enclave = EnclaveHandle(
            plan=request.plan,
            nonce=request.nonce,
            assurance=request.assurance,
            threads=plan.spec["spec"]["enclave"]["threads"],
            run=plan.run,
            limits=plan.limits,
            objects=RunObjects(self._need_reach(), plan, request.evaluator),
            notify=self._record,
        )
        evidence = msgspec.json.encode(self._enclave.evidence)
        return rpc.Reply(value=self._enclave.pid, data=evidence)

    def _control(self, purpose: str, uri: str) -> tuple[Bucket, str]:
        """Control objects only: sealed bytes never go to the controller."""
        if uri.endswith(".sealed"):
            raise PurposeRefused(place=uri, expected="a control object", actual="a sealed one")
        return self._need_reach().bucket(purpose, uri)

    def _record(self, record: frames.Outgoing, extra: dict[str, object]) -> None:
        data = dict(msgspec.to_builtins(record)) | extra
        self._tell_leases()
        self._channel.send_record(rpc.Notice(kind=data.pop("frame"), data=data))

    def _lease_issued(self, lease: Lease) -> None:
        data = {
            "lease": lease.lease_id,
            "purpose": lease.purpose,
            "role": lease.role,
            "bucket": lease.scope.bucket,
            "read": list(lease.scope.read),
            "create": list(lease.scope.create),
            "ttl_s": lease.ttl_s,
            "expires_at": lease.expires_at.isoformat(timespec="milliseconds"),
        }
        self._leases.put(rpc.Notice(kind="lease", data=data))

    def _tell_leases(self) -> None:
        while not self._leases.empty():
            self._channel.send_record(self._leases.get())

    def _need_reach(self) -> Reach:
        if self._reach is None:
            raise PurposeRefused(expected="a configured broker")
        return self._reach

    def _need_enclave(self) -> EnclaveHandle:
        if self._enclave is None:
            raise PurposeRefused(expected="a started enclave")
        return self._enclave


def main(fd: int, parent: int) -> None:
    """Entry of the process: serve on the inherited descriptor ``fd``; end when ``parent`` does."""
    syscalls.die_with_parent(parent)
    BrokerProcess(Channel(socket.socket(fileno=fd), "controller")).serve()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
