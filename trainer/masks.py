"""Attention masks in the form that scaled-dot-product attention takes fastest."""

from __future__ import annotations

import torch
from torch import Tensor


def additive(visible_NQK: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where a query may see a key, the type's lowest number elsewhere: (N, 1, Q, K).

    Attention would make this of a bool mask in every layer again.
    """
    mask = torch.zeros(visible_NQK.shape, dtype=dtype, device=visible_NQK.device)
    return mask.masked_fill_(~visible_NQK, torch.finfo(dtype).min).unsqueeze(1)
