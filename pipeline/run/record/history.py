"""What a run's log says of it so far: how its training goes, and how it ended.

A session applies every event that it logs; a run that is resumed or checked is built from the
events of the log. So both know the same and decide the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from strongroom.audit.events import types as events
from strongroom.trainer.config import TrainingConfig
from strongroom.trainer.monitoring import Trend, best_step, reason_to_stop, step_seconds


@dataclass
class History:
    """One run, as far as it is logged."""

    state: Literal["unknown", "running", "denied", "failed", "cancelled", "completed"] = "unknown"
    """After the last event on it: a failed run that was resumed runs."""
    last: events.EventData | None = None
    """The event that the state follows from."""
    plan: str = ""
    """Digest of the plan that was admitted or denied."""
    admitted: set[str] = field(default_factory=set)
    """Digests of all plans that were admitted."""
    completed: bool = False
    """Whether the run ever completed, whatever came after."""
    checkpoints: dict[int, events.CheckpointWritten] = field(default_factory=dict)
    scores: dict[int, float] = field(default_factory=dict)
    """Held-out scores of checkpoints while training, by step."""
    before: events.EvaluationFinished | None = None
    after: events.EvaluationFinished | None = None
    """The held-out rows without an adapter, and with the one that was chosen."""
    steps: list[events.TrainingStep] = field(default_factory=list)
    """Steps 1, 2, …: of a repeated step, the last."""
    seconds: list[float] = field(default_factory=list)
    """Of each step that was ever done, repeated ones too."""
    alarms: set[str] = field(default_factory=set)
    finished: events.TrainingFinished | None = None
    _trends: list[Trend] = field(default_factory=list)
    """After each of ``steps``, so that a repeated step goes on from the one before it."""

    @classmethod
    def of(cls, log: Iterable[events.EventData]) -> History:
        """The history that these events make."""
        history = cls()
        for event in log:
            history.apply(event)
        return history

    def apply(self, event: events.EventData) -> None:
        """Take one event in."""
        match event:
            case events.TrainingStep(step=step, values=values):
                del self.steps[step - 1 :]
                del self._trends[step - 1 :]
                self.steps.append(event)
                self._trends.append(self._trend.after(values))
                self.seconds.append(step_seconds(values))
            case events.TrainingAlarm(alarm=alarm):
                self.alarms.add(alarm)
            case events.CheckpointWritten(step=step):
                self.checkpoints[step] = event
            case events.EvaluationFinished(phase="during", step=step, values=values):
                if "score_mean" in values:
                    self.scores[step] = values["score_mean"]
            case events.EvaluationFinished(phase="before"):
                self.before = event
            case events.EvaluationFinished():
                self.after = event
            case events.TrainingFinished():
                self.finished = event
            case events.RunAdmitted(plan=plan):
                self.state, self.last, self.plan = "running", event, plan
                self.admitted.add(plan)
            case events.RunResumed(plan=plan):
                self.state, self.last, self.plan = "running", event, plan
            case events.RunDenied(plan=plan):
                self.state, self.last, self.plan = "denied", event, plan
            case events.RunFailed():
                self.state, self.last = "failed", event
            case events.RunCancelled():
                self.state, self.last = "cancelled", event
            case events.RunCompleted():
                self.state, self.last = "completed", event
                self.completed = True

    @property
    def evaluations(self) -> dict[str, dict[str, float]]:
        """Held-out values before and after, by phase."""
        found = (self.before, self.after)
        return {each.phase: each.values for each in found if each is not None}

    @property
    def evaluated_rows(self) -> int:
        """Held-out rows of the last evaluation before or after; 0 for none."""
        last = self.after or self.before
        return last.records if last else 0

    @property
    def numbered_steps(self) -> list[dict[str, float]]:
        """What each step reported, with its number as ``step``."""
        return [{"step": at, **event.values} for at, event in enumerate(self.steps, start=1)]

    @property
    def checkpoint(self) -> int:
        """The step of the last checkpoint; 0 for none."""
        return max(self.checkpoints, default=0)

    @property
    def chosen(self) -> events.CheckpointWritten | None:
        """The checkpoint that is the run's result, once training has finished.

        None also where a log names one that it does not have.
        """
        return self.checkpoints.get(self.finished.chosen) if self.finished else None

    def new_alarms(self) -> list[events.TrainingAlarm]:
        """Alarms of the last step that there were not before."""
        found = [alarm for alarm in self._trend.alarms() if alarm not in self.alarms]
        return [events.TrainingAlarm(step=len(self.steps), alarm=alarm) for alarm in found]

    def ending(
        self, config: TrainingConfig, original: events.TrainingFinished | None = None
    ) -> events.TrainingFinished | None:
        """How training ends at the last checkpoint; None when it goes on.

        A replay ends where the ``original`` did, which may have been for lack of time.
        """
        step = self.checkpoint
        if original is not None:
            reason = original.reason if step == original.step else None
        elif step == config.steps:
            reason = "steps"
        else:
            alarmed = bool(self.alarms)
            reason = reason_to_stop(config, step, self.scores, self.seconds, alarmed)
        if reason is None or step == 0:
            return None
        chosen = best_step(self.scores) if config.publish == "best" else step
        return events.TrainingFinished(step=step, reason=reason, chosen=chosen)

    @property
    def _trend(self) -> Trend:
        return self._trends[-1] if self._trends else Trend()
