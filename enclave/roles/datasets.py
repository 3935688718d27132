"""The run's sealed datasets inside a ``train`` enclave: checked shard by shard, then loaded.

Rows are read twice: :meth:`Datasets.verify` authenticates every segment and checks every record of
a shard before anything is trained; :meth:`Datasets.load` keeps only the rows that the run can come
to. A bad record is reported by dataset, shard, line and fault, never by its content.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field

from strongroom.crypto.dsse import open_self_signed
from strongroom.crypto.keyset import Keyset
from strongroom.crypto.manifest import DATASET_TYPE, DatasetManifest, decode_dataset
from strongroom.crypto.pinned import check_keyset
from strongroom.enclave.channel import capacity, frames
from strongroom.enclave.channel.errors import RecordsRejected
from strongroom.enclave.channel.framing import Channel
from strongroom.enclave.plan.derived import check_manifest
from strongroom.enclave.plan.document import Plan
from strongroom.enclave.plan.parts import DatasetFacts
from strongroom.enclave.roles.fetcher import Fetcher
from strongroom.enclave.rows.lines import Position
from strongroom.enclave.rows.shards import open_shard
from strongroom.trainer.data.chat import FaultCode, RecordFault
from strongroom.trainer.data.rows import Row, SparseRows, decode_row
from strongroom.trainer.steps.schedule import needed_rows


@dataclass
class Where:
    """Where the enclave's work stands, for the report of a failure: numbers only."""

    dataset: frames.Dataset = "train"
    shard: int = -1
    step: int = -1
    position: Position = field(default_factory=Position)


class Datasets:
    """The training and the held-out rows."""

    def __init__(
        self,
        channel: Channel,
        plan: Plan,
        keysets: Mapping[str, Keyset],
        window: memoryview,
        check_prompt: Callable[[Row], None],
        where: Where,
    ) -> None:
        """Fetches both manifests.

        ``window`` holds one segment's plaintext at a time. ``check_prompt`` raises ``RecordFault``
        for a row that the model cannot be asked. ``where`` is kept up to date. Raises
        ``PlanMismatch``, and errors of ``crypto`` for a manifest or key that is not as pinned.
        """
        self._channel = channel
        self._fetcher = Fetcher(channel)
        self._keysets = keysets
        self._window = window
        self._check_prompt = check_prompt
        self._where = where
        self._bad_reported = 0
        train = self._manifest("train", plan)
        held_out = self._manifest("held_out", plan)
        self._manifests: dict[frames.Dataset, DatasetManifest] = {
            "train": train,
            "held_out": held_out,
        }
        self._needed: dict[frames.Dataset, Container[int]] = {
            "train": frozenset(needed_rows(plan.training, train.records)),
            "held_out": range(held_out.records),
        }

    def records(self, dataset: frames.Dataset) -> int:
        """How many rows the dataset has."""
        return self._manifests[dataset].records

    def verify(self, dataset: frames.Dataset, index: int) -> frames.ShardVerified:
        """Authenticate every segment of one shard, check every record, and report the bad ones.

        Prompts are rendered and measured for the rows that the run can come to, so that one that is
        too long is known before anything is trained, at a small part of the cost of answering them.
        """
        good = bad = 0
        shards = self._manifests[dataset].shards
        first = sum(shard.records for shard in shards[:index])
        for row, line in enumerate(self._lines(dataset, index), first):
            fault = self._fault(line, prompt=row in self._needed[dataset])
            if fault is None:
                good += 1
            else:
                bad += 1
                self._report_bad(fault)
        return frames.ShardVerified(
            dataset=dataset,
            shard=index,
            records=good,
            bad_records=bad,
            plaintext_bytes=shards[index].plaintext_bytes,
        )

    def load(self, dataset: frames.Dataset) -> SparseRows:
        """The rows that the run can come to, in one pass over the shards; no others are kept.

        Raises ``RecordsRejected`` for a bad one among them.
        """
        manifest = self._manifests[dataset]
        held: dict[int, Row] = {}
        index = bad = 0
        for shard in manifest.shards:
            for line in self._lines(dataset, shard.index):
                if index in self._needed[dataset]:
                    fault = self._fault(line, prompt=False)  # checked by ``verify``
                    if fault is not None:
                        bad += 1
                        self._report_bad(fault)
                    elif line is not None:
                        held[index] = decode_row(line)
                index += 1
        if bad:
            raise RecordsRejected(actual=f"{bad}")
        return SparseRows(manifest.records, held)

    def _manifest(self, dataset: frames.Dataset, plan: Plan) -> DatasetManifest:
        """The manifest that the plan pins; the releaser has checked who signed it."""
        place = f"{dataset} manifest"
        request = frames.Fetch(kind="manifest", dataset=dataset)
        envelope = bytes(self._fetcher.whole(request, plan.data.of(dataset).manifest_sha256))
        payload, signer = open_self_signed(envelope, DATASET_TYPE, place=place)
        manifest = decode_dataset(payload, place)
        check_manifest(plan, dataset, DatasetFacts.of(envelope, signer, manifest))
        check_keyset(manifest.keyset, self._keysets[dataset], place=dataset)
        return manifest

    def _lines(self, dataset: frames.Dataset, index: int) -> Iterator[bytes | None]:
        manifest = self._manifests[dataset]
        position = Position()
        self._where.dataset, self._where.shard, self._where.position = dataset, index, position
        request = frames.Fetch(kind="shard", dataset=dataset, index=index)
        pieces = self._fetcher.pieces(request)
        try:
            yield from open_shard(
                pieces,
                manifest,
                manifest.shards[index],
                self._keysets[dataset],
                self._window,
                position,
            )
        finally:
            # What is left of the object must be read before anything else can be sent.
            for _ in pieces:
                pass
        self._where.shard, self._where.position = -1, Position()

    def _fault(self, line: bytes | None, *, prompt: bool) -> FaultCode | None:
        """What is wrong with a record; with ``prompt`` also as something to ask the model."""
        if line is None:
            return FaultCode.TOO_LONG
        try:
            row = decode_row(line)
            if prompt:
                self._check_prompt(row)
        except RecordFault as fault:
            return fault.code
        return None

    def _report_bad(self, fault: FaultCode) -> None:
        self._bad_reported += 1
        if self._bad_reported <= capacity.BAD_RECORD_LIMIT:
            self._channel.send_record(
                frames.BadRecord(
                    dataset=self._where.dataset,
                    shard=self._where.shard,
                    line=self._where.position.line,
                    fault=str(fault),
                )
            )
