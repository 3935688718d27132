"""The enclave's side of the evaluator: a process of its own for the customer's code.

Invariants: the process is forked after the lock-down's stage A and before any key or library with
threads; it is in its last stage before it gets a row, whatever the customer's code did while it was
loaded; it gets rows and returns numbers, or turns of a conversation for the model to read; of what
it sends, only the form is relied on. A failure is an :class:`~enclave.errors.EvaluatorError` with
the row's index and the line, never the exception's message. After a failure of the process itself
(a hang, a crash, forged frames) it is dead and the run fails; there is no second one, since no
process can be made after stage B.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import socket
import time
from collections.abc import Callable, Collection, Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar

import msgspec

from strongroom.enclave.errors import (
    ChildSetupFailed,
    EnvironmentMissing,
    EnvironmentUnused,
    EvaluateMissing,
    EvaluatorAmbiguous,
    EvaluatorCrashed,
    EvaluatorError,
    EvaluatorExited,
    EvaluatorForbidden,
    EvaluatorLate,
    EvaluatorProtocol,
    EvaluatorRaised,
    EvaluatorSyntax,
    EvaluatorThreads,
    EvaluatorTimedOut,
    EvaluatorTooLarge,
    MetricUndeclared,
    ScoreInvalid,
    ScoreNotFinite,
    ScoreOutOfRange,
    TurnInvalid,
)
from strongroom.enclave.evaluator import child
from strongroom.enclave.evaluator.messages import (
    BUILTIN_EXCEPTIONS,
    MAX_ANSWER_BYTES,
    MAX_BATCH_BYTES,
    MAX_SOURCE_BYTES,
    MAX_TURN_BYTES,
    Answer,
    Batch,
    Failed,
    Loaded,
    Opened,
    Probe,
    Ready,
    Request,
    Reset,
    Row,
    Source,
    Step,
    Turned,
    frame,
)
from strongroom.enclave.sandbox.listener import MAX_THREADS, Listener
from strongroom.enclave.sandbox.lockdown import library_paths
from strongroom.enclave.sandbox.probe_names import EVALUATOR, known
from strongroom.trainer.data.chat import Message, RecordFault, check_messages, check_turn
from strongroom.trainer.rollouts.evaluators import MAX_SCORE, Job, Reply, Score, Turn

_A = TypeVar("_A", Ready, Loaded, Row, Opened, Turned)

_PROC = "/proc"
_START_S = 30.0
_TRIAL_BYTES = 256 << 20
_ENDING_S = 1.0
_STOPPING_S = 0.001
_ERRORS: dict[str, type[EvaluatorError]] = {
    "syntax": EvaluatorSyntax,
    "missing": EvaluateMissing,
    "ambiguous": EvaluatorAmbiguous,
    "no_environment": EnvironmentMissing,
    "unused_environment": EnvironmentUnused,
    "raised": EvaluatorRaised,
    "forbidden": EvaluatorForbidden,
    "late": EvaluatorLate,
    "invalid": ScoreInvalid,
    "not_finite": ScoreNotFinite,
    "out_of_range": ScoreOutOfRange,
    "undeclared": MetricUndeclared,
    "turn_invalid": TurnInvalid,
}


class EvaluatorProcess:
    """A running evaluator process, made by :meth:`start`.

    A ``trainer.rollouts.evaluators.Evaluator``, and an ``Environment`` when it was loaded as one.
    """

    def __init__(
        self, channel: socket.socket, pid: int, pidfd: int, listener: Listener | None
    ) -> None:
        self._channel, self._pid, self._pidfd = channel, pid, pidfd
        self._listener = listener
        self._decoder = msgspec.json.Decoder(Answer)
        self._metrics: tuple[str, ...] = ()
        self._lines = 0
        self._timeout_s = 30.0
        self._range: tuple[float, float] | None = None
        self._loaded = Loaded()
        self.probes: dict[str, str] = {}
        """What the process found when it tried its walls; names begin with ``evaluator.``."""

    @classmethod
    def start(cls, *, locked: bool = True, memory_bytes: int = 2 << 30) -> EvaluatorProcess:
        """Fork the evaluator's process from this one, which must have a single thread.

        ``memory_bytes`` bounds what it may allocate in addition to what it has from this process.
        ``locked=False`` is for A0: a process without walls. Raises ``ChildSetupFailed``.
        """
        process = cls._fork(locked, memory_bytes)
        if locked:
            process.probes |= cls._last_stage()
            valid = all(known(name, value) for name, value in process.probes.items())
            if not (valid and process.probes.keys() == EVALUATOR):
                process.close()
                raise ChildSetupFailed(actual="unknown probe results")
        return process

    @classmethod
    @cache
    def _last_stage(cls) -> dict[str, str]:
        """What is left in the last stage, tried once by a process that will load nothing."""
        deadline = time.monotonic() + _START_S
        with cls._fork(True, _TRIAL_BYTES) as twin:
            try:
                twin._enter_last_stage(deadline)
                twin._send(Probe(), deadline, None)
                return _named(twin._receive(Ready, deadline, None))
            except EvaluatorError as error:
                raise ChildSetupFailed(actual=f"{error.code} {error.actual}".strip()) from None

    @classmethod
    def _fork(cls, locked: bool, memory_bytes: int) -> EvaluatorProcess:
        ours, theirs = socket.socketpair()
        paths = tuple(path for path in library_paths() if not path.is_relative_to(_PROC))
        limit = _address_space() + memory_bytes
        confinement = child.Confinement(paths, limit) if locked else None
        parent = os.getpid()
        child.warm_up()
        pid = os.fork()
        if pid == 0:
            child.run(theirs, parent, confinement)
        theirs.close()
        process = cls(ours, pid, os.pidfd_open(pid), None)
        try:
            if locked:
                process._listener = process._receive_listener()
            ready = process._receive(Ready, time.monotonic() + _START_S, None)
        except EvaluatorError as error:
            raise ChildSetupFailed(actual=f"{error.code} {error.actual}".strip()) from None
        process.probes = _named(ready)
        return process

    def _receive_listener(self) -> Listener:
        self._channel.settimeout(_START_S)
        try:
            _byte, descriptors, _flags, _address = socket.recv_fds(self._channel, 1, 1)
            return Listener(descriptors[0])
        except (OSError, IndexError):
            raise self._ended(None) from None

    def fds(self) -> frozenset[int]:
        """The descriptors that this object holds, for :func:`enclave.sandbox.probes.probe`."""
        held = {self._channel.fileno(), self._pidfd}
        return frozenset(held | ({self._listener.fileno()} if self._listener else set()))

    @property
    def alive(self) -> bool:
        """Whether it can still score: a hang, a crash or a forged frame ends it."""
        return self._pidfd >= 0

    @property
    def by_group(self) -> bool:
        """Whether one call scores all completions of a row."""
        return self._loaded.by_group

    def load(
        self,
        source: bytes,
        metrics: Collection[str] = (),
        *,
        timeout_s: float = 30.0,
        environment: bool = False,
        score_range: tuple[float, float] | None = None,
        concurrency: int = 1,
    ) -> None:
        """Compile and run the customer's file, which must define one function that scores.

        ``metrics`` are the names that the plan declares in addition to ``score``. ``timeout_s``
        bounds this call and, from then on, the time to each answer. With ``environment`` the file
        must define one, without it must not. ``score_range`` is the lowest and highest score that
        is allowed. Up to ``concurrency`` calls of an asynchronous function run at a time.
        Raises ``EvaluatorError``.
        """
        if len(source) > MAX_SOURCE_BYTES:
            raise EvaluatorTooLarge(
                expected=f"{MAX_SOURCE_BYTES} bytes at most", actual=f"{len(source)}"
            )
        self._metrics = tuple(sorted(set(metrics) - {"score"}))
        self._lines = source.count(b"\n") + source.count(b"\r") + 2
        self._timeout_s, self._range = timeout_s, score_range
        deadline = time.monotonic() + timeout_s
        request = Source(source, list(self._metrics), environment, score_range, concurrency)
        self._send(request, deadline, None)
        loaded = self._receive(Loaded, deadline, None)
        if not 0 <= loaded.line <= self._lines:
            raise self._broken(None)
        self._loaded = loaded
        self._enter_last_stage(deadline)

    def score(self, jobs: Sequence[Job], timeout_s: float | None = None) -> list[Score]:
        """One score per job, in order. ``timeout_s`` bounds each row. Raises ``EvaluatorError``."""
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        self._send(Batch(list(jobs)), time.monotonic() + limit_s, jobs[0].row if jobs else None)
        scores = []
        for job in jobs:
            answer = self._receive(Row, time.monotonic() + limit_s, job.row)
            values = [value for value in answer.values if value is not None]
            bounded = all(abs(value) <= MAX_SCORE for value in values)
            shaped = len(answer.values) == len(self._metrics) and bounded
            if not (shaped and self._in_range(answer.score)):
                raise self._broken(job.row)
            pairs = zip(self._metrics, answer.values, strict=True)
            metrics = {name: value for name, value in pairs if value is not None}
            scores.append(Score(score=answer.score, metrics=metrics))
        return scores

    def reset(self, jobs: Sequence[Job]) -> list[tuple[Message, ...] | None]:
        """Begin a conversation for each job. Raises ``EvaluatorError``; see ``Environment``."""
        row = jobs[0].row if jobs else None
        self._send(Reset(list(jobs)), time.monotonic() + self._timeout_s, row)
        openings = []
        for job in jobs:
            messages = self._receive(Opened, time.monotonic() + self._timeout_s, job.row).messages
            if messages is not None:
                self._check(check_messages, messages, job.row)
            openings.append(messages)
        return openings

    def step(self, replies: Sequence[Reply]) -> list[Turn]:
        """One turn for each reply. Raises ``EvaluatorError``; see ``Environment``."""
        row = replies[0].row if replies else None
        self._send(Step(list(replies)), time.monotonic() + self._timeout_s, row)
        turns = []
        for reply in replies:
            deadline = time.monotonic() + self._timeout_s
            turn = self._receive(Turned, deadline, reply.row).turn
            if not turn.done:
                self._check(check_turn, turn.messages, reply.row)
            turns.append(turn)
        return turns

    def _enter_last_stage(self, deadline: float) -> None:
        """From here on the process can do nothing that others could observe, see ``filters``.

        A call that was let through a moment ago may not have begun, and would read its argument
        when a row is there. So every thread is stopped once: a thread stops between two calls.
        """
        if self._listener is None:
            return
        self._listener.close()
        signal.pidfd_send_signal(self._pidfd, signal.SIGSTOP)
        wanted = os.WSTOPPED | os.WEXITED | os.WNOHANG | os.WNOWAIT
        while (state := os.waitid(os.P_PIDFD, self._pidfd, wanted)) is None:
            if time.monotonic() > deadline:
                self._end()
                raise EvaluatorTimedOut()
            time.sleep(_STOPPING_S)
        if state.si_code != os.CLD_STOPPED:
            raise self._ended(None)
        signal.pidfd_send_signal(self._pidfd, signal.SIGCONT)

    def close(self) -> None:
        """Kill the process, if it lives, and wait for it."""
        self._channel.close()
        if self._listener is not None:
            self._listener.close()
        if self._pidfd >= 0:
            self._end()

    def __enter__(self) -> EvaluatorProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, request: Request, deadline: float, row: int | None) -> None:
        data = frame(request)
        if len(data) > MAX_BATCH_BYTES:
            raise EvaluatorTooLarge(
                row=row, expected=f"{MAX_BATCH_BYTES} bytes at most", actual=f"{len(data)}"
            )
        try:
            self._channel.settimeout(max(deadline - time.monotonic(), 0.001))
            self._channel.sendall(data)
        except TimeoutError:
            self._end()
            raise EvaluatorTimedOut(row=row) from None
        except OSError:
            raise self._ended(row) from None

    def _receive(self, kind: type[_A], deadline: float, row: int | None) -> _A:
        length = int.from_bytes(self._exactly(4, deadline, row), "little")
        if length > (MAX_TURN_BYTES if kind in (Opened, Turned) else MAX_ANSWER_BYTES):
            raise self._broken(row)
        try:
            answer = self._decoder.decode(self._exactly(length, deadline, row))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise self._broken(row) from None
        if isinstance(answer, kind):
            return answer
        if isinstance(answer, Failed) and kind is not Ready:
            raise self._failed(answer, row, self._loaded.line if kind is Row else 0)
        raise self._broken(row)

    def _exactly(self, size: int, deadline: float, row: int | None) -> bytes:
        data = bytearray()
        while len(data) < size:
            try:
                self._answer_until_readable(deadline)
                piece = self._channel.recv(size - len(data))
            except TimeoutError:
                self._end()
                raise EvaluatorTimedOut(row=row) from None
            except OSError:
                piece = b""
            if not piece:
                raise self._ended(row)
            data += piece
        return bytes(data)

    def _answer_until_readable(self, deadline: float) -> None:
        """Let the process load, until it has sent something. Raises ``TimeoutError``."""
        listener = self._listener
        self._channel.settimeout(max(deadline - time.monotonic(), 0.001))
        if listener is None or listener.fileno() < 0:
            return
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        poll.register(listener, select.POLLIN)
        while True:
            ready = poll.poll(max(deadline - time.monotonic(), 0) * 1000)
            if not ready:
                raise TimeoutError
            if any(descriptor == self._channel.fileno() for descriptor, _ in ready):
                return
            listener.answer()

    def _in_range(self, score: float) -> bool:
        """The process has checked this before: it sends another score only by forging frames."""
        low, high = self._range or (-MAX_SCORE, MAX_SCORE)
        return low <= score <= high

    def _failed(self, failed: Failed, row: int | None, begins: int) -> EvaluatorError:
        """The error for a reported failure; it may be forged, so its form is checked."""
        if not 0 <= failed.line <= self._lines or not 0 <= failed.column <= MAX_SOURCE_BYTES:
            return self._broken(row)
        if failed.kind == "raised" and failed.exception not in BUILTIN_EXCEPTIONS:
            return self._broken(row)
        if self._listener is not None and self._listener.refused_threads:
            return EvaluatorThreads(line=failed.line or None, expected=f"{MAX_THREADS} at most")
        # An answer that is not a score has no line of its own; use that of its function.
        line = failed.line or begins
        ranged = failed.kind == "out_of_range" and self._range
        return _ERRORS[failed.kind](
            row=row,
            line=line or None,
            column=failed.column or None,
            expected=f"{ranged[0]:g} to {ranged[1]:g}" if ranged else "",
            actual=failed.exception if failed.kind == "raised" else "",
        )

    def _check(
        self, check: Callable[[Sequence[Message]], None], messages: Sequence[Message], row: int
    ) -> None:
        """Check messages again: the child did so if it was honest."""
        try:
            check(messages)
        except RecordFault:
            raise self._broken(row) from None

    def _broken(self, row: int | None) -> EvaluatorError:
        self._end()
        return EvaluatorProtocol(row=row)

    def _ended(self, row: int | None) -> EvaluatorError:
        """The error for a process that closed its channel: by what ended it."""
        lives = self._pidfd >= 0 and not _ends_within(self._pidfd, _ENDING_S)
        state = self._end()
        if self._listener is not None and self._listener.refused_threads:
            return EvaluatorThreads(expected=f"{MAX_THREADS} at most")
        if lives:
            return EvaluatorProtocol(row=row)
        if state is None or state.si_code == os.CLD_EXITED:
            return EvaluatorExited(row=row)
        if state.si_status == signal.SIGSYS:
            return EvaluatorForbidden(row=row, actual="a system call that is not allowed")
        return EvaluatorCrashed(row=row, actual=signal.Signals(state.si_status).name)

    def _end(self) -> os.waitid_result | None:
        """Kill and reap, by the pidfd: no other process can be meant."""
        if self._pidfd < 0:
            return None
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        state = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        os.close(self._pidfd)
        self._pidfd = -1
        return state


def _named(ready: Ready) -> dict[str, str]:
    return {f"evaluator.{name}": value for name, value in ready.probes.items()}


def _ends_within(pidfd: int, limit_s: float) -> bool:
    """Whether the process is over, given a moment: its channel closes before it is."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(limit_s * 1000))


def _address_space() -> int:
    """Bytes of address space that this process has, and that a fork begins with."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()
