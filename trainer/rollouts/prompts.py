"""From a row to the token ids that the model continues."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from strongroom.trainer.config import TrainingConfig
from strongroom.trainer.data.chat import FaultCode, Message, RecordFault
from strongroom.trainer.data.chat_template import render_chat
from strongroom.trainer.data.rows import Row
from strongroom.trainer.model.files import TokenizerGaveUp, token_ids
from strongroom.trainer.model.lora import Policy

ANSWER = "answer"
"""A placeholder for completions where only the text around them is used."""


def render(policy: Policy, messages: Sequence[Message], tools: list[dict[str, Any]] | None) -> str:
    """The chat as the base model's template writes it, up to where the assistant begins.

    Raises :class:`RecordFault` ``template_refused`` when the template rejects the chat (templates
    may, for example, demand that roles alternate), and ``template_without_tools`` when it would
    leave out tools or tool calls.
    """
    tokenizer = policy.base.tokenizer
    used = [("tools", tools), ("tool_calls", any(message.tool_calls for message in messages))]
    if any(there and name not in tokenizer.chat_template for name, there in used):
        raise RecordFault(FaultCode.TEMPLATE_WITHOUT_TOOLS)
    try:
        text = render_chat(
            tokenizer.chat_template,
            [message.for_template() for message in messages],
            tools,
            tokenizer.special_tokens_map,
        )
    except Exception:  # a template is code, and may raise anything
        raise RecordFault(FaultCode.TEMPLATE_REFUSED) from None
    return text


def encode(policy: Policy, text: str) -> list[int]:
    """Token ids of ``text``, with nothing added. Raises :class:`RecordFault`
    ``tokenizer_refused``."""
    try:
        return token_ids(policy.base.tokenizer.backend_tokenizer, text)
    except TokenizerGaveUp:
        raise RecordFault(FaultCode.TOKENIZER_REFUSED) from None


def encode_prompt(policy: Policy, row: Row) -> list[int]:
    """Token ids of the row's chat, rendered by the base model's template.

    Raises as :func:`render`, and ``template_refused`` for a template that writes nothing.
    """
    ids = encode(policy, render(policy, row.messages, row.tools))
    if not ids:
        raise RecordFault(FaultCode.TEMPLATE_REFUSED)
    return ids


def turn_text(
    policy: Policy,
    before: Sequence[Message],
    after: Sequence[Message],
    tools: list[dict[str, Any]] | None,
) -> str:
    """What the template writes between a completion and the next one.

    ``after`` is ``before``, then :data:`ANSWER` as the completion, then the turn. Raises as
    :func:`render`, and ``template_rewrites`` when the template writes ``before`` differently once
    the chat is longer: then the sampled tokens are not those of the longer chat.
    """
    beginning = render(policy, before, tools) + ANSWER
    text = render(policy, after, tools)
    if not text.startswith(beginning):
        raise RecordFault(FaultCode.TEMPLATE_REWRITES)
    return text[len(beginning) :]


def check_prompt(policy: Policy, row: Row, config: TrainingConfig) -> None:
    """Raise :class:`RecordFault` unless the row can be a prompt under ``config``.

    ``prompt_too_long`` unless prompt and completion fit, ``template_rewrites`` for a chat of
    several turns that template and tokenizer do not write by appending.
    """
    ids = encode_prompt(policy, row)
    room = config.context_tokens(policy.base.max_positions)
    if len(ids) > config.max_prompt_tokens or len(ids) + config.sampling.max_tokens > room:
        raise RecordFault(FaultCode.PROMPT_TOO_LONG)
    if config.sampling.max_turns > 1:
        further = [Message(role=role, content=ANSWER) for role in ("assistant", "user")]
        chat = [*row.messages, *further]
        turn = encode(policy, turn_text(policy, row.messages, chat, row.tools))
        if not turn or encode(policy, render(policy, chat, row.tools))[-len(turn) :] != turn:
            raise RecordFault(FaultCode.TEMPLATE_REWRITES)
