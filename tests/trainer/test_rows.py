import contextlib
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.rows import FaultCode, RecordFault, SparseRows, decode_row

GOOD = {
    "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "ü"}],
    "ground_truth": {"any": [1, None]},
    "id": "7",
}


def test_good_row_keeps_every_column():
    row = decode_row(json.dumps(GOOD).encode())
    assert row.chat() == GOOD["messages"]
    assert row.ground_truth == {"any": [1, None]}
    assert row.extra == {"id": "7"}


def test_ground_truth_is_optional():
    assert decode_row(json.dumps({"messages": GOOD["messages"]}).encode()).ground_truth is None


def with_messages(messages):
    return json.dumps({"messages": messages}).encode()


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"", FaultCode.BLANK),
        (b" \t", FaultCode.BLANK),
        (b"{" + b"x" * 100, FaultCode.NOT_JSON),
        (b'{"messages": [}', FaultCode.NOT_JSON),
        (b'{"messages": "\xff"}', FaultCode.NOT_JSON),
        (b'{"messages": NaN}', FaultCode.NOT_JSON),
        (b"[" * 100_000, FaultCode.NOT_JSON),
        (b"[1]", FaultCode.NOT_OBJECT),
        (b'"messages"', FaultCode.NOT_OBJECT),
        (b"{}", FaultCode.MESSAGES_MISSING),
        (with_messages([]), FaultCode.MESSAGES_INVALID),
        (with_messages("hello"), FaultCode.MESSAGES_INVALID),
        (with_messages([{"role": "root", "content": "x"}]), FaultCode.MESSAGES_INVALID),
        (with_messages([{"role": "user"}]), FaultCode.MESSAGES_INVALID),
        (with_messages([{"role": "user", "content": 1}]), FaultCode.MESSAGES_INVALID),
        (
            with_messages([{"role": "user", "content": "x", "name": "y"}]),
            FaultCode.MESSAGES_INVALID,
        ),
        (
            with_messages([{"role": "assistant", "content": "x"}]),
            FaultCode.MESSAGES_END_WITH_ASSISTANT,
        ),
    ],
)
def test_bad_row_has_its_code(line, code):
    with pytest.raises(RecordFault) as caught:
        decode_row(line)
    assert caught.value.code == code
    assert str(caught.value) == str(code)
    assert pickle.loads(pickle.dumps(caught.value)).code == code


def test_length_is_checked_before_anything_is_parsed():
    line = with_messages([{"role": "user", "content": "x" * 1000}])
    assert decode_row(line, max_bytes=len(line)).messages
    with pytest.raises(RecordFault, match="too_long"):
        decode_row(line, max_bytes=len(line) - 1)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_row_or_a_fault(line):
    with contextlib.suppress(RecordFault):
        assert decode_row(line).messages


def test_sparse_rows_hold_what_they_were_given():
    row = decode_row(json.dumps(GOOD).encode())
    rows = SparseRows(10, {4: row})
    assert len(rows) == 10
    assert rows[4] is row
    with pytest.raises(KeyError):
        rows[5]
