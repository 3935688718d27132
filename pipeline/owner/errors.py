"""Errors of sealing data and uploading models."""

from __future__ import annotations

from strongroom.errors import Exit, Fault
from strongroom.pipeline.errors import ProcessError


class DatasetMissing(ProcessError):
    """There is no manifest under the prefix."""

    code = "SR-SEAL-004"
    title = "there is no sealed dataset"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Check the prefix; a dataset exists once its manifest.json does."


class ModelFolderInvalid(ProcessError):
    """What should be uploaded is no base model."""

    code = "SR-SEAL-006"
    title = "the folder holds no base model"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Give the folder of a transformers model with weights in safetensors."


class OwnerHasNoAccess(ProcessError):
    """The data's owner cannot reach where inputs should go."""

    code = "SR-SEAL-005"
    title = "the data's owner has no access there"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = (
        "Name a prefix that `access` in the owner file (--owner) holds. Without an owner file, "
        "inputs go to the embedded stack's bucket."
    )


class DatasetExists(ProcessError):
    """The target prefix of a seal is not empty."""

    code = "SR-SEAL-001"
    title = "there is something under the dataset's prefix already"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = (
        "Datasets are never overwritten: choose another prefix. Shards without a manifest.json "
        "are left from a seal that was cut off; the bucket's owner may delete them."
    )


class SourceMissing(ProcessError):
    """The rows to seal are not there."""

    code = "SR-SEAL-002"
    title = "there are no rows to seal"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Name a file of rows (.jsonl, .jsonl.zst or .parquet), or a folder that holds some."


class DatasetNameInvalid(ProcessError):
    """A dataset's name cannot stand in a manifest."""

    code = "SR-SEAL-003"
    title = "this cannot be a dataset's name"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = (
        "Use 1 to 128 lower-case letters, digits, dots, hyphens and underscores, starting with a "
        "letter or digit (--name)."
    )


class EvaluatorFileMissing(ProcessError):
    """The evaluator to seal is not there."""

    code = "SR-SEAL-010"
    title = "there is no evaluator to seal"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Name one Python file."
