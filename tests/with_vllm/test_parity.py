"""vLLM draws from the same distribution that the trainer computes with."""

import json
import subprocess
import sys

import pytest
import torch

from strongroom.trainer.config import HfEngine
from strongroom.trainer.engines import build_engine
from support import PROGRAMS
from support.sampler_gap import MAX_BF16, MEAN_BF16, gaps

MAX_FP32 = 1e-4


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_logprobs_are_the_trainers(engine, policy, adapter, prompts, temperature):
    adapter(1)
    generator = torch.Generator().manual_seed(0)
    rollouts = engine.generate(prompts[:4], 4, 8, temperature, generator)
    gap_K = gaps(policy, rollouts, temperature)
    print(f"T={temperature}: {len(gap_K)} tokens, mean {gap_K.mean():.4f}, max {gap_K.max():.4f}")
    assert len(gap_K) > 50
    assert gap_K.mean() <= MEAN_BF16
    assert gap_K.max() <= MAX_BF16
    # The control: against another temperature, or another adapter, the gap is far above the bound.
    assert gaps(policy, rollouts, 2 * temperature).mean() > 2 * MEAN_BF16
    adapter(2)
    assert gaps(policy, rollouts, temperature).mean() > 2 * MEAN_BF16


def test_greedy_answers_are_those_of_hf(engine, policy, adapter, prompts):
    adapter(1)
    ours = engine.generate(prompts, 1, 10, 0.0, None)
    theirs = build_engine(HfEngine(), policy).generate(prompts, 1, 10, 0.0, None)
    same = sum(a == b for a, b in zip(ours.texts, theirs.texts, strict=True))
    print(f"greedy: {same} of {len(prompts)} answers the same")
    assert same >= 0.8 * len(prompts)


def test_without_the_adapter_it_is_the_base_model(engine, policy, adapter, prompts):
    adapter(1, size=0.1)
    with policy.reference():
        base = engine.generate(prompts[:8], 1, 10, 0.0, None)
        assert gaps(policy, base, 1.0).mean() <= MEAN_BF16
    assert gaps(policy, base, 1.0).mean() > 2 * MEAN_BF16  # the adapter is on again


def test_the_same_generator_gives_the_same_completions(engine, prompts):
    def draw(seed):
        return engine.generate(prompts[:4], 4, 10, 1.0, torch.Generator().manual_seed(seed))

    first, again, other = draw(5), draw(5), draw(6)
    assert torch.equal(first.tokens_BT, again.tokens_BT)
    assert torch.equal(first.logprobs_BT, again.logprobs_BT)
    assert not torch.equal(first.tokens_BT[:, :1], other.tokens_BT[:, :1])
    assert len(set(first.texts)) > 4  # the seeds of a call differ from one another


def test_completions_end_as_the_protocol_says(engine, policy, prompts):
    # More tokens of prompts than vLLM computes at once: some wait for the next round.
    assert 4 * sum(map(len, prompts[:8])) > 512
    rollouts = engine.generate(prompts[:8], 4, 10, 1.0, torch.Generator().manual_seed(0))
    end = torch.tensor(policy.base.end_tokens)
    for row, length in enumerate(rollouts.lengths_B.tolist()):
        ended = torch.isin(rollouts.tokens_BT[row, :length], end)
        assert not ended[:-1].any()
        assert bool(ended[-1]) == bool(rollouts.finished_B[row])
        assert rollouts.finished_B[row] or length == 10
        assert not rollouts.logprobs_BT[row, length:].any()
        drawn = rollouts.tokens_BT[row, : length - int(rollouts.finished_B[row])]
        assert rollouts.texts[row] == policy.base.tokenizer.decode(drawn.tolist())
    assert rollouts.finished_B.any()


def test_in_float32_the_two_agree_to_rounding():
    """In a process of its own, since each holds one engine."""
    program = PROGRAMS / "parity_fp32.py"
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"float32: {found}")
    assert found["tokens"] > 100
    assert found["max"] <= MAX_FP32
