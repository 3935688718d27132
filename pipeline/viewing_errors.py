"""Errors of ``strongroom rollouts``."""

from __future__ import annotations

from errors import Exit, Fault, StrongroomError


class ViewError(StrongroomError):
    """Branch: showing a run's rollouts to a key holder."""

    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT


class RolloutsMissing(ViewError):
    """There is no checkpoint of this step, so no rollouts either."""

    code = "SR-VIEW-001"
    title = "the run has no rollouts of this step"
    remedy = "Name a step with a checkpoint, or none for the last: `strongroom rollouts RUN`."


class OutputIsFile(ViewError):
    """Standard output is a regular file, to which a viewer cannot write."""

    code = "SR-VIEW-002"
    title = "rollouts are shown and not stored"
    remedy = (
        "The viewer may write no file. Show them on a terminal, or decide to keep plaintext: "
        "`strongroom rollouts RUN | cat > FILE`."
    )
