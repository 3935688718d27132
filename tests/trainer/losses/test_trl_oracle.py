"""Every method's loss against TRL's, which is code that we did not write.

Both get the same log-probabilities, advantages and masks in float32; loss and gradient must agree
to 1e-5; so must advantages of the same rewards. It would fail for another normaliser, clip, sign,
mask or KL term: controls show that for each method, with a setting changed on one side only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import datasets
import pytest
import torch
import transformers
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from strongroom.trainer import methods
from strongroom.trainer.losses import build_objective
from strongroom.trainer.losses.objective import LossInput, truncated_correction
from support.trl_cases import CASES, RLOO

MAX_TOKENS = 7
LENGTHS = torch.tensor([7, 3, 1, 5, 7, 2, 4, 6])


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A model, tokenizer and data set: TRL's trainers cannot be made without."""
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=_tokenizer(), pad_token="<pad>", eos_token="</s>"
    )
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    settings = transformers.LlamaConfig(
        vocab_size=8,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        pad_token_id=0,
        eos_token_id=1,
    )
    return {
        "model": transformers.LlamaForCausalLM(settings),
        "processing_class": tokenizer,
        "reward_funcs": lambda completions, **_: [0.0] * len(completions),
        "train_dataset": datasets.Dataset.from_list([{"prompt": "a"}] * 8),
        "folder": str(tmp_path_factory.mktemp("trl")),
    }


def _tokenizer():
    import tokenizers

    vocabulary = {token: index for index, token in enumerate(["<pad>", "</s>", *"abcdef"])}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="a"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    return backend


def trl_trainer(parts, kind, settings, **options):
    given = dict(parts)
    arguments = kind(
        output_dir=given.pop("folder"),
        per_device_train_batch_size=8,
        num_generations=4,
        max_completion_length=MAX_TOKENS,
        report_to=[],
        use_cpu=True,
        bf16=False,
        beta=0.0,  # else it would look for a second model
        **{name: value for name, value in settings.items() if name != "beta"},
    )
    trainer = {GRPOConfig: GRPOTrainer, RLOOConfig: RLOOTrainer}[kind](args=arguments, **given)
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    trainer.beta = settings.get("beta", 0.0)
    for name, value in options.items():
        setattr(trainer, name, value)
    return trainer


@dataclass(frozen=True)
class Drawn:
    """Eight completions, padded, as TRL holds them."""

    new: torch.Tensor
    old: torch.Tensor
    reference: torch.Tensor
    sampler: torch.Tensor
    advantages: torch.Tensor
    mask: torch.Tensor


def drawn(seed, off_policy, masked="nothing"):
    """``masked``: also completions that were ``cut off``, or a token that was ``given`` in each
    conversation of several turns."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(LENGTHS), MAX_TOKENS)
    new = -3 * torch.rand(shape, generator=generator) - 0.01
    noise = torch.randn((3, *shape), generator=generator)
    mask = torch.arange(MAX_TOKENS) < LENGTHS[:, None]
    if masked == "cut off":
        mask = mask & (LENGTHS < MAX_TOKENS)[:, None]
    if masked == "given":
        mask[LENGTHS > 2, 1] = False
    return Drawn(
        new=new.requires_grad_(),
        old=new.detach() + off_policy * noise[0],
        reference=new.detach() + 0.3 * noise[1],
        sampler=new.detach() + 0.3 * noise[2],
        advantages=torch.randn(len(LENGTHS), generator=generator),
        mask=mask,
    )


def trl_loss(trainer, d, correction=None):
    """TRL's loss; the log-probabilities come from us in place of its model's forward pass."""
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (
        d.new,
        torch.zeros_like(d.new),
        None,
    )
    ids = torch.ones_like(d.mask, dtype=torch.int64)
    inputs = {
        "prompt_ids": ids[:, :1],
        "prompt_mask": ids[:, :1],
        "completion_ids": ids,
        "completion_mask": d.mask.long(),
        "advantages": d.advantages,
        "old_per_token_logps": d.old,
        "old_logps": (d.old * d.mask).sum(1),
        "ref_per_token_logps": d.reference,
        "num_items_in_batch": d.mask.sum(),
    }
    if correction is not None:
        inputs["importance_sampling_ratio"] = correction
    return trainer._compute_loss(trainer.model, inputs)


def our_loss(method, d, cap=None):
    return our_output(method, d, cap).loss


def our_output(method, d, cap=None):
    objective = build_objective(method, MAX_TOKENS)
    kept = d.mask.any(dim=1)
    lengths = d.mask.sum(dim=1)[kept]
    return objective.loss(
        LossInput(
            logprobs_K=d.new[d.mask],
            old_logprobs_K=d.old[d.mask],
            reference_logprobs_K=d.reference[d.mask] if objective.uses_reference else None,
            correction_K=None
            if cap is None
            else truncated_correction(d.old[d.mask], d.sampler[d.mask], cap),
            advantages_C=d.advantages[kept],
            completion_K=torch.repeat_interleave(torch.arange(len(lengths)), lengths),
            lengths_C=lengths,
            n_completions=len(d.mask),
            n_tokens=int(d.mask.sum()),
            max_tokens=MAX_TOKENS,
        )
    )


def compare(ours, theirs, d):
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    found, wanted = (torch.autograd.grad(loss, d.new)[0] for loss in (ours, theirs))
    assert wanted.abs().max() > 1e-3
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("masked", ["nothing", "cut off", "given"])
@pytest.mark.parametrize("off_policy", [0.0, 1e-4, 0.1, 1.0])
@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradient_are_trl_s(parts, name, off_policy, masked):
    case = CASES[name]
    trainer = trl_trainer(parts, GRPOConfig, case.trl)
    for seed in range(3):
        d = drawn(seed, off_policy, masked)
        compare(our_loss(case.method, d), trl_loss(trainer, d), d)


@pytest.mark.parametrize("masked", ["nothing", "given"])
@pytest.mark.parametrize("off_policy", [0.0, 1e-4, 0.1, 1.0])
def test_rloo_is_trl_s(parts, off_policy, masked):
    """It offers no mask for what was cut off."""
    trainer = trl_trainer(parts, RLOOConfig, RLOO.trl)
    for seed in range(3):
        d = drawn(seed, off_policy, masked)
        compare(our_loss(RLOO.method, d), trl_loss(trainer, d), d)


@pytest.mark.parametrize("name", [*CASES, "rloo"])
def test_what_is_compared_has_both_signs_and_is_clipped(name):
    case = CASES.get(name, RLOO)
    low = high = 0.0
    for seed in range(3):
        d = drawn(seed, 1.0, "given")
        assert d.advantages.min() < 0 < d.advantages.max()
        assert not d.mask[LENGTHS > 2].all(dim=1).any()
        metrics = our_output(case.method, d).metrics
        low, high = low + metrics["clip_low_share"], high + metrics["clip_high_share"]
    assert high > 0
    assert low > 0 or case.method.type == "cispo"  # it has no lower bound
    if name == "grpo, two-sided":
        beyond = ((d.new - d.old).exp() > case.method.ratio_ceiling) & d.mask
        assert (beyond & (d.advantages < 0)[:, None]).any()


@pytest.mark.parametrize("name", [*CASES, "rloo"])
def test_a_changed_setting_is_seen_in_every_method(parts, name):
    """The control for each: right as it is, wrong with one setting changed or the sign flipped."""
    case = CASES.get(name, RLOO)
    trainer = trl_trainer(parts, RLOOConfig if name == "rloo" else GRPOConfig, case.trl)
    d = drawn(0, 1.0)
    compare(our_loss(case.method, d), trl_loss(trainer, d), d)
    with pytest.raises(AssertionError):
        compare(our_loss(case.wrong, d), trl_loss(trainer, d), d)
    flipped = replace(d, advantages=-d.advantages)
    with pytest.raises(AssertionError):
        compare(our_loss(case.method, flipped), trl_loss(trainer, d), d)


@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "dapo", "gspo", "cispo"])
def test_truncated_importance_weights_are_trl_s(parts, name):
    case = CASES[name]
    trainer = trl_trainer(
        parts, GRPOConfig, case.trl, use_vllm=True, vllm_importance_sampling_correction=True
    )
    # Farther off, almost no completion of gspo's would be within its clip and have a gradient.
    d = drawn(0, 1e-4 if name == "gspo" else 0.1)
    correction = (d.old - d.sampler).exp().clamp(max=1.3)
    assert (correction == 1.3).any()
    compare(our_loss(case.method, d, cap=1.3), trl_loss(trainer, d, correction), d)
    for cap in (1.5, None):
        with pytest.raises(AssertionError):
            compare(our_loss(case.method, d, cap), trl_loss(trainer, d, correction), d)


ADVANTAGES = {
    "grpo": (GRPOConfig, {"scale_rewards": "group"}, methods.GrpoMethod()),
    "dr_grpo": (GRPOConfig, {"scale_rewards": "none"}, methods.DrGrpoMethod()),
    "rloo": (RLOOConfig, {}, methods.RlooMethod()),
}


@pytest.mark.parametrize("name", ADVANTAGES)
def test_advantages_are_trl_s(parts, name):
    """TRL samples with its own model; the rewards are given, so what it says does not matter."""
    kind, settings, method = ADVANTAGES[name]
    rewards = [1.0, 0.0, 0.0, 0.25, 0.1, 0.1, 0.1, 0.1]
    given = parts | {"reward_funcs": lambda completions, **_: rewards}
    trainer = trl_trainer(given, kind, settings)
    theirs = trainer._generate_and_score_completions([{"prompt": "a"}] * 8)["advantages"]

    def ours(method):
        rewards_PG = torch.tensor(rewards, dtype=torch.float64).view(2, 4)
        objective = build_objective(method, MAX_TOKENS)
        return objective.advantages(rewards_PG, torch.ones(2, 4, dtype=torch.int64)).flatten()

    torch.testing.assert_close(ours(method), theirs, rtol=1e-5, atol=1e-6)
    for other in (each for _, _, each in ADVANTAGES.values() if each != method):
        assert (ours(other) - theirs).abs().max() > 0.1


def test_another_setting_on_one_side_is_seen(parts):
    """The control: what the comparison would say of a wrong clip, KL weight, normaliser or sign."""
    trainer = trl_trainer(parts, GRPOConfig, CASES["grpo with kl"].trl)
    d = drawn(0, 0.3)
    theirs = trl_loss(trainer, d)
    wrong = [
        methods.GrpoMethod(kl=0.06),
        methods.GrpoMethod(kl=0.05, clip=0.25),
        methods.DrGrpoMethod(kl=0.05),
        methods.DapoMethod(kl=0.05, clip_high=0.2),
    ]
    for method in wrong:
        with pytest.raises(AssertionError):
            compare(our_loss(method, d), theirs, d)
    flipped = replace(d, advantages=-d.advantages)
    with pytest.raises(AssertionError):
        compare(our_loss(CASES["grpo with kl"].method, flipped), theirs, d)


def test_trl_s_settings_are_what_they_claim():
    """The oracle's defaults are written down here, so that a new TRL cannot change it silently."""
    names = ("epsilon", "beta", "importance_sampling_level", "scale_rewards", "num_iterations")
    defaults = {
        name: getattr(GRPOConfig(output_dir="unused", use_cpu=True, bf16=False), name)
        for name in names
    }
    assert json.loads(json.dumps(defaults)) == {
        "epsilon": 0.2,
        "beta": 0.0,
        "importance_sampling_level": "token",
        "scale_rewards": "group",
        "num_iterations": 1,
    }
