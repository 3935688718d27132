"""Sampling with the policy's own transformers model.

What the prompts of a batch share is computed once: first the prefix common to all of them (in
fine-tuning usually the instructions and examples), then each prompt's rest, then the cache is
repeated for the G completions of each prompt. Nothing outlives a call, so no stale key or value
can follow a weight update.
"""

# Field names carry their shapes.
# ruff: noqa: N815
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import transformers
from torch import Tensor

from trainer.attention import additive
from trainer.drawing import draw
from trainer.lora import Policy
from trainer.rollout import Rollouts, shared_prefix


class _GrowingLayer(transformers.cache_utils.DynamicLayer):  # type: ignore[misc]
    """A layer's keys and values with room for the completion, written in place.

    The stock layer copies the whole cache for every token.
    """

    def __init__(self, keys: Tensor, values: Tensor, room: int) -> None:
        super().__init__()
        self.is_initialized = True
        self.dtype, self.device = keys.dtype, keys.device
        self._used = keys.shape[-2]
        self._keys = torch.cat([keys, keys.new_zeros(*_with_length(keys, room))], dim=-2)
        self._values = torch.cat([values, values.new_zeros(*_with_length(values, room))], dim=-2)

    def update(self, key: Tensor, value: Tensor, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        stop = self._used + key.shape[-2]
        self._keys[..., self._used : stop, :] = key
        self._values[..., self._used : stop, :] = value
        self._used = stop
        return self._keys[..., :stop, :], self._values[..., :stop, :]

    def keep(self, rows_R: Tensor) -> None:
        """Forget all other rows."""
        self._keys, self._values = self._keys[rows_R], self._values[rows_R]

    def get_seq_length(self) -> int:
        return self._used


def _with_length(tensor: Tensor, length: int) -> tuple[int, ...]:
    return (*tensor.shape[:-2], length, tensor.shape[-1])


@dataclass(frozen=True)
class _Place:
    """Where completions that go on stand: R rows of the cache with Q completions of a prompt each.

    A row of which fewer go on is filled up with finished ones, whose tokens count for nothing.
    """

    going_RQ: Tensor
    """The completions, as indices."""
    prompt_RL: Tensor
    """Which of the cache's first L columns hold the prompt, bool."""
    owner_RC: Tensor
    """Whose token each of its further C columns holds."""

    @property
    def visible_RQL(self) -> Tensor:
        """What a completion's token sees: the prompt, and what is its own."""
        prompt_RQL = self.prompt_RL[:, None].expand(-1, self.going_RQ.shape[1], -1)
        own_RQC = self.owner_RC[:, None, :] == self.going_RQ[:, :, None]
        return torch.cat([prompt_RQL, own_RQC], dim=2)

    def narrowed(self, finished_B: Tensor, cache: transformers.DynamicCache) -> _Place:
        """The place of the next token of each completion that is not finished.

        Rows in which none goes on leave the cache once they are half of it.
        """
        going_RQ, prompt_RL, owner_RC = self.going_RQ, self.prompt_RL, self.owner_RC
        live_R = ~finished_B[going_RQ].all(dim=1)
        if 2 * int(live_R.sum()) <= len(live_R):
            for layer in cache.layers:
                layer.keep(live_R)
            going_RQ, prompt_RL, owner_RC = going_RQ[live_R], prompt_RL[live_R], owner_RC[live_R]
        finished_RQ = finished_B[going_RQ]
        most = int((~finished_RQ).sum(dim=1).max())
        first_RQ = finished_RQ.long().argsort(dim=1, stable=True)[:, :most]
        going_RQ = going_RQ.gather(1, first_RQ)
        return _Place(going_RQ, prompt_RL, torch.cat([owner_RC, going_RQ], dim=1))


class HfSampler:
    """An :class:`~trainer.rollout.Engine` on the model that is being trained."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._end = torch.tensor(policy.base.end_tokens, device=policy.device)

    @torch.no_grad()
    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        samples: int,
        max_tokens: int,
        temperature: float,
        generator: torch.Generator | None,
    ) -> Rollouts:
        """See :meth:`trainer.rollout.Engine.generate`."""
        hidden_PD, layers, keep_PL, next_position_P = self._prefill(prompts)
        batch, device = len(prompts) * samples, self._policy.device
        # The completions of a prompt stand in one row of the cache, side by side, as long as what
        # they share is more than what they do not.
        in_row = samples if max_tokens <= keep_PL.shape[1] else 1
        rows = samples // in_row
        cache = transformers.DynamicCache()
        cache.layers = [
            _GrowingLayer(
                keys.repeat_interleave(rows, dim=0),
                values.repeat_interleave(rows, dim=0),
                max_tokens * in_row,
            )
            for keys, values in layers
        ]
        place = _Place(
            going_RQ=torch.arange(batch, device=device).view(-1, in_row),
            prompt_RL=keep_PL.repeat_interleave(rows, dim=0),
            owner_RC=torch.empty(len(prompts) * rows, 0, dtype=torch.int64, device=device),
        )
        hidden_BD = hidden_PD.repeat_interleave(samples, dim=0)
        position_B = next_position_P.repeat_interleave(samples)
        tokens_BT = torch.full((batch, max_tokens), int(self._end[0]), device=device)
        logprobs_BT = torch.zeros(batch, max_tokens, device=device)
        lengths_B = torch.zeros(batch, dtype=torch.int64, device=device)
        finished_B = torch.zeros(batch, dtype=torch.bool, device=device)
        for t in range(max_tokens):
            # For all of them, so that what one draws does not depend on which others go on.
            random_B = torch.zeros(batch, dtype=torch.float64)
            if temperature:
                random_B.uniform_(generator=generator)
            going_B = place.going_RQ.flatten()
            live_B = ~finished_B[going_B]
            token_B, logprob_B = self._draw(hidden_BD, temperature, random_B.to(device)[going_B])
            token_B = torch.where(live_B, token_B, self._end[0])
            tokens_BT[going_B, t] = token_B
            logprobs_BT[going_B, t] = logprob_B.masked_fill(~live_B, 0.0)
            lengths_B[going_B] += live_B
            finished_B[going_B] |= torch.isin(token_B, self._end)
            if t == max_tokens - 1 or bool(finished_B.all()):
                break
            place = place.narrowed(finished_B, cache)
            output = self._policy.decoder(
                input_ids=tokens_BT[:, t][place.going_RQ],
                attention_mask=additive(place.visible_RQL, self._policy.decoder),
                position_ids=position_B[place.going_RQ] + t,
                past_key_values=cache,
                use_cache=True,
            )
            hidden_BD = output.last_hidden_state.flatten(0, 1)
        longest = int(lengths_B.max())
        return Rollouts(
            prompts=tuple(tuple(prompt) for prompt in prompts),
            tokens_BT=tokens_BT[:, :longest].clone().cpu(),
            logprobs_BT=logprobs_BT[:, :longest].clone().cpu(),
            lengths_B=lengths_B.cpu(),
            finished_B=finished_B.cpu(),
            texts=self._texts(tokens_BT, lengths_B, finished_B),
        )

    def _prefill(
        self, prompts: Sequence[Sequence[int]]
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]], Tensor, Tensor]:
        """Run the prompts once.

        Returns the last hidden state of each (P, D); each layer's keys and values (P, heads, L,
        head size); which of the L cached positions belong to the prompt (P, L); and the position
        of the first sampled token (P,).
        """
        prefix = shared_prefix(prompts)
        rest = max(len(prompt) for prompt in prompts) - prefix
        device = self._policy.device
        cache = transformers.DynamicCache()
        if prefix:
            self._policy.decoder(
                input_ids=torch.tensor([prompts[0][:prefix]], device=device),
                past_key_values=cache,
                use_cache=True,
            )
            cache.batch_repeat_interleave(len(prompts))
        ids_PR = torch.full((len(prompts), rest), int(self._end[0]))
        keep_PL = torch.ones(len(prompts), prefix + rest, dtype=torch.bool)
        for row, prompt in enumerate(prompts):
            padding = prefix + rest - len(prompt)
            ids_PR[row, padding:] = torch.tensor(prompt[prefix:])
            keep_PL[row, prefix : prefix + padding] = False
        position_PL = keep_PL.cumsum(dim=1) - 1
        columns = torch.arange(prefix + rest)
        causal_RL = columns[None, :] <= columns[prefix:, None]
        # A padding position sees itself, so that no row of the softmax is empty.
        itself_RL = columns[None, :] == columns[prefix:, None]
        visible_PRL = (causal_RL & keep_PL[:, None, :]) | itself_RL
        output = self._policy.decoder(
            input_ids=ids_PR.to(device),
            attention_mask=additive(visible_PRL.to(device), self._policy.decoder),
            position_ids=position_PL[:, prefix:].to(device),
            past_key_values=cache,
            use_cache=True,
        )
        layers = [(layer.keys, layer.values) for layer in cache.layers]
        next_position_P = position_PL[:, -1] + 1
        hidden_PD = output.last_hidden_state[:, -1]
        return hidden_PD, layers, keep_PL.to(device), next_position_P.to(device)

    def _draw(
        self, hidden_BD: Tensor, temperature: float, random_B: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One token for each row, and its log-probability at ``temperature``."""
        return draw(self._policy.logits(hidden_BD), temperature, random_B)

    def _texts(self, tokens_BT: Tensor, lengths_B: Tensor, finished_B: Tensor) -> tuple[str, ...]:
        stops = (lengths_B - finished_B.long()).tolist()
        return tuple(
            self._policy.base.tokenizer.decode(tokens_BT[row, :stop].tolist())
            for row, stop in enumerate(stops)
        )
