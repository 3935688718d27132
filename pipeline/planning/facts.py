"""What was found outside the run file before planning: datasets, model, code, buckets, keys.

Facts are collected by the broker and by the controller's own process and are plain data here.
The run file cannot state them, so policy can trust them as far as it trusts their collectors.
"""

from __future__ import annotations

import msgspec

from strongroom.enclave.plan.parts import (
    BucketFacts,
    CodeFacts,
    DatasetFacts,
    KmsFacts,
    ModelFile,
    PolicyFacts,
    Source,
)


class ModelFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The base model as it is in the bucket."""

    files: tuple[ModelFile, ...]


class Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that ``build_plan`` needs beside the run file."""

    train: DatasetFacts
    held_out: DatasetFacts
    model: ModelFacts
    evaluator: DatasetFacts | Source
    code: CodeFacts
    policy: PolicyFacts
    data_bucket: BucketFacts
    outputs_bucket: BucketFacts
    audit_bucket: BucketFacts
    kms: KmsFacts
    bfloat16: bool
    """Whether the processor has instructions for bfloat16."""
