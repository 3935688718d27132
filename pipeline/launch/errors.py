"""Errors of rendering a run for another machine."""

from __future__ import annotations

from strongroom.errors import Exit, Fault
from strongroom.pipeline.errors import ProcessError


class LaunchError(ProcessError):
    """Branch: writing a run as a job for another scheduler."""

    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT


class LoopbackEndpoint(LaunchError):
    code = "SR-LAUNCH-001"
    title = "another machine cannot reach this address"
    remedy = (
        "Name an address that the cluster can reach; the embedded stack is for one machine. "
        "--allow-loopback renders it all the same, to be looked at."
    )


class LaunchTooLarge(LaunchError):
    code = "SR-LAUNCH-002"
    title = "run file, evaluator and policy do not fit into one ConfigMap"
    remedy = "Seal the evaluator with `strongroom evaluator seal`, so that it stays in the bucket."


class NotText(LaunchError):
    code = "SR-LAUNCH-003"
    title = "a file of the run is not UTF-8 text"
    remedy = "Save it as UTF-8."
