"""Beam's graph of a run: how edge types are encoded, and that nothing else crosses an edge.

A coder refuses any object that is no edge type, and ``check_graph`` walks a built pipeline and
refuses every edge of another type.
"""

from __future__ import annotations

import typing
from typing import Any

import apache_beam as beam
import msgspec
from apache_beam import coders
from apache_beam.pipeline import PipelineVisitor
from apache_beam.typehints import typehints

from strongroom.pipeline.run import edges
from strongroom.pipeline.run.errors import EdgeRefused

_DECODER = msgspec.json.Decoder(typing.Union[edges.EDGE_TYPES])  # noqa: UP007


class HandleCoder(coders.Coder):  # type: ignore[misc]
    """Encodes edge types as JSON; refuses every other object."""

    def encode(self, value: object) -> bytes:
        """Raises ``EdgeRefused`` for anything that is not an edge type."""
        if type(value) not in edges.EDGE_TYPES:
            raise EdgeRefused(expected="a handle", actual=type(value).__name__)
        return msgspec.json.encode(value)

    def decode(self, encoded: bytes) -> Any:
        """The handle again."""
        return _DECODER.decode(encoded)

    def is_deterministic(self) -> bool:
        """Frozen structs of plain fields have one encoding."""
        return True


for _edge in edges.EDGE_TYPES:
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
    if kind in edges.EDGE_TYPES:
        return True
    if isinstance(kind, typehints.TupleHint.TupleConstraint):
        key, *values = kind.tuple_types
        return key is str and all(_allowed(value) for value in values)
    inner = getattr(kind, "inner_type", None)
    if isinstance(kind, typehints.IterableTypeConstraint) and inner is not None:
        return _allowed(inner)
    return False


Keyed = typing.Tuple[str, edges.ShardReceipt]  # noqa: UP006  Beam reads this form
