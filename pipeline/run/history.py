"""What a run's log tells of it so far: how its training goes, and how it ended.

A session keeps one and lets it hear every event that it logs; whoever takes a run up again, or
checks it, lets it hear those of the log. So both know the same and decide the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from strongroom.audit.events import types as events
from strongroom.trainer.config import TrainingConfig
from strongroom.trainer.monitoring import Trend, best_step, reason_to_stop, step_seconds


@dataclass
class Course:
    """One run, as far as it is logged."""

    state: Literal["unknown", "running", "denied", "failed", "cancelled", "completed"] = "unknown"
    """After the last word on it: a failed run that was resumed runs."""
    last: events.EventData | None = None
    """The event that the state follows from."""
    plan: str = ""
    """Digest of the plan that was admitted or denied."""
    checkpoints: dict[int, events.CheckpointWritten] = field(default_factory=dict)
    scores: dict[int, float] = field(default_factory=dict)
    """Held-out scores of checkpoints while training, by step."""
    evaluations: dict[str, dict[str, float]] = field(default_factory=dict)
    """Held-out values before and after, by phase."""
    evaluated_rows: int = 0
    steps: list[dict[str, float]] = field(default_factory=list)
    """Metrics of steps 1, 2, …: of a repeated step, the last."""
    seconds: list[float] = field(default_factory=list)
    """Of each step that was ever done, repeated ones too."""
    alarms: set[str] = field(default_factory=set)
    finished: events.TrainingFinished | None = None
    _trends: list[Trend] = field(default_factory=list)
    """After each of ``steps``, so that a repeated step goes on from the one before it."""

    def hear(self, event: events.EventData) -> None:
        """Take one event in."""
        match event:
            case events.TrainingStep(step=step, values=values):
                del self.steps[step - 1 :]
                del self._trends[step - 1 :]
                self.steps.append(values)
                self._trends.append(self._trend.after(values))
                self.seconds.append(step_seconds(values))
            case events.TrainingAlarm(alarm=alarm):
                self.alarms.add(alarm)
            case events.CheckpointWritten(step=step):
                self.checkpoints[step] = event
            case events.EvaluationFinished(phase="during", step=step, values=values):
                self.scores[step] = values["score_mean"]
            case events.EvaluationFinished(phase=phase, values=values, records=records):
                self.evaluations[phase] = values
                self.evaluated_rows = records
            case events.TrainingFinished():
                self.finished = event
            case events.RunAdmitted(plan=plan) | events.RunResumed(plan=plan):
                self.state, self.last, self.plan = "running", event, plan
            case events.RunDenied(plan=plan):
                self.state, self.last, self.plan = "denied", event, plan
            case events.RunFailed():
                self.state, self.last = "failed", event
            case events.RunCancelled():
                self.state, self.last = "cancelled", event
            case events.RunCompleted():
                self.state, self.last = "completed", event

    @property
    def _trend(self) -> Trend:
        return self._trends[-1] if self._trends else Trend()

    @property
    def numbered_steps(self) -> list[dict[str, float]]:
        """What each step reported, with its number as ``step``."""
        return [{"step": at, **values} for at, values in enumerate(self.steps, start=1)]

    @property
    def checkpoint(self) -> int:
        """The step of the last checkpoint; 0 for none."""
        return max(self.checkpoints, default=0)

    @property
    def chosen(self) -> events.CheckpointWritten | None:
        """The checkpoint that is the run's result, once training has finished."""
        return self.checkpoints[self.finished.chosen] if self.finished else None

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
