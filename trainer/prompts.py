"""From a row to the token ids that the model continues."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainer.chat import FaultCode, Message, RecordFault
from trainer.lora import Policy
from trainer.rows import Row


def render(policy: Policy, messages: Sequence[Message], tools: list[dict[str, Any]] | None) -> str:
    """The chat as the base model's template writes it, up to where the assistant begins.

    Raises :class:`RecordFault` ``template_refused`` when the template rejects the chat (templates
    may, for example, demand that roles alternate), and ``template_without_tools`` when it would
    leave out tools or tool calls without a word.
    """
    tokenizer = policy.base.tokenizer
    used = [("tools", tools), ("tool_calls", any(message.tool_calls for message in messages))]
    if any(there and name not in tokenizer.chat_template for name, there in used):
        raise RecordFault(FaultCode.TEMPLATE_WITHOUT_TOOLS)
    try:
        text: str = tokenizer.apply_chat_template(
            [message.for_template() for message in messages],
            tools=tools,
            add_generation_prompt=True,
            tokenize=False,
        )
    except Exception:  # a template is code: it raises what it likes
        raise RecordFault(FaultCode.TEMPLATE_REFUSED) from None
    return text


def encode(policy: Policy, text: str) -> list[int]:
    """Token ids of ``text``, with nothing added."""
    ids: list[int] = policy.base.tokenizer.backend_tokenizer.encode(
        text, add_special_tokens=False
    ).ids
    return ids


def encode_prompt(policy: Policy, row: Row) -> list[int]:
    """Token ids of the row's chat, rendered by the base model's template.

    Raises as :func:`render`, and ``template_refused`` for a template that writes nothing.
    """
    ids = encode(policy, render(policy, row.messages, row.tools))
    if not ids:
        raise RecordFault(FaultCode.TEMPLATE_REFUSED)
    return ids


def prompt_tokens(policy: Policy, row: Row) -> int:
    """How many tokens the row's prompt has. Raises as :func:`encode_prompt`."""
    return len(encode_prompt(policy, row))


def check_prompt(policy: Policy, row: Row, max_prompt_tokens: int, max_tokens: int) -> None:
    """Raise :class:`RecordFault` ``prompt_too_long`` unless prompt and completion fit the model."""
    tokens = prompt_tokens(policy, row)
    if tokens > max_prompt_tokens or tokens + max_tokens > policy.base.max_positions:
        raise RecordFault(FaultCode.PROMPT_TOO_LONG)
