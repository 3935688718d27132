"""What may cross an edge of the Beam graph: handles, digests and counts. Nothing else.

A runner writes whatever crosses an edge into its buffers, and into shuffle files on other
machines. So each edge type is one of the frozen records below; ``graph`` holds Beam to them.
"""

from __future__ import annotations

import msgspec


class Handle(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag=True):
    """Base of all edge types."""

    run: str


class RunHandle(Handle, frozen=True, kw_only=True):
    """An admitted run whose enclave has its keys."""

    plan_digest: str


class ShardHandle(Handle, frozen=True, kw_only=True):
    """One sealed shard, pinned."""

    dataset: str
    shard: int
    sha256: str


class ShardReceipt(Handle, frozen=True, kw_only=True):
    """What verifying one shard found."""

    dataset: str
    shard: int
    records: int
    bad_records: int


class TrainedHandle(Handle, frozen=True, kw_only=True):
    """The last checkpoint."""

    step: int
    adapter: str


class EvaluatedHandle(Handle, frozen=True, kw_only=True):
    """The last checkpoint, evaluated."""

    step: int
    adapter: str
    rows: int


class PublishedHandle(Handle, frozen=True, kw_only=True):
    """The result object."""

    result: str


EDGE_TYPES = (
    RunHandle,
    ShardHandle,
    ShardReceipt,
    TrainedHandle,
    EvaluatedHandle,
    PublishedHandle,
)
