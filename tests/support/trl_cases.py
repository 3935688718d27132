"""Methods of ours and how TRL is told to do the same, for ``test_trl_oracle.py``."""

from __future__ import annotations

from dataclasses import dataclass

from strongroom.trainer import methods


@dataclass(frozen=True)
class Case:
    """A method of ours, TRL's settings for the same, and ours with one setting changed."""

    method: methods.Method
    trl: dict[str, object]
    wrong: methods.Method


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
        methods.GrpoMethod(), {"loss_type": "grpo", "epsilon": 0.2}, methods.GrpoMethod(clip=0.25)
    ),
    "grpo with kl": Case(
        methods.GrpoMethod(kl=0.05), {"loss_type": "grpo"} | K3, methods.GrpoMethod(kl=0.06)
    ),
    "grpo, two-sided": Case(
        methods.GrpoMethod(clip=0.1, clip_high=0.3, ratio_ceiling=1.5),
        {"loss_type": "grpo", "epsilon": 0.1, "epsilon_high": 0.3, "delta": 1.5},
        methods.GrpoMethod(clip=0.1, clip_high=0.3, ratio_ceiling=1.6),
    ),
    "dr_grpo": Case(methods.DrGrpoMethod(), DR_GRPO, methods.DrGrpoMethod(clip=0.25)),
    "dr_grpo with kl": Case(methods.DrGrpoMethod(kl=0.05), DR_GRPO | K3, methods.DrGrpoMethod()),
    "dapo": Case(methods.DapoMethod(), DAPO, methods.DapoMethod(clip_high=0.2)),
    "dapo with kl": Case(
        methods.DapoMethod(kl=0.05), DAPO | K3, methods.DapoMethod(kl=0.05, kl_estimator="k2")
    ),
    "gspo": Case(methods.GspoMethod(), GSPO, methods.GspoMethod(clip_high=0.2)),
    "gspo with kl": Case(methods.GspoMethod(kl=0.05), GSPO | K3, methods.GspoMethod(kl=0.06)),
    "cispo": Case(methods.CispoMethod(cap=1.1), CISPO, methods.CispoMethod(cap=1.2)),
    "cispo with kl": Case(
        methods.CispoMethod(cap=1.1, kl=0.05), CISPO | K3, methods.CispoMethod(cap=1.1, kl=0.06)
    ),
}
RLOO = Case(methods.RlooMethod(), {"epsilon": 0.2}, methods.RlooMethod(clip=0.25))
