"""Settings of the training methods, told apart by ``type``; their losses are in ``trainer.losses``.

Without torch, since the run file is read where there is none. Settings that contradict each other
or have no effect are refused.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from strongroom.trainer.settings import Settings


class PenalisedMethod(Settings):
    """Settings of every method with a penalty to the base model."""

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
    """Settings of every method with PPO's clip."""

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


class RlooMethod(Settings):
    """REINFORCE leave-one-out, arXiv:2402.14740."""

    type: Literal["rloo"] = Field(default="rloo", description="Names the method.")
    clip: float = Field(
        default=0.2,
        gt=0,
        lt=1,
        description="The completion's ratio counts within 1 - this to 1 + this.",
    )


AnyMethod = GrpoMethod | DrGrpoMethod | DapoMethod | GspoMethod | CispoMethod | RlooMethod
Method = Annotated[AnyMethod, Field(discriminator="type")]
"""One of the training methods; each has its row in ``trainer.losses``."""
