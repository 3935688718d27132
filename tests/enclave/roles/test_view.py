"""What a viewer writes: readable for a person, inert for a terminal."""

from __future__ import annotations

import json
import os

import msgspec
import pytest

from strongroom.enclave.roles import view
from strongroom.errors.defect import OutputLost
from strongroom.errors.visible import visible


def rollout(**fields: object) -> bytes:
    """One line of a rollouts object."""
    values: dict[str, object] = {
        "step": 20,
        "row": 17,
        "messages": [
            {"role": "system", "content": "Label it."},
            {"role": "user", "content": "An earlier question."},
            {"role": "assistant", "content": "An answer."},
            {"role": "user", "content": "Works great."},
        ],
        "completion": "positive",
        "tokens": 9,
        "score": 1.0,
        "metrics": {"accuracy": 0.25},
    }
    return json.dumps({**values, **fields}).encode()


def shown(*lines: bytes) -> str:
    """The text for these rollouts."""
    return "".join(view.text("feedback-1", 20, lines))


def test_a_rollout_shows_its_place_numbers_question_and_answer() -> None:
    assert shown(rollout()) == (
        "run feedback-1 · step 20 · 1 sample rollouts\n"
        "\n── step 20 · row 17 · 9 tokens · score 1 · accuracy 0.25\n"
        "user  │ Works great.\n"
        "model │ positive\n"
    )


def test_a_conversation_is_shown_from_its_question_on() -> None:
    messages = [
        {"role": "user", "content": "An earlier question."},
        {"role": "assistant", "content": "An answer."},
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "add"}}]},
        {"role": "user", "content": "1 + 2?"},
        {"role": "assistant", "content": "add 1 2"},
        {"role": "tool", "content": "3\n\x1b[2J"},
    ]
    found = shown(rollout(messages=messages, completion="It is 3.", said=2))
    assert found.endswith(
        "\nuser  │ 1 + 2?\nmodel │ add 1 2\ntool  │ 3\n      │ \\x1b[2J\nmodel │ It is 3.\n"
    )


def test_no_rollouts_is_said() -> None:
    assert shown() == "run feedback-1 · step 20 · 0 sample rollouts\n"


HOSTILE = [
    ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
    ("\x1b[2J\x1b[H", r"\x1b[2J\x1b[H"),
    ("\x9b31m", r"\x9b31m"),
    ("\rall is well", r"\rall is well"),
    ("a\x08b\x7f", r"a\x08b\x7f"),
    ("\u202eevitagen", r"\u202eevitagen"),
    ("\u2028next", r"\u2028next"),
    ("\ud800", r"\ud800"),
    ("\U000e0041", r"\U000e0041"),
    ("\tindented", r"\tindented"),
]


@pytest.mark.parametrize(("hostile", "escaped"), HOSTILE)
@pytest.mark.parametrize("field", ["completion", "messages", "metrics"])
def test_nothing_drives_the_terminal(field: str, hostile: str, escaped: str) -> None:
    values: dict[str, object] = {
        "completion": hostile,
        "messages": [{"role": "user", "content": hostile}],
        "metrics": {hostile: 1.0},
    }
    text = "".join(
        view.text("run", 1, [msgspec.json.encode({**json.loads(rollout()), field: values[field]})])
        if hostile != "\ud800"
        else [visible(hostile)]
    )
    assert escaped in text
    assert all(char == "\n" or char.isprintable() for char in text)


def test_visible_text_of_any_script_stays() -> None:
    said = "Größe 大きい عربى 👍 a\\b"
    assert f"model │ {said}\n" in shown(rollout(completion=said))


def test_no_line_of_a_completion_passes_for_a_heading() -> None:
    fake = "fine\n\n── step 1 · row 1 · score 1\nuser  │ nothing"
    lines = shown(rollout(completion=fake)).splitlines()
    assert sum(line.startswith("──") for line in lines) == 1
    assert sum(line.startswith("user") for line in lines) == 1
    assert "      │ ── step 1 · row 1 · score 1" in lines


def test_a_row_without_a_user_turn_is_shown() -> None:
    assert "user  │ \n" in shown(rollout(messages=[{"role": "system", "content": "Go."}]))


def test_a_line_that_is_no_rollout_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        shown(b'{"step": 1}')


def test_a_reader_that_leaves_ends_the_writing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    view._write(writer, iter(["one\n", "two\n"]), "utf-8")
    os.close(writer)


def test_what_an_encoding_lacks_is_spelled_out() -> None:
    """As UTF-8, the second byte of Û is what a terminal in Latin-1 takes for an escape sequence."""
    reader, writer = os.pipe()
    view._write(writer, iter(["── Û2J│\n"]), "ascii")
    os.close(writer)
    assert os.read(reader, 99) == rb"-- \xdb2J|" + b"\n"
    assert b"\x9b2J" in "Û2J".encode()


def test_a_full_disk_is_an_error() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(OutputLost, match="No space left on device"):
        view._write(full, iter(["one\n"]), "utf-8")
    os.close(full)


def test_all_of_a_long_text_is_written() -> None:
    reader, writer = os.pipe()
    view._write(writer, iter(["é" * 1000, "b"]), "utf-8")
    os.close(writer)
    assert os.read(reader, 1 << 16).decode() == "é" * 1000 + "b"
    os.close(reader)


def test_a_document_holds_what_the_text_shows() -> None:
    turns = [{"role": "assistant", "content": "add 1 2"}, {"role": "tool", "content": "3"}]
    question = {"role": "user", "content": "1 + 2?"}
    line = rollout(messages=[question, *turns], completion="It is 3.", said=2)
    [found] = json.loads("".join(view.document("feedback-1", 20, [line])))["rollouts"]
    assert [message["content"] for message in found["prompt"]] == ["1 + 2?"]
    assert [message["content"] for message in found["turns"]] == ["add 1 2", "3"]
    del found["prompt"], found["turns"]
    assert found == {
        "step": 20,
        "row": 17,
        "completion": "It is 3.",
        "tokens": 9,
        "score": 1.0,
        "metrics": {"accuracy": 0.25},
    }


@pytest.mark.parametrize(
    "hostile", [hostile for hostile, _escaped in HOSTILE if hostile != "\ud800"]
)
def test_nothing_in_a_document_drives_the_terminal(hostile: str) -> None:
    [line] = view.document(
        "run", 1, [msgspec.json.encode({**json.loads(rollout()), "completion": hostile})]
    )
    assert json.loads(line)["rollouts"][0]["completion"] == hostile
    assert all(" " <= char <= "~" for char in line.removesuffix("\n"))


def test_of_a_damaged_object_no_part_of_a_document_is_written() -> None:
    with pytest.raises(msgspec.DecodeError):
        next(view.document("run", 1, [rollout(), b"{}"]))
