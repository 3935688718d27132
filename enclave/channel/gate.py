"""The broker's gate: decides for each record from the enclave whether it may pass.

A pure state machine. Its rules:
1. a record has one of the schemas of ``enclave.channel.frames`` (checked by decoding);
2. metric names are those that the plan declares; values are finite, rounded to four significant
   digits and inside the range of ``capacity.EXPONENTS``;
3. every id, count and code is inside the plan's range; words come from enumerations;
4. each record type may come only as often as ``Limits`` allows, each object and shard once,
   steps in ascending order and metric names sorted, so that no order among them says anything;
5. sealed bytes look like a sealed object and stay inside the run's output budget.

A record that breaks a rule raises ``ChannelViolation``; the broker then kills the enclave.
"""

from __future__ import annotations

import re
from collections import Counter

import msgspec

from strongroom.crypto.segments import HEADER_BYTES, TAG_BYTES
from strongroom.enclave.channel import capacity, frames
from strongroom.enclave.channel.errors import ChannelViolation
from strongroom.enclave.errors import EvaluatorError
from strongroom.errors import ErrorList, StrongroomError
from strongroom.errors.registry import all_codes

SMALLEST_SEALED_BYTES = HEADER_BYTES + TAG_BYTES
"""A sealed object of nothing."""

#: Words that may stand in ``Failure.detail``: names of faults, never text from data or code.
_DETAIL = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
_HEADER = re.compile(r"[A-Za-z0-9+/]{54}==|[A-Za-z0-9+/]{55}=|[A-Za-z0-9+/]{56}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_SIGNATURE = re.compile(r"[A-Za-z0-9+/]{86}==")
#: What a fetch of each kind says beside its kind; everything else has to keep its default.
_FETCH_FIELDS: dict[frames.FetchKind, tuple[str, ...]] = {
    "model": ("index",),
    "evaluator": (),
    "evaluator_manifest": (),
    "manifest": ("dataset",),
    "shard": ("dataset", "index"),
    "artifact": ("index", "artifact"),
}


def check_sealed(
    head: bytes, size_bytes: int = SMALLEST_SEALED_BYTES, *, place: str = "enclave"
) -> None:
    """Check that an object's first bytes are those of a sealed object, and its length.

    No more can be checked without the key. It stops plaintext that is sent by mistake, not what a
    hostile library puts behind such a header. Raises ``ChannelViolation``.
    """
    if len(head) < HEADER_BYTES or head[0] != HEADER_BYTES or size_bytes < SMALLEST_SEALED_BYTES:
        raise ChannelViolation(place=place, expected="a sealed object", actual="something else")


class Gate:
    """What one enclave may still say, given what it has said."""

    def __init__(self, limits: capacity.Limits, details: frozenset[str]) -> None:
        self._limits = limits
        self._details = details
        self._seen: Counter[str] = Counter()
        self._once: set[tuple[object, ...]] = set()
        self._step = 0
        self._output_bytes = 0

    def admit(self, record: frames.Outgoing) -> None:
        """Return when ``record`` may pass; raise ``ChannelViolation`` when it may not."""
        match record:
            case frames.EvidenceFrame():
                self._admit_evidence(record)
            case frames.Fetch():
                self._admit_fetch(record)
            case frames.Put():
                self._admit_put(record)
            case frames.CheckpointDone():
                self._admit_checkpoint(record)
            case frames.ShardVerified():
                self._admit_shard(record)
            case frames.BadRecord():
                self._admit_bad_record(record)
            case frames.Progress():
                self._admit_progress(record)
            case frames.StepDone():
                self._admit_step(record)
            case frames.Evaluated():
                self._admit_evaluation(record)
            case frames.EvaluatorFault():
                self._admit_fault(record)
            case frames.EvaluatorTested():
                self._admit_trial(record)
            case frames.Failure():
                self._admit_failure(record)
            case frames.Done():
                self._admit_done()
            case frames.ShardSealed():
                raise self._violation("a record that this role may send")

    def admit_sealed(self, head: bytes, size_bytes: int) -> None:
        """As :func:`check_sealed`."""
        check_sealed(head, size_bytes)

    # ---- one rule per record ---------------------------------------------------------------

    def _admit_evidence(self, record: frames.EvidenceFrame) -> None:
        self._count("evidence", 1)
        self._require(len(record.evidence) <= 16 << 10, "evidence")

    def _admit_fetch(self, record: frames.Fetch) -> None:
        self._count("fetch", self._limits.fetches)
        indices = capacity.fetch_indices(self._limits)[record.kind]
        self._require(0 <= record.index < indices, "an object of the plan")
        used = {name: getattr(record, name) for name in _FETCH_FIELDS[record.kind]}
        plain = frames.Fetch(kind=record.kind, **used)
        self._require(record == plain, "the fields of this kind of object only")

    def _admit_put(self, record: frames.Put) -> None:
        self._count("put", 3 * self._limits.checkpoints)
        self._require(record.artifact != "shard", "an artifact of a run")
        self._plan_step(record.index)
        self._first("object", record.artifact, record.index)
        self._require(record.size_bytes > 0, "sealed bytes")
        self._output_bytes += record.size_bytes
        self._require(
            self._output_bytes <= self._limits.output_bytes,
            f"at most {self._limits.output_bytes} sealed bytes in a run",
        )

    def _admit_checkpoint(self, record: frames.CheckpointDone) -> None:
        self._count("checkpoint", self._limits.checkpoints)
        self._plan_step(record.step)
        self._first("checkpoint", record.step)
        self._require(bool(_SIGNATURE.fullmatch(record.signature)), "a signature")
        for entry in (record.adapter, record.state, record.rollouts):
            self._require(bool(_HEADER.fullmatch(entry.header)), "a sealed header")
            self._require(bool(_DIGEST.fullmatch(entry.sha256)), "a digest")
            self._require(bool(_DIGEST.fullmatch(entry.plaintext_sha256)), "a digest")

    def _admit_shard(self, record: frames.ShardVerified) -> None:
        self._count("shard", self._limits.shards)
        self._shard(record.shard)
        self._first("shard", record.dataset, record.shard)
        self._counts(record.records, record.bad_records)
        self._require(0 <= record.plaintext_bytes < 1 << capacity.SIZE_BITS, "a size")

    def _admit_bad_record(self, record: frames.BadRecord) -> None:
        self._count("bad_record", capacity.BAD_RECORD_LIMIT)
        self._shard(record.shard)
        self._require(1 <= record.line <= self._limits.records, "a line of the shard")
        self._word(record.fault)

    def _admit_progress(self, record: frames.Progress) -> None:
        self._count(f"progress_{record.activity}", capacity.PROGRESS_LIMIT)
        self._require(0 <= record.done <= record.total, "progress")
        self._counts(record.total)

    def _admit_step(self, record: frames.StepDone) -> None:
        self._plan_step(record.step)
        self._require(record.step > self._step, "each step once, in order")
        self._step = record.step
        self._values(record.values, self._limits.step_metrics)

    def _admit_evaluation(self, record: frames.Evaluated) -> None:
        once = record.phase != "during"
        self._count(f"evaluated_{record.phase}", 1 if once else self._limits.evaluations)
        self._require(0 < record.rows <= self._limits.records, "a row count of the plan")
        self._values(record.values, self._limits.evaluation_metrics)

    def _admit_fault(self, record: frames.EvaluatorFault) -> None:
        self._count("evaluator_fault", capacity.TRIAL_FAULT_LIMIT)
        self._require(0 <= record.row < self._limits.records, "a row of the plan")
        self._require(-1 <= record.sample < capacity.TRIAL_COMPLETIONS, "a completion")
        found = all_codes().get(record.code, ErrorList)
        self._require(issubclass(found, EvaluatorError), "an error of an evaluator")
        if record.detail:
            self._word(record.detail)
        self._require(-1 <= record.line < 1 << capacity.LINE_BITS, "a line")

    def _admit_trial(self, record: frames.EvaluatorTested) -> None:
        self._count("evaluator_tested", 1)
        self._counts(record.rows)
        bars = record.histogram
        self._require(len(bars) == capacity.TRIAL_BINS, "the histogram's bars")
        counted = (record.completions, record.failures, *bars)
        self._require(
            all(0 <= number <= capacity.TRIAL_COMPLETIONS for number in counted), "counts in range"
        )
        self._values(record.values, (*self._limits.evaluation_metrics, *capacity.TRIAL_VALUES))

    def _admit_failure(self, record: frames.Failure) -> None:
        self._count("failure", 1)
        found = all_codes().get(record.code, ErrorList)
        self._require(not issubclass(found, ErrorList), "a known error code")
        if record.detail:
            self._word(record.detail)
        place = msgspec.structs.asdict(record).values()
        numbers = [number for number in place if isinstance(number, int)]
        self._require(all(-1 <= number < 1 << capacity.PLACE_BITS for number in numbers), "a place")

    def _admit_done(self) -> None:
        # Keys, each shard, an evaluation before and one after, and what lies between.
        between = self._limits.checkpoints + self._limits.evaluations
        self._count("done", 3 + self._limits.shards + between)

    # ---- what the rules are made of --------------------------------------------------------

    def _values(self, values: dict[str, float], names: tuple[str, ...]) -> None:
        unknown = set(values) - set(names)
        self._require(not unknown, "declared metric names only")
        self._require(list(values) == sorted(values), "metric names in order")
        for value in values.values():
            try:
                ok = capacity.rounded(value) == value
            except ValueError:
                ok = False
            self._require(ok, "finite numbers of four significant digits")

    def _word(self, word: str) -> None:
        known = word in self._details and bool(_DETAIL.fullmatch(word))
        self._require(known, "an enumerated word")

    def _plan_step(self, step: int) -> None:
        self._require(1 <= step <= self._limits.steps, "a step of the plan")

    def _first(self, *name: object) -> None:
        self._require(name not in self._once, f"each {name[0]} once")
        self._once.add(name)

    def _shard(self, shard: int) -> None:
        self._require(0 <= shard < self._limits.shards, "a shard of the plan")

    def _counts(self, *numbers: int) -> None:
        self._require(
            all(0 <= number <= self._limits.records for number in numbers), "counts in range"
        )

    def _count(self, kind: str, limit: int) -> None:
        self._seen[kind] += 1
        self._require(self._seen[kind] <= limit, f"at most {limit} records of kind {kind}")

    def _require(self, condition: bool, expected: str) -> None:
        if not condition:
            raise self._violation(expected)

    @staticmethod
    def _violation(expected: str) -> StrongroomError:
        return ChannelViolation(place="enclave", expected=expected, actual="something else")
