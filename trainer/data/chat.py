"""Messages and tools of a chat, in the form of OpenAI's chat completions.

A message has a role and text. An assistant's may have tool calls instead of text; a tool's may name
the call that it answers. Everything else that can be wrong with a chat is a :class:`FaultCode`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Literal

import msgspec

from strongroom.errors import bounded_json
from strongroom.trainer.data.plaintext import Plaintext


class FaultCode(StrEnum):
    """Everything that can be wrong with one record; nothing else about it may leave an enclave."""

    BLANK = "blank"
    TOO_LONG = "too_long"
    NOT_JSON = "not_json"
    NOT_OBJECT = "not_object"
    NOT_FINITE = "not_finite"
    """A column of Parquet holds NaN or infinity, which JSON does not have."""
    COLUMN_TYPE = "column_type"
    """A column of Parquet is of a type that JSON does not have."""
    COLUMN_REPEATED = "column_repeated"
    MESSAGES_MISSING = "messages_missing"
    MESSAGES_INVALID = "messages_invalid"
    MESSAGES_END_WITH_ASSISTANT = "messages_end_with_assistant"
    TOOL_CALLS_INVALID = "tool_calls_invalid"
    """A call that is not the assistant's, or arguments that are not a JSON object."""
    TOOL_ANSWER_UNKNOWN = "tool_answer_unknown"
    """A tool's message names a call that no earlier message has."""
    TOOLS_INVALID = "tools_invalid"
    TEMPLATE_REFUSED = "template_refused"
    TEMPLATE_WITHOUT_TOOLS = "template_without_tools"
    """The row has tools or tool calls, and the base model's template would leave them out."""
    TEMPLATE_REWRITES = "template_rewrites"
    """A further turn changes what the base model's template wrote before it."""
    TOKENIZER_REFUSED = "tokenizer_refused"
    """The base model's tokenizer gives up on the text: its pattern backtracks too long."""
    PROMPT_TOO_LONG = "prompt_too_long"


class RecordFault(ValueError):
    """One record cannot be used, for the reason ``code``."""

    def __init__(self, code: FaultCode) -> None:
        self.code = code
        super().__init__(str(code))

    def __reduce__(self) -> tuple[type[RecordFault], tuple[FaultCode]]:
        return (RecordFault, (self.code,))


class FunctionCall(Plaintext, msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A function's name and its arguments."""

    name: str
    arguments: str | dict[str, Any] = ""
    """A JSON object, or its text as OpenAI has it."""


class ToolCall(
    Plaintext, msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True
):
    """One call in an assistant's message."""

    function: FunctionCall
    id: str | None = None
    type: Literal["function"] | None = None


class Message(Plaintext, msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One turn of a chat; ``None`` for what it does not have."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    """Text; ``None`` only with tool calls."""
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] | None = None
    tool_call_id: str | None = None

    def plain(self) -> dict[str, Any]:
        """The message as a dictionary, for evaluators."""
        found: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.name is not None:
            found["name"] = self.name
        if self.tool_calls:
            found["tool_calls"] = [msgspec.to_builtins(call) for call in self.tool_calls]
        if self.tool_call_id is not None:
            found["tool_call_id"] = self.tool_call_id
        return found

    def for_template(self) -> dict[str, Any]:
        """The message for a chat template: arguments as objects, and no ``None`` for text."""
        found = self.plain()
        found["content"] = self.content or ""
        for call in found.get("tool_calls", ()):
            call["function"]["arguments"] = arguments_of(call["function"]["arguments"])
        return found


def check_messages(messages: Sequence[Message]) -> None:
    """Raise :class:`RecordFault` unless the model can be asked to continue the chat."""
    if not messages:
        raise RecordFault(FaultCode.MESSAGES_INVALID)
    if messages[-1].role == "assistant":
        raise RecordFault(FaultCode.MESSAGES_END_WITH_ASSISTANT)
    called: set[str | None] = set()
    for message in messages:
        if message.content is not None and not message.tool_calls and message.tool_call_id is None:
            continue  # almost every message
        if message.content is None and not message.tool_calls:
            raise RecordFault(FaultCode.MESSAGES_INVALID)
        if message.tool_calls and message.role != "assistant":
            raise RecordFault(FaultCode.TOOL_CALLS_INVALID)
        for call in message.tool_calls or ():
            arguments_of(call.function.arguments)
            called.add(call.id)
        if message.tool_call_id is not None and (
            message.role != "tool" or message.tool_call_id not in called
        ):
            raise RecordFault(FaultCode.TOOL_ANSWER_UNKNOWN)


def arguments_of(arguments: str | dict[str, Any]) -> dict[str, Any]:
    """A call's arguments as an object. Raises :class:`RecordFault` ``tool_calls_invalid``."""
    if isinstance(arguments, dict):
        return arguments
    try:
        found = bounded_json.decode(arguments or "{}")
    except msgspec.DecodeError:
        found = None
    if not isinstance(found, dict):
        raise RecordFault(FaultCode.TOOL_CALLS_INVALID)
    return found


def check_turn(messages: Sequence[Message]) -> None:
    """Raise :class:`RecordFault` unless an environment may send these messages to the model."""
    for message in messages:
        if message.role == "assistant" or message.content is None or message.tool_calls:
            raise RecordFault(FaultCode.MESSAGES_INVALID)
    if not messages:
        raise RecordFault(FaultCode.MESSAGES_INVALID)


class _Function(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class _Tool(msgspec.Struct):
    type: Literal["function"]
    function: _Function


class _Tools(msgspec.Struct):
    tools: tuple[_Tool, ...]


def checked_tools(tools: Any) -> list[dict[str, Any]] | None:
    """The ``tools`` column: function schemas as a list or as its JSON text; ``None`` for none.

    Further fields of a schema are kept. Raises :class:`RecordFault` ``tools_invalid``.
    """
    try:
        if isinstance(tools, str):
            tools = bounded_json.decode(tools)
        if not tools and (tools is None or isinstance(tools, list)):
            return None
        found = msgspec.convert({"tools": tools}, _Tools).tools
    except msgspec.DecodeError:
        raise RecordFault(FaultCode.TOOLS_INVALID) from None
    if len({tool.function.name for tool in found}) != len(found):
        raise RecordFault(FaultCode.TOOLS_INVALID)
    kept: list[dict[str, Any]] = tools
    return kept
