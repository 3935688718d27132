"""Sampling with the policy's own transformers model.

Nothing is computed twice. First comes the prefix common to all prompts of the batch (in fine-tuning
usually the instructions and examples), then each prompt's rest. Completions of one prompt that
begin alike are computed as one until they draw different tokens. Nothing is kept after a call, so
no stale key or value can follow a weight update.
"""

# Field names carry their shapes.
# ruff: noqa: N815
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import transformers
from torch import Tensor

from strongroom.trainer.engines.drawing import draw
from strongroom.trainer.model.attention import additive
from strongroom.trainer.model.lora import Policy
from strongroom.trainer.rollouts.rollout import Rollouts, shared_prefix


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
        """Drop all other rows."""
        self._keys, self._values = self._keys[rows_R], self._values[rows_R]

    def get_seq_length(self) -> int:
        return self._used


def _with_length(tensor: Tensor, length: int) -> tuple[int, ...]:
    return (*tensor.shape[:-2], length, tensor.shape[-1])


@dataclass(frozen=True)
class _Place:
    """Where the next tokens are: R rows of the cache, each for G completions of a prompt.

    Of those, Q are computed in each row. A row with fewer active ones is filled up with others,
    whose tokens are not used.
    """

    members_RG: Tensor
    """The rows' completions, as indices."""
    chosen_RQ: Tensor
    """Which of its row's members are computed."""
    sees_RGL: Tensor
    """Which of the row's L columns hold what a completion consists of, its prompt included."""

    @property
    def computed_RQ(self) -> Tensor:
        """The completions that are computed, as indices."""
        return self.members_RG.gather(1, self.chosen_RQ)

    @property
    def visible_RQL(self) -> Tensor:
        """What their tokens see."""
        return self.sees_RGL.take_along_dim(self.chosen_RQ[:, :, None], dim=1)

    def following(
        self, same_B: Tensor, active_B: Tensor, cache: transformers.DynamicCache
    ) -> _Place:
        """The place of the next token of each active completion: computed, and not finished.

        ``same_B`` is the completion as which each is computed. Rows without an active one leave
        the cache once they are half of it.
        """
        members_RG, sees_RGL = self.members_RG, self.sees_RGL
        live_R = active_B[members_RG].any(dim=1)
        if 2 * int(live_R.sum()) <= len(live_R):
            for layer in cache.layers:
                layer.keep(live_R)
            members_RG, sees_RGL = members_RG[live_R], sees_RGL[live_R]
        active_RG = active_B[members_RG]
        most = int(active_RG.sum(dim=1).max())
        chosen_RQ = active_RG.long().argsort(dim=1, descending=True, stable=True)[:, :most]
        computed_RQ = members_RG.gather(1, chosen_RQ)
        sees_RGQ = same_B[members_RG][:, :, None] == computed_RQ[:, None]
        return _Place(members_RG, chosen_RQ, torch.cat([sees_RGL, sees_RGQ], dim=2))


def _first_alike(kind_B: Tensor) -> Tensor:
    """For each completion the first of its kind, as index."""
    kinds, kind_B = torch.unique(kind_B, return_inverse=True)
    index_B = torch.arange(len(kind_B), device=kind_B.device)
    first_K = index_B.new_full((len(kinds),), len(kind_B))
    return first_K.scatter_reduce(0, kind_B, index_B, "amin")[kind_B]


def build(policy: Policy) -> HfSampler:
    """The engine on ``policy``'s own model."""
    return HfSampler(policy)


class HfSampler:
    """An :class:`~trainer.rollouts.rollout.Engine` on the model that is being trained."""

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
        """See :meth:`trainer.rollouts.rollout.Engine.generate`."""
        hidden_PD, layers, keep_PL, next_position_P = self._prefill(prompts)
        batch, device = len(prompts) * samples, self._policy.device
        # The completions of a prompt are in one row of the cache, side by side, unless what they do
        # not share may become more than what they do.
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
        index_B = torch.arange(batch, device=device)
        members_RG = index_B.view(-1, in_row)
        prompt_RL = keep_PL.repeat_interleave(rows, dim=0)
        place = _Place(
            members_RG=members_RG,
            chosen_RQ=members_RG[:, :0],
            sees_RGL=prompt_RL[:, None].expand(-1, in_row, -1),
        )
        position_B = next_position_P.repeat_interleave(samples)
        tokens_BT = torch.full((batch, max_tokens), int(self._end[0]), device=device)
        logprobs_BT = torch.zeros(batch, max_tokens, device=device)
        lengths_B = torch.zeros(batch, dtype=torch.int64, device=device)
        finished_B = torch.zeros(batch, dtype=torch.bool, device=device)
        # As which a completion is computed: the first in its row that began alike.
        same_B = members_RG[:, :1].expand(-1, in_row).flatten()
        logits_XV = self._policy.logits(hidden_PD)
        at_B = index_B // samples  # the row of the X logits that is its own
        for t in range(max_tokens):
            # For all, so that what one draws does not depend on which others are unfinished.
            random_B = torch.zeros(batch, dtype=torch.float64)
            if temperature:
                random_B.uniform_(generator=generator)
            live_M = (~finished_B).nonzero().squeeze(1)
            token_M, logprobs_BT[live_M, t] = draw(
                logits_XV[at_B[live_M]], temperature, random_B.to(device)[live_M]
            )
            tokens_BT[live_M, t] = token_M
            lengths_B[live_M] += 1
            finished_B[live_M] = torch.isin(token_M, self._end)
            if t == max_tokens - 1 or bool(finished_B.all()):
                break
            same_B = _first_alike(same_B * len(self._policy.head_weight) + tokens_BT[:, t])
            place = place.following(same_B, (same_B == index_B) & ~finished_B, cache)
            computed_RQ = place.computed_RQ
            output = self._policy.decoder(
                input_ids=tokens_BT[:, t][computed_RQ],
                attention_mask=additive(place.visible_RQL, self._policy.decoder),
                position_ids=position_B[computed_RQ] + t,
                past_key_values=cache,
                use_cache=True,
            )
            logits_XV = self._policy.logits(output.last_hidden_state.flatten(0, 1))
            at_B = torch.zeros_like(index_B)
            at_B[computed_RQ.flatten()] = torch.arange(len(logits_XV), device=device)
            at_B = at_B[same_B]
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

    def _texts(self, tokens_BT: Tensor, lengths_B: Tensor, finished_B: Tensor) -> tuple[str, ...]:
        stops = (lengths_B - finished_B.long()).tolist()
        return tuple(
            self._policy.base.tokenizer.decode(tokens_BT[row, :stop].tolist())
            for row, stop in enumerate(stops)
        )
