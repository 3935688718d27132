"""A token for each row of logits: the inverse of the cumulative distribution at a random number.

The distribution is summed in blocks, and only the block that contains the number is summed entry by
entry: 2 ms for 32 rows of 49k entries on two cores, against 26 for one cumulative sum over all of
them and 35 for ``torch.multinomial``, which draws one number per entry.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

BLOCK = 256
"""Entries of a block."""


def draw(logits_BV: Tensor, temperature: float, random_B: Tensor) -> tuple[Tensor, Tensor]:
    """A token for each row, int64 (B,), and its log-probability at ``temperature``, float32 (B,).

    ``random_B`` are float64 numbers in [0, 1). At ``temperature`` 0 the likeliest token is taken
    and its log-probability is that at 1. ``logits_BV`` is float32 and may be
    overwritten.
    """
    if temperature == 0:
        token_B = logits_BV.argmax(dim=-1)
        return token_B, _gathered(torch.log_softmax(logits_BV, dim=-1), token_B)
    if temperature != 1:
        logits_BV /= temperature
    top_B1 = logits_BV.amax(dim=-1, keepdim=True)
    weights_BV = (logits_BV - top_B1).exp_()
    padded_BV = functional.pad(weights_BV, (0, -weights_BV.shape[1] % BLOCK))
    blocks_BNK = padded_BV.view(len(padded_BV), -1, BLOCK)
    ends_BN = blocks_BNK.sum(dim=-1).double().cumsum(dim=-1)
    total_B1 = ends_BN[:, -1:]
    point_B1 = total_B1 * random_B[:, None]
    block_B1 = torch.searchsorted(ends_BN, point_B1, right=True)
    block_BK = blocks_BNK.take_along_dim(block_B1[:, :, None], dim=1).squeeze(1)
    inside_BK = block_BK.double().cumsum(dim=-1)
    end_B1 = inside_BK[:, -1:]
    # Both sums round, so the point may lie just outside its block: clamp it.
    rest_B1 = (point_B1 - (ends_BN.gather(1, block_B1) - end_B1)).clamp_(min=0)
    rest_B1 = torch.minimum(rest_B1, end_B1.nextafter(torch.zeros_like(end_B1)))
    token_B = (block_B1 * BLOCK + torch.searchsorted(inside_BK, rest_B1, right=True)).squeeze(1)
    share_B = (_gathered(logits_BV, token_B) - top_B1.squeeze(1)) - total_B1.squeeze(1).log()
    return token_B, share_B.float()


def _gathered(values_BV: Tensor, token_B: Tensor) -> Tensor:
    return values_BV.gather(1, token_B[:, None]).squeeze(1)
