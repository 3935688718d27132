import contextlib
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.trainer.data.chat import FaultCode, RecordFault
from strongroom.trainer.data.rows import SparseRows, decode_row

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
            with_messages([{"role": "user", "content": "x", "nickname": "y"}]),
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


CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
ANSWER = {"role": "tool", "tool_call_id": "c1", "name": "add", "content": "3"}
ASKED = {"role": "user", "content": "1+2?"}
TOOL = {
    "type": "function",
    "function": {"name": "add", "description": "Adds.", "parameters": {"type": "object"}},
    "strict": True,
}


def test_tool_messages_reach_evaluators_as_they_stand():
    row = decode_row(with_messages([ASKED, CALLED, ANSWER]))
    assert row.chat() == [ASKED, CALLED, ANSWER]


def test_templates_get_arguments_as_objects_and_no_missing_text():
    row = decode_row(with_messages([ASKED, CALLED, ANSWER]))
    assert row.messages[1].for_template() == {
        "role": "assistant",
        "content": "",
        "tool_calls": [{**CALL, "function": {"name": "add", "arguments": {"a": 1}}}],
    }
    assert row.messages[0].for_template() == ASKED


def test_a_null_field_of_a_message_is_one_that_is_not_there():
    """Parquet gives every message of a column all fields."""
    nothing = dict.fromkeys(("name", "tool_calls", "tool_call_id"))
    assert decode_row(with_messages([{**ASKED, **nothing}])).chat() == [ASKED]


@pytest.mark.parametrize("tools", [[TOOL], json.dumps([TOOL])])
def test_tools_are_a_list_or_its_text(tools):
    row = decode_row(json.dumps({**GOOD, "tools": tools}).encode())
    assert row.tools == [TOOL]
    assert row.extra == {"id": "7", "tools": [TOOL]}


@pytest.mark.parametrize("tools", [None, [], "[]", "null"])
def test_no_tools(tools):
    assert decode_row(json.dumps({**GOOD, "tools": tools}).encode()).tools is None


@pytest.mark.parametrize(
    "tools",
    [
        {},
        0,
        "add",
        "{",
        [{"type": "function"}],
        [{"type": "retrieval", "function": {"name": "x"}}],
        [{"function": {"name": "x"}}],
        [{"type": "function", "function": {"description": "x"}}],
        [{"type": "function", "function": {"name": "x", "parameters": "{}"}}],
        [TOOL, TOOL],
    ],
)
def test_what_are_no_tools(tools):
    with pytest.raises(RecordFault, match="tools_invalid"):
        decode_row(json.dumps({**GOOD, "tools": tools}).encode())


def called(**changes):
    return {**CALLED, "tool_calls": [{**CALL, "function": {**CALL["function"], **changes}}]}


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([ASKED, CALLED], FaultCode.MESSAGES_END_WITH_ASSISTANT),
        ([ASKED, {**CALLED, "tool_calls": []}, ASKED], FaultCode.MESSAGES_INVALID),
        ([ASKED, {**CALLED, "tool_calls": [{"id": "c1"}]}, ASKED], FaultCode.MESSAGES_INVALID),
        ([ASKED, called(extra=1), ANSWER], FaultCode.MESSAGES_INVALID),
        ([{**ASKED, "tool_calls": [CALL]}], FaultCode.TOOL_CALLS_INVALID),
        ([ASKED, called(arguments="1"), ANSWER], FaultCode.TOOL_CALLS_INVALID),
        ([ASKED, called(arguments="{'a': 1}"), ANSWER], FaultCode.TOOL_CALLS_INVALID),
        ([ASKED, ANSWER], FaultCode.TOOL_ANSWER_UNKNOWN),
        ([ANSWER, CALLED, ASKED], FaultCode.TOOL_ANSWER_UNKNOWN),
        ([ASKED, CALLED, {**ANSWER, "tool_call_id": "c2"}], FaultCode.TOOL_ANSWER_UNKNOWN),
        ([ASKED, CALLED, {**ANSWER, "role": "user"}], FaultCode.TOOL_ANSWER_UNKNOWN),
    ],
)
def test_calls_and_answers_must_hang_together(messages, code):
    with pytest.raises(RecordFault) as caught:
        decode_row(with_messages(messages))
    assert caught.value.code == code
