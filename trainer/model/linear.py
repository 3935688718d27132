"""Products with the base model's frozen weights on a CPU.

Two things make them fast. A weight stored as (in, out) multiplies the few rows of a token step two
to three times as fast as one stored as (out, in). And a processor without instructions for bfloat16
multiplies float32 three times as fast: a product of bfloat16 numbers is the sum of their exact
products, rounded once, and float32 numbers of the same values give it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from strongroom.trainer.model.processor import has_bfloat16


class Float32Linear(nn.Linear):
    """A frozen linear layer that multiplies in float32, whatever the type of its input.

    ``weight`` is (out, in) as in every linear layer; only its layout in memory is transposed.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=False, device="meta")
        transposed_IO = linear.weight.detach().float().T.contiguous()
        self.weight = nn.Parameter(transposed_IO.T, requires_grad=False)
        if linear.bias is not None:
            self.bias = nn.Parameter(linear.bias.detach().float(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(…, in)`` to ``(…, out)`` in the type of ``x``."""
        return functional.linear(x.float(), self.weight, self.bias).to(x.dtype)


def multiply_in_float32(model: Any, dtype: torch.dtype) -> None:
    """Replace ``model``'s linear layers where float32 is what this CPU is fast in.

    ``dtype`` is the model's; between its layers nothing changes. The head gets weights of its own
    where it shared the embedding's.
    """
    if dtype != torch.float32 and (dtype != torch.bfloat16 or has_bfloat16()):
        return
    linears = [(name, each) for name, each in model.named_modules() if type(each) is nn.Linear]
    for name, linear in linears:
        model.set_submodule(name, Float32Linear(linear))
