"""The policy: a frozen base model with a trainable low-rank adapter (LoRA, arXiv:2106.09685).

``h = W x + (alpha / rank) B A x``, with A and B in float32 whatever the base's type. The adapter
is code of our own, since PEFT reads files lazily and takes seconds to import, which an enclave
without a disk cannot afford. Names and arithmetic are PEFT's, so that plain ``peft`` loads
what is trained here (``tests/trainer/model/test_lora.py`` compares the two).

Invariants: the base's weights never change; all adapter weights are views into one flat tensor,
and so are their gradients, at the same places.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional

from strongroom.trainer.config import LoraConfig
from strongroom.trainer.errors import LoraTargetMissing
from strongroom.trainer.model.base import Base

PEFT_PREFIX = "base_model.model."


class LoraLinear(nn.Module):
    """One linear layer of the base with its low-rank update."""

    def __init__(self, base: nn.Linear, scaling: float) -> None:
        super().__init__()
        self.base = base
        self.scaling = scaling
        self.enabled = True
        self.lora_A: nn.Parameter
        self.lora_B: nn.Parameter

    def forward(self, x: Tensor) -> Tensor:
        """``(…, in)`` to ``(…, out)`` in the base's type; the update is added in float32."""
        result: Tensor = self.base(x)
        if not self.enabled:
            return result
        update = functional.linear(
            functional.linear(x.to(self.lora_A.dtype), self.lora_A), self.lora_B
        )
        return torch.add(result, update, alpha=self.scaling).to(result.dtype)


class Policy:
    """The base model with its adapter attached."""

    def __init__(
        self, base: Base, config: LoraConfig, layers: dict[str, LoraLinear], flat: Tensor
    ) -> None:
        self.base = base
        self.lora = config
        self.flat = flat
        """All adapter weights, float32, shape (number of weights,)."""
        self.flat_grad = torch.zeros_like(flat)
        """Their gradients, accumulated in place by ``backward``."""
        self._layers = layers
        spans = self.spans()
        for name, weight in self.named_weights().items():
            weight.grad = self.flat_grad[spans[name]].view_as(weight)

    @property
    def decoder(self) -> transformers.PreTrainedModel:
        """Maps token ids to hidden states."""
        return self.base.model.get_decoder()

    @property
    def device(self) -> torch.device:
        """Where the model and the adapter are. Rollouts and batches stay on the CPU."""
        return self.flat.device

    @property
    def head_weight(self) -> Tensor:
        """Output head: (vocabulary, hidden)."""
        weight: Tensor = self.base.model.get_output_embeddings().weight
        return weight

    def logits(self, hidden: Tensor) -> Tensor:
        """``(…, hidden)`` to ``(…, vocabulary)`` in float32."""
        weight = self.head_weight
        return functional.linear(hidden.to(weight.dtype), weight).float()

    def named_weights(self) -> dict[str, nn.Parameter]:
        """Adapter weights by PEFT's names, sorted."""
        weights = {}
        for name, layer in self._layers.items():
            weights[f"{PEFT_PREFIX}{name}.lora_A.weight"] = layer.lora_A
            weights[f"{PEFT_PREFIX}{name}.lora_B.weight"] = layer.lora_B
        return dict(sorted(weights.items()))

    def spans(self) -> dict[str, slice]:
        """Where each weight lies in ``flat`` and ``flat_grad``, by PEFT's names, sorted."""
        return {
            name: slice(weight.storage_offset(), weight.storage_offset() + weight.numel())
            for name, weight in self.named_weights().items()
        }

    @property
    def adapted(self) -> bool:
        """Whether the adapter is on; it is off within :meth:`reference`."""
        return all(layer.enabled for layer in self._layers.values())

    @contextmanager
    def reference(self) -> Iterator[None]:
        """Within this block the adapter is off: the model is the base model, exactly."""
        for layer in self._layers.values():
            layer.enabled = False
        try:
            yield
        finally:
            for layer in self._layers.values():
                layer.enabled = True


def attach_lora(base: Base, config: LoraConfig, seed: int) -> Policy:
    """Put an adapter on every linear layer whose name ends with one of ``config.targets``.

    A starts Kaiming-uniform (as in PEFT) from ``seed``, B at zero, so that the policy begins as
    the base model. A base takes one adapter. Raises :class:`LoraTargetMissing`.
    """
    found = _target_layers(base, config)
    sizes = {
        name: config.rank * (linear.in_features + linear.out_features)
        for name, linear in found.items()
    }
    flat = torch.zeros(sum(sizes.values()), dtype=torch.float32, device=base.model.device)
    # On the CPU whatever the device, so that every device starts with the same adapter.
    generator = torch.Generator().manual_seed(seed)
    layers, start = {}, 0
    for name, linear in found.items():
        layer = LoraLinear(linear, config.alpha / config.rank)
        middle = start + config.rank * linear.in_features
        stop = start + sizes[name]
        initial = torch.empty(config.rank, linear.in_features)
        nn.init.kaiming_uniform_(initial, a=math.sqrt(5), generator=generator)
        flat[start:middle] = initial.flatten()
        layer.lora_A = nn.Parameter(flat[start:middle].view_as(initial))
        layer.lora_B = nn.Parameter(flat[middle:stop].view(linear.out_features, config.rank))
        base.model.set_submodule(name, layer)
        layers[name] = layer
        start = stop
    return Policy(base, config, layers, flat)


def _target_layers(base: Base, config: LoraConfig) -> dict[str, nn.Linear]:
    linears = {
        name: module
        for name, module in base.model.named_modules()
        if isinstance(module, nn.Linear) and name != "lm_head"
    }
    found = {}
    for target in config.targets:
        matches = {n: m for n, m in linears.items() if n.rpartition(".")[2] == target}
        if not matches:
            known = sorted({name.rpartition(".")[2] for name in linears})
            raise LoraTargetMissing(
                place=f"lora.targets {target}", expected=f"one of {', '.join(known)}"
            )
        found.update(matches)
    return dict(sorted(found.items()))
