"""A tiny reinforcement-learning step, by the real libraries, in a locked process.

Arguments: the descriptor for the result (JSON), and the stage: ``none``, ``A`` or ``AB``.
"""

import json
import os
import sys
import time

from strongroom.enclave.evaluator.process import EvaluatorProcess
from strongroom.enclave.sandbox import filters, lockdown, probes
from strongroom.enclave.sandbox.launch import environment
from strongroom.trainer.rollouts.evaluators import Job

EVALUATE = (
    b"def evaluate(messages, ground_truth, **row):\n    return len(messages[-1]['content']) / 9\n"
)


def main(fd: int, stage: str) -> None:
    os.environ.update(environment(2))
    if stage != "none":
        lockdown.lock_files_and_network()
    evaluator = EvaluatorProcess.start(locked=stage != "none")

    import peft
    import safetensors.torch
    import tokenizers
    import torch
    import transformers
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    torch.set_num_threads(2)
    words = ["[UNK]", *"abcdefghijklmnopqrstuvwxyz "]
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    config = transformers.LlamaConfig(
        vocab_size=len(words),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
    )
    torch.manual_seed(0)
    base = transformers.LlamaForCausalLM(config).to(torch.bfloat16)
    lora = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"])
    model = peft.get_peft_model(base, lora)
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=1e-2)

    def step(prompt: str, samples: int, tokens: int) -> float:
        ids = torch.tensor([tokenizer.encode(prompt).ids] * samples)
        model.eval()
        out = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=tokens,
            do_sample=True,
            pad_token_id=0,
        )
        texts = tokenizer.decode_batch(out[:, ids.shape[1] :].tolist())
        jobs = [
            Job(messages=[{"role": "assistant", "content": text}], ground_truth=None)
            for text in texts
        ]
        rewards = torch.tensor([score.score for score in evaluator.score(jobs)])
        advantages = rewards - rewards.mean()
        model.train()
        logits = model(out[:, :-1]).logits.float()
        logprobs = torch.log_softmax(logits, -1).gather(-1, out[:, 1:, None])[..., 0]
        loss = -(advantages[:, None] * logprobs[:, ids.shape[1] - 1 :]).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainable, 1.0)
        optimizer.step()
        return float(loss.detach())

    evaluator.load(EVALUATE)
    step("warm up", 2, 3)
    X25519PrivateKey.generate()
    safetensors.torch.save({"warm": torch.zeros(1)})
    known = probes.facts()
    if stage == "AB":
        known["mapped_files"] = lockdown.keep_files()
        lockdown.lock_system_calls(filters.trainer(executable=True))  # it computes in bfloat16
    seen = probes.probe(known, evaluator, expected_fds={fd})
    begin = time.perf_counter()
    losses = [step("the quick brown fox"[: 4 + 5 * i], 4 + i, 8 + 4 * i) for i in range(3)]
    step_s = (time.perf_counter() - begin) / 3
    adapter = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    result = {
        "losses": losses,
        "step_s": step_s,
        "adapter_bytes": len(safetensors.torch.save(adapter)),
        "probes": seen.probes,
        "fds": sorted(probes.open_fds()),
    }
    os.write(fd, json.dumps(result).encode())
    os._exit(0)


main(int(sys.argv[1]), sys.argv[2])
