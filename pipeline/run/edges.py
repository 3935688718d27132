"""What may cross an edge of the Beam graph: handles, digests and counts. Nothing else.

A runner writes whatever crosses an edge into its buffers, and into shuffle files on other
machines. So each edge type is one of the frozen records below, encoded by a coder that refuses any
other object, and ``check_graph`` walks a built pipeline and refuses every edge of another type.
"""

from __future__ import annotations

import typing
from typing import Any

import apache_beam as beam
import msgspec
from apache_beam import coders
from apache_beam.pipeline import PipelineVisitor
from apache_beam.typehints import typehints

from strongroom.pipeline.run.errors import EdgeRefused


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
_UNION = RunHandle | ShardHandle | ShardReceipt | TrainedHandle | EvaluatedHandle | PublishedHandle
_DECODER = msgspec.json.Decoder(_UNION)


class HandleCoder(coders.Coder):  # type: ignore[misc]
    """Encodes edge types as JSON; refuses every other object."""

    def encode(self, value: object) -> bytes:
        """Raises ``EdgeRefused`` for anything that is not an edge type."""
        if type(value) not in EDGE_TYPES:
            raise EdgeRefused(expected="a handle", actual=type(value).__name__)
        return msgspec.json.encode(value)

    def decode(self, encoded: bytes) -> Any:
        """The handle again."""
        return _DECODER.decode(encoded)

    def is_deterministic(self) -> bool:
        """Frozen structs of plain fields have one encoding."""
        return True


for _edge in EDGE_TYPES:
    coders.registry.register_coder(_edge, HandleCoder)

#: The one source of a graph, ``beam.Create`` of a handle: inside, Beam moves that handle's code.
SOURCE = "Run"


def check_graph(pipeline: beam.Pipeline) -> None:
    """Refuse a pipeline in which anything but handles (alone, keyed or grouped) crosses an edge.

    Raises ``EdgeRefused`` naming the transform.
    """

    class Visitor(PipelineVisitor):  # type: ignore[misc]
        def visit_transform(self, node: Any) -> None:
            in_source = node.full_label.startswith(f"{SOURCE}/")
            for output in node.outputs.values():
                kind = output.element_type
                if not (_allowed(kind) or (in_source and kind is bytes)):
                    raise EdgeRefused(
                        place=node.full_label,
                        expected="handles, digests and counts",
                        actual=str(kind),
                    )

        def enter_composite_transform(self, node: Any) -> None:
            # Of the source, only its own parts may hold bytes, and not what it gives.
            self.visit_transform(node)

    pipeline.visit(Visitor())


def _allowed(kind: Any) -> bool:
    if kind in EDGE_TYPES:
        return True
    if isinstance(kind, typehints.TupleHint.TupleConstraint):
        key, *values = kind.tuple_types
        return key is str and all(_allowed(value) for value in values)
    inner = getattr(kind, "inner_type", None)
    if isinstance(kind, typehints.IterableTypeConstraint) and inner is not None:
        return _allowed(inner)
    return False


Keyed = typing.Tuple[str, ShardReceipt]  # noqa: UP006  Beam reads this form
