"""What a person may say about training: frozen, keyword-only, unknown keys refused.

Methods and engines are discriminated by ``type``. A new method is one file in ``trainer/losses``,
one model here, its name in :data:`Method` and one case in ``trainer.losses``; a new engine
likewise. Settings that do not go together are refused when the run file is read.
Configurations build objects (``trainer.losses.build_objective``, ``trainer.engines.build_engine``);
the objects never read a configuration later.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LoraConfig(_Config):
    """The low-rank adapter that is trained; the base model stays as it is (arXiv:2106.09685)."""

    rank: int = Field(default=8, ge=1, le=256, description="Rank of each update; 1 to 256.")
    alpha: float = Field(
        default=16.0, gt=0, le=1024, description="Updates are scaled by alpha / rank; above 0."
    )
    targets: tuple[str, ...] = Field(
        default=("q_proj", "k_proj", "v_proj", "o_proj"),
        min_length=1,
        description="Last part of the names of the linear layers that get an adapter.",
    )

    @model_validator(mode="after")
    def _targets_differ(self) -> Self:
        if len(set(self.targets)) != len(self.targets):
            raise ValueError("targets must not repeat a layer name")
        return self

    def peft(self) -> dict[str, Any]:
        """PEFT's ``adapter_config.json`` for such an adapter."""
        return {
            "bias": "none",
            "lora_alpha": self.alpha,
            "lora_dropout": 0.0,
            "peft_type": "LORA",
            "r": self.rank,
            "target_modules": list(self.targets),
            "task_type": "CAUSAL_LM",
        }


class PenalisedMethod(_Config):
    """What every method with a penalty to the base model has."""

    kl: float = Field(
        default=0.0,
        ge=0,
        le=10,
        description="Weight β of the KL penalty to the base model; 0 leaves it out.",
    )
    kl_estimator: Literal["k1", "k2", "k3"] | None = Field(
        default=None,
        description="Estimator of the divergence, as J. Schulman names them; k3 when not given. "
        "On-policy, the gradient of k1 is zero on average: it adds noise and does not hold the "
        "policy near the base model. Only with kl above 0.",
    )

    @model_validator(mode="after")
    def _estimator_has_a_use(self) -> Self:
        if self.kl_estimator is not None and self.kl == 0:
            raise ValueError("kl_estimator has no effect unless kl is above 0")
        return self


class ClippedMethod(PenalisedMethod):
    """What every method with PPO's clip has."""

    clip: float = Field(
        default=0.2, gt=0, lt=1, description="Ratio clip ε: ratios count from 1 - ε on."
    )
    clip_high: float | None = Field(
        default=None, gt=0, le=10, description="Ratios count up to 1 + this; clip when not given."
    )
    ratio_ceiling: float | None = Field(
        default=None,
        gt=1,
        le=1000,
        description="Two-sided clip: bounds the ratio of tokens that did badly, too; none when not "
        "given. Above 1 + clip_high.",
    )

    @property
    def high(self) -> float:
        """The upper clip width."""
        return self.clip if self.clip_high is None else self.clip_high

    @model_validator(mode="after")
    def _ceiling_is_above_the_clip(self) -> Self:
        if self.ratio_ceiling is not None and self.ratio_ceiling <= 1 + self.high:
            raise ValueError(f"ratio_ceiling must be above 1 + clip_high, {1 + self.high:g}")
        return self


class GrpoMethod(ClippedMethod):
    """Group relative policy optimisation, arXiv:2402.03300."""

    type: Literal["grpo"] = Field(default="grpo", description="Names the method.")


class DrGrpoMethod(ClippedMethod):
    """GRPO without its length and difficulty biases, arXiv:2503.20783."""

    type: Literal["dr_grpo"] = Field(default="dr_grpo", description="Names the method.")


class DapoMethod(ClippedMethod):
    """Decoupled clip and dynamic sampling, arXiv:2503.14476."""

    type: Literal["dapo"] = Field(default="dapo", description="Names the method.")
    clip_high: float | None = Field(
        default=0.28, gt=0, le=10, description="Ratios count up to 1 + this."
    )
    mask_truncated: bool = Field(
        default=True, description="Leave completions out of the loss that reached max_tokens."
    )
    overlong_buffer: int = Field(
        default=0,
        ge=0,
        le=32767,
        description="Tokens before max_tokens over which a completion loses reward; 0 for none. "
        "Below max_tokens, and only without mask_truncated.",
    )
    overlong_penalty: float = Field(
        default=1.0,
        gt=0,
        le=100,
        description="Reward lost by a completion of max_tokens. Only with overlong_buffer above 0.",
    )
    refills: int = Field(
        default=3,
        ge=0,
        le=100,
        description="Dynamic sampling: how often a step may sample further rows in place of groups "
        "whose scores are all equal or whose completions mask_truncated leaves out, all of them.",
    )

    @model_validator(mode="after")
    def _one_way_with_long_completions(self) -> Self:
        if self.overlong_buffer and self.mask_truncated:
            raise ValueError("overlong_buffer punishes what mask_truncated leaves out; choose one")
        if self.overlong_penalty != 1 and not self.overlong_buffer:
            raise ValueError("overlong_penalty has no effect unless overlong_buffer is above 0")
        return self


class GspoMethod(PenalisedMethod):
    """Group sequence policy optimisation, arXiv:2507.18071."""

    type: Literal["gspo"] = Field(default="gspo", description="Names the method.")
    level: Literal["sequence", "token"] = Field(
        default="sequence", description="token: the paper's GSPO-token, section 4.3."
    )
    clip: float = Field(
        default=3e-4, gt=0, lt=1, description="The completion's ratio counts from 1 - this on."
    )
    clip_high: float = Field(
        default=4e-4, gt=0, le=10, description="The completion's ratio counts up to 1 + this."
    )


class CispoMethod(PenalisedMethod):
    """Clipped importance sampling weights, arXiv:2506.13585."""

    type: Literal["cispo"] = Field(default="cispo", description="Names the method.")
    cap: float = Field(
        default=5.0, ge=1, le=1000, description="Largest weight of a token: bounds the ratio."
    )


class RlooMethod(_Config):
    """REINFORCE leave-one-out, arXiv:2402.14740."""

    type: Literal["rloo"] = Field(default="rloo", description="Names the method.")
    clip: float = Field(
        default=0.2,
        gt=0,
        lt=1,
        description="The completion's ratio counts within 1 - this to 1 + this.",
    )


Method = Annotated[
    GrpoMethod | DrGrpoMethod | DapoMethod | GspoMethod | CispoMethod | RlooMethod,
    Field(discriminator="type"),
]
"""Training methods."""


class Sampling(_Config):
    """How completions are sampled during training. Evaluation is always greedy."""

    temperature: float = Field(
        default=1.0, gt=0, le=5, description="Softmax temperature; above 0, at most 5."
    )
    max_tokens: int = Field(
        default=256, ge=1, le=32768, description="Longest completion, in tokens."
    )
    max_turns: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Completions in one conversation, at most. Above 1 the evaluator file's "
        "Environment answers them; max_tokens is then for each.",
    )
    max_context_tokens: int | None = Field(
        default=None,
        ge=1,
        le=131072,
        description="A conversation ends when its next completion might take it beyond this many "
        "tokens, prompt included; what the base model takes when not given. Only with max_turns "
        "above 1.",
    )

    @property
    def longest(self) -> int:
        """Tokens that can be sampled in one conversation, at most."""
        return self.max_tokens * self.max_turns

    @model_validator(mode="after")
    def _context_has_a_use(self) -> Self:
        if self.max_context_tokens is not None:
            if self.max_turns == 1:
                raise ValueError("max_context_tokens has no effect unless max_turns is above 1")
            if self.max_context_tokens <= self.max_tokens:
                raise ValueError("max_context_tokens must be above max_tokens")
        return self


class HfEngine(_Config):
    """Samples with the policy's own transformers model, in the same memory."""

    type: Literal["hf"] = Field(default="hf", description="Names the engine.")


class VllmEngine(_Config):
    """Samples with vLLM, in the same process. Needs the extra ``vllm``."""

    type: Literal["vllm"] = Field(default="vllm", description="Names the engine.")
    kv_cache_mib: int = Field(
        default=1024,
        ge=16,
        le=1 << 20,
        description="Memory for keys and values, in MiB. At least one prompt with its completion "
        "must fit.",
    )
    max_sequences: int = Field(
        default=64, ge=1, le=4096, description="Most completions that are drawn at once."
    )


Engine = Annotated[HfEngine | VllmEngine, Field(discriminator="type")]
"""Rollout engines."""


class EarlyStopping(_Config):
    """Ends training once the held-out score no longer rises."""

    patience: int = Field(
        ge=1, le=1000, description="Checkpoints in a row without a better score; then it ends."
    )
    min_gain: float = Field(
        default=0.0, ge=0, description="A score is better when above the best by more than this."
    )


class Memorisation(_Config):
    """Random secrets, planted in training rows to measure what the adapter remembers of them
    (exposure; Carlini et al., "The Secret Sharer", 2019)."""

    canaries: int = Field(default=8, ge=1, le=64, description="Secrets; 1 to 64.")
    repetitions: int = Field(
        default=4, ge=1, le=1000, description="Training rows that each secret is planted in."
    )
    words: int = Field(
        default=128,
        ge=16,
        le=512,
        description="Words that each of a secret's two words is drawn from; 128 make 14 bits.",
    )


class TrainingConfig(_Config):
    """A training run's settings."""

    method: Method = Field(default_factory=GrpoMethod, description="The training method.")
    steps: int = Field(ge=1, le=1_000_000, description="Optimiser steps of the whole run.")
    prompts_per_step: int = Field(
        ge=1, le=4096, description="Rows in one step; each is one group of completions."
    )
    updates_per_step: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Optimiser updates on each step's completions; above 1 the ratio counts.",
    )
    groups_per_pass: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        description="Groups in one pass through the model; fewer take less memory and change "
        "nothing else. All of a step when not given.",
    )
    sampler_correction: float | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Truncated importance sampling: weight each token by trainer over sampler "
        "probability, at most this; off when not given. Not with rloo.",
    )
    samples_per_prompt: int = Field(
        ge=2,
        le=1024,
        description="Completions in one group; at least 2, or the group has no baseline.",
    )
    learning_rate: float = Field(gt=0, le=1, description="AdamW's step size after warm-up.")
    warmup_steps: int = Field(
        default=5,
        ge=0,
        description="Steps over which the learning rate rises linearly to its full.",
    )
    sampling: Sampling = Field(default_factory=Sampling, description="How completions are drawn.")
    engine: Engine = Field(default_factory=HfEngine, description="What draws completions.")
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(
        default=0, description="Seed of the row order, the adapter's start and the sampling."
    )
    checkpoint_every: int = Field(
        default=20, ge=1, description="Steps between checkpoints; the last step always has one."
    )
    score_checkpoints: bool = Field(
        default=False, description="Score the held-out rows at every checkpoint, too."
    )
    publish: Literal["last", "best"] = Field(
        default="last",
        description="Which checkpoint is the result; best: of the highest held-out score, the "
        "earliest of equals. Needs score_checkpoints.",
    )
    early_stopping: EarlyStopping | None = Field(
        default=None,
        description="When to end before the last step; never when not given. Needs "
        "score_checkpoints.",
    )
    max_minutes: float | None = Field(
        default=None,
        gt=0,
        le=100_000,
        description="Budget of the time that steps take, for rollouts, scores and learning: a run "
        "ends at the last checkpoint that fits. Steps before an interruption count; start-up, "
        "held-out scores and checkpoints do not. No bound when not given.",
    )
    on_alarm: Literal["warn", "stop"] = Field(
        default="warn",
        description="What an alarm about the training does; stop: ends it at the next checkpoint.",
    )
    max_prompt_tokens: int = Field(
        default=1024, ge=1, le=131072, description="Longest prompt, in tokens; longer is a fault."
    )
    memorisation: Memorisation | None = Field(
        default=None,
        description="Plant random secrets in training rows and report how much of them the model "
        "remembers; off when not given, since it changes the rows.",
    )

    def context_tokens(self, max_positions: int) -> int:
        """Longest conversation, prompt included, on a base model of ``max_positions``."""
        return min(max_positions, self.sampling.max_context_tokens or max_positions)

    @model_validator(mode="after")
    def _settings_go_together(self) -> Self:
        method = self.method
        if isinstance(method, DapoMethod) and method.overlong_buffer >= self.sampling.longest:
            raise ValueError("overlong_buffer must be below sampling.max_tokens")
        if isinstance(method, RlooMethod) and self.sampler_correction is not None:
            raise ValueError("sampler_correction is per token; rloo's ratio is per completion")
        if self.groups_per_pass is not None and self.groups_per_pass > self.prompts_per_step:
            raise ValueError("groups_per_pass must not be above prompts_per_step")
        if not self.score_checkpoints and (self.publish == "best" or self.early_stopping):
            raise ValueError("publish: best and early_stopping need score_checkpoints: true")
        stops = self.early_stopping or self.max_minutes or self.on_alarm == "stop"
        if stops and self.checkpoint_every >= self.steps:
            raise ValueError(
                "early_stopping, max_minutes and on_alarm: stop end a run at a checkpoint before "
                "the last step, so checkpoint_every must be below steps"
            )
        planted = self.memorisation
        rows = self.steps * self.prompts_per_step
        if planted is not None and planted.canaries * planted.repetitions > rows:
            raise ValueError(f"memorisation needs more rows than the {rows} that the run trains on")
        return self
