import re

import pydantic
import pytest

from strongroom.trainer.config import LoraConfig, Sampling, TrainingConfig
from strongroom.trainer.methods import GrpoMethod
from support import tiny_model as tiny

SETTINGS = {
    "steps": 60,
    "prompts_per_step": 4,
    "samples_per_prompt": 8,
    "learning_rate": 5e-4,
    "sampling": {"temperature": 1.0, "max_tokens": 10},
}


def test_run_file_form_is_accepted():
    config = TrainingConfig(
        **SETTINGS, method={"type": "grpo", "clip": 0.2, "kl": 0.0}, engine={"type": "hf"}
    )
    assert config.method == GrpoMethod()
    assert config.checkpoint_every == 20
    assert TrainingConfig(**config.model_dump(mode="json")) == config


def test_a_short_run_needs_no_other_defaults():
    """Three steps with the usual warm-up and checkpoint interval: the last step has its own."""
    config = TrainingConfig(**{**SETTINGS, "steps": 3})
    assert TrainingConfig(**config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    "change",
    [
        {"samples_per_prompt": 1},
        {"checkpoint_every": 0},
        {"warmup_steps": -1},
        {"learning_rate": float("nan")},
        {"learning_rate": 0},
        {"steps": 0},
        {"sampling": {"temperature": 0.0}},
        {"sampling": {"max_turns": 0}},
        {"sampling": {"max_context_tokens": 512}},
        {"sampling": {"max_tokens": 10, "max_turns": 2, "max_context_tokens": 10}},
        {"method": {"type": "gpro"}},
        {"method": {"type": "grpo", "clip": 1.0}},
        {"engine": {"type": "other"}},
        {"engine": {"type": "vllm", "kv_cache_mib": 1}},
        {"engine": {"type": "hf", "kv_cache_mib": 64}},
        {"seed": -1},
        {"step": 3},
    ],
)
def test_settings_that_make_no_sense_are_refused(change):
    with pytest.raises(pydantic.ValidationError):
        TrainingConfig(**{**SETTINGS, **change})


def test_a_conversation_s_length_is_that_of_its_turns():
    """So what is divided by, or punished near, the longest completion counts all of them."""
    assert Sampling(max_tokens=10).longest == 10
    assert Sampling(max_tokens=10, max_turns=3).longest == 30
    several = {**SETTINGS, "sampling": {"max_tokens": 10, "max_turns": 3}}
    dapo = {"type": "dapo", "mask_truncated": False, "overlong_buffer": 20}
    assert TrainingConfig(**several, method=dapo).method.overlong_buffer == 20
    with pytest.raises(pydantic.ValidationError, match="overlong_buffer"):
        TrainingConfig(**SETTINGS, method=dapo)


def test_the_room_of_a_conversation_is_the_smaller_of_two():
    several = {"max_tokens": 10, "max_turns": 2}
    narrow = TrainingConfig(**{**SETTINGS, "sampling": {**several, "max_context_tokens": 64}})
    wide = TrainingConfig(**{**SETTINGS, "sampling": several})
    assert (narrow.context_tokens(512), narrow.context_tokens(32)) == (64, 32)
    assert wide.context_tokens(512) == 512


def test_lora_targets_do_not_repeat():
    with pytest.raises(pydantic.ValidationError, match="repeat"):
        LoraConfig(targets=("q_proj", "q_proj"))


def test_configurations_are_frozen():
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        Sampling().temperature = 2.0


def test_every_field_is_described():
    for model in (TrainingConfig, GrpoMethod, LoraConfig, Sampling):
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": {"type": "grpo", "kl_estimator": "k1"}}, "unless kl is above 0"),
        ({"method": {"type": "grpo", "ratio_ceiling": 1.2}}, "above 1 + clip_high"),
        ({"method": {"type": "dapo", "overlong_buffer": 2}}, "choose one"),
        (
            {"method": {"type": "dapo", "mask_truncated": False, "overlong_buffer": 8}},
            "below sampling.max_tokens",
        ),
        (
            {"method": {"type": "dapo", "overlong_penalty": 2.0}},
            "unless overlong_buffer is above 0",
        ),
        ({"max_minutes": 5, "checkpoint_every": 6}, "must be below steps"),
        ({"on_alarm": "stop", "checkpoint_every": 6}, "must be below steps"),
        (
            {
                "early_stopping": {"patience": 1},
                "score_checkpoints": True,
                "checkpoint_every": 6,
            },
            "must be below steps",
        ),
        ({"method": {"type": "rloo"}, "sampler_correction": 2.0}, "per completion"),
        ({"method": {"type": "rloo", "kl": 0.1}}, "kl"),
        ({"method": {"type": "cispo", "clip": 0.1}}, "clip"),
        ({"groups_per_pass": 4}, "above prompts_per_step"),
        ({"method": {"type": "ppo"}}, "grpo"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(changes, said):
    settings = tiny.tiny_config().model_dump() | changes
    with pytest.raises(pydantic.ValidationError, match=re.escape(said)):
        TrainingConfig(**settings)


def test_what_is_refused_together_is_accepted_where_it_has_an_effect():
    dapo = {"type": "dapo", "mask_truncated": False, "overlong_buffer": 4, "overlong_penalty": 2.0}
    stops = {"max_minutes": 5, "on_alarm": "stop", "checkpoint_every": 5}
    config = TrainingConfig(**(tiny.tiny_config().model_dump() | stops | {"method": dapo}))
    assert config.method.overlong_penalty == 2.0
