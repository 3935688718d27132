"""Errors of the enclave: its lock-down and evidence (SR-ENCLAVE) and the evaluator (SR-EVAL).

None of them carries text that a customer's code or data chose: an evaluator's failure is reported
by row, line and the name of a built-in exception class, never by the exception's message.
"""

from __future__ import annotations

from typing import Any

from strongroom.errors import Exit, Fault, StrongroomError


class EnclaveError(StrongroomError):
    """Branch: an enclave's start, lock-down and evidence."""

    fault = Fault.PLATFORM
    exit_code = Exit.FAILED


class LockdownOrder(EnclaveError):
    code = "SR-ENCLAVE-001"
    title = "the lock-down was asked for when the process already had more than one thread"
    remedy = "Lock files and network first, before importing anything that starts threads."


class PlatformUnsupported(EnclaveError):
    code = "SR-ENCLAVE-002"
    title = "this machine cannot lock a process down"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Use Linux 6.2 or later on x86-64 with Landlock and seccomp, or assurance A0 to try."


class ChildSetupFailed(EnclaveError):
    code = "SR-ENCLAVE-003"
    title = "the evaluator's process did not come up"
    remedy = "Run `strongroom probe` to see which layer of the sandbox is missing."


class ScratchUnavailable(EnclaveError):
    code = "SR-ENCLAVE-004"
    title = "this machine cannot give an enclave a private folder in memory"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = (
        "Allow user namespaces or run as root, with /dev/shm there; or use `engine: {type: hf}`, "
        "which needs no folder."
    )


class MemoryExceeded(EnclaveError):
    code = "SR-ENCLAVE-005"
    title = "an enclave needs more memory than it may take"
    fault = Fault.INPUT
    remedy = (
        "Raise spec.enclave.memory for a run; elsewhere look for a file that stands for far more "
        "than its own size."
    )


class EvidenceMalformed(EnclaveError):
    code = "SR-ENCLAVE-010"
    title = "the enclave's evidence is malformed"
    exit_code = Exit.KEY_REFUSED
    remedy = "The enclave and the releaser are of different versions, or the evidence was altered."


class KeyRefused(EnclaveError):
    """Branch: the evidence is well formed, but not good enough for the key."""

    exit_code = Exit.KEY_REFUSED


class RoleMismatch(KeyRefused):
    code = "SR-ENCLAVE-011"
    title = "the evidence is for another role"
    remedy = "Ask for the key with the role that the plan names."


class AssuranceTooLow(KeyRefused):
    code = "SR-ENCLAVE-012"
    title = "the enclave's assurance is below what the key's owner asks for"
    fault = Fault.POLICY
    remedy = "Run at the assurance that the releaser asks for, or have its owner lower it."


class MeasurementUnknown(KeyRefused):
    code = "SR-ENCLAVE-013"
    title = "the enclave runs code that the key's owner has not approved"
    fault = Fault.POLICY
    remedy = (
        "Compare with `strongroom releaser measure` and approve this measurement, or install the "
        "approved code."
    )


class PlanDigestMismatch(KeyRefused):
    code = "SR-ENCLAVE-014"
    title = "the evidence is for another plan"
    remedy = "Plan and run again; the plan changed after the enclave was started."


class NonceMismatch(KeyRefused):
    code = "SR-ENCLAVE-015"
    title = "the evidence does not answer this challenge"
    remedy = "Ask again with a fresh challenge; if it repeats, evidence is being replayed."


class ProbeMissing(KeyRefused):
    code = "SR-ENCLAVE-016"
    title = "the evidence lacks a probe's result"
    remedy = "Install the same version of Strongroom for the enclave and the releaser."


class LayerOpen(KeyRefused):
    code = "SR-ENCLAVE-017"
    title = "a layer of the enclave's sandbox is open"
    remedy = "Run `strongroom probe` on the worker and repair the layer it names."


class SwapUnprotected(KeyRefused):
    code = "SR-ENCLAVE-018"
    title = "the host swaps and the enclave's memory is not locked"
    remedy = "Turn swap off, or raise the memory-lock limit (`ulimit -l unlimited`)."


class WarningMissing(KeyRefused):
    code = "SR-ENCLAVE-019"
    title = "the evidence does not name a weakness that its probes show"
    remedy = "Install the same version of Strongroom for the enclave and the releaser."


class EvaluatorError(StrongroomError):
    """Branch: the customer's evaluator failed.

    ``row`` is the row's index in its dataset; ``line`` and ``column`` are in the evaluator's
    source, from 1. Each is ``None`` when unknown; ``place`` is the same as text.
    """

    fault = Fault.INPUT
    exit_code = Exit.FAILED

    def __init__(
        self,
        *,
        row: int | None = None,
        line: int | None = None,
        column: int | None = None,
        place: str = "",
        expected: str = "",
        actual: str = "",
        remedy: str = "",
    ) -> None:
        self.row, self.line, self.column = row, line, column
        where = ":".join(["evaluator.py", *(str(n) for n in (line, column) if n is not None)])
        place = place or (where if row is None else f"{where}, row {row}")
        super().__init__(place=place, expected=expected, actual=actual, remedy=remedy)

    def __reduce__(self) -> tuple[Any, ...]:
        fields = ("row", "line", "column", "place", "expected", "actual")
        values = {name: getattr(self, name) for name in fields}
        return (_rebuild, (type(self), {**values, "remedy": self.fix}))


def _rebuild(cls: type[EvaluatorError], fields: dict[str, Any]) -> EvaluatorError:
    return cls(**fields)


class EvaluatorSyntax(EvaluatorError):
    code = "SR-EVAL-001"
    title = "the evaluator is not valid Python"
    exit_code = Exit.BAD_INPUT
    remedy = "Correct the line and try `python -m py_compile evaluator.py`."


class EvaluateMissing(EvaluatorError):
    code = "SR-EVAL-002"
    title = "the evaluator defines no function that scores"
    exit_code = Exit.BAD_INPUT
    remedy = (
        "Define evaluate(messages, ground_truth, **row), "
        "evaluate_group(completions, ground_truth, **row) or one @evaluation_test."
    )


class EvaluatorRaised(EvaluatorError):
    code = "SR-EVAL-003"
    title = "the evaluator raised an exception"
    remedy = "Run the evaluator on rows of this shape outside; the message stays in the enclave."


class EvaluatorTimedOut(EvaluatorError):
    code = "SR-EVAL-004"
    title = "the evaluator took too long"
    remedy = "Bound the work per row; a hanging evaluator is stopped and fails the run."


class EvaluatorExited(EvaluatorError):
    code = "SR-EVAL-005"
    title = "the evaluator ended its own process"
    remedy = "Return a score; do not call exit."


class EvaluatorForbidden(EvaluatorError):
    code = "SR-EVAL-006"
    title = "the evaluator asked for a file, a process or the network, which the enclave forbids"
    remedy = "Compute the score from the arguments alone, with the libraries that are installed."


class ScoreInvalid(EvaluatorError):
    code = "SR-EVAL-007"
    title = "the evaluator's answer is not a score"
    remedy = (
        "Return a number, or a dict whose score and metrics are numbers; "
        "write float(…) around a truth value."
    )


class ScoreNotFinite(EvaluatorError):
    code = "SR-EVAL-008"
    title = "the evaluator returned NaN, infinity, or a number beyond a thousand million"
    remedy = "Return numbers from -1e9 to 1e9; choose a score for such rows."


class MetricUndeclared(EvaluatorError):
    code = "SR-EVAL-009"
    title = "the evaluator returned a metric that the plan does not declare"
    remedy = "Declare the metric's name in the run file; undeclared names cannot leave."


class EvaluatorProtocol(EvaluatorError):
    code = "SR-EVAL-010"
    title = "the evaluator wrote to, or closed, the enclave's channel"
    remedy = "Touch no descriptor; answers leave through the return value alone."


class EvaluatorCrashed(EvaluatorError):
    code = "SR-EVAL-011"
    title = "the evaluator's process crashed"
    remedy = "Run the evaluator outside on rows of this shape; look for native code and recursion."


class EvaluatorTooLarge(EvaluatorError):
    code = "SR-EVAL-012"
    title = "the evaluator or a batch for it is too large"
    exit_code = Exit.BAD_INPUT
    remedy = "Keep the evaluator's source and the rows of a batch below the limit."


class EvaluatorAmbiguous(EvaluatorError):
    code = "SR-EVAL-013"
    title = "the evaluator has several functions that score, or an evaluation test of another mode"
    exit_code = Exit.BAD_INPUT
    remedy = "Keep one of them; an @evaluation_test must have mode pointwise or groupwise."


class EnvironmentMissing(EvaluatorError):
    code = "SR-EVAL-020"
    title = "max_turns is above 1, and the evaluator defines no environment"
    exit_code = Exit.BAD_INPUT
    remedy = "Define class Environment with reset and step, or leave max_turns at 1."


class EnvironmentUnused(EvaluatorError):
    code = "SR-EVAL-021"
    title = "the evaluator defines an environment, and max_turns is 1"
    exit_code = Exit.BAD_INPUT
    remedy = "Set training.sampling.max_turns, or remove class Environment."


class TurnInvalid(EvaluatorError):
    code = "SR-EVAL-022"
    title = "what the environment returned is not a turn of a conversation"
    remedy = (
        "reset returns messages or None; step returns done, messages by user, tool or system "
        "unless done, and, without evaluate, a reward."
    )


class ScoreOutOfRange(EvaluatorError):
    code = "SR-EVAL-014"
    title = "the evaluator's score is outside the range that the run file declares"
    remedy = "Return a score within spec.evaluator.range, or declare the range that it has."


class EvaluatorLate(EvaluatorError):
    code = "SR-EVAL-015"
    title = "the evaluator imports a module, opens a file or starts a thread while it scores"
    remedy = (
        "Import modules, open files and start threads at the top of the file; call there once what "
        "does so by itself. Afterwards an outsider could see which, so the enclave forbids it."
    )


class EvaluatorThreads(EvaluatorError):
    code = "SR-EVAL-016"
    title = "the evaluator starts too many threads"
    exit_code = Exit.BAD_INPUT
    remedy = "Start fewer, or set the limit of the library that starts them."
