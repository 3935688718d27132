"""The vocabulary of the channel round-trips and takes nothing else; its numbers are bounded."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.enclave.attest import COMMANDS
from strongroom.enclave.channel import capacity, frames
from strongroom.enclave.channel.frames import RECORDS
from strongroom.enclave.channel.outgoing_words import DETAILS
from strongroom.errors.registry import all_codes

ENTRY = frames.SealedEntry(size_bytes=57, sha256="s", plaintext_sha256="p", header="h")
LIMITS = capacity.Limits(
    steps=60,
    checkpoints=3,
    evaluations=0,
    shards=4,
    records=1000,
    fetches=30,
    step_metrics=("reward_mean", "loss"),
    evaluation_metrics=("score_mean",),
    output_bytes=1 << 30,
    memory_bytes=4 << 30,
)
SAMPLES: dict[Any, Any] = {
    int: 3,
    str: "text",
    bytes: b"\x00\xff",
    bool: True,
    frames.Dataset: "held_out",
    frames.Phase: "after",
    frames.Activity: "trial",
    frames.Artifact: "state",
    frames.FetchKind: "shard",
    frames.SealedEntry: ENTRY,
    dict[str, float]: {"loss": 0.25},
    tuple[int, ...]: (1, 2),
}


def example(kind: type[msgspec.Struct]) -> msgspec.Struct:
    hints = msgspec.structs.fields(kind)
    return kind(**{field.name: SAMPLES[field.type] for field in hints})


@pytest.mark.parametrize("kind", get_args(frames.Command))
def test_commands_round_trip(kind):
    command = example(kind)
    assert COMMANDS.decode(msgspec.json.encode(command)) == command


@pytest.mark.parametrize("kind", get_args(frames.Outgoing))
def test_records_round_trip(kind):
    record = example(kind)
    assert RECORDS.decode(msgspec.json.encode(record)) == record


@pytest.mark.parametrize("kind", get_args(frames.Outgoing))
def test_no_record_has_room_for_more(kind):
    plain = msgspec.to_builtins(example(kind)) | {"note": "row 17 says hello"}
    with pytest.raises(msgspec.ValidationError):
        RECORDS.decode(msgspec.json.encode(plain))


def test_neither_side_speaks_the_others_words():
    with pytest.raises(msgspec.ValidationError):
        RECORDS.decode(msgspec.json.encode(frames.Stop()))
    with pytest.raises(msgspec.ValidationError):
        COMMANDS.decode(msgspec.json.encode(frames.Done()))


def test_words_are_enumerated():
    record = msgspec.to_builtins(example(frames.Progress)) | {"activity": "row 17 says hello"}
    with pytest.raises(msgspec.ValidationError):
        RECORDS.decode(msgspec.json.encode(record))


@pytest.mark.parametrize("area", ["CRYPTO", "ENCLAVE", "EVAL", "CHANNEL", "DATA", "TRAIN"])
def test_whoever_reads_a_failure_knows_the_codes_of_everything_inside(area):
    # In a process of its own: this one has imported far more.
    import subprocess
    import sys

    code = "from strongroom.errors.registry import all_codes; print(*all_codes())"
    found = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, check=True, text=True
    ).stdout.split()
    here = {name for name in all_codes() if name.startswith(f"SR-{area}-")}
    assert here
    assert here <= set(found)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_rounded_numbers_are_few(value):
    found = capacity.rounded(value)
    assert capacity.rounded(found) == found
    if found == 0:
        assert abs(value) < 1e-9
        return
    sign, digits, exponent = Decimal(repr(found)).normalize().as_tuple()
    assert len(digits) <= capacity.SIGNIFICANT_DIGITS
    assert isinstance(exponent, int)
    assert exponent + len(digits) - 1 in capacity.EXPONENTS
    assert bool(sign) == (value < 0)
    if abs(value) < 9.9e9:
        assert found == pytest.approx(value, rel=5.1e-4)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.123449, 0.1234),
        (0.12345678, 0.1235),
        (-98765.4, -98770.0),
        (1e300, 9.999e9),
        (-1e300, -9.999e9),
        (9.9e-10, 0.0),
        (5e-324, 0.0),
        (-0.0, 0.0),
        (1e-9, 1e-9),
    ],
)
def test_rounding(value, expected):
    assert capacity.rounded(value) == expected


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_rounding_of_what_is_no_number(value):
    with pytest.raises(ValueError, match="finite"):
        capacity.rounded(value)


def test_a_number_carries_what_is_counted_for_it():
    # Sign, mantissas and exponents; zero, negative zero, and no number at all.
    assert 2**capacity.NUMBER_BITS > 2 * 9000 * 19 + 3 - 1e-6


@pytest.mark.parametrize("field", ["steps", "checkpoints", "shards", "records", "fetches"])
def test_more_of_anything_is_more_capacity(field):
    more = msgspec.structs.replace(LIMITS, **{field: 4 * getattr(LIMITS, field)})
    assert capacity.capacity_bits(more) > capacity.capacity_bits(LIMITS)


def test_capacity_of_metrics():
    one_more = msgspec.structs.replace(LIMITS, step_metrics=("reward_mean", "loss", "kl"))
    grown = capacity.capacity_bits(one_more) - capacity.capacity_bits(LIMITS)
    assert grown == pytest.approx(60 * capacity.NUMBER_BITS, abs=1)


def test_capacity_covers_each_record_at_its_largest():
    """Each record type alone, told apart as finely as the gate lets it be, fits into the sum."""
    bad_record = math.log2(2 * 4 * 1000 * 100)  # dataset, shard, line, word
    assert capacity.capacity_bits(LIMITS) > capacity.BAD_RECORD_LIMIT * bad_record
    quiet = msgspec.structs.replace(
        LIMITS, steps=0, checkpoints=0, evaluations=0, shards=0, records=0, fetches=0
    )
    failure = 6 * capacity.PLACE_BITS + math.log2(2 * len(all_codes()) * len(DETAILS))
    assert capacity.capacity_bits(quiet) > failure
    # Code, word, line and completion of each fault; the bars of the histogram.
    fault = math.log2(len(all_codes()) * len(DETAILS) * 2**20 * capacity.TRIAL_COMPLETIONS)
    bars = capacity.TRIAL_BINS * math.log2(capacity.TRIAL_COMPLETIONS)
    assert capacity.capacity_bits(quiet) > failure + capacity.TRIAL_FAULT_LIMIT * fault + bars
    assert len(DETAILS) < 2**capacity.WORD_BITS
    assert len(all_codes()) < 2**capacity.CODE_BITS
