"""Errors of the trainer: the base model, the configuration's fit to it, checkpoints, evaluators."""

from __future__ import annotations

from strongroom.errors import Exit, Fault, StrongroomError


class TrainError(StrongroomError):
    """Branch of all trainer errors; never raised itself."""


class ModelFileMissing(TrainError):
    code = "SR-TRAIN-001"
    title = "a file of the base model is missing"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = (
        "A base model folder holds config.json, tokenizer.json, tokenizer_config.json and "
        "*.safetensors."
    )


class ModelFileInvalid(TrainError):
    code = "SR-TRAIN-002"
    title = "a file of the base model cannot be read"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Upload the base model again and pin its new digest."


class ModelMismatch(TrainError):
    code = "SR-TRAIN-003"
    title = "the base model's weights do not fit its config.json"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Use weights and config.json of the same model."


class ModelUnsupported(TrainError):
    code = "SR-TRAIN-004"
    title = "this kind of base model is not supported"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Use an unquantised model of a supported type, without code of its own."


class LoraTargetMissing(TrainError):
    code = "SR-TRAIN-005"
    title = "a LoRA target names no linear layer of the base model"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Name linear layers of the model, such as q_proj, k_proj, v_proj, o_proj."


class CheckpointInvalid(TrainError):
    code = "SR-TRAIN-006"
    title = "the checkpoint cannot be read"
    fault = Fault.PLATFORM
    exit_code = Exit.INTEGRITY
    remedy = "Resume from an earlier checkpoint of the run."


class CheckpointMismatch(TrainError):
    code = "SR-TRAIN-007"
    title = "the checkpoint belongs to another run"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Resume with the same base model and training settings that the run began with."


class EvaluatorMisbehaved(TrainError):
    code = "SR-TRAIN-008"
    title = "the evaluator did not return one finite score for each completion"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Return a finite number under 'score' for every conversation."


class NotFinite(TrainError):
    code = "SR-TRAIN-009"
    title = "training left the range of finite numbers"
    fault = Fault.INPUT
    exit_code = Exit.FAILED
    remedy = "Lower the learning rate, or resume from the last checkpoint with a new plan."


class RowsMissing(TrainError):
    code = "SR-TRAIN-010"
    title = "there is no row to work on"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Seal a data set with at least one row."


class EnvironmentMisbehaved(TrainError):
    code = "SR-TRAIN-020"
    title = "the environment did not give one answer for each conversation, the same for one row"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Let reset return the same messages whenever it gets the same row."


class ConversationFailed(TrainError):
    code = "SR-TRAIN-021"
    title = "a conversation cannot be written with the base model's chat template"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = (
        "Let the environment speak in roles that the template knows and begin with prompts that "
        "fit, or use a base model whose template does not rewrite earlier turns."
    )


class EngineMissing(TrainError):
    code = "SR-TRAIN-030"
    title = "the rollout engine's package is not installed"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Install the extra: `pip install 'strongroom[vllm]'`; or use `engine: {type: hf}`."


class EngineNotStarted(TrainError):
    code = "SR-TRAIN-031"
    title = "the rollout engine was not started on this policy"
    fault = Fault.PLATFORM
    exit_code = Exit.FAILED
    remedy = "Start the engine on the policy before training or evaluation."


class EngineUnfit(TrainError):
    code = "SR-TRAIN-032"
    title = "the rollout engine does not take this model or these settings"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = (
        "Raise kv_cache_mib or lower max_prompt_tokens and max_tokens, or use `engine: {type: hf}`."
    )


class CanariesMisfit(TrainError):
    code = "SR-TRAIN-040"
    title = "the secrets that measure memorisation cannot be planted"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = (
        "Plant fewer secrets or fewer copies, allow longer prompts, or leave "
        "training.memorisation out."
    )
