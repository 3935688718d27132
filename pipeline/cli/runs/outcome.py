"""How a run ended, as a command prints it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.pipeline.cli.console import out, print_json

if TYPE_CHECKING:
    from strongroom.pipeline.controller import Outcome


def show_outcome(outcome: Outcome, as_json: bool) -> None:
    """How a run ended."""
    if as_json:
        print_json(
            {
                "run": outcome.run,
                "step": outcome.step,
                "trained_steps": outcome.trained_steps,
                "ended": outcome.ended,
                "alarms": outcome.alarms,
                "adapter_sha256": outcome.adapter,
                "evaluation": outcome.evaluations,
                "outputs": outcome.folder,
            }
        )
        return
    for phase, values in outcome.evaluations.items():
        numbers = "  ".join(f"{name} {value:g}" for name, value in sorted(values.items()))
        out.say(f"{phase:<7} {numbers}")
    if outcome.ended != "steps" or outcome.step != outcome.trained_steps:
        out.say(
            f"ended after step {outcome.trained_steps} ({outcome.ended}); the result is the "
            f"checkpoint of step {outcome.step}"
        )
    out.say(f"adapter {outcome.adapter}")
    out.say(f"outputs {outcome.folder}")
