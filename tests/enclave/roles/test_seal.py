"""A real ``seal`` enclave: rows in, sealed shards out, and nothing written for a bad row."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from strongroom.crypto.keyset import Keyset
from strongroom.crypto.manifest import shard_identity
from strongroom.crypto.release import seal_keys
from strongroom.enclave.assurance import Assurance
from strongroom.enclave.attest import seal_subject
from strongroom.enclave.channel import capacity, frames
from strongroom.enclave.channel.errors import ChannelBroken
from strongroom.enclave.channel.frames import RECORDS
from strongroom.enclave.channel.framing import Channel
from strongroom.enclave.evidence import (
    Evidence,
    Expectation,
    check_evidence,
    decode_evidence,
    evidence_digest,
)
from strongroom.enclave.measurement import measure
from strongroom.enclave.rows.sources import source_files
from strongroom.enclave.sandbox import launch

NONCE = "n" * 22
KMS = "vault://transit/feedback"
GOOD = json.dumps({"messages": [{"role": "user", "content": "hi"}], "ground_truth": "a"})


@dataclass
class Sealing:
    """What one sealer said, and its end."""

    evidence: Evidence
    keyset: Keyset
    shards: list[tuple[frames.ShardSealed, bytes]] = field(default_factory=list)
    bad: list[tuple[int, int, str]] = field(default_factory=list)
    failure: str = ""
    place: tuple[int, int] = (-1, -1)
    """Line and column of the failure."""
    source: int = -1
    """Index of the source file that the failure is about."""
    done: bool = False
    status: int | None = None

    def rows(self, dataset: str) -> list[list[bytes]]:
        found = []
        for said, sealed in self.shards:
            ad = shard_identity(dataset, self.keyset.key_id, said.shard, said.records)
            plain = self.keyset.streaming().open(sealed, ad)
            assert len(plain) == said.plaintext_bytes
            assert sealed[:40] == base64.b64decode(said.header)
            found.append(
                zstandard.ZstdDecompressor().decompressobj().decompress(plain).splitlines()
            )
        return found


def drive(
    files: list[Path],
    *,
    assurance: Assurance = "A1",
    per_shard: int = 100,
    command: frames.Command | None = None,
    at_first_shard: Callable[[], object] = lambda: None,
) -> Sealing:
    """One sealer from start to end, with this test as its broker and releaser."""
    ours, theirs = Channel.pair()
    arguments = [NONCE, KMS, "feedback.train", *map(str, files)]
    process = launch.start(
        "strongroom.enclave.roles.seal", theirs.fileno(), assurance, arguments=arguments
    )
    theirs.close()
    channel = Channel(ours, "sealer")
    try:
        first = channel.recv_record(RECORDS)
        assert isinstance(first, frames.EvidenceFrame)
        evidence = decode_evidence(first.evidence)
        found = Sealing(evidence, Keyset.generate())
        key = base64.b64decode(evidence.hpke_key)
        sealed = seal_keys({"dataset": found.keyset}, key, evidence_digest(evidence))
        channel.send_record(frames.Keys(sealed=sealed))
        order = frames.SealShards(dataset="feedback.train", records_per_shard=per_shard)
        channel.send_record(command or order)
        _listen(channel, found, at_first_shard)
    finally:
        channel.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    found.status = process.returncode
    return found


def _listen(channel: Channel, found: Sealing, at_first_shard: Callable[[], object]) -> None:
    sealed = b""
    while True:
        try:
            record = channel.recv_record(RECORDS)
        except ChannelBroken:
            return
        match record:
            case frames.Put():
                if record.index == 0:
                    at_first_shard()
                sealed = b"".join(bytes(piece) for piece in channel.recv_object(bytearray()))
            case frames.ShardSealed():
                found.shards.append((record, sealed))
            case frames.BadRecord():
                found.bad.append((record.shard, record.line, record.fault))
            case frames.Failure():
                found.failure, found.place = record.code, (record.line, record.column)
                found.source = record.shard
                return
            case frames.Done():
                found.done = True
                return


def rows(path: Path, lines: list[str]) -> Path:
    data = "".join(line + "\n" for line in lines).encode()
    path.write_bytes(zstandard.compress(data) if path.suffix == ".zst" else data)
    return path


def test_rows_are_sealed(tmp_path):
    lines = [GOOD.replace("hi", f"hi {n}") for n in range(25)]
    one = rows(tmp_path / "a.jsonl", lines[:15])
    two = rows(tmp_path / "b.jsonl.zst", lines[15:])
    found = drive([one, two], per_shard=10)
    assert found.done
    assert found.status == 0
    assert [said.shard for said, _ in found.shards] == [0, 1, 2]
    assert [said.records for said, _ in found.shards] == [10, 10, 5]
    assert [line.decode() for shard in found.rows("feedback.train") for line in shard] == lines
    assert b"hi 3" not in b"".join(sealed for _, sealed in found.shards)


def test_its_evidence_is_good(tmp_path):
    """Locked down for real: the same check that a releaser makes."""
    found = drive([rows(tmp_path / "a.jsonl", [GOOD])])
    expectation = Expectation(
        role="seal",
        min_assurance="A1",
        measurements=frozenset({measure()}),
        plan_digest=seal_subject("feedback.train", KMS),
        nonce=NONCE,
    )
    check_evidence(found.evidence, expectation)


def test_without_a_sandbox_its_evidence_says_so(tmp_path):
    found = drive([rows(tmp_path / "a.jsonl", [GOOD])], assurance="A0")
    assert found.done
    assert found.evidence.assurance == "A0"
    assert found.evidence.probes["socket.inet"] == "open"


def test_bad_records_are_listed_and_nothing_is_sealed(tmp_path):
    one = rows(tmp_path / "a.jsonl", [GOOD, "not json", "", GOOD, '{"messages": []}'])
    two = rows(tmp_path / "b.jsonl.zst", ["[]", GOOD, "{}"])
    long = tmp_path / "c.jsonl"
    long.write_bytes(GOOD.encode() + b"\n" + b"x" * (9 << 20) + b"\n" + GOOD.encode())
    found = drive([one, two, long])
    assert found.bad == [
        (0, 2, "not_json"),
        (0, 3, "blank"),
        (0, 5, "messages_invalid"),
        (1, 1, "not_object"),
        (1, 3, "messages_missing"),
        (2, 2, "too_long"),
    ]
    assert found.failure == "SR-DATA-001"
    assert found.shards == []
    assert not found.done


def test_only_so_many_bad_records_are_listed(tmp_path):
    found = drive([rows(tmp_path / "a.jsonl", ["x"] * (capacity.BAD_RECORD_LIMIT + 5))])
    assert len(found.bad) == capacity.BAD_RECORD_LIMIT
    assert found.failure == "SR-DATA-001"


def test_a_damaged_archive_is_told(tmp_path):
    damaged = tmp_path / "a.jsonl.zst"
    damaged.write_bytes(b"\x28\xb5\x2f\xfd" + b"row 17 says hello")
    found = drive([damaged])
    assert found.failure == "SR-DATA-003"


def test_a_cut_archive_is_told(tmp_path):
    """Cut between two blocks, the rows that are left look whole."""
    compressor = zstandard.ZstdCompressor().compressobj()
    first = compressor.compress(GOOD.encode() + b"\n")
    first += compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    rest = compressor.compress(GOOD.encode() + b"\n") + compressor.flush()
    cut = tmp_path / "a.jsonl.zst"
    cut.write_bytes(first)
    assert drive([cut]).failure == "SR-DATA-003"
    cut.write_bytes(first + rest)
    assert drive([cut]).done


MORE = json.dumps({"messages": [{"role": "user", "content": "unseen"}]}).encode() + b"\n"


def append(path: Path) -> None:
    """A program that goes on writing to the file."""
    with path.open("ab") as file:
        file.write(MORE)


def change(path: Path) -> None:
    """As many rows as before, and the last of them no row at all."""
    with path.open("r+b") as file:
        file.seek(-10, os.SEEK_END)
        file.write(b"#" * 9)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1000)


@pytest.mark.parametrize("alter", [append, change, cut])
def test_a_source_that_changes_after_it_was_checked_is_refused(tmp_path, alter):
    """The rows that are sealed are the rows that were checked, or nothing is.

    The sealer waits for this test to take the first shard, which is far more than fits into the
    channel, so the second file's end is read after it was altered.
    """
    noise = [base64.b64encode(os.urandom(12_000)).decode() for _ in range(1000)]
    large = rows(tmp_path / "a.jsonl", [GOOD.replace("hi", each) for each in noise])
    other = rows(tmp_path / "b.jsonl", [GOOD.replace("hi", f"{n:05}") for n in range(50)])
    found = drive([large, other], per_shard=500, at_first_shard=lambda: alter(other))
    assert (found.failure, found.source, found.done) == ("SR-DATA-006", 1, False)


def test_control_files_that_stay_as_they_were_checked_are_sealed(tmp_path):
    noise = [base64.b64encode(os.urandom(12_000)).decode() for _ in range(1000)]
    large = rows(tmp_path / "a.jsonl", [GOOD.replace("hi", each) for each in noise])
    touched = drive([large], per_shard=500, at_first_shard=large.touch)
    assert (touched.done, [said.records for said, _ in touched.shards]) == (True, [500, 500])


def test_parquet_and_lines_are_sealed_alike(tmp_path):
    """In a locked-down enclave, so that Arrow's reading is seen to pass its walls."""
    chats = [[{"role": "user", "content": f"hi {n}"}] for n in range(300)]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"messages": chats, "id": list(range(300))}), path, row_group_size=70)
    found = drive([path, rows(tmp_path / "b.jsonl", [GOOD])], per_shard=200)
    assert found.done
    sealed = [json.loads(line) for shard in found.rows("feedback.train") for line in shard]
    assert sealed[:-1] == [{"messages": chat, "id": n} for n, chat in enumerate(chats)]
    assert sealed[-1] == json.loads(GOOD)
    assert [said.records for said, _ in found.shards] == [200, 101]


def test_bad_rows_and_columns_of_parquet_are_listed(tmp_path):
    chats = [[{"role": "user", "content": "hi"}], [], None]
    bad_rows, bad_columns, cut = (tmp_path / f"{name}.parquet" for name in "abc")
    pq.write_table(pa.table({"messages": chats, "x": [0.5, 1.0, float("nan")]}), bad_rows)
    pq.write_table(pa.table({"messages": chats, "x": [b"1"] * 3, "y": [b"2"] * 3}), bad_columns)
    found = drive([bad_rows, bad_columns])
    assert found.bad == [
        (0, 2, "messages_invalid"),
        (0, 3, "not_finite"),
        (1, 2, "column_type"),
        (1, 3, "column_type"),
    ]
    assert (found.failure, found.shards) == ("SR-DATA-001", [])
    cut.write_bytes(bad_rows.read_bytes()[:-5])
    assert drive([cut]).failure == "SR-DATA-005"


def test_it_takes_no_other_command(tmp_path):
    found = drive(
        [rows(tmp_path / "a.jsonl", [GOOD])], command=frames.Train(from_step=0, to_step=1)
    )
    assert (found.shards, found.done, found.failure) == ([], False, "")
    assert found.status == 1


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            ["b.jsonl", "a.jsonl", "c.jsonl.zst", "aa.parquet"],
            ["a.jsonl", "aa.parquet", "b.jsonl", "c.jsonl.zst"],
        ),
        (["notes.txt", "a.json", "a.jsonl.gz"], []),
    ],
)
def test_a_folders_files_are_taken_by_name(tmp_path, names, expected):
    for name in names:
        (tmp_path / name).touch()
    assert [path.name for path in source_files(tmp_path)] == expected


def test_a_file_is_itself(tmp_path):
    path = tmp_path / "rows.txt"
    assert source_files(path) == [path]


EVALUATOR = frames.SealEvaluator(name="feedback.train")


def test_an_evaluator_is_sealed_as_it_is(tmp_path):
    source = tmp_path / "evaluator.py"
    text = "SECRET = 7\nprint('not run')\nraise SystemExit\n" + "# é\n" * 200_000
    source.write_text(text)
    found = drive([source], command=EVALUATOR)
    assert (found.done, found.status) == (True, 0)
    ((said, sealed),) = found.shards
    assert (said.shard, said.records, said.plaintext_bytes) == (0, 1, len(text.encode()))
    ad = shard_identity("feedback.train", found.keyset.key_id, 0, 1)
    assert bytes(found.keyset.streaming().open(sealed, ad)) == text.encode()
    assert b"SECRET" not in sealed


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        (b"x = 1\ndef evaluate(:\n", "SR-EVAL-001", (2, 14)),
        (b"x = '\0'", "SR-EVAL-001", (-1, -1)),
        (b"\xff\xfe", "SR-EVAL-001", None),
        (b"-" * 500_000 + b"1", "SR-EVAL-001", None),
        (b"#" * ((1 << 20) + 1), "SR-EVAL-012", (-1, -1)),
    ],
)
def test_a_source_that_cannot_run_is_not_sealed(tmp_path, text, code, place):
    source = tmp_path / "evaluator.py"
    source.write_bytes(text)
    found = drive([source], command=EVALUATOR)
    assert found.failure == code
    assert place in (None, found.place)
    assert found.shards == []
