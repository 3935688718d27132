"""Try an evaluator before a run: score completions of the base model, and report numbers.

The completions are those that the run's first steps would sample, of its own rows in their order,
from the base model with the adapter off. Unlike a run, a trial continues after a failing call, so
that all failures are reported, by row, code and line. Nothing is trained and nothing is written.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch

from strongroom.enclave.channel import capacity, frames
from strongroom.enclave.channel.outgoing_words import DETAILS
from strongroom.enclave.channel.progress import Progress
from strongroom.enclave.errors import EvaluatorError
from strongroom.enclave.evaluator.process import EvaluatorProcess
from strongroom.trainer.config import TrainingConfig
from strongroom.trainer.data.rows import Rows
from strongroom.trainer.engines import build_engine
from strongroom.trainer.model.lora import Policy
from strongroom.trainer.rollouts.conversations import Conversations
from strongroom.trainer.rollouts.evaluators import Job, Score
from strongroom.trainer.rollouts.scoring import scoring_jobs
from strongroom.trainer.steps.metrics import mean_metrics
from strongroom.trainer.steps.schedule import row_indices


def trial_rows(config: TrainingConfig, rows: int, n_rows: int) -> list[int]:
    """Indices of the first ``rows`` rows that a run of ``config`` samples from, each once."""
    count = min(rows, n_rows, config.steps * config.prompts_per_step)
    return row_indices(0, count, n_rows, config.seed)


def trial(
    policy: Policy,
    rows: Rows,
    indices: Sequence[int],
    samples: int,
    evaluator: EvaluatorProcess,
    config: TrainingConfig,
) -> Iterator[frames.Progress | frames.EvaluatorFault | frames.EvaluatorTested]:
    """The records of a trial on the rows of these ``indices``, ``samples`` completions each.

    The last one is the summary. A hanging or crashing evaluator ends the trial early.
    """
    found = _Findings()
    progress = Progress("trial", len(indices))
    for chunk in _completions(policy, rows, indices, samples, evaluator, config):
        for group in chunk:
            yield from found.score(evaluator, group)
        yield from progress.after(found.done // samples)
        if not evaluator.alive:
            break
    yield found.summary(len(indices))


def _completions(
    policy: Policy,
    rows: Rows,
    indices: Sequence[int],
    samples: int,
    evaluator: EvaluatorProcess,
    config: TrainingConfig,
) -> Iterator[list[list[Job]]]:
    """The groups of jobs of each step's rows. Raises what an environment raises."""
    engine = build_engine(config.engine, policy)
    conversations = Conversations(policy, engine, evaluator, config)
    generator = torch.Generator().manual_seed(config.seed)
    for start in range(0, len(indices), config.prompts_per_step):
        chosen = indices[start : start + config.prompts_per_step]
        with policy.reference():
            chunk, rollouts = conversations.hold(
                chosen,
                [rows[index] for index in chosen],
                samples,
                config.sampling.temperature,
                generator,
            )
        jobs = scoring_jobs(chosen, chunk, rollouts)
        yield [jobs[first : first + samples] for first in range(0, len(jobs), samples)]


@dataclass
class _Findings:
    """The results of a trial so far."""

    groups: list[list[Score]] = field(default_factory=list)
    """Scores by row; without those of failed calls."""
    whole: list[bool] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    """Of each call."""
    failures: int = 0
    """Completions without a score."""
    reported: int = 0
    """Failed calls of which a record was made."""

    @property
    def scores(self) -> list[Score]:
        return [score for group in self.groups for score in group]

    @property
    def done(self) -> int:
        return len(self.scores) + self.failures

    def score(
        self, evaluator: EvaluatorProcess, group: Sequence[Job]
    ) -> Iterator[frames.EvaluatorFault]:
        """Score one row's completions, together or one by one; yields a fault per failed call."""
        scores: list[Score] = []
        calls = [group] if evaluator.by_group else [[job] for job in group]
        for sample, call in enumerate(calls):
            if not evaluator.alive:
                break
            started = time.perf_counter()
            try:
                scores += map(_bounded, evaluator.score(call))
            except EvaluatorError as error:
                self.failures += len(call)
                yield from self._fault(error, call[0].row, -1 if evaluator.by_group else sample)
            self.seconds.append(time.perf_counter() - started)
        self.groups.append(scores)
        self.whole.append(len(scores) == len(group))

    def _fault(
        self, error: EvaluatorError, row: int, sample: int
    ) -> Iterator[frames.EvaluatorFault]:
        self.reported += 1
        if self.reported <= capacity.TRIAL_FAULT_LIMIT:
            yield frames.EvaluatorFault(
                row=row,
                sample=sample,
                code=error.code,
                detail=error.actual if error.actual in DETAILS else "",
                line=error.line or -1,
            )

    def summary(self, rows: int) -> frames.EvaluatorTested:
        """The trial in numbers."""
        numbers = [score.score for score in self.scores]
        values = {f"evaluator_{name}": v for name, v in mean_metrics(self.scores).items()}
        if self.seconds:
            values["seconds_mean"] = statistics.fmean(self.seconds)
            values["seconds_max"] = max(self.seconds)
        if numbers:
            values["score_mean"] = statistics.fmean(numbers)
            values["score_std"] = statistics.pstdev(numbers)
            values["score_min"], values["score_max"] = min(numbers), max(numbers)
        groups = [
            [score.score for score in group]
            for group, whole in zip(self.groups, self.whole, strict=True)
            if whole and len(group) > 1
        ]
        if groups:
            equal = [max(group) == min(group) for group in groups]
            values["zero_variance_share"] = statistics.fmean(equal)
            values["group_std_mean"] = statistics.fmean(map(statistics.stdev, groups))
        return frames.EvaluatorTested(
            rows=rows,
            completions=len(numbers),
            failures=self.failures,
            histogram=histogram(numbers),
            values={name: capacity.rounded(value) for name, value in sorted(values.items())},
        )


def _bounded(score: Score) -> Score:
    """The score clamped to what may leave, so that sums stay finite."""
    limit = 10.0**capacity.EXPONENTS.stop
    return Score(
        score=max(-limit, min(limit, score.score)),
        metrics={name: max(-limit, min(limit, value)) for name, value in score.metrics.items()},
    )


def histogram(numbers: Sequence[float]) -> tuple[int, ...]:
    """How many of ``numbers`` are in each tenth of the range from their least to their greatest.

    Equal numbers are all in the first.
    """
    counts = [0] * capacity.TRIAL_BINS
    if numbers:
        low, high = min(numbers), max(numbers)
        for number in numbers:
            part = (number - low) / (high - low) if high > low else 0.0
            counts[min(int(part * capacity.TRIAL_BINS), capacity.TRIAL_BINS - 1)] += 1
    return tuple(counts)
