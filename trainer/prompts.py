"""From a row to the token ids that the model continues."""

from __future__ import annotations

from trainer.lora import Policy
from trainer.rows import FaultCode, RecordFault, Row


def encode_prompt(policy: Policy, row: Row) -> list[int]:
    """Token ids of the row's chat, rendered by the base model's template.

    Raises :class:`RecordFault` ``template_refused`` when the template rejects the chat (templates
    may, for example, demand that roles alternate).
    """
    tokenizer = policy.base.tokenizer
    try:
        text = tokenizer.apply_chat_template(row.chat(), add_generation_prompt=True, tokenize=False)
    except Exception:  # a template is code: it raises what it likes
        raise RecordFault(FaultCode.TEMPLATE_REFUSED) from None
    ids: list[int] = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
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
