"""Errors of planning a run."""

from __future__ import annotations

from strongroom.errors import Exit, Fault
from strongroom.pipeline.errors import ProcessError


class RunExists(ProcessError):
    """A run of this id is in the bucket already."""

    code = "SR-RUN-202"
    title = "a run with this id exists"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Continue it with `strongroom resume RUN`, or choose another --id."


class RunUnknown(ProcessError):
    """No run of this id is known here."""

    code = "SR-RUN-203"
    title = "no run with this id is known"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "List the runs with `strongroom status`."


class FactMissing(ProcessError):
    """Something that the plan needs is not in the bucket."""

    code = "SR-RUN-205"
    title = "something that the plan needs is missing"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Check the URI; datasets are put there with `strongroom seal`."


class IdentityMissing(ProcessError):
    """A run that needs bucket credentials names no identity."""

    code = "SR-RUN-207"
    title = "the run names no identity for its broker"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Add spec.identity: who issues the broker's web identity token."


class ReleaserMissing(ProcessError):
    """A run names no releaser."""

    code = "SR-RUN-208"
    title = "the run names no releaser"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Add spec.keys.releaser: the socket where the key owner's releaser listens."


class PlanNotAdmitted(ProcessError):
    """The stored plan is none that the log says was admitted."""

    code = "SR-RUN-213"
    title = "the stored plan is not the one that was admitted"
    fault = Fault.INPUT
    exit_code = Exit.INTEGRITY
    remedy = "Somebody changed plan.json. Restore its earlier version from the versioned bucket."


class IntentChanged(ProcessError):
    """The run file or the evaluator is not what was looked at when the run was planned."""

    code = "SR-RUN-222"
    title = "the run file asks for something else than was planned"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Plan again, look at the plan, and submit what it says."


class LogNotKept(ProcessError):
    """The run names another log than the one that its releaser keeps."""

    code = "SR-RUN-223"
    title = "the releaser keeps another log than the run names"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Set spec.audit to the log of the releaser at spec.keys.releaser."
