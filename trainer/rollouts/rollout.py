"""Completions sampled from the policy, and the interface of an engine that samples them.

An :class:`Engine` draws ``samples`` completions of each prompt and records the log-probability of
every token under the distribution it was drawn from, so that the trainer can check its own
arithmetic against the sampler's. All randomness comes from the generator it is given.
"""

# Field names carry their shapes.
# ruff: noqa: N815
from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec
import torch
from torch import Tensor
from torch.nn import functional

from strongroom.trainer.data.chat import Message
from strongroom.trainer.data.plaintext import Plaintext


class Rollouts(Plaintext, msgspec.Struct, frozen=True, eq=False):
    """Completions of P prompts, G each; B = P * G, a prompt's completions side by side.

    A conversation of several turns is one completion in which some tokens were given.
    """

    prompts: tuple[tuple[int, ...], ...]
    """P prompts as token ids."""
    tokens_BT: Tensor
    """Token ids that follow the prompt, int64, padded after the end."""
    logprobs_BT: Tensor
    """Log-probabilities under the sampler, float32; 0 where padded or given."""
    lengths_B: Tensor
    """Sampled tokens per completion, the end token included; at least 1."""
    finished_B: Tensor
    """Whether the (last) completion ended with an end token, bool."""
    texts: tuple[str, ...]
    """B completions (the last of each conversation) as text, without the end token."""
    given_BT: Tensor | None = None
    """Which tokens were not sampled but put between completions, bool; ``None``: none were."""
    between: tuple[tuple[Message, ...], ...] = ()
    """Messages between each prompt and its last completion; ``()``: there are none."""

    @property
    def sizes_B(self) -> Tensor:
        """Tokens that follow the prompt, sampled and given."""
        if self.given_BT is None:
            return self.lengths_B
        return self.lengths_B + self.given_BT.sum(dim=1)

    def messages_between(self, completion: int) -> tuple[Message, ...]:
        """Messages between the prompt and the last completion of one conversation."""
        return self.between[completion] if self.between else ()

    @property
    def samples(self) -> int:
        """Completions per prompt, G."""
        return self.tokens_BT.shape[0] // len(self.prompts)


def joined(parts: Sequence[Rollouts]) -> Rollouts:
    """The parts as one, in order; all have as many completions per prompt."""
    if len(parts) == 1:
        return parts[0]
    longest = max(part.tokens_BT.shape[1] for part in parts)

    def widened(name: str) -> Tensor:
        tensors = [getattr(part, name) for part in parts]
        return torch.cat([functional.pad(t, (0, longest - t.shape[1])) for t in tensors])

    return Rollouts(
        prompts=tuple(prompt for part in parts for prompt in part.prompts),
        tokens_BT=widened("tokens_BT"),
        logprobs_BT=widened("logprobs_BT"),
        lengths_B=torch.cat([part.lengths_B for part in parts]),
        finished_B=torch.cat([part.finished_B for part in parts]),
        texts=tuple(text for part in parts for text in part.texts),
        given_BT=None if parts[0].given_BT is None else widened("given_BT"),
        between=tuple(messages for part in parts for messages in part.between),
    )


class Engine(Protocol):
    """Draws completions from the policy as it is now."""

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        samples: int,
        max_tokens: int,
        temperature: float,
        generator: torch.Generator | None,
    ) -> Rollouts:
        """Draw ``samples`` completions of up to ``max_tokens`` for each prompt of token ids.

        At ``temperature`` 0 the likeliest token is taken and no ``generator`` is needed.
        """


def shared_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """Length of the longest common prefix that leaves at least one token of every prompt."""
    first, limit = prompts[0], min(len(prompt) for prompt in prompts) - 1
    for position in range(limit):
        if any(prompt[position] != first[position] for prompt in prompts):
            return position
    return limit
