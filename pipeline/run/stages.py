"""The Beam pipeline of a run: ``OpenDataset → VerifyShards → Train → Evaluate → Publish``.

The plan says which runner. Each ``DoFn`` finds the run's session by its id, in the worker's
process; what it emits is a handle. A ``DoFn``'s error is kept in the session and replaced by its
code alone, since Beam would put an exception's text into its own messages.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from strongroom.errors import StrongroomError
from strongroom.errors.defect import defect
from strongroom.pipeline.run import edges, graph
from strongroom.pipeline.run.runners import build_runner
from strongroom.pipeline.run.session import RunSession
from strongroom.pipeline.runfile.runners import RUNNER

# Beam logs each exception of a stage with a traceback; ``run_pipeline`` raises it.
logging.getLogger("apache_beam").setLevel(logging.CRITICAL)

_SESSIONS: dict[str, RunSession] = {}


class StageFailed(Exception):
    """A stage stopped; the session holds the error, this only its code."""


@contextmanager
def _stage(run: str) -> Iterator[RunSession]:
    session = _SESSIONS[run]
    try:
        yield session
    except KeyboardInterrupt:
        session.interrupted = True
        raise
    except StrongroomError as error:
        session.failure = session.failure or error
        raise StageFailed(error.code) from None
    except Exception as error:
        session.failure = session.failure or defect(error)
        raise StageFailed(session.failure.code) from None


class OpenDataset(beam.DoFn):  # type: ignore[misc]
    """One handle for each shard that the signed manifests list."""

    def process(self, run: edges.RunHandle) -> Iterator[edges.ShardHandle]:
        """A run's shards."""
        with _stage(run.run) as session:
            yield from session.open_datasets()


class VerifyShard(beam.DoFn):  # type: ignore[misc]
    """Authenticates one shard and checks its records, inside the enclave."""

    def process(self, shard: edges.ShardHandle) -> Iterator[tuple[str, edges.ShardReceipt]]:
        """The shard's receipt, keyed by run."""
        with _stage(shard.run) as session:
            yield shard.run, session.verify_shard(shard)


class Train(beam.DoFn):  # type: ignore[misc]
    """Trains once every shard of the run has its receipt."""

    def process(
        self, verified: tuple[str, Iterable[edges.ShardReceipt]]
    ) -> Iterator[edges.TrainedHandle]:
        """The last checkpoint."""
        run, receipts = verified
        with _stage(run) as session:
            yield session.train(list(receipts))


class Evaluate(beam.DoFn):  # type: ignore[misc]
    """Scores the held-out rows."""

    def process(self, trained: edges.TrainedHandle) -> Iterator[edges.EvaluatedHandle]:
        """The checkpoint, evaluated."""
        with _stage(trained.run) as session:
            yield session.evaluate(trained)


class Publish(beam.DoFn):  # type: ignore[misc]
    """Writes the result."""

    def process(self, evaluated: edges.EvaluatedHandle) -> Iterator[edges.PublishedHandle]:
        """The result's digest."""
        with _stage(evaluated.run) as session:
            yield session.publish(evaluated)


def build(pipeline: beam.Pipeline, run: edges.RunHandle) -> None:
    """The graph of one run, checked edge by edge."""
    _ = (
        pipeline
        | graph.SOURCE >> beam.Create([run], reshuffle=False).with_output_types(edges.RunHandle)
        | "OpenDataset" >> beam.ParDo(OpenDataset()).with_output_types(edges.ShardHandle)
        | "VerifyShards" >> beam.ParDo(VerifyShard()).with_output_types(graph.Keyed)
        | "AllVerified" >> beam.GroupByKey()
        | "Train" >> beam.ParDo(Train()).with_output_types(edges.TrainedHandle)
        | "Evaluate" >> beam.ParDo(Evaluate()).with_output_types(edges.EvaluatedHandle)
        | "Publish" >> beam.ParDo(Publish()).with_output_types(edges.PublishedHandle)
    )
    graph.check_graph(pipeline)


def run_pipeline(session: RunSession) -> None:
    """Run the graph to its end. Raises the session's error."""
    run = session.plan.run
    _SESSIONS[run] = session
    options = PipelineOptions([], save_main_session=False)
    runner = RUNNER.validate_python(session.plan.spec["spec"]["runner"])
    pipeline = beam.Pipeline(runner=build_runner(runner), options=options)
    try:
        build(pipeline, edges.RunHandle(run=run, plan_digest=session.plan.digest))
        pipeline.run().wait_until_finish()
    except Exception:
        if session.interrupted:
            raise KeyboardInterrupt from None
        if session.failure is None:
            raise
    finally:
        del _SESSIONS[run]
    if session.failure is not None:
        raise session.failure
