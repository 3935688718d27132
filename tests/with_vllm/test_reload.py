"""A changed adapter is the one that answers, and the traps on the way there are real."""

import pytest
import torch

from strongroom.trainer.engines import build_engine, vllm
from strongroom.trainer.errors import EngineNotStarted
from strongroom.trainer.loop import train
from strongroom.trainer.rollouts.evaluators import FunctionEvaluator
from strongroom.trainer.steps.state import new_state
from support.sampler_gap import MEAN_BF16, gaps

MEAN_TRAINED = 0.1
"""Bound on the mean gap in bfloat16 after large steps, which make the distribution flat."""


def drawn(engine, prompts):
    return engine.generate(prompts, 1, 10, 0.0, None)


def length(messages, ground_truth, **row):
    """Something that differs within every group: how long the answer is."""
    return {"score": len(messages[-1]["content"]) / 50}


def test_training_steps_reach_the_sampler(engine, policy, config, rows, prompts, adapter):
    adapter(1)
    before = drawn(engine, prompts[:8])
    weights = policy.flat.clone()
    seen = []
    train(
        policy,
        rows,
        FunctionEvaluator(length),
        config,
        new_state(policy, config),
        on_step=lambda metrics: seen.append(metrics.values),
    )
    assert not torch.equal(policy.flat, weights)
    after = drawn(engine, prompts[:8])
    assert after.logprobs_BT.ne(0).any()
    assert not torch.equal(after.logprobs_BT[:, :1], before.logprobs_BT[:, :1])
    # What answers is the new adapter: the same tokens are far less likely under the old one.
    new_gap = gaps(policy, after, 1.0).mean()
    trained = policy.flat.clone()
    policy.flat.copy_(weights)
    old_gap = gaps(policy, after, 1.0).mean()
    policy.flat.copy_(trained)
    per_step = [values["sampler_gap_mean"] for values in seen]
    print(f"gap to the new adapter {new_gap:.4f}, to the old one {old_gap:.4f}; steps {per_step}")
    assert new_gap <= MEAN_TRAINED
    assert old_gap > 2 * new_gap
    # Each step's rollouts came from the adapter that the step began with.
    assert max(per_step) <= MEAN_TRAINED


def test_the_stale_adapter_trap_is_real_and_avoided(engine, policy, prompts, adapter):
    """The same id without ``load_inplace``: vLLM goes on with the weights that it has."""
    from vllm.lora.request import LoRARequest

    adapter(1)
    old = drawn(engine, prompts[:8])
    adapter(2)
    engine._put_adapter()  # the new weights lie in the scratch, and vLLM is told nothing
    careless = engine._loaded
    engine._loaded = policy.flat.clone()
    trapped = drawn(engine, prompts[:8])
    engine._loaded = careless
    assert torch.equal(trapped.logprobs_BT, old.logprobs_BT)
    assert trapped.texts == old.texts
    assert gaps(policy, trapped, 1.0).mean() > 2 * MEAN_BF16
    assert not LoRARequest("policy", 1, "x").load_inplace  # what a request says by default
    fresh = drawn(engine, prompts[:8])
    assert gaps(policy, fresh, 1.0).mean() <= MEAN_BF16


def test_the_stale_prompt_cache_trap_is_real_and_avoided(
    engine, policy, prompts, adapter, monkeypatch
):
    """Keys and values of a prompt are cached under the adapter's name, not under its weights."""
    prompts = prompts[:4]
    assert min(map(len, prompts)) > 2 * 32  # tokens in a block
    adapter(1)
    drawn(engine, prompts)
    adapter(2)
    with monkeypatch.context() as off:
        off.setattr(engine._llm, "reset_prefix_cache", lambda: None)
        trapped = drawn(engine, prompts)
    fresh = drawn(engine, prompts)
    assert gaps(policy, fresh, 1.0).mean() <= MEAN_BF16
    assert gaps(policy, trapped, 1.0).mean() > 2 * MEAN_BF16


def test_an_engine_answers_for_its_own_policy_only(engine, policy, config):
    assert build_engine(config.engine, policy) is engine
    with pytest.raises(EngineNotStarted):
        vllm.build(object())
