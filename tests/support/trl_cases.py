"""Methods of ours and how TRL is told to do the same, for ``test_trl_oracle.py``."""

from __future__ import annotations

from dataclasses import dataclass

from strongroom.trainer import config


@dataclass(frozen=True)
class Case:
    """A method of ours, TRL's settings for the same, and ours with one setting changed."""

    method: config.Method
    trl: dict[str, object]
    wrong: config.Method


K3 = {"beta": 0.05, "use_bias_correction_kl": False}
DAPO = {
    "loss_type": "dapo",
    "epsilon": 0.2,
    "epsilon_high": 0.28,
    "mask_truncated_completions": True,
}
GSPO = {
    "loss_type": "grpo",
    "importance_sampling_level": "sequence",
    "epsilon": 3e-4,
    "epsilon_high": 4e-4,
}
CISPO = {"loss_type": "cispo", "epsilon_high": 1.1}
DR_GRPO = {"loss_type": "dr_grpo", "scale_rewards": "none"}
CASES = {
    "grpo": Case(
        config.GrpoMethod(), {"loss_type": "grpo", "epsilon": 0.2}, config.GrpoMethod(clip=0.25)
    ),
    "grpo with kl": Case(
        config.GrpoMethod(kl=0.05), {"loss_type": "grpo"} | K3, config.GrpoMethod(kl=0.06)
    ),
    "grpo, two-sided": Case(
        config.GrpoMethod(clip=0.1, clip_high=0.3, ratio_ceiling=1.5),
        {"loss_type": "grpo", "epsilon": 0.1, "epsilon_high": 0.3, "delta": 1.5},
        config.GrpoMethod(clip=0.1, clip_high=0.3, ratio_ceiling=1.6),
    ),
    "dr_grpo": Case(config.DrGrpoMethod(), DR_GRPO, config.DrGrpoMethod(clip=0.25)),
    "dr_grpo with kl": Case(config.DrGrpoMethod(kl=0.05), DR_GRPO | K3, config.DrGrpoMethod()),
    "dapo": Case(config.DapoMethod(), DAPO, config.DapoMethod(clip_high=0.2)),
    "dapo with kl": Case(
        config.DapoMethod(kl=0.05), DAPO | K3, config.DapoMethod(kl=0.05, kl_estimator="k2")
    ),
    "gspo": Case(config.GspoMethod(), GSPO, config.GspoMethod(clip_high=0.2)),
    "gspo with kl": Case(config.GspoMethod(kl=0.05), GSPO | K3, config.GspoMethod(kl=0.06)),
    "cispo": Case(config.CispoMethod(cap=1.1), CISPO, config.CispoMethod(cap=1.2)),
    "cispo with kl": Case(
        config.CispoMethod(cap=1.1, kl=0.05), CISPO | K3, config.CispoMethod(cap=1.1, kl=0.06)
    ),
}
RLOO = Case(config.RlooMethod(), {"epsilon": 0.2}, config.RlooMethod(clip=0.25))
