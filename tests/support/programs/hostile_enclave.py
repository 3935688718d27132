"""An enclave that breaks one rule of the channel, named on its command line.

It speaks the protocol up to its first command, then does what ``ATTACKS`` or ``CONTROLS`` says,
and stays alive until it is killed. ``SECRET`` stands for a row.
"""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import struct
import sys
import time

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from strongroom.crypto.digests import sha256
from strongroom.crypto.dsse import pae
from strongroom.crypto.errors import CryptoError
from strongroom.crypto.keyset import Keyset
from strongroom.crypto.manifest import CHECKPOINT_TYPE, encode
from strongroom.enclave.attest import COMMANDS
from strongroom.enclave.channel import frames
from strongroom.enclave.channel.errors import ChannelBroken
from strongroom.enclave.channel.framing import Channel, Kind
from strongroom.enclave.checkpoints import checkpoint_manifest
from strongroom.enclave.evidence import Evidence

SECRET = b"user: my password is hunter2"
NUMBER = int.from_bytes(SECRET, "big")
DIGEST = "sha256:" + "a" * 64


class Enclave:
    """What a hostile enclave has in its hands: the socket and a signing key."""

    def __init__(self, fd: int) -> None:
        self.sock = socket.socket(fileno=fd)
        self.channel = Channel(self.sock, "broker")
        self.key = Ed25519PrivateKey.generate()
        self.start = self.channel.recv_record(COMMANDS)
        self.run = msgspec.json.decode(self.start.plan)["run"]

    def say(self, record: msgspec.Struct) -> None:
        self.channel.send_record(record)

    def text(self, text: bytes) -> None:
        self.channel.send(Kind.RECORD, text)

    def evidence(self) -> None:
        raw = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        evidence = Evidence(
            role="train",
            assurance="A1",
            measurement=DIGEST,
            plan_digest=sha256(self.start.plan),
            nonce=self.start.nonce,
            hpke_key=base64.b64encode(bytes(32)).decode(),
            signing_key="ed25519:" + base64.b64encode(raw).decode(),
            probes={},
            warnings=(),
        )
        self.say(frames.EvidenceFrame(evidence=msgspec.json.encode(evidence)))

    def fetch(self, **which: object) -> bytes:
        self.say(frames.Fetch(**which))
        return b"".join(bytes(piece) for piece in self.channel.recv_object(bytearray()))

    def step(self, step: int = 1, **values: float) -> None:
        self.say(frames.StepDone(step=step, values=values or {"loss": 0.1234}))

    def put(self, artifact: str, step: int, data: bytes) -> frames.SealedEntry:
        self.say(frames.Put(artifact=artifact, index=step, size_bytes=len(data)))
        self.channel.send_object([data])
        return frames.SealedEntry(
            size_bytes=len(data),
            sha256=sha256(data),
            plaintext_sha256=DIGEST,
            header=base64.b64encode(data[:40]).decode(),
        )

    def objects(self, step: int = 20) -> dict[str, frames.SealedEntry]:
        names = ("adapter", "state", "rollouts")
        return {name: self.put(name, step, sealed()) for name in names}

    def checkpoint(self, step: int = 20, **changes: object) -> None:
        entries = changes.pop("entries", None) or self.objects(step)
        manifest = checkpoint_manifest(self.run, sha256(self.start.plan), step, entries)
        try:
            signature = self.key.sign(pae(CHECKPOINT_TYPE, encode(manifest)))
        except CryptoError:  # an honest encoder refuses some of what is tried here
            signature = self.key.sign(b"")
        fields = {"step": step, "signature": base64.b64encode(signature).decode(), **entries}
        self.say(frames.CheckpointDone(**fields | changes))


def sealed() -> bytes:
    """A real sealed object, as every run writes them."""
    return bytes(Keyset.generate().streaming().seal(b"weights" * 20, b""))


def changed(entries: dict[str, frames.SealedEntry], **fields: object) -> dict:
    return entries | {"state": msgspec.structs.replace(entries["state"], **fields)}


def endless(enclave: Enclave, piece: bytes) -> None:
    enclave.say(frames.Put(artifact="adapter", index=20, size_bytes=1000))
    while True:
        enclave.channel.send(Kind.DATA, piece)


def announced(enclave: Enclave, size: int, data: bytes) -> None:
    enclave.say(frames.Put(artifact="adapter", index=20, size_bytes=size))
    enclave.channel.send_object([data])


def record_within_object(enclave: Enclave) -> None:
    enclave.say(frames.Put(artifact="adapter", index=20, size_bytes=1000))
    enclave.step()


def many(enclave: Enclave, count: int, record: msgspec.Struct) -> None:
    for _ in range(count):
        enclave.say(record)


def wrong_digest(enclave: Enclave) -> None:
    entries = enclave.objects()
    enclave.checkpoint(entries=changed(entries, sha256="sha256:" + SECRET.hex().ljust(64, "0")))


def text_in_a_digest(enclave: Enclave) -> None:
    digest = "sha256:" + SECRET.decode()
    enclave.checkpoint(entries=changed(enclave.objects(), plaintext_sha256=digest))


def text_in_a_header(enclave: Enclave) -> None:
    header = base64.b64encode(SECRET.ljust(40)).decode()
    enclave.checkpoint(entries=changed(enclave.objects(), header=header))


def two_checkpoints_of_a_step(enclave: Enclave) -> None:
    entries = enclave.objects()
    enclave.checkpoint(entries=entries)
    enclave.checkpoint(entries=entries)


def backwards(enclave: Enclave) -> None:
    enclave.step(2)
    enclave.step(1)


def twice(enclave: Enclave, record: msgspec.Struct) -> None:
    many(enclave, 2, record)


VERIFIED = frames.ShardVerified(
    dataset="train", shard=0, records=10, bad_records=0, plaintext_bytes=1000
)
BAD = frames.BadRecord(dataset="train", shard=0, line=3, fault="not_json")
PROGRESS = frames.Progress(activity="trial", done=1, total=2)
EVALUATED = frames.Evaluated(phase="before", rows=10, values={"score_mean": 0.5})
FAULT = frames.EvaluatorFault(row=3, sample=0, code="SR-EVAL-003", detail="ValueError", line=7)
TESTED = frames.EvaluatorTested(
    rows=10, completions=40, failures=0, histogram=(4,) * 10, values={"score_mean": 0.5}
)
FAILED = frames.Failure(code="SR-EVAL-003", detail="ValueError", row=3, line=7)


def replaced(record: msgspec.Struct, **fields: object):
    return lambda enclave: enclave.say(msgspec.structs.replace(record, **fields))


def raw(text: bytes):
    return lambda enclave: enclave.text(text)


ATTACKS = {
    # frames that are none
    "unknown_frame": raw(b'{"frame":"note","text":"' + SECRET + b'"}'),
    "unknown_field": raw(b'{"frame":"done","note":"' + SECRET + b'"}'),
    "no_json": raw(SECRET),
    "no_utf8": raw(b'{"frame":"bad_record","fault":"\xff\xfe"}'),
    "nested_deeply": raw(b'{"values":' + b"[" * 100_000),
    "a_command": raw(b'{"frame":"train","from_step":0,"to_step":1}'),
    "a_sealers_record": lambda e: e.say(
        frames.ShardSealed(shard=0, header="", records=1, plaintext_bytes=1)
    ),
    "oversized_length": lambda e: e.sock.sendall(struct.pack("<BI", 1, 0xFFFFFFFF)),
    "unknown_kind": lambda e: e.sock.sendall(struct.pack("<BI", 9, 4) + b"row!"),
    "bytes_out_of_the_blue": lambda e: e.channel.send_object([SECRET]),
    # numbers
    "undeclared_metric": lambda e: e.step(my_password_is_hunter2=1.0),
    "declared_elsewhere": lambda e: e.step(score_mean=1.0),
    "not_a_number": raw(b'{"frame":"step_done","step":1,"values":{"loss":NaN}}'),
    "infinity": raw(b'{"frame":"step_done","step":1,"values":{"loss":1e999}}'),
    "text_for_a_number": raw(b'{"frame":"step_done","step":1,"values":{"loss":"row"}}'),
    "five_digits": lambda e: e.step(loss=0.12345),
    "seventeen_digits": lambda e: e.step(loss=struct.unpack("<d", b"hunter2\x3f")[0]),
    "too_large_a_number": lambda e: e.step(loss=1.234e11),
    "too_small_a_number": lambda e: e.step(loss=1.234e-11),
    "unsorted_names": raw(
        b'{"frame":"step_done","step":1,"values":{"reward_mean":0.5,"loss":0.5}}'
    ),
    "step_twice": lambda e: twice(e, frames.StepDone(step=1, values={})),
    "steps_backwards": backwards,
    "step_zero": lambda e: e.step(0),
    "too_many_steps": lambda e: e.step(61),
    "number_of_any_length": lambda e: e.step(NUMBER),
    # records of counts and places
    "line_of_any_length": replaced(BAD, line=NUMBER),
    "shard_of_any_length": replaced(BAD, shard=NUMBER),
    "free_text_as_fault": replaced(BAD, fault="hunter2"),
    "too_many_bad_records": lambda e: many(e, 1001, BAD),
    "verified_unknown_shard": replaced(VERIFIED, shard=4),
    "verified_twice": lambda e: twice(e, VERIFIED),
    "verified_size_of_any_length": replaced(VERIFIED, plaintext_bytes=NUMBER),
    "verified_count_of_any_length": replaced(VERIFIED, records=NUMBER),
    "too_much_progress": lambda e: many(e, 201, PROGRESS),
    "progress_of_any_length": replaced(PROGRESS, total=NUMBER),
    "evaluated_twice": lambda e: twice(e, EVALUATED),
    "evaluated_rows_of_any_length": replaced(EVALUATED, rows=NUMBER),
    # a trial of an evaluator
    "fault_row_of_any_length": replaced(FAULT, row=NUMBER),
    "fault_sample_of_any_length": replaced(FAULT, sample=NUMBER),
    "fault_line_of_any_length": replaced(FAULT, line=NUMBER),
    "free_text_as_fault_code": replaced(FAULT, code=SECRET.decode()),
    "free_text_as_fault_detail": replaced(FAULT, detail="hunter2"),
    "too_many_faults": lambda e: many(e, 101, FAULT),
    "tested_twice": lambda e: twice(e, TESTED),
    "tested_rows_of_any_length": replaced(TESTED, rows=NUMBER),
    "tested_failures_of_any_length": replaced(TESTED, failures=NUMBER),
    "histogram_of_any_numbers": replaced(TESTED, histogram=(NUMBER,) * 10),
    "histogram_of_any_length": replaced(TESTED, histogram=(1,) * 1000),
    "trial_with_undeclared_metric": replaced(TESTED, values={"my_password_is_hunter2": 1.0}),
    "evidence_twice": lambda e: e.evidence(),
    # failures
    "free_text_as_code": replaced(FAILED, code=SECRET.decode()),
    "code_of_a_list": replaced(FAILED, code="SR-MANY"),
    "free_text_as_detail": replaced(FAILED, detail="hunter2"),
    "sentence_as_detail": replaced(FAILED, detail=SECRET.decode()),
    "failure_row_of_any_length": replaced(FAILED, row=NUMBER),
    "failure_column_of_any_length": replaced(FAILED, column=NUMBER),
    "failure_step_below_range": replaced(FAILED, step=-NUMBER),
    # objects
    "unsealed_object": lambda e: e.put("adapter", 20, SECRET * 10),
    "tiny_object": lambda e: e.put("adapter", 20, b"\x28" + SECRET),
    "empty_object": lambda e: e.put("adapter", 20, b""),
    "too_large_an_object": lambda e: announced(e, (1 << 20) + 1, b""),
    "too_much_in_all": lambda e: [
        e.put("adapter", n, sealed().ljust(400_000)) for n in (20, 40, 60)
    ],
    "more_than_announced": lambda e: announced(e, 100, bytes(200)),
    "less_than_announced": lambda e: announced(e, 300, sealed()[:200]),
    "endless_object": lambda e: endless(e, bytes(10)),
    "endless_object_of_nothing": lambda e: endless(e, b""),
    "record_within_object": record_within_object,
    "object_of_no_step": lambda e: e.put("adapter", NUMBER, sealed()),
    "object_of_step_minus_one": lambda e: e.put("adapter", -1, sealed()),
    "object_between_checkpoints": lambda e: e.put("adapter", 21, sealed()),
    "object_twice": lambda e: [e.put("adapter", 20, sealed()) for _ in range(2)],
    "object_named_shard": lambda e: e.put("shard", 20, sealed()),
    "object_with_a_path": raw(
        b'{"frame":"put","artifact":"../../keys.json","index":20,"size_bytes":100}'
    ),
    # fetches
    "fetch_with_a_path": raw(b'{"frame":"fetch","kind":"../../../etc/passwd"}'),
    "fetch_index_below_zero": lambda e: e.fetch(kind="artifact", index=-1),
    "fetch_index_of_any_length": lambda e: e.fetch(kind="artifact", index=NUMBER),
    "fetch_unplanned_shard": lambda e: e.fetch(kind="shard", index=3),
    "fetch_evaluator_manifest_of_none": lambda e: e.fetch(kind="evaluator_manifest"),
    "fetch_unplanned_model_file": lambda e: e.fetch(kind="model", index=2),
    "fetch_with_spare_fields": lambda e: e.fetch(kind="evaluator", dataset="held_out"),
    "fetch_artifact_shard": lambda e: e.fetch(kind="artifact", index=1, artifact="shard"),
    "too_many_fetches": lambda e: [e.fetch(kind="evaluator") for _ in range(21)],
    # checkpoints
    "checkpoint_of_nothing": lambda e: e.checkpoint(
        entries=dict.fromkeys(
            ("adapter", "state", "rollouts"),
            frames.SealedEntry(
                size_bytes=100,
                sha256=DIGEST,
                plaintext_sha256=DIGEST,
                header=base64.b64encode(sealed()[:40]).decode(),
            ),
        )
    ),
    "checkpoint_with_wrong_signature": lambda e: e.checkpoint(
        signature=base64.b64encode(hashlib.sha512(b"").digest()).decode()
    ),
    "checkpoint_with_text_as_signature": lambda e: e.checkpoint(signature=SECRET.decode()),
    "checkpoint_of_another_digest": wrong_digest,
    "checkpoint_with_text_in_a_digest": text_in_a_digest,
    "checkpoint_with_text_in_a_header": text_in_a_header,
    "checkpoint_of_another_step": lambda e: e.checkpoint(entries=e.objects(20), step=40),
    "checkpoint_twice": two_checkpoints_of_a_step,
}


def honest(enclave: Enclave) -> None:
    """One of everything, as an honest enclave says it."""
    assert enclave.fetch(kind="evaluator") == b"evaluator"
    assert enclave.fetch(kind="model", index=1) == b"model"
    for record in (BAD, VERIFIED, PROGRESS, EVALUATED, FAULT, TESTED):
        enclave.say(record)
    enclave.step(1, loss=0.1234, reward_mean=-9.999e9)
    enclave.step(2, loss=1.234e-9, reward_mean=0.0)
    enclave.checkpoint(20)
    enclave.checkpoint(40)
    many(enclave, 999, BAD)
    many(enclave, 199, PROGRESS)
    many(enclave, 99, FAULT)


def receipt(shard: int) -> frames.ShardVerified:
    """An honest one of a shard of training rows, as the plan's sample manifest has them."""
    return frames.ShardVerified(
        dataset="train", shard=shard, records=10, bad_records=0, plaintext_bytes=1000 + shard
    )


def two_receipts(enclave: Enclave) -> None:
    enclave.say(receipt(1))
    enclave.say(receipt(2))


#: What it answers when told to verify its second shard, after an honest answer for the first.
RECEIPTS = {
    "left_out": lambda _: None,
    "of_another_shard": lambda e: e.say(receipt(2)),
    "of_the_other_dataset": replaced(receipt(1), dataset="held_out"),
    "of_no_records": replaced(receipt(1), records=0),
    "of_other_plaintext": replaced(receipt(1), plaintext_bytes=9),
    "of_two_shards": two_receipts,
}
HONEST_RECEIPTS = {
    "of_all_records": lambda e: e.say(receipt(1)),
    "with_bad_records": replaced(receipt(1), records=7, bad_records=3),
}


def verify(enclave: Enclave, attack: str) -> None:
    enclave.say(receipt(0))
    enclave.say(frames.Done())
    enclave.channel.recv_record(COMMANDS)
    (RECEIPTS | HONEST_RECEIPTS)[attack](enclave)


CONTROLS = {"honest": honest, "honest_failure": replaced(FAILED)}

#: Said in place of evidence, before there is any key.
EARLY = {
    "object_before_evidence": lambda e: e.put("adapter", 20, sealed()),
    "shard_before_evidence": lambda e: e.fetch(kind="shard", dataset="train", index=0),
    "step_before_evidence": lambda e: e.step(),
    "text_for_evidence": lambda e: e.say(frames.EvidenceFrame(evidence=SECRET)),
    "huge_evidence": lambda e: e.say(frames.EvidenceFrame(evidence=b" " * (17 << 10))),
}


def main(fd: int, attack: str) -> None:
    enclave = Enclave(fd)
    if attack in EARLY:
        EARLY[attack](enclave)
    else:
        enclave.evidence()
        enclave.channel.recv_record(COMMANDS)
        enclave.say(frames.Done())
        enclave.channel.recv_record(COMMANDS)
        if attack in RECEIPTS | HONEST_RECEIPTS:
            verify(enclave, attack)
        else:
            (ATTACKS | CONTROLS)[attack](enclave)
        enclave.say(frames.Done())
    time.sleep(60)


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), sys.argv[2])
    except ChannelBroken:
        time.sleep(60)  # the broker hung up and is about to kill
    except BaseException:
        os._exit(1)
