"""The controller's handle on a run's enclave: its start, its keys, its commands.

The enclave reports through the data broker's gate, which decides what may pass. Here each answer is
held against the command that it answers and against the signed manifests before it is logged: an
enclave that leaves its answer out, gives it twice, or answers something else raises
``ChannelViolation``, which ends the run.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from strongroom.audit.events import types as events
from strongroom.crypto.digests import canonical
from strongroom.enclave.channel import frames
from strongroom.enclave.channel.errors import ChannelViolation
from strongroom.enclave.evidence import Evidence, evidence_digest
from strongroom.enclave.plan.document import Plan
from strongroom.enclave.plan.objects import RunLayout
from strongroom.pipeline.broker import messages
from strongroom.pipeline.run.connections import Connections
from strongroom.pipeline.run.manifests import Manifests
from strongroom.pipeline.run.record.recorder import Recorder
from strongroom.pipeline.run.stored import create_or_compare, stored_keyset

A = TypeVar(
    "A",
    frames.ShardVerified,
    frames.Evaluated,
    frames.CheckpointWritten,
    frames.EvaluatorTested,
)


class RunEnclave:
    """The enclave of one run."""

    def __init__(
        self, plan: Plan, manifests: Manifests, connections: Connections, recorder: Recorder
    ) -> None:
        self._plan = plan
        self._layout = RunLayout(plan.outputs, plan.run)
        self._manifests = manifests
        self._broker = connections.data
        self._releaser = connections.releaser
        self._journal = connections.journal
        self._recorder = recorder
        self._reports: list[frames.Report] = []
        connections.on_report = self._report

    # ---- its life --------------------------------------------------------------------------

    def start(self, evaluator: bytes = b"") -> Evidence:
        """Start the enclave on the plan and log what it says of itself.

        ``evaluator`` is the evaluator's source where it does not lie in the run's folder.
        """
        self._recorder.enter("enclave")
        # A1 is the most that an enclave can show; the releaser refuses it where a plan wants more.
        assurance = self._plan.run_file.enclave.assurance
        evidence = self._broker.start_enclave(
            messages.StartEnclave(
                plan=self._plan.to_json(),
                nonce=self._releaser.challenge(),
                assurance="A0" if assurance == "A0" else "A1",
                evaluator=evaluator,
            )
        )
        event = events.EnclaveStarted(
            measurement=evidence.measurement,
            assurance=evidence.assurance,
            evidence=evidence_digest(evidence),
            signing_key=evidence.signing_key,
            probes=evidence.probes,
        )
        self._journal.record("enclave", event)
        return evidence

    def release_keys(self, evidence: Evidence, *, keep: bool = True) -> None:
        """Get the keys from the releaser, which logs what it does, and hand them in.

        Without ``keep`` a new output keyset is not written: nothing will be sealed under it.
        """
        self._recorder.enter("release")
        outputs = stored_keyset(self._layout, self._broker)
        released = self._releaser.release_run(
            self._journal.run,
            self._plan.to_json(),
            msgspec.json.encode(evidence),
            self._manifests.envelopes(),
            outputs,
        )
        if outputs is None and keep:
            # Before anything is sealed under it: else a crash, or a second resume that wrote its
            # own in the meantime, would leave outputs that nobody can read.
            create_or_compare(self._broker, self._layout.keys, canonical(released.keyset))
        self._broker.give_keys(released.sealed)

    def stop(self) -> None:
        """End it in good order; what it has still to say comes first."""
        self._broker.stop_enclave()

    # ---- its commands ----------------------------------------------------------------------

    def verify(self, dataset: frames.Dataset, shard: int) -> frames.ShardVerified:
        """Authenticate one shard and check its records."""
        self._run(frames.Verify(dataset=dataset, shard=shard))
        receipt = self._answer(frames.ShardVerified)
        pinned = self._manifests.of(dataset).shards[shard]
        self._require(
            (receipt.dataset, receipt.shard) == (dataset, shard), f"shard {shard} of {dataset}"
        )
        self._require(
            receipt.records + receipt.bad_records == pinned.records
            and receipt.plaintext_bytes == pinned.plaintext_bytes,
            "the records that the manifest says",
        )
        self._recorder.shard_opened(dataset, shard)
        return receipt

    def evaluate(self, phase: frames.Phase, step: int) -> None:
        """Score the held-out rows with the adapter of the checkpoint after ``step``."""
        self._run(frames.Evaluate(phase=phase, step=step))
        evaluated = self._answer(frames.Evaluated)
        self._require(evaluated.phase == phase, f"the evaluation {phase}")
        self._require(
            evaluated.rows == self._manifests.held_out.manifest.records, "all held-out rows"
        )
        self._recorder.evaluated(evaluated)

    def train(self, from_step: int, to_step: int) -> None:
        """Train from one checkpoint to the next."""
        self._run(frames.Train(from_step=from_step, to_step=to_step))
        written = self._answer(frames.CheckpointWritten)
        self._require(written.step == to_step, f"the checkpoint of step {to_step}")
        self._recorder.checkpoint_written(written)

    def test_evaluator(
        self, rows: int, samples: int
    ) -> tuple[frames.EvaluatorTested, list[frames.EvaluatorFault]]:
        """Try the evaluator; its sums, and the calls that failed."""
        self._run(frames.TestEvaluator(rows=rows, samples=samples))
        tested = self._answer(frames.EvaluatorTested)
        faults = [each for each in self._reports if isinstance(each, frames.EvaluatorFault)]
        return tested, faults

    def _run(self, command: frames.Command) -> None:
        self._reports.clear()
        self._broker.command(command)

    def _report(self, report: frames.Report) -> None:
        self._reports.append(report)
        self._recorder.report(report)

    def _answer(self, kind: type[A]) -> A:
        """The one answer to the last command."""
        found = [report for report in self._reports if isinstance(report, kind)]
        self._require(len(found) == 1, f"one {kind.__name__}")
        return found[0]

    @staticmethod
    def _require(condition: bool, expected: str) -> None:
        if not condition:
            raise ChannelViolation(place="enclave", expected=expected, actual="something else")
