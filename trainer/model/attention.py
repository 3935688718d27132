"""Attention under an explicit mask, for models whose query heads share key heads (GQA).

transformers copies keys and values for every query head that shares them. Here the queries of the G
heads that share a key head are stacked instead, as (N, K, G * Q, D): the same products and sums
without the copies. The mask is made in that shape once per pass, not in every layer.
"""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import Tensor
from torch.nn import functional
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

GROUPED = "strongroom_grouped"
"""The name under which transformers knows :func:`attend`."""


def additive(visible_NQL: Tensor, model: Any) -> Tensor:
    """The mask of queries that see some of the keys, as ``model`` takes it: (N, 1, G * Q, L).

    0 where a query may see a key, the type's lowest number elsewhere. Attention would make this of
    a bool mask in every layer again.
    """
    dtype, config = model.dtype, model.config
    mask = torch.zeros(visible_NQL.shape, dtype=dtype, device=visible_NQL.device)
    mask.masked_fill_(~visible_NQL, torch.finfo(dtype).min)
    return mask.repeat(1, config.num_attention_heads // config.num_key_value_heads, 1).unsqueeze(1)


def attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **settings: Any
) -> tuple[Tensor, None]:
    """transformers' attention interface: (N, H, Q, D) of queries to (N, Q, H, D) of results.

    Without a mask, or with one that :func:`additive` did not make, it is transformers' own.
    """
    (N, H, Q, D), K = query.shape, key.shape[1]
    if mask is None or mask.shape[2] != Q * (H // K):
        found: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, mask, **settings
        )
        return found
    result = functional.scaled_dot_product_attention(
        query.reshape(N, K, H // K * Q, D), key, value, attn_mask=mask, scale=settings["scaling"]
    )
    return result.view(N, H, Q, D).transpose(1, 2).contiguous(), None


transformers.AttentionInterface.register(GROUPED, attend)
AttentionMaskInterface.register(GROUPED, sdpa_mask)
