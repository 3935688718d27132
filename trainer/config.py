"""What a run file may set about training.

Methods and engines are told apart by ``type``. Settings that do not go together are refused when
the run file is read. Configurations build objects (``trainer.losses.build_objective``,
``trainer.engines.build_engine``), which do not read them again.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from strongroom.trainer.methods import DapoMethod, GrpoMethod, Method, RlooMethod
from strongroom.trainer.settings import Settings


class LoraConfig(Settings):
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


class Sampling(Settings):
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


class HfEngine(Settings):
    """Samples with the policy's own transformers model, in the same memory."""

    type: Literal["hf"] = Field(default="hf", description="Names the engine.")


class VllmEngine(Settings):
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


AnyEngine = HfEngine | VllmEngine
Engine = Annotated[AnyEngine, Field(discriminator="type")]
"""One of the rollout engines; each has its row in ``trainer.engines``."""


class EarlyStopping(Settings):
    """Ends training once the held-out score no longer rises."""

    patience: int = Field(
        ge=1, le=1000, description="Checkpoints in a row without a better score; then it ends."
    )
    min_gain: float = Field(
        default=0.0, ge=0, description="A score is better when above the best by more than this."
    )


class Memorisation(Settings):
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


class TrainingConfig(Settings):
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
