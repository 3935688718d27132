"""Errors of trying and sealing evaluators."""

from __future__ import annotations

from errors import Exit, Fault
from pipeline.process_errors import ProcessError


class EvaluatorFileMissing(ProcessError):
    """The evaluator to seal is not there."""

    code = "SR-SEAL-010"
    title = "there is no evaluator to seal"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Name one Python file."


class TrialTooLarge(ProcessError):
    """More completions than the records of a trial can tell of."""

    code = "SR-RUN-230"
    title = "a trial of an evaluator has too many completions"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Ask for fewer --rows or --samples; their product counts."
