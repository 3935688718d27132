"""Errors of the broker process, and of what it refuses."""

from __future__ import annotations

from strongroom.errors import Exit, Fault
from strongroom.pipeline.errors import ProcessError


class BrokerLost(ProcessError):
    """The broker process ended while the controller waited for it."""

    code = "SR-PROC-001"
    title = "the broker ended unexpectedly"
    remedy = "Nothing is lost: continue with `strongroom resume RUN`."


class PurposeRefused(ProcessError):
    """A broker was asked for an object outside the purpose's scope."""

    code = "SR-PROC-003"
    title = "the broker refused an object outside its scope"
    fault = Fault.POLICY
    exit_code = Exit.DENIED
    remedy = "The plan lists every object of a run; see `strongroom plan RUN.yaml`."


class OutputConflict(ProcessError):
    """An output object exists with other bytes."""

    code = "SR-RUN-201"
    title = "an output object exists with other content"
    fault = Fault.INPUT
    exit_code = Exit.INTEGRITY
    remedy = "Nothing was overwritten. Start a new run; keep this one for the investigation."
