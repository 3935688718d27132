"""Log-probabilities of completion tokens under the policy, with gradient."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import Tensor
from torch.nn import functional

from strongroom.trainer.model.attention import additive
from strongroom.trainer.model.lora import Policy
from strongroom.trainer.steps.batch import GroupBatch

HEAD_CHUNK = 256
"""Distinct completion tokens whose logits are in memory at once."""


def completion_logprobs(
    policy: Policy, batch: GroupBatch, temperature: float
) -> tuple[Tensor, Tensor]:
    """``log π(token)`` of each completion token, and the entropy of its distribution, in nats.

    Both float32 of shape (K,); logits are divided by ``temperature`` as when sampling. Only the
    log-probabilities carry gradient.
    """
    logprobs_U, entropy_U = TargetLogprobs.apply(  # type: ignore[no-untyped-call]
        predicting_states(policy, batch), policy.head_weight, batch.targets_U, temperature
    )
    return logprobs_U[batch.distinct_K], entropy_U[batch.distinct_K]


def predicting_states(policy: Policy, batch: GroupBatch) -> Tensor:
    """The decoder's last hidden states that predict the batch's distinct tokens: (U, D)."""
    cache = None
    if len(batch.prefix_F):
        cache = transformers.DynamicCache()
        policy.decoder(input_ids=batch.prefix_F[None], past_key_values=cache, use_cache=True)
        cache.batch_repeat_interleave(len(batch.ids_NS))
    hidden_NSD: Tensor = policy.decoder(
        input_ids=batch.ids_NS,
        attention_mask=additive(batch.visible_NSL, policy.decoder),
        position_ids=batch.positions_NS,
        past_key_values=cache,
        use_cache=cache is not None,
    ).last_hidden_state
    return hidden_NSD.flatten(0, 1)[batch.source_U]


class TargetLogprobs(torch.autograd.Function):
    """``log softmax(hidden W^T / temperature)[target]`` without keeping any logits.

    Each output depends on its own hidden state only, so its gradient is one vector,
    ``W^T (onehot - softmax) / temperature``, which is computed with the chunk's logits and kept
    instead of them: U * D numbers, not U * V. The head itself gets no gradient.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden_UD: Tensor,
        head_VD: Tensor,
        targets_U: Tensor,
        temperature: float,
    ) -> tuple[Tensor, Tensor]:
        logprobs, entropies, jacobians = [], [], []
        for start in range(0, len(targets_U), HEAD_CHUNK):
            hidden, target = (part[start : start + HEAD_CHUNK] for part in (hidden_UD, targets_U))
            logits = functional.linear(hidden.to(head_VD.dtype), head_VD)
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
            logp = torch.log_softmax(logits, dim=-1)
            p = logp.exp()
            logprobs.append(logp.gather(1, target[:, None]).squeeze(1))
            entropies.append(-torch.linalg.vecdot(p, logp))
            slope = p.neg_().scatter_add_(1, target[:, None], torch.ones_like(p[:, :1]))
            jacobians.append(slope.to(head_VD.dtype) @ head_VD / temperature)
        ctx.save_for_backward(torch.cat(jacobians).to(hidden_UD.dtype))
        entropy_U = torch.cat(entropies)
        ctx.mark_non_differentiable(entropy_U)
        return torch.cat(logprobs), entropy_U

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (jacobian_UD,) = ctx.saved_tensors
        return (jacobian_UD * grads[0][:, None]).to(jacobian_UD.dtype), None, None, None
