"""What a person may say about training: frozen, keyword-only, unknown keys refused.

Methods and engines are discriminated by ``type``. A new method is one file in ``trainer/losses``,
one model here and one line in :data:`Method`; a new engine likewise.
Configurations build objects (``trainer.losses.build_objective``, ``trainer.engines.build_engine``);
the objects never read a configuration later.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

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


class GrpoMethod(_Config):
    """Group relative policy optimisation, arXiv:2402.03300."""

    type: Literal["grpo"] = Field(default="grpo", description="Names the method.")
    clip: float = Field(
        default=0.2, gt=0, lt=1, description="Ratio clip ε: ratios count within 1 - ε to 1 + ε."
    )
    kl: float = Field(
        default=0.0,
        ge=0,
        le=10,
        description="Weight β of the KL penalty to the base model; 0 leaves it out.",
    )


Method = GrpoMethod
"""Training methods. With a second one: ``Annotated[A | B, Field(discriminator="type")]``."""


class Sampling(_Config):
    """How completions are sampled during training. Evaluation is always greedy."""

    temperature: float = Field(
        default=1.0, gt=0, le=5, description="Softmax temperature; above 0, at most 5."
    )
    max_tokens: int = Field(
        default=256, ge=1, le=32768, description="Longest completion, in tokens."
    )


class HfEngine(_Config):
    """Samples with the policy's own transformers model, in the same memory."""

    type: Literal["hf"] = Field(default="hf", description="Names the engine.")


Engine = HfEngine
"""Rollout engines. With a second one: ``Annotated[A | B, Field(discriminator="type")]``."""


class TrainingConfig(_Config):
    """A training run's settings."""

    method: Method = Field(default_factory=GrpoMethod, description="The training method.")
    steps: int = Field(ge=1, le=1_000_000, description="Optimiser steps of the whole run.")
    prompts_per_step: int = Field(
        ge=1, le=4096, description="Rows in one step; each is one group of completions."
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
    max_prompt_tokens: int = Field(
        default=1024, ge=1, le=131072, description="Longest prompt, in tokens; longer is a fault."
    )
