"""The broker process: bucket credentials and sealed bytes, no keys and no plaintext.

Started by the controller with one descriptor; speaks ``pipeline.broker.messages``. It leases
credentials per purpose (``data-read``, ``run-read``, ``run-create``, ``audit-append``) when the
first object of that purpose is asked for, each scoped to that purpose's prefixes, and refuses
everything outside them on its own account too. It ends when the controller ends.
"""

from __future__ import annotations

import socket
import sys
from queue import SimpleQueue

import msgspec

from strongroom.connectors.access.leases import Lease
from strongroom.connectors.buckets.bucket import Bucket
from strongroom.connectors.buckets.errors import ObjectChanged, ObjectExists, ObjectMissing
from strongroom.enclave.broker import EnclaveHandle
from strongroom.enclave.channel import frames
from strongroom.enclave.channel.errors import ChannelBroken
from strongroom.enclave.channel.framing import Channel
from strongroom.enclave.sandbox import syscalls
from strongroom.errors import StrongroomError
from strongroom.errors.defect import defect
from strongroom.errors.listing import documents_of
from strongroom.pipeline.broker import messages
from strongroom.pipeline.broker.errors import PurposeRefused
from strongroom.pipeline.broker.objects import RunObjects
from strongroom.pipeline.broker.reach import Reach
from strongroom.pipeline.planning.plan import Plan

REQUESTS: msgspec.json.Decoder[messages.Request] = msgspec.json.Decoder(messages.Request)


class BrokerProcess:
    """Answers the controller's requests, one at a time."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._reach: Reach | None = None
        self._enclave: EnclaveHandle | None = None
        self._run = ""
        self._leases: SimpleQueue[messages.Notice] = SimpleQueue()
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
                reply: messages.Answer = self._answer(request)
            except StrongroomError as error:
                reply = messages.Refused(errors=documents_of(error))
            except Exception as error:
                reply = messages.Refused(errors=documents_of(defect(error)))
            try:
                self._tell_leases()
                self._channel.send_record(reply)
            except ChannelBroken:
                break
        if self._enclave is not None:
            self._enclave.kill()

    def _answer(self, request: messages.Request) -> messages.Reply:
        match request:
            case messages.Configure():
                self._reach = Reach(request, self._lease_issued)
                self._run = request.run
                return messages.Reply()
            case messages.BucketFacts():
                return messages.Reply(value=self._need_reach().facts(request.purpose, request.uri))
            case messages.Head():
                bucket, key = self._need_reach().bucket(request.purpose, request.uri)
                found = {info.key.removeprefix(key): info.size_bytes for info in bucket.list(key)}
                return messages.Reply(value=found)
            case messages.Read():
                bucket, key = self._control(request.purpose, request.uri)
                try:
                    data, etag = bucket.get(key)
                except ObjectMissing:
                    return messages.Reply()
                return messages.Reply(value=etag, data=data)
            case messages.Create():
                bucket, key = self._control(request.purpose, request.uri)
                try:
                    bucket.create(key, request.data)
                except ObjectExists:
                    return messages.Reply(value=False)
                return messages.Reply(value=True)
            case messages.Replace():
                bucket, key = self._control(request.purpose, request.uri)
                try:
                    bucket.replace(key, request.data, request.etag)
                except (ObjectChanged, ObjectMissing):
                    return messages.Reply(value=False)
                return messages.Reply(value=True)
            case messages.StartEnclave():
                return self._start(request)
            case messages.GiveKeys():
                self._need_enclave().give_keys(request.sealed)
                return messages.Reply()
            case messages.Run():
                self._need_enclave().run(request.command)
                return messages.Reply()
            case messages.StopEnclave():
                if self._enclave is not None:
                    self._enclave.stop()
                    self._enclave = None
                return messages.Reply()

    def _start(self, request: messages.StartEnclave) -> messages.Reply:
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
        return messages.Reply(value=self._enclave.pid, data=evidence)

    def _control(self, purpose: str, uri: str) -> tuple[Bucket, str]:
        """Control objects only: sealed bytes never go to the controller."""
        if uri.endswith(".sealed"):
            raise PurposeRefused(place=uri, expected="a control object", actual="a sealed one")
        return self._need_reach().bucket(purpose, uri)

    def _record(self, record: frames.Outgoing, extra: dict[str, object]) -> None:
        data = dict(msgspec.to_builtins(record)) | extra
        self._tell_leases()
        self._channel.send_record(messages.Notice(kind=data.pop("frame"), data=data))

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
        self._leases.put(messages.Notice(kind="lease", data=data))

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
