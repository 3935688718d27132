"""Errors of trying and sealing evaluators."""

from __future__ import annotations

from errors import Exit, Fault
from pipeline.process_errors import ProcessError


class TrialTooLarge(ProcessError):
    """More completions than the records of a trial can tell of."""

    code = "SR-RUN-230"
    title = "a trial of an evaluator has too many completions"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Ask for fewer --rows or --samples; their product counts."
