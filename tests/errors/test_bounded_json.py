"""JSON from outside nests to one depth, and is wrong in one way."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors.bounded_json import MAX_DEPTH, decode
from strongroom.trainer.data.chat import FaultCode, RecordFault
from strongroom.trainer.data.rows import decode_row


def nested(depth: int, opened: str = "[", closed: str = "]") -> bytes:
    return (opened * depth + "1" + closed * depth).encode()


DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=40,
)


@given(DOCUMENTS)
def test_a_shallow_document_is_read_as_it_is(document: Any) -> None:
    assert decode(json.dumps(document)) == document
    assert decode(json.dumps([document] * 60).encode()) == [document] * 60


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_nothing_but_one_error_escapes(data: bytes | str) -> None:
    with contextlib.suppress(msgspec.DecodeError):
        decode(data)


@pytest.mark.parametrize("opened", ["[", '{"a":', '[{"a":'])
def test_the_bound_is_one_number(opened: str) -> None:
    closed = opened[::-1].translate(str.maketrans({"[": "]", "{": "}"})).replace('":a"', "")
    closed = "".join(sign for sign in closed if sign in "]}")
    most = MAX_DEPTH // len(closed)
    assert decode(nested(most, opened, closed))
    for depth in (most + 1, 493, 986, 988, 100_000):
        with pytest.raises(msgspec.DecodeError, match="nested deeper"):
            decode(nested(depth, opened, closed))


def test_brackets_in_texts_do_not_count() -> None:
    text = "[{" * 500 + '\\"' + "]" * 3
    assert decode(json.dumps({"a": text, "b": [text] * 200}))["a"] == text


def test_an_open_text_of_many_quotes_takes_no_time() -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(b"[" * 101 + b'"' + b'\\"' * 2_000_000)


@pytest.mark.parametrize("depth", [101, 986, 987, 988])
@pytest.mark.parametrize("place", ["ground_truth", "tools", "extra", "arguments"])
def test_a_row_that_nests_too_deeply_is_refused_when_it_is_sealed(depth: int, place: str) -> None:
    """Not first when it is written again, in training."""
    chat = b'[{"role":"user","content":"a"}]'
    if place == "arguments":
        call = b'{"function":{"name":"f","arguments":{"a":' + nested(depth) + b"}}}"
        chat = b'[{"role":"assistant","tool_calls":[' + call + b']},{"role":"user","content":"a"}]'
        line = b'{"messages":' + chat + b"}"
    else:
        line = b'{"messages":' + chat + b',"' + place.encode() + b'":' + nested(depth) + b"}"
    with pytest.raises(RecordFault) as caught:
        decode_row(line)
    assert caught.value.code is FaultCode.NOT_JSON
    if place != "tools":
        assert decode_row(line.replace(nested(depth), nested(90)))
