"""GGUF to safetensors, as ``examples.base_model`` runs it: in a process of its own."""

from __future__ import annotations


def main(source: str, target: str) -> None:
    """Convert ``model.gguf`` in the folder ``source`` to a model in bfloat16 in ``target``."""
    import torch
    import transformers

    name = "model.gguf"
    tokenizer = transformers.AutoTokenizer.from_pretrained(source, gguf_file=name)
    model = transformers.AutoModelForCausalLM.from_pretrained(source, gguf_file=name)
    model.hf_quantizer = None
    model.config.__dict__.pop("quantization_config", None)
    model.to(torch.bfloat16).save_pretrained(target)
    tokenizer.save_pretrained(target)
