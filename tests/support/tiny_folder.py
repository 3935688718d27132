"""A model folder for whole runs: a random two-layer Llama with the real tokenizer's files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch

from strongroom.examples.base_model import CACHE, base_model


def save_tiny_model(folder: Path, hidden_size: int = 64) -> None:
    """Save the model to a new folder."""
    from transformers import LlamaConfig, LlamaForCausalLM

    real = base_model(CACHE.expanduser())
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=json.loads((real / "config.json").read_text())["vocab_size"],
        hidden_size=hidden_size,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if (real / name).exists():
            os.link(real / name, folder / name)
