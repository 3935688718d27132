"""Sealing with a real sealer process, a releaser in this one, and a folder for the bucket."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import zstandard

from strongroom.connectors.buckets.bucket import Bucket
from strongroom.connectors.buckets.open import open_bucket
from strongroom.connectors.buckets.uri import Location, parse
from strongroom.connectors.keys.keyring import create_local_keyring
from strongroom.connectors.keys.kms import Kms
from strongroom.connectors.keys.open import open_kms
from strongroom.crypto.digests import sha256
from strongroom.crypto.dsse import KeyRef, key_ref, open_envelope
from strongroom.crypto.keyset import Keyset
from strongroom.crypto.manifest import DATASET_TYPE, decode_dataset, shard_ad
from strongroom.crypto.pinned import check_digest, check_object
from strongroom.enclave import parent
from strongroom.enclave.channel import frames
from strongroom.enclave.channel.capacity import BAD_RECORD_LIMIT
from strongroom.enclave.channel.errors import (
    ChannelViolation,
    EnclaveKilled,
    NotCompressed,
    RecordRejected,
    RecordsRejected,
    SourceChanged,
)
from strongroom.enclave.channel.framing import Channel, Kind
from strongroom.enclave.errors import MeasurementUnknown
from strongroom.enclave.measurement import components, measure
from strongroom.errors import ErrorList, Exit
from strongroom.pipeline.owner import seal as sealing
from strongroom.pipeline.owner.errors import DatasetExists, DatasetNameInvalid, SourceMissing
from strongroom.pipeline.owner.seal import Sealed, describe, seal
from strongroom.pipeline.releaser.client import ReleaserClient
from strongroom.pipeline.releaser.errors import ReleaserUnreachable
from strongroom.pipeline.releaser.releaser import Releaser
from support.kept_log import KeptLog
from support.releasers import settings
from support.serving import serving

DATA, SIGNER = "vault://transit/feedback", "vault://transit/feedback-signer"


def row(text: str) -> str:
    return json.dumps({"messages": [{"role": "user", "content": text}], "ground_truth": "a"})


@dataclass
class World:
    """An owner with a releaser, and a bucket in a folder."""

    folder: Path
    releaser: ReleaserClient
    ring: Path

    @property
    def target(self) -> Location:
        return parse(f"local://{self.folder}/bucket/datasets/feedback/")

    @property
    def bucket(self) -> Bucket:
        return open_bucket(parse(f"local://{self.folder}/bucket/"))

    def key(self, ref: str) -> Kms:
        return open_kms(f"local://{self.ring}#{ref.rpartition('/')[2]}")

    @property
    def written(self) -> list[str]:
        folder = self.folder / "bucket"
        return sorted(path.name for path in folder.rglob("*") if path.is_file())

    def file(self, name: str, lines: list[str], end: str = "\n") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = ("\n".join(lines) + end).encode()
        path.write_bytes(zstandard.compress(data) if path.suffix == ".zst" else data)
        return path

    def seal(self, source: Path, **changes: Any) -> Sealed:
        said = {"kms": DATA, "name": "feedback.train", "records_per_shard": 10} | changes
        return seal(source, self.target, self.bucket, self.releaser, **said)

    def rows(self, sealed: Sealed) -> list[str]:
        """What a holder of the key reads, checked against the manifest on the way."""
        wrapped = sealed.manifest.keyset
        plain = self.key(wrapped.kms).unwrap(wrapped.wrapped, wrapped.context)
        keyset = Keyset.from_tink(plain)
        assert keyset.commitment() == wrapped.commitment
        found: list[str] = []
        for shard in sealed.manifest.shards:
            data, _ = self.bucket.get(self.target.key + shard.object)
            check_object(shard, size_bytes=len(data), header=data[:40])
            check_digest(shard, sha256(data))
            text = keyset.streaming().open(data, shard_ad(sealed.manifest, shard))
            assert len(text) == shard.plaintext_bytes
            lines = zstandard.ZstdDecompressor().decompressobj().decompress(bytes(text))
            assert lines.count(b"\n") == shard.records
            found += lines.decode().splitlines()
        return found


@contextmanager
def started(folder: Path, measurements: tuple[str, ...]) -> Iterator[World]:
    ring = folder / "keyring.json"
    create_local_keyring(ring, ["feedback", "feedback-signer"])

    def key(ref: str) -> Kms:
        return open_kms(f"local://{ring}#{ref.rpartition('/')[2]}")

    config = settings(measurements=measurements, manifest_signer=SIGNER, keys=(DATA,))
    (folder / "bucket").mkdir()
    log = KeptLog(folder / "log")
    releaser = Releaser(config, log.notary, log.vkey, open_key=key)
    with serving(releaser, folder / "socket"):
        yield World(folder, ReleaserClient(folder / "socket"), ring)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    components.cache_clear()
    measure.cache_clear()
    with started(tmp_path, (measure(),)) as found:
        yield found


def test_rows_become_a_signed_dataset(world):
    lines = [row(f"number {n}") for n in range(25)]
    told: list[int] = []
    sealed = world.seal(world.file("rows.jsonl", lines), progress=told.append)
    assert world.written == ["manifest.json", *(f"shard-0000{n}.sealed" for n in range(3))]
    assert told == [10, 20, 25]
    assert [shard.records for shard in sealed.manifest.shards] == [10, 10, 5]
    assert world.rows(sealed) == lines
    envelope, _ = world.bucket.get(world.target.key + "manifest.json")
    assert sealed.manifest_sha256 == sha256(envelope)
    signer = KeyRef(key_ref(world.key(SIGNER).public_key()))
    payload, _ = open_envelope(envelope, DATASET_TYPE, [signer], place="manifest")
    assert decode_dataset(payload, "manifest") == sealed.manifest
    assert sealed.signer == signer
    assert sealed.uri == str(world.target)


def test_no_word_of_a_row_is_in_the_bucket(world):
    world.seal(world.file("rows.jsonl", [row("unmistakable words")] * 30))
    for path in (world.folder / "bucket").rglob("*"):
        if path.is_file():
            assert b"unmistakable" not in path.read_bytes()


def test_a_folder_of_plain_and_compressed_files(world):
    world.file("source/b.jsonl.zst", [row("b1"), row("b2")])
    world.file("source/a.jsonl", [row("a")], end="")
    world.file("source/notes.txt", ["not a row"])
    sealed = world.seal(world.folder / "source")
    assert world.rows(sealed) == [row("a"), row("b1"), row("b2")]


def large_rows(count: int) -> list[str]:
    """Rows that stay 200 kB each when compressed."""
    rng = random.Random(1)
    return [row(rng.randbytes(200_000).hex()) for _ in range(count)]


def test_a_large_shard_has_many_segments(world):
    lines = large_rows(12)
    sealed = world.seal(world.file("rows.jsonl", lines), records_per_shard=100)
    [shard] = sealed.manifest.shards
    assert shard.size_bytes > 2 << 20
    assert world.rows(sealed) == lines


def test_a_description_is_plain_data(world):
    sealed = world.seal(world.file("rows.jsonl", [row("a")] * 3))
    found = json.loads(json.dumps(describe(sealed)))
    assert found["records"] == 3
    assert found["shards"] == 1
    assert found["name"] == "feedback.train"
    assert found["manifest_sha256"] == sealed.manifest_sha256
    assert found["ciphertext_bytes"] == sealed.manifest.shards[0].size_bytes


def test_bad_records_are_listed_by_file_and_line_and_nothing_is_written(world):
    one = world.file("source/a.jsonl", [row("ok"), "not json", row("ok"), ""])
    two = world.file("source/b.jsonl.zst", ["[]"])
    with pytest.raises(ErrorList) as caught:
        world.seal(world.folder / "source")
    *listed, last = caught.value.errors
    assert [(error.place, error.actual) for error in listed] == [
        (f"{one}:2", "not_json"),
        (f"{one}:4", "blank"),
        (f"{two}:1", "not_object"),
    ]
    assert all(isinstance(error, RecordRejected) for error in listed)
    assert isinstance(last, RecordsRejected)
    assert last.actual == "3"
    assert world.written == []


def test_very_many_bad_records_are_not_counted_wrongly(world):
    with pytest.raises(ErrorList) as caught:
        world.seal(world.file("rows.jsonl", ["x"] * (BAD_RECORD_LIMIT + 1)))
    assert len(caught.value.errors) == BAD_RECORD_LIMIT + 1
    assert caught.value.errors[-1].actual == f"{BAD_RECORD_LIMIT} or more"


def test_a_damaged_archive(world):
    path = world.file("rows.jsonl.zst", [row("a")] * 1000)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(NotCompressed) as caught:
        world.seal(path)
    assert caught.value.place == str(path)
    assert world.written == []


def test_of_several_files_the_damaged_one_is_named(world):
    world.file("source/a.jsonl", [row("a")])
    damaged = world.file("source/b.jsonl.zst", [row("b")] * 1000)
    damaged.write_bytes(damaged.read_bytes()[:-10])
    with pytest.raises(NotCompressed) as caught:
        world.seal(world.folder / "source")
    assert caught.value.place == str(damaged)


def test_a_file_that_changes_while_it_is_sealed_is_named(world):
    world.file("source/a.jsonl", large_rows(40))
    growing = world.file("source/b.jsonl", [row("b")])

    def append(records: int) -> None:
        if records == 10:
            growing.write_text(growing.read_text() + row("unchecked") + "\n")

    with pytest.raises(SourceChanged) as caught:
        world.seal(world.folder / "source", progress=append)
    assert caught.value.place == str(growing)
    assert not [name for name in world.written if name.endswith("manifest.json")]


@pytest.mark.parametrize("existing", ["manifest.json", "shard-00000.sealed", "deeper/file"])
def test_an_existing_dataset_is_never_touched(world, existing):
    world.bucket.create(world.target.key + existing, b"precious")
    with pytest.raises(DatasetExists) as caught:
        world.seal(world.file("rows.jsonl", [row("a")]))
    assert caught.value.actual.endswith(existing)
    assert world.bucket.get(world.target.key + existing)[0] == b"precious"
    assert len(world.written) == 1


def test_a_shard_that_appears_meanwhile_is_never_touched(world):
    source = world.file("rows.jsonl", [row("a")] * 20)

    def interfere(records: int) -> None:
        if records == 10:
            world.bucket.create(world.target.key + "shard-00001.sealed", b"precious")

    with pytest.raises(DatasetExists):
        world.seal(source, progress=interfere)
    assert world.bucket.get(world.target.key + "shard-00001.sealed")[0] == b"precious"
    assert "manifest.json" not in world.written


def test_a_neighbours_dataset_does_not_matter(world):
    world.bucket.create(world.target.key.removesuffix("/") + "-2/manifest.json", b"x")
    assert world.seal(world.file("rows.jsonl", [row("a")])).manifest.records == 1


@pytest.mark.parametrize("kind", ["missing", "empty folder", "folder without rows"])
def test_no_source(world, kind):
    source = world.folder / "source"
    if kind != "missing":
        source.mkdir()
    if kind == "folder without rows":
        (source / "rows.csv").write_text("a,b\n")
    with pytest.raises(SourceMissing) as caught:
        world.seal(source)
    assert caught.value.place == str(source)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.zst"])
def test_a_source_without_rows(world, name):
    path = world.file(name, [], end="")
    with pytest.raises(SourceMissing) as caught:
        world.seal(path)
    assert caught.value.place == str(path)
    assert caught.value.exit_code == Exit.BAD_INPUT
    assert world.written == []


@pytest.mark.parametrize("name", ["", "Feedback", "a b", "a/b", ".a", "a" * 129, "ä"])
def test_a_name_that_no_manifest_can_hold(world, name):
    """Found out before the first shard is written, not when the manifest is."""
    with pytest.raises(DatasetNameInvalid) as caught:
        world.seal(world.file("rows.jsonl", [row("a")]), name=name)
    assert caught.value.exit_code == Exit.BAD_INPUT
    assert world.written == []


@pytest.mark.parametrize("name", ["a", "feedback.train", "0-a_b.c", "a" * 128])
def test_names(world, name):
    assert world.seal(world.file("rows.jsonl", [row("a")]), name=name).manifest.name == name


def test_an_odd_file_name(world):
    path = world.file("-rows with $(blanks) 'and' ünïcode.jsonl", [row("a")])
    assert world.rows(world.seal(path)) == [row("a")]


def test_code_that_the_owner_has_not_approved(tmp_path):
    unknown = ("sha256:" + "0" * 64,)
    with started(tmp_path, unknown) as world, pytest.raises(MeasurementUnknown):
        world.seal(world.file("rows.jsonl", [row("a")]))
    assert world.written == []


def test_no_releaser(world):
    nobody = ReleaserClient(world.folder / "nobody")
    source = world.file("rows.jsonl", [row("a")])
    with pytest.raises(ReleaserUnreachable):
        seal(
            source,
            world.target,
            world.bucket,
            nobody,
            kms=DATA,
            name="d",
            records_per_shard=1,
        )
    assert world.written == []


def test_a_sealer_that_dies(world, monkeypatch):
    """Between two shards, of which each is more than its channel holds: no manifest is written."""
    source = world.file("rows.jsonl", large_rows(30))
    processes: list[Any] = []
    start_process = parent.launch.start

    def watch(*arguments: Any, **options: Any) -> Any:
        processes.append(start_process(*arguments, **options))
        return processes[-1]

    monkeypatch.setattr(parent.launch, "start", watch)

    def kill(records: int) -> None:
        if records == 10:
            processes[0].kill()

    with pytest.raises(EnclaveKilled) as caught:
        world.seal(source, progress=kill)
    assert caught.value.place == "sealer"
    assert caught.value.actual == "signal 9"
    assert "manifest.json" not in world.written
    assert processes[0].poll() is not None


@pytest.mark.parametrize(
    "record",
    [
        frames.BadRecord(dataset="train", shard=1, line=1, fault="blank"),
        frames.BadRecord(dataset="train", shard=-1, line=1, fault="blank"),
        frames.BadRecord(dataset="train", shard=0, line=0, fault="blank"),
        frames.BadRecord(dataset="train", shard=0, line=1, fault="4111 1111 1111 1111"),
        frames.Failure(code="4111 1111 1111 1111"),
        frames.Put(artifact="shard", index=1, size_bytes=0),
        frames.ShardSealed(shard=1, header="", records=1, plaintext_bytes=1),
        frames.StepDone(step=1, values={}),
    ],
    ids=repr,
)
def test_a_sealer_that_says_something_else_is_not_listened_to(world, record):
    ours, theirs = Channel.pair()
    sealer, parent = Channel(theirs, "parent"), Channel(ours, "sealer")
    sealer.send_record(record)
    sealer.close()
    with pytest.raises(ChannelViolation) as caught:
        sealing._receive(parent, [Path("a.jsonl")], world.target, world.bucket, lambda _n: None)
    assert "4111" not in str(caught.value)
    assert world.written == []


GOOD_HEAD = bytes([40]) + bytes(39)


@pytest.mark.parametrize(
    ("pieces", "passes"),
    [
        ([GOOD_HEAD + bytes(16)], True),
        ([GOOD_HEAD, bytes(16)], True),
        ([GOOD_HEAD, bytes(15)], False),
        ([b'{"messages": [{"role": "user", "content": "4111 1111 1111 1111"}]}'], False),
        ([GOOD_HEAD[:39], bytes(17)], False),
        ([b"", GOOD_HEAD, bytes(16)], False),
        ([], False),
    ],
)
def test_what_does_not_look_sealed_is_not_written(world, pieces, passes):
    ours, theirs = Channel.pair()
    sealer, parent = Channel(theirs, "parent"), Channel(ours, "sealer")
    sealer.send_record(frames.Put(artifact="shard", index=0, size_bytes=0))
    for piece in pieces:
        sealer.send(Kind.DATA, piece)
    sealer.send(Kind.END)
    sealer.send_record(frames.Done())
    arguments = (parent, [Path("a.jsonl")], world.target, world.bucket, lambda _n: None)
    if passes:
        sealing._receive(*arguments)
        assert len(world.written) == 1
    else:
        with pytest.raises(ChannelViolation) as caught:
            sealing._receive(*arguments)
        assert caught.value.place == "sealer"
        assert world.written == []
