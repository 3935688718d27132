"""The broker process: bucket credentials and sealed bytes, no keys and no plaintext.

Started by the controller with one descriptor; speaks ``pipeline.broker.messages``. It leases
credentials per purpose (``data-read``, ``run-read``, ``run-create``, ``audit-read``, …) when the
first object of that purpose is asked for, each scoped to that purpose's prefixes, and refuses
everything outside them on its own account too. It ends when the controller ends.
"""

from __future__ import annotations

import itertools
import socket
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import msgspec

from strongroom.audit.events import types as events
from strongroom.connectors.access.leases import Lease
from strongroom.connectors.buckets.bucket import Bucket
from strongroom.connectors.buckets.errors import ObjectChanged, ObjectExists, ObjectMissing
from strongroom.enclave.broker import EnclaveHandle
from strongroom.enclave.channel import frames
from strongroom.enclave.channel.errors import ChannelBroken, FrameTooLarge
from strongroom.enclave.channel.framing import MAX_CONTROL_BYTES, Channel
from strongroom.enclave.evidence import Evidence
from strongroom.enclave.plan.document import Plan
from strongroom.enclave.sandbox import syscalls
from strongroom.errors import StrongroomError
from strongroom.errors.defect import defect
from strongroom.errors.listing import documents_of
from strongroom.pipeline.broker import messages
from strongroom.pipeline.broker.errors import PurposeRefused
from strongroom.pipeline.broker.objects import RunObjects
from strongroom.pipeline.broker.reach import Reach
from strongroom.pipeline.planning.plan import check_plan

READS_AT_ONCE = 16
PIECE_BYTES = 2 << 20
VERSIONS_A_PAGE = 1000

REQUESTS: msgspec.json.Decoder[messages.Request] = msgspec.json.Decoder(messages.Request)


class BrokerProcess:
    """Answers the controller's requests, one at a time."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._reach: Reach | None = None
        self._enclave: EnclaveHandle | None = None
        self._run = ""
        self._leases: SimpleQueue[messages.Leased] = SimpleQueue()
        """Taken or renewed, and not reported yet. Threads that prefetch renew too; they must not
        write into the channel, which is the serving thread's."""

    def serve(self) -> None:
        """Until the controller is gone."""
        while True:
            try:
                request = self._channel.recv_record(REQUESTS)
            except ChannelBroken:
                break
            try:
                reply: messages.Answer = self._answer(request)
            except StrongroomError as error:
                reply = messages.Refused(errors=documents_of(error))
            except Exception as error:
                reply = messages.Refused(errors=documents_of(defect(error)))
            try:
                self._report_leases()
                try:
                    self._channel.send_record(reply)
                except FrameTooLarge as error:
                    self._channel.send_record(messages.Refused(errors=documents_of(error)))
            except ChannelBroken:
                break
        if self._enclave is not None:
            self._enclave.kill()

    def _answer(self, request: messages.Request) -> messages.Reply:
        match request:
            case messages.Configure():
                self._reach = Reach(request, self._lease_issued)
                self._run = request.run
            case messages.BucketFacts():
                facts = self._need_reach().facts(request.purpose, request.uri)
                return messages.Facts(facts=facts)
            case messages.Sizes():
                bucket, key = self._need_reach().bucket(request.purpose, request.uri)
                found = {info.key.removeprefix(key): info.size_bytes for info in bucket.list(key)}
                return messages.Listing(sizes=found)
            case messages.Read():
                return messages.Contents(stored=self._stored(request))
            case messages.ReadMany():
                self._send_many(request)
            case messages.ReadVersion():
                return messages.Contents(stored=self._stored_version(request))
            case messages.Versions():
                self._send_versions(request)
            case messages.Create():
                return messages.Written(written=self._created(request))
            case messages.Replace():
                return messages.Written(written=self._replaced(request))
            case messages.StartEnclave():
                return messages.Started(evidence=self._started(request))
            case messages.GiveKeys():
                self._need_enclave().give_keys(request.sealed)
            case messages.Run():
                self._need_enclave().run(request.command)
            case messages.StopEnclave():
                if self._enclave is not None:
                    self._enclave.stop()
                    self._enclave = None
        return messages.Done()

    def _stored(self, request: messages.Read) -> messages.Stored | None:
        bucket, key = self._control(request.purpose, request.uri)
        try:
            data, etag = bucket.get(key, max_bytes=MAX_CONTROL_BYTES)
        except ObjectMissing:
            return None
        return messages.Stored(data=data, etag=etag)

    def _send_many(self, request: messages.ReadMany) -> None:
        wanted = [self._control(request.purpose, uri) for uri in request.uris]
        with ThreadPoolExecutor(READS_AT_ONCE) as pool:
            for index, data in enumerate(pool.map(_bytes_of, wanted)):
                pieces = [None] if data is None else _pieces(data)
                for piece in pieces:
                    self._channel.send_record(messages.Piece(index=index, data=piece))

    def _stored_version(self, request: messages.ReadVersion) -> messages.Stored | None:
        bucket, key = self._control(request.purpose, request.uri)
        try:
            data = bucket.get_version(key, request.version, MAX_CONTROL_BYTES)
        except ObjectMissing:
            return None
        return messages.Stored(data=data, etag="")

    def _send_versions(self, request: messages.Versions) -> None:
        bucket, prefix = self._need_reach().bucket(request.purpose, request.uri)
        found = iter(bucket.versions(prefix))
        while page := tuple(itertools.islice(found, VERSIONS_A_PAGE)):
            versions = tuple(
                messages.StoredVersion(
                    each.key.removeprefix(prefix),
                    each.version,
                    each.current,
                    each.deleted,
                    each.etag,
                    each.size_bytes,
                )
                for each in page
            )
            self._channel.send_record(messages.Page(versions=versions))

    def _created(self, request: messages.Create) -> bool:
        bucket, key = self._control(request.purpose, request.uri)
        try:
            bucket.create(key, request.data)
        except ObjectExists:
            return False
        return True

    def _replaced(self, request: messages.Replace) -> bool:
        bucket, key = self._control(request.purpose, request.uri)
        try:
            bucket.replace(key, request.data, request.etag)
        except (ObjectChanged, ObjectMissing):
            return False
        return True

    def _started(self, request: messages.StartEnclave) -> Evidence:
        plan = Plan.from_json(request.plan)
        check_plan(plan)
        reach = self._need_reach()
        reach.check_leases(plan)
        objects = RunObjects(reach, plan, request.evaluator)
        objects.check_manifests()
        self._enclave = EnclaveHandle(
            plan=request.plan,
            nonce=request.nonce,
            assurance=request.assurance,
            threads=plan.run_file.enclave.threads,
            run=plan.run,
            limits=plan.limits,
            objects=objects,
            notify=self._reported,
        )
        return self._enclave.evidence

    def _control(self, purpose: str, uri: str) -> tuple[Bucket, str]:
        """Control objects only: sealed bytes never go to the controller."""
        if uri.endswith(".sealed"):
            raise PurposeRefused(place=uri, expected="a control object", actual="a sealed one")
        return self._need_reach().bucket(purpose, uri)

    def _reported(self, report: frames.Report) -> None:
        self._report_leases()
        self._channel.send_record(messages.Reported(report=report))

    def _lease_issued(self, lease: Lease) -> None:
        expires = lease.expires_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        life_s = (lease.expires_at - lease.issued_at).total_seconds()
        event = events.LeaseIssued(
            lease=lease.lease_id,
            purpose=lease.purpose,
            role=lease.role,
            bucket=lease.scope.bucket,
            read=lease.scope.read,
            create=lease.scope.create,
            ttl_s=lease.ttl_s or round(life_s),  # where the token service chose it
            expires_at=expires,
        )
        self._leases.put(messages.Leased(lease=event))

    def _report_leases(self) -> None:
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


def _bytes_of(where: tuple[Bucket, str]) -> bytes | None:
    bucket, key = where
    try:
        return bucket.get(key)[0]
    except ObjectMissing:
        return None


def _pieces(data: bytes) -> list[bytes]:
    """What fits a record each, at least one."""
    return [data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES)] or [b""]


def main(fd: str, parent: str) -> None:
    """Entry of the process: serve on the inherited descriptor ``fd``; end when ``parent`` does."""
    syscalls.die_with_parent(int(parent))
    BrokerProcess(Channel(socket.socket(fileno=int(fd)), "controller")).serve()
