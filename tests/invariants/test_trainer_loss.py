"""What must hold of every method's loss whatever the completions are."""

from dataclasses import replace
from math import exp, prod

import pytest
import torch

from strongroom.trainer import methods
from strongroom.trainer.losses import build_objective
from strongroom.trainer.losses.objective import KlPenalty, LossInput, truncated_correction

LENGTHS = torch.tensor([3, 1, 5, 2, 4, 4])
MAX_TOKENS = 6
METHODS = {
    "grpo": methods.GrpoMethod(),
    "grpo, all settings": methods.GrpoMethod(
        clip=0.1, clip_high=0.3, ratio_ceiling=1.5, kl=0.05, kl_estimator="k2"
    ),
    "dr_grpo": methods.DrGrpoMethod(kl=0.05, kl_estimator="k1"),
    "dapo": methods.DapoMethod(),
    "gspo": methods.GspoMethod(clip=0.1, clip_high=0.2),
    "gspo-token": methods.GspoMethod(clip=0.1, clip_high=0.2, level="token", kl=0.05),
    "cispo": methods.CispoMethod(cap=1.2),
    "rloo": methods.RlooMethod(),
}


def objective_of(name):
    return build_objective(METHODS[name], MAX_TOKENS)


def tokens(*, seed=0, off_policy=0.0, reference=False, correction=False, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    size = int(LENGTHS.sum())
    logprobs = -torch.rand(size, dtype=dtype, generator=generator) * 3 - 0.01
    noise, sampler = torch.randn(2, size, dtype=dtype, generator=generator)
    old = logprobs.detach() + off_policy * noise
    return LossInput(
        logprobs_K=logprobs.requires_grad_(),
        old_logprobs_K=old,
        reference_logprobs_K=logprobs.detach() + 0.3 * noise if reference else None,
        correction_K=truncated_correction(old, old + sampler, 2.0) if correction else None,
        advantages_C=torch.randn(len(LENGTHS), dtype=dtype, generator=generator),
        completion_K=torch.repeat_interleave(torch.arange(len(LENGTHS)), LENGTHS),
        lengths_C=LENGTHS,
        n_completions=8,
        n_tokens=25,
        max_tokens=MAX_TOKENS,
    )


def tokens_for(name, **options):
    return tokens(reference=objective_of(name).uses_reference, **options)


def clipped(rho, A, low, high, ceiling=float("inf")):
    return min(min(rho, ceiling) * A, max(min(rho, 1 + high), 1 - low) * A)


def equation(name, t):
    """The paper's objective, term by term in plain Python, from one list per completion."""
    method = METHODS[name]
    total = 0.0
    for i, length in enumerate(t.lengths_C.tolist()):
        k = (t.completion_K == i).nonzero().flatten()
        new, old = t.logprobs_K[k].tolist(), t.old_logprobs_K[k].tolist()
        A = t.advantages_C[i].item()
        rho = [exp(n - o) for n, o in zip(new, old, strict=True)]
        weight = [1.0] * length if t.correction_K is None else t.correction_K[k].tolist()
        penalty = [0.0] * length
        if t.reference_logprobs_K is not None:
            log_r = [r - n for r, n in zip(t.reference_logprobs_K[k].tolist(), new, strict=True)]
            estimate = {
                "k1": lambda x: -x,
                "k2": lambda x: x * x / 2,
                None: lambda x: exp(x) - 1 - x,
            }[method.kl_estimator]
            penalty = [method.kl * estimate(x) for x in log_r]
        match method.type:
            case "grpo" | "dr_grpo" | "dapo":
                ceiling = method.ratio_ceiling or float("inf")
                J = [clipped(r, A, method.clip, method.high, ceiling) for r in rho]
            case "gspo":
                s = prod(rho) ** (1 / length)
                J = [clipped(s, A, method.clip, method.clip_high)] * length
            case "cispo":
                J = [min(r, method.cap) * A * n for r, n in zip(rho, new, strict=True)]
            case "rloo":
                J = [clipped(prod(rho), A, method.clip, method.clip) / length] * length
        J = [j * w - p for j, w, p in zip(J, weight, penalty, strict=True)]
        match method.type:
            case "grpo" | "gspo":
                total += sum(J) / length / t.n_completions
            case "dr_grpo":
                total += sum(J) / t.max_tokens / t.n_completions
            case "dapo" | "cispo":
                total += sum(J) / t.n_tokens
            case "rloo":
                total += sum(J) / t.n_completions
    return -total


@pytest.mark.parametrize("off_policy", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("name", METHODS)
def test_loss_is_the_paper_s_equation(name, off_policy):
    t = tokens_for(name, off_policy=off_policy)
    assert objective_of(name).loss(t).loss.item() == pytest.approx(equation(name, t), rel=1e-12)


@pytest.mark.parametrize("name", sorted(METHODS.keys() - {"rloo"}))
def test_loss_with_truncated_importance_weights(name):
    t = tokens_for(name, off_policy=0.1, correction=True)
    assert t.correction_K.max() == 2.0
    loss = objective_of(name).loss(t).loss.item()
    assert loss == pytest.approx(equation(name, t), rel=1e-12)
    assert loss != pytest.approx(equation(name, replace(t, correction_K=None)), rel=1e-3)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", sorted(METHODS.keys() - {"cispo", "gspo-token"}))
def test_gradient_by_finite_differences(name, seed):
    t = tokens_for(name, seed=seed, off_policy=0.1)
    objective = objective_of(name)
    assert torch.autograd.gradcheck(
        lambda logprobs: objective.loss(replace(t, logprobs_K=logprobs)).loss, (t.logprobs_K,)
    )


def test_cispo_s_gradient_holds_its_weights_fixed():
    t = tokens(off_policy=0.5)
    objective_of("cispo").loss(t).loss.backward()
    rho = (t.logprobs_K - t.old_logprobs_K).detach().exp()
    assert (rho > 1.2).any()
    wanted = -rho.clamp(max=1.2) * t.advantages_K / t.n_tokens
    assert torch.allclose(t.logprobs_K.grad, wanted, rtol=1e-12)


def test_gspo_token_has_gspo_s_value_and_each_token_s_own_gradient():
    t = tokens(off_policy=0.01)
    sequence = build_objective(methods.GspoMethod(clip=0.9, clip_high=0.9), MAX_TOKENS)
    token = build_objective(methods.GspoMethod(clip=0.9, clip_high=0.9, level="token"), MAX_TOKENS)
    one, other = sequence.loss(t).loss, token.loss(t).loss
    assert one.item() == pytest.approx(other.item(), rel=1e-12)
    by_sequence = torch.autograd.grad(one, t.logprobs_K)[0]
    by_token = torch.autograd.grad(other, t.logprobs_K)[0]
    # With one advantage for a whole completion the two agree, as the paper says (section 4.3).
    assert torch.allclose(by_sequence, by_token, rtol=1e-9)


@pytest.mark.parametrize("name", METHODS)
def test_parts_of_a_step_add_up(name):
    """Completions in two parts: losses and gradients are those of one."""
    t = tokens_for(name, off_policy=0.1)
    objective = objective_of(name)
    whole = torch.autograd.grad(objective.loss(t).loss, t.logprobs_K)[0]
    parts, losses = torch.zeros_like(whole), 0.0
    for chosen in ([0, 1], [2, 3, 4, 5]):
        k = torch.isin(t.completion_K, torch.tensor(chosen))
        part = replace(
            t,
            logprobs_K=t.logprobs_K[k],
            old_logprobs_K=t.old_logprobs_K[k],
            reference_logprobs_K=None
            if t.reference_logprobs_K is None
            else t.reference_logprobs_K[k],
            advantages_C=t.advantages_C[chosen],
            completion_K=t.completion_K[k] - chosen[0],
            lengths_C=t.lengths_C[chosen],
        )
        loss = objective.loss(part).loss
        parts += torch.autograd.grad(loss, t.logprobs_K)[0]
        losses += loss.item()
    assert losses == pytest.approx(objective.loss(t).loss.item(), rel=1e-12)
    assert torch.allclose(parts, whole, rtol=1e-12)


@pytest.mark.parametrize("name", METHODS)
def test_on_policy_nothing_is_clipped(name):
    t = tokens_for(name, dtype=torch.float32)
    t = replace(t, old_logprobs_K=t.logprobs_K.detach())
    metrics = objective_of(name).loss(t).metrics
    assert metrics["clip_low_share"] == metrics["clip_high_share"] == 0.0


@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "dapo"])
def test_far_off_policy_tokens_are_clipped_and_get_no_gradient(name):
    method = METHODS[name]
    t = replace(tokens(off_policy=3.0))
    output = build_objective(method.model_copy(update={"kl": 0.0}), MAX_TOKENS).loss(t)
    output.loss.backward()
    rho = (t.logprobs_K - t.old_logprobs_K).exp()
    high, low = rho > 1 + method.high, rho < 1 - method.clip
    high, low = high & (t.advantages_K > 0), low & (t.advantages_K < 0)
    assert high.any()
    assert low.any()
    assert not t.logprobs_K.grad[high | low].any()
    assert t.logprobs_K.grad[~(high | low)].all()
    assert output.metrics["clip_high_share"] == pytest.approx(high.double().mean().item())
    assert output.metrics["clip_low_share"] == pytest.approx(low.double().mean().item())


def test_the_ceiling_bounds_tokens_that_did_badly():
    t = tokens(off_policy=3.0)
    open_above = build_objective(methods.GrpoMethod(), MAX_TOKENS).loss(t).loss
    bounded = build_objective(methods.GrpoMethod(ratio_ceiling=2.0), MAX_TOKENS).loss(t).loss
    assert bounded < open_above
    (gradient,) = torch.autograd.grad(bounded, t.logprobs_K)
    rho = (t.logprobs_K - t.old_logprobs_K).exp()
    beyond = (rho > 2) & (t.advantages_K < 0)
    assert beyond.any()
    assert not gradient[beyond].any()


@pytest.mark.parametrize("name", ["grpo", "dapo", "gspo", "cispo", "rloo", "dr_grpo"])
def test_the_gradient_raises_good_completions_and_lowers_bad_ones(name):
    t = tokens()
    method = METHODS[name]
    if name != "rloo":
        method = method.model_copy(update={"kl": 0.0, "kl_estimator": None})
    build_objective(method, MAX_TOKENS).loss(t).loss.backward()
    assert torch.equal(t.logprobs_K.grad.sign(), -t.advantages_K.sign())


@pytest.mark.parametrize("name", METHODS)
def test_equal_rewards_give_no_gradient(name):
    method = METHODS[name]
    if name != "rloo":
        method = method.model_copy(update={"kl": 0.0, "kl_estimator": None})
    objective = build_objective(method, MAX_TOKENS)
    lengths_PG = LENGTHS.view(2, 3)
    advantages = objective.advantages(torch.full((2, 3), 0.1, dtype=torch.float64), lengths_PG)
    assert not advantages.any()
    t = replace(tokens(), advantages_C=advantages.double().flatten())
    objective.loss(t).loss.backward()
    assert not t.logprobs_K.grad.any()


def test_dapo_punishes_long_completions_softly():
    """Equation 13: nothing up to L - B, then linearly down to -1 at L."""
    method = methods.DapoMethod(mask_truncated=False, overlong_buffer=4, overlong_penalty=2.0)
    objective = build_objective(method, max_tokens=10)
    lengths = torch.tensor([[6, 7, 8, 10]])
    rewards = torch.zeros(1, 4, dtype=torch.float64)
    shaped = torch.tensor([[0.0, -0.5, -1.0, -2.0]], dtype=torch.float64)
    wanted = (shaped - shaped.mean()) / (shaped.std() + 1e-4)
    assert torch.allclose(objective.advantages(rewards, lengths).double(), wanted, atol=1e-6)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_kl_estimators_are_zero_at_equality_and_right_on_average(estimator):
    generator = torch.Generator().manual_seed(0)
    p, q = torch.softmax(torch.randn(2, 50, generator=generator, dtype=torch.float64), dim=1)
    drawn = torch.multinomial(p, 400_000, replacement=True, generator=generator)
    t = replace(
        tokens(),
        logprobs_K=p[drawn].log(),
        reference_logprobs_K=q[drawn].log(),
    )
    estimates = KlPenalty(1.0, estimator).of(t)
    exact = (p * (p / q).log()).sum().item()
    if estimator != "k2":  # k2 is biased where the two are far apart
        assert estimates.mean().item() == pytest.approx(exact, rel=0.02)
    if estimator != "k1":
        assert (estimates >= 0).all()
    same = replace(t, reference_logprobs_K=t.logprobs_K)
    assert not KlPenalty(1.0, estimator).of(same).any()
