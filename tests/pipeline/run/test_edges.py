"""Only handles cross an edge: by type when a graph is built, by coder when it runs."""

from __future__ import annotations

import datetime
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import msgspec
import pytest
from apache_beam import coders
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from strongroom.crypto.secrecy import Secret
from strongroom.pipeline.run import edges, graph
from strongroom.pipeline.run.errors import EdgeRefused
from strongroom.trainer.data.rows import Row

RUN = edges.RunHandle(run="r", plan_digest="sha256:" + "a" * 64)
SHARD = edges.ShardHandle(run="r", dataset="train", shard=1, sha256="sha256:" + "b" * 64)
RECEIPT = edges.ShardReceipt(run="r", dataset="train", shard=1, records=3, bad_records=0)
HANDLES = [
    RUN,
    SHARD,
    RECEIPT,
    edges.TrainedHandle(run="r", step=4, adapter="sha256:" + "c" * 64),
    edges.EvaluatedHandle(run="r", step=4, adapter="sha256:" + "c" * 64, rows=6),
    edges.PublishedHandle(run="r", result="sha256:" + "d" * 64),
]


class Plaintext(Secret):
    """Something that must never cross an edge."""


class SubHandle(edges.RunHandle, frozen=True, kw_only=True):
    """Not an edge type, however much it looks like one."""

    text: str = "row 17 says hello"


def new_pipeline() -> beam.Pipeline:
    return beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([]))


def source(pipeline: beam.Pipeline) -> Any:
    create = beam.Create([RUN], reshuffle=False).with_output_types(edges.RunHandle)
    return pipeline | graph.SOURCE >> create


def test_there_is_a_sample_of_every_edge_type():
    assert tuple(type(handle) for handle in HANDLES) == edges.EDGE_TYPES


@pytest.mark.parametrize("handle", HANDLES, ids=lambda handle: type(handle).__name__)
def test_handles_round_trip(handle):
    coder = coders.registry.get_coder(type(handle))
    assert isinstance(coder, graph.HandleCoder)
    assert coder.decode(coder.encode(handle)) == handle
    assert coder.is_deterministic()


@pytest.mark.parametrize(
    "value",
    [
        b"row 17 says hello",
        "row 17 says hello",
        {"messages": ["row 17 says hello"]},
        ("r", RECEIPT),
        [RUN],
        None,
        17,
        Row(messages=(), ground_truth="row 17 says hello"),
        Plaintext(),
        SubHandle(run="r", plan_digest="d"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_coder_refuses_everything_else(value):
    with pytest.raises(EdgeRefused) as caught:
        graph.HandleCoder().encode(value)
    assert caught.value.actual == type(value).__name__
    assert "hello" not in str(caught.value)


@pytest.mark.parametrize(
    "encoded", [b"", b"{}", b'{"type":"Row"}', b'{"type":"RunHandle","run":"r","note":"x"}']
)
def test_the_coder_reads_nothing_else(encoded):
    with pytest.raises(msgspec.DecodeError):
        graph.HandleCoder().decode(encoded)


@pytest.mark.parametrize("handle", HANDLES, ids=lambda handle: type(handle).__name__)
def test_handles_hold_numbers_digests_and_ids(handle):
    for field in msgspec.structs.fields(type(handle)):
        assert field.type in (int, str)
    assert not hasattr(handle, "__dict__")


@pytest.mark.parametrize(
    "kind",
    [
        bytes,
        str,
        int,
        dict,
        dict[str, str],
        Row,
        Plaintext,
        SubHandle,
        Any,
        object,
        list[bytes],
        edges.Handle,
        typing.Tuple[str, bytes],  # noqa: UP006  Beam reads this form
        typing.Tuple[bytes, edges.ShardReceipt],  # noqa: UP006
        typing.Tuple[str, edges.ShardReceipt, bytes],  # noqa: UP006
        typing.Union[edges.RunHandle, bytes],  # noqa: UP007
        typing.Optional[edges.RunHandle],  # noqa: UP045
        typing.Iterable[bytes],
    ],
    ids=str,
)
def test_an_edge_of_another_type_is_refused(kind):
    pipeline = new_pipeline()
    _ = source(pipeline) | "Leak" >> beam.Map(lambda run: run).with_output_types(kind)
    with pytest.raises(EdgeRefused) as caught:
        graph.check_graph(pipeline)
    assert caught.value.place.startswith("Leak")


def test_an_edge_without_a_type_is_refused():
    pipeline = new_pipeline()
    _ = source(pipeline) | "Leak" >> beam.Map(lambda run: [b"row 17 says hello"])
    with pytest.raises(EdgeRefused):
        graph.check_graph(pipeline)


def test_a_second_output_is_an_edge_too():
    class Split(beam.DoFn):  # type: ignore[misc]
        def process(self, run: edges.RunHandle) -> Iterator[Any]:
            yield run
            yield beam.pvalue.TaggedOutput("rows", b"row 17 says hello")

    pipeline = new_pipeline()
    outputs = source(pipeline) | "Leak" >> beam.ParDo(Split()).with_outputs("rows", main="main")
    assert outputs.rows is not None
    with pytest.raises(EdgeRefused):
        graph.check_graph(pipeline)


@pytest.mark.parametrize("kind", [bytes, str, dict])
def test_another_source_is_refused(kind):
    pipeline = new_pipeline()
    _ = pipeline | graph.SOURCE >> beam.Create([kind()], reshuffle=False).with_output_types(kind)
    with pytest.raises(EdgeRefused):
        graph.check_graph(pipeline)


@pytest.mark.parametrize(
    "kind",
    [*edges.EDGE_TYPES, graph.Keyed, typing.Iterable[edges.ShardReceipt]],
    ids=str,
)
def test_edges_of_handles_pass(kind):
    pipeline = new_pipeline()
    _ = source(pipeline) | "Next" >> beam.Map(lambda run: run).with_output_types(kind)
    graph.check_graph(pipeline)


def test_grouped_handles_pass():
    pipeline = new_pipeline()
    keyed = source(pipeline) | "Key" >> beam.Map(lambda _: ("r", RECEIPT)).with_output_types(
        graph.Keyed
    )
    _ = keyed | "Group" >> beam.GroupByKey()
    graph.check_graph(pipeline)


def run_grouped(emitted: list[Any], out: Path) -> list[Any]:
    """A pipeline with a shuffle in the middle, which only encoded values cross."""

    def emit(_run: edges.RunHandle) -> Iterator[Any]:
        for value in emitted:
            yield "r", value

    def note(grouped: tuple[str, Iterable[Any]]) -> edges.RunHandle:
        out.write_bytes(msgspec.json.encode(list(grouped[1])))
        return RUN

    pipeline = new_pipeline()
    _ = (
        source(pipeline)
        | "Emit" >> beam.FlatMap(emit).with_output_types(graph.Keyed)
        | "Group" >> beam.GroupByKey()
        | "Note" >> beam.Map(note).with_output_types(edges.RunHandle)
    )
    graph.check_graph(pipeline)
    pipeline.run().wait_until_finish()
    return msgspec.json.decode(out.read_bytes(), type=list[edges.ShardReceipt])


def test_a_runner_uses_the_coder(monkeypatch, tmp_path):
    encoded: list[object] = []
    encode = graph.HandleCoder.encode

    def listen(self: graph.HandleCoder, value: object) -> bytes:
        encoded.append(value)
        return encode(self, value)

    monkeypatch.setattr(graph.HandleCoder, "encode", listen)
    other = msgspec.structs.replace(RECEIPT, shard=2)
    assert run_grouped([RECEIPT, other], tmp_path / "out") == [RECEIPT, other]
    assert [receipt for receipt in (RECEIPT, other) if receipt not in encoded] == []


@pytest.mark.parametrize(
    "value",
    [b"row 17 says hello", {"content": "row 17 says hello"}, datetime.date(2026, 1, 1)],
    ids=lambda value: type(value).__name__,
)
def test_a_runner_stops_at_what_has_no_coder(value, tmp_path):
    """The graph's types said otherwise; the coder looks at the value itself."""
    with pytest.raises(Exception, match="SR-PROC-004") as caught:
        run_grouped([value], tmp_path / "out")
    assert "hello" not in str(caught.value)
