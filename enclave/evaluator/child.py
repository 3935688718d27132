"""The evaluator's process: it runs the customer's code, and has nothing else that is worth taking.

It is forked before there is a key, has one socket to the enclave and three times ``/dev/null``, can
write to no file, make no process, reach no network, and neither signal nor trace the enclave. What
it prints is discarded; what it raises leaves as a kind, a line and a built-in class name.

Before it runs any of the customer's code it hands the enclave the listener of a watch on itself.
Once the enclave has closed that, it is in its last stage (:mod:`enclave.sandbox.filters`), and
cannot even import a module, open a file or start a thread.
"""

from __future__ import annotations

import builtins
import codecs
import contextlib
import importlib
import inspect
import os
import resource
import socket
import sys
import threading
import time
import types
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from encodings.aliases import aliases
from errno import ENOSYS
from functools import cache, partial
from itertools import groupby
from numbers import Real
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from strongroom.enclave.evaluator import eval_protocol, event_loop
from strongroom.enclave.evaluator.episodes import Episodes, TurnRefused
from strongroom.enclave.evaluator.messages import (
    FILE,
    Answer,
    Batch,
    Failed,
    Loaded,
    Probe,
    Ready,
    Request,
    Reset,
    Row,
    Source,
    Step,
    frame,
)
from strongroom.enclave.sandbox import filters, landlock, lockdown, probes, seccomp, syscalls
from strongroom.isolated import boot
from strongroom.trainer.rollouts.evaluators import MAX_SCORE, Job

SOCKET = 3
"""The descriptor of the socket to the enclave; the only one above 2."""

_DESCRIPTORS = 64
"""At most: with more, the kernel's table grows, whose size ``/proc/PID/status`` shows."""

_LOADED_ON_USE = ("_strptime", "linecache", "tracemalloc", "traceback", "stringprep", "unicodedata")

_RESERVE_BYTES = 32 << 20
"""Room for small objects: in the last stage Python's allocator gets no more of its own."""


@dataclass(frozen=True)
class Confinement:
    """How the child is to be confined; ``None`` in its place means that it is not (A0)."""

    read_only: Sequence[Path]
    memory_bytes: int


class _Problem(Exception):
    """The customer's code cannot be loaded, or its answer is not a score."""

    def __init__(self, failed: Failed) -> None:
        self.failed = failed


def run(end: socket.socket, parent: int, confinement: Confinement | None) -> NoReturn:
    """Be the evaluator's process until the socket closes. Called in the child of a fork."""
    status = 1
    with contextlib.suppress(BaseException):  # a traceback has no place to go
        syscalls.die_with_parent(parent)
        os.chdir("/")  # the enclave's own is /proc/self, and so the enclave
        if boot.guard:
            boot.guard.forget_parent()
        _drop_descriptors(end)
        _give_back_stacks()
        results = _confine(confinement, parent) if confinement else {}
        stream = _Stream()
        stream.send(Ready(results))
        _serve(stream)
        status = 0
    os._exit(status)


def _drop_descriptors(end: socket.socket) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    channel = os.dup(end.detach())
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    # Replace the file objects of the process that forked us.
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    lockdown.mute()
    os.dup2(channel, SOCKET)
    os.closerange(SOCKET + 1, os.sysconf("SC_OPEN_MAX"))


def _give_back_stacks() -> None:
    """Have the C library unmap what it does not keep of stacks of threads that were not forked.

    It does so whenever a thread ends, and aborts where it cannot, as later in the last stage.
    """
    thread = threading.Thread(target=int)
    thread.start()
    with contextlib.suppress(ProcessLookupError):
        while thread.native_id is not None:
            syscalls.call("tgkill", os.getpid(), thread.native_id, 0)
            time.sleep(0.0005)


@cache
def warm_up() -> None:
    """Do once what loads something by itself the first time, for us and for most evaluators.

    Called before the fork, so that all of them have it.
    """

    async def nothing() -> None: ...

    list(event_loop.in_order([nothing()], 1))
    for name in _LOADED_ON_USE:
        importlib.import_module(name)
    for name in sorted(set(aliases.values())):
        with contextlib.suppress(LookupError):  # of other systems
            codecs.lookup(name)


def _confine(confinement: Confinement, parent: int) -> dict[str, str]:
    """Confine this process, hand over the listener, and try every wall."""
    lockdown.crash_quietly()
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _DESCRIPTORS),
        (resource.RLIMIT_AS, confinement.memory_bytes),
    ):
        resource.setrlimit(limit, (value, value))
    locked = "locked"
    try:
        lockdown.lock_memory(on_use=False)
    except OSError:
        locked = "unlocked"
    lockdown.take_memory_from_the_heap()
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    # A layer of its own: it takes /proc away, and forbids signals to the enclave.
    abi = landlock.restrict(confinement.read_only)
    syscalls.die_with_parent(parent)
    found = {**probes.files(), "landlock_abi": str(abi), "mlock": locked}
    channel = socket.socket(fileno=SOCKET)
    listener = seccomp.install_watch(filters.watch())
    socket.send_fds(channel, [b"\0"], [listener])
    channel.detach()
    os.close(listener)  # from here on the enclave is asked
    lockdown.lock_system_calls(filters.evaluator())
    return {**found, **probes.attempts(), **probes.states({SOCKET})}


class _Stream:
    """Frames over the socket. The customer's code could forge them; the enclave expects that."""

    def __init__(self) -> None:
        self._decoder: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)

    def send(self, answer: Answer) -> None:
        data = frame(answer)
        while data:
            data = data[os.write(SOCKET, data) :]

    def receive(self) -> Request:
        length = int.from_bytes(self._exactly(4), "little")
        return self._decoder.decode(self._exactly(length))

    def _exactly(self, size: int) -> bytearray:
        data = bytearray()
        while len(data) < size:
            piece = os.read(SOCKET, min(size - len(data), 1 << 20))
            if not piece:
                os._exit(0)  # the enclave closed the channel
            data += piece
        return data


@dataclass(frozen=True)
class _Evaluate:
    """How the customer's file scores."""

    function: Callable[..., Any]
    """The customer's own."""
    score: Callable[[Sequence[Job]], Coroutine[Any, Any, Sequence[Any]]]
    """One call of it: the results of these jobs."""
    by_group: bool
    """Whether it takes all completions of a row at once."""
    episodes: Episodes | None = None
    """Its environment's conversations, when it defines one."""

    def loaded(self) -> Loaded:
        code = getattr(self.function, "__code__", None)
        if code is None or code.co_filename != FILE:
            return Loaded(0, self.by_group)
        return Loaded(code.co_firstlineno, self.by_group)


def _serve(stream: _Stream) -> NoReturn:
    evaluate: _Evaluate | None = None
    source = Source(b"", [])
    at_once = 1
    while True:
        request = stream.receive()
        try:
            if isinstance(request, Source):
                source = request
                evaluate = _load(source, tuple(source.metrics))
                # A call that never waits would only delay the answers of earlier ones.
                waits = inspect.iscoroutinefunction(evaluate.function)
                at_once = source.concurrency if waits else 1
                _reserve()
                stream.send(evaluate.loaded())
                continue
            if isinstance(request, Probe):
                stream.send(Ready(probes.last_stage()))
                continue
            if evaluate is None:
                raise _Problem(Failed("missing"))
            if not isinstance(request, Batch):
                _converse(stream, evaluate.episodes, request)
                continue
            calls = map(evaluate.score, _together(request.jobs, evaluate.by_group))
            for results in event_loop.in_order(calls, at_once):
                for result in results:
                    stream.send(_answer(result, source))
        except _Problem as problem:
            stream.send(problem.failed)
        except TurnRefused as refused:
            stream.send(Failed(refused.kind))
        except BaseException as error:
            stream.send(_failure(error, late=not isinstance(request, Source)))


def _converse(stream: _Stream, episodes: Episodes | None, request: Reset | Step) -> None:
    if episodes is None:
        raise _Problem(Failed("no_environment"))
    if isinstance(request, Reset):
        episodes.clear()
        for job in request.jobs:
            stream.send(episodes.reset(job))
    else:
        for reply in request.replies:
            stream.send(episodes.step(reply))


def _load(source: Source, metrics: tuple[str, ...]) -> _Evaluate:
    module = types.ModuleType("evaluator")
    module.__file__ = FILE
    sys.modules["evaluator"] = module  # dataclasses and pickle look their module up
    eval_protocol.install()
    try:
        code = compile(source.text, FILE, "exec", dont_inherit=True)
    except SyntaxError as error:
        line, column = error.lineno or 0, error.offset or 0
        raise _Problem(Failed("syntax", max(line, 0), max(column, 0))) from None
    except ValueError:  # null bytes
        raise _Problem(Failed("syntax")) from None
    exec(code, module.__dict__)  # noqa: S102 - what this process is for
    environment = _environment_of(module.__dict__)
    if environment is None:
        if source.environment:
            raise _Problem(Failed("no_environment"))
        return _evaluate_of(module.__dict__, metrics)
    if not source.environment:
        raise _Problem(Failed("unused_environment"))
    return _with_environment(module.__dict__, metrics, Episodes(environment, metrics, _number))


def _environment_of(names: Mapping[str, Any]) -> type | None:
    """The file's own class, not one that it imports: jinja2, for one, has an ``Environment``."""
    found = names.get("Environment")
    own = isinstance(found, type) and found.__module__ == names["__name__"]
    return found if own else None


def _with_environment(
    names: Mapping[str, Any], metrics: tuple[str, ...], episodes: Episodes
) -> _Evaluate:
    """The file's own way to score, or else the sum of the steps' rewards."""
    try:
        evaluate = _evaluate_of(names, metrics)
    except _Problem as problem:
        if problem.failed.kind != "missing":
            raise
        evaluate = _Evaluate(episodes.result, partial(_by_episode, episodes), by_group=False)
    else:
        episodes.scores = False
    return replace(evaluate, episodes=episodes)


def _evaluate_of(names: Mapping[str, Any], metrics: tuple[str, ...]) -> _Evaluate:
    """The file's one way to score: ``evaluate``, ``evaluate_group`` or an evaluation test."""
    tests = eval_protocol.evaluation_tests(names)
    own = [name for name in ("evaluate", "evaluate_group") if callable(names.get(name))]
    if len(own) + len(tests) != 1:
        raise _Problem(Failed("ambiguous" if own or tests else "missing"))
    if tests:
        mode = tests[0].__ep_params__.get("mode", "pointwise")  # type: ignore[attr-defined]
        if mode not in ("pointwise", "groupwise"):
            raise _Problem(Failed("ambiguous"))
        score = partial(eval_protocol.score_rows, tests[0], metrics=metrics)
        return _Evaluate(inspect.unwrap(tests[0]), score, mode == "groupwise")
    function = names[own[0]]
    if own == ["evaluate"]:
        return _Evaluate(function, partial(_by_completion, function), by_group=False)
    return _Evaluate(function, partial(_by_group, function), by_group=True)


async def _by_episode(episodes: Episodes, jobs: Sequence[Job]) -> list[Any]:
    return [episodes.result(job) for job in jobs]


async def _by_completion(function: Callable[..., Any], jobs: Sequence[Job]) -> list[Any]:
    found = [function(job.messages, job.ground_truth, **job.extra) for job in jobs]
    return [await each if inspect.isawaitable(each) else each for each in found]


async def _by_group(function: Callable[..., Any], jobs: Sequence[Job]) -> list[Any]:
    """A group shares its row; the completions differ."""
    results = function([job.messages for job in jobs], jobs[0].ground_truth, **jobs[0].extra)
    results = await results if inspect.isawaitable(results) else results
    if not isinstance(results, Sequence) or len(results) != len(jobs):
        raise _Problem(Failed("invalid"))
    return list(results)


def _together(jobs: Sequence[Job], by_group: bool) -> Iterator[Sequence[Job]]:
    """The jobs that are scored in one call: one, or the completions of one row."""
    if not by_group:
        yield from ([job] for job in jobs)
        return
    for _, group in groupby(jobs, key=lambda job: job.group):
        yield list(group)


def _answer(result: Any, source: Source) -> Row:
    metrics = source.metrics
    named: Mapping[Any, Any] = result if isinstance(result, Mapping) else {"score": result}
    if not set(named) <= {"score", *metrics}:
        raise _Problem(Failed("undeclared"))
    if "score" not in named:
        raise _Problem(Failed("invalid"))
    score = _number(named["score"])
    if source.score_range and not source.score_range[0] <= score <= source.score_range[1]:
        raise _Problem(Failed("out_of_range"))
    values = [_number(named[name]) if name in named else None for name in metrics]
    return Row(score, values)


def _number(value: object) -> float:
    # Takes int, float and NumPy's scalars. A truth value is more often a mistake than a score.
    if isinstance(value, bool) or not isinstance(value, Real):
        raise _Problem(Failed("invalid"))
    try:
        number = float(value)
    except OverflowError:
        raise _Problem(Failed("invalid")) from None
    if not abs(number) <= MAX_SCORE:  # nor for NaN
        raise _Problem(Failed("not_finite"))
    return number


def _failure(error: BaseException, *, late: bool) -> Failed:
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == FILE:
            line = trace.tb_lineno
        trace = trace.tb_next
    if late and any(map(_is_late, _causes(error))):
        return Failed("late", line)
    if isinstance(error, PermissionError):
        return Failed("forbidden", line)
    for kind in type(error).__mro__:
        if vars(builtins).get(kind.__name__) is kind:
            return Failed("raised", line, exception=kind.__name__)
    return Failed("raised", line, exception="BaseException")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that it was raised from or while handling."""
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__ or error


def _is_late(error: BaseException) -> bool:
    """Whether the error is what becomes of an import, a file or a thread in the last stage.

    Python's importer takes a refusal for a module that is not there.
    """
    if isinstance(error, OSError) and error.errno == ENOSYS:
        return True
    started = isinstance(error, RuntimeError) and "start new thread" in str(error)
    return started or isinstance(error, ImportError)


_kept: list[bytes] = []


def _reserve() -> None:
    """Make Python's allocator map memory for small objects, and keep it mapped.

    In each stretch of it one object stays.
    """
    size = 400
    objects = [bytes(size) for _ in range(_RESERVE_BYTES // size)]
    _kept.extend(objects[::1000])
