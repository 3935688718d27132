"""Training methods: what each makes of rewards and log-probabilities.

The loop knows only :class:`Objective`. A method is one file here, one configuration in
``trainer.config`` and one case in :func:`build_objective`.
"""

from __future__ import annotations

from typing import Any

from strongroom.trainer import config as settings
from strongroom.trainer.losses.cispo import Cispo
from strongroom.trainer.losses.dapo import Dapo
from strongroom.trainer.losses.dr_grpo import DrGrpo
from strongroom.trainer.losses.grpo import Grpo
from strongroom.trainer.losses.gspo import Gspo
from strongroom.trainer.losses.objective import (
    KlPenalty,
    LossInput,
    LossOutput,
    Objective,
    truncated_correction,
)
from strongroom.trainer.losses.rloo import Rloo

__all__ = [
    "KlPenalty",
    "LossInput",
    "LossOutput",
    "Objective",
    "build_objective",
    "truncated_correction",
]


def build_objective(method: settings.Method, max_tokens: int) -> Objective:
    """The objective that ``method`` names, for completions of up to ``max_tokens``."""
    match method:
        case settings.GrpoMethod():
            return Grpo(**_clipped(method))
        case settings.DrGrpoMethod():
            return DrGrpo(**_clipped(method))
        case settings.DapoMethod():
            return Dapo(
                **_clipped(method),
                masks_truncated=method.mask_truncated,
                refills=method.refills,
                overlong_buffer=method.overlong_buffer,
                overlong_penalty=method.overlong_penalty,
                max_tokens=max_tokens,
            )
        case settings.GspoMethod():
            return Gspo(
                kl=_kl(method),
                clip=method.clip,
                clip_high=method.clip_high,
                per_token=method.level == "token",
            )
        case settings.CispoMethod():
            return Cispo(kl=_kl(method), cap=method.cap)
        case settings.RlooMethod():
            return Rloo(method.clip, method.clip)


def _clipped(method: settings.ClippedMethod) -> dict[str, Any]:
    return {
        "kl": _kl(method),
        "clip": method.clip,
        "clip_high": method.high,
        "ceiling": method.ratio_ceiling,
    }


def _kl(method: settings.PenalisedMethod) -> KlPenalty:
    return KlPenalty(method.kl, method.kl_estimator or "k3")
