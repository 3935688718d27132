"""What can be wrong with a plan."""

from __future__ import annotations

from typing import ClassVar

from strongroom.errors import Exit, Fault, StrongroomError


class PlanError(StrongroomError):
    """Branch of the plan document."""

    fault: ClassVar[Fault] = Fault.INPUT
    exit_code: ClassVar[int] = Exit.INTEGRITY


class PlanMalformed(PlanError):
    code = "SR-RUN-030"
    title = "the plan document is not a plan of this version"
    remedy = "Plan the run again; a plan is never edited"


class BadRunId(PlanError):
    code = "SR-RUN-032"
    title = "this is not a run id"
    exit_code = Exit.BAD_INPUT
    remedy = "Use 1 to 63 lower-case letters, digits and hyphens, starting with a letter"


class PlanInconsistent(PlanError):
    """A field of a plan is a function of others, and has another value."""

    code = "SR-RUN-033"
    title = "a field of the plan does not follow from the others"
    remedy = (
        "Whoever planned the run stated something that is not so. Plan it again on a machine that "
        "you trust"
    )
