"""A random two-layer Llama with a byte tokenizer, as files in memory, and rows to train it on."""

import json

import safetensors.torch
import tokenizers
import torch
import transformers

from strongroom.trainer.config import LoraConfig, Sampling, TrainingConfig
from strongroom.trainer.data.chat import Message
from strongroom.trainer.data.rows import Row
from strongroom.trainer.model.base import load_base
from strongroom.trainer.model.lora import attach_lora
from strongroom.trainer.rollouts.evaluators import FunctionEvaluator, Score, Turn
from strongroom.trainer.steps.sampling import Sampled

CHAT_TEMPLATE = (
    "{% for message in messages %}<s>{{ message['role'] }} {{ message['content'] }}</s>"
    "{% endfor %}{% if add_generation_prompt %}<s>assistant {% endif %}"
)
END_TOKENS = tuple(range(2, 35))
"""The end token proper, punctuation and digits: a random model then ends after eight tokens."""
INSTRUCTIONS = "Answer with letters only, please."


def tiny_files(seed=0, words=()):
    """Files of the base model; every weight is drawn from ``seed``. ``words`` are one token each,
    with the space before them; all else is one token a byte."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    heads = dict.fromkeys(f"Ġ{word}"[:end] for word in words for end in range(2, len(word) + 2))
    tokens = ["<pad>", "<s>", "</s>", *alphabet, *heads]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    merges = [(head[:-1], head[-1]) for head in heads]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.add_special_tokens(["<pad>", "<s>", "</s>"])
    settings = {
        "model_type": "llama",
        "vocab_size": len(vocabulary),
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": list(END_TOKENS),
    }
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**settings))
    weights = {
        name: torch.randn(tensor.shape, generator=generator) * 0.15
        + (1.0 if name.endswith("norm.weight") else 0.0)
        for name, tensor in sorted(model.state_dict().items())
        if name != "lm_head.weight"
    }
    return {
        "config.json": json.dumps(settings).encode(),
        "tokenizer.json": tokenizer.to_str().encode(),
        "tokenizer_config.json": json.dumps(
            {
                "bos_token": "<s>",
                "eos_token": "</s>",
                "pad_token": {"__type": "AddedToken", "content": "<pad>", "special": True},
            }
        ).encode(),
        "chat_template.jinja": CHAT_TEMPLATE.encode(),
        "model.safetensors": safetensors.torch.save(weights),
    }


def tiny_policy(dtype=torch.float32, *, awake=True, seed=0, lora=None, words=(), device="cpu"):
    """The tiny model with an adapter; ``awake`` gives the adapter weights that matter."""
    lora = lora or LoraConfig(
        rank=4,
        alpha=8,
        targets=("q_proj", "k_proj", "v_proj", "o_proj", "down_proj"),
    )
    base = load_base(tiny_files(words=words), dtype, threads=1, device=device)
    policy = attach_lora(base, lora, seed)
    if awake:
        noise = torch.randn(policy.flat.shape, generator=torch.Generator().manual_seed(seed + 1))
        policy.flat.add_(noise.to(device) * 0.1)
    return policy


def tiny_rows(count=10):
    """Rows with a shared beginning and questions of different lengths."""
    return [
        Row(
            messages=(
                Message(role="system", content=INSTRUCTIONS),
                Message(role="user", content=f"Question {index}" + "?" * (index % 5)),
            ),
            ground_truth=index,
            extra={"id": f"row-{index}"},
        )
        for index in range(count)
    ]


def tiny_config(**changes):
    settings = {
        "steps": 6,
        "prompts_per_step": 3,
        "samples_per_prompt": 4,
        "learning_rate": 1e-2,
        "warmup_steps": 2,
        "sampling": Sampling(temperature=1.0, max_tokens=8),
        "seed": 3,
        "checkpoint_every": 3,
    }
    return TrainingConfig(**{**settings, **changes})


def letters(messages, ground_truth, **row):
    """The share of letters in the answer: something that a random model can learn."""
    answer = messages[-1]["content"]
    share = sum(c.isascii() and c.isalpha() for c in answer) / max(1, len(answer))
    return {"score": share, "answered": float(bool(answer))}


def letter_evaluator():
    return FunctionEvaluator(letters)


class Rare:
    """Two of three rows teach nothing: all their completions score the same."""

    def score(self, jobs):
        return [
            Score(score=len(job.messages[-1]["content"]) if job.ground_truth % 3 == 0 else 0.5)
            for job in jobs
        ]


def scored(rollouts, rewards, objective):
    """The rollouts of ``tiny_rows`` with these rewards, by group: what a step learns from."""
    rewards_PG = torch.as_tensor(rewards, dtype=torch.float64)
    groups = len(rollouts.prompts)
    return Sampled(
        indices=list(range(groups)),
        rows=tiny_rows(groups),
        rollouts=rollouts,
        scores=[],
        rewards_PG=rewards_PG,
        advantages_PG=objective.advantages(rewards_PG, rollouts.lengths_B.view_as(rewards_PG)),
        seconds_rollout=0.0,
        seconds_score=0.0,
    )


class Counting:
    """An environment that tells how long each reply was, ``turns`` times; letters are rewarded."""

    def __init__(self, turns=3):
        self.turns = turns

    def reset(self, jobs):
        self.heard = {job.episode: [] for job in jobs}
        return [None for _ in jobs]

    def step(self, replies):
        return [self._turn(self.heard[reply.episode], reply.text) for reply in replies]

    def _turn(self, heard, text):
        heard.append(text)
        said = Message(role="tool", content=f"That was {len(text)}.")
        return Turn(messages=(said,), done=len(heard) >= self.turns)

    def score(self, jobs):
        return [
            Score(score=letters([{"content": "".join(self.heard[job.episode])}], None)["score"])
            for job in jobs
        ]
