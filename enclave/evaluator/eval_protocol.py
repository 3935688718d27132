"""The parts of the eval-protocol package that an evaluator file written for it needs.

Such a file runs unmodified: ``import eval_protocol`` finds these models and this decorator. The
package itself (0.3.33) brings a hundred others, contacts the network when it is imported, and can
upload rows. Models take and keep unknown fields, as there; nothing is validated beyond nesting and
numbers, which are what is read back. Dataset, model and rollout settings in the decorator are
ignored: the run file has them.
"""

from __future__ import annotations

import copy
import inspect
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from strongroom.trainer.rollouts.evaluators import Job


class Model:
    """Named values with defaults, given by keyword; unknown names are kept."""

    _nested: ClassVar[Mapping[str, type[Model]]] = {}

    def __init__(self, **given: Any) -> None:
        cls = type(self)
        for name in cls.__annotations__:
            if name.startswith("_") or name in given:
                continue
            if not hasattr(cls, name):
                raise ValueError(f"{cls.__name__} needs {name}")
            given[name] = copy.deepcopy(getattr(cls, name))
        for name, value in given.items():
            if cls.__annotations__.get(name) == "float":
                value = _number(value)
            setattr(self, name, self._built(self._nested.get(name), value))

    @staticmethod
    def _built(kind: type[Model] | None, value: Any) -> Any:
        if kind is None or value is None or isinstance(value, kind):
            return value
        if isinstance(value, list):
            return [Model._built(kind, item) for item in value]
        if isinstance(value, dict) and not set(value) & set(kind.__annotations__):
            return {name: Model._built(kind, item) for name, item in value.items()}
        return kind(**value) if isinstance(value, dict) else value

    @classmethod
    def model_validate(cls, values: Mapping[str, Any]) -> Any:
        """Pydantic's constructor from a mapping."""
        return cls(**values)

    def model_dump(self, **_: Any) -> dict[str, Any]:
        """Pydantic's plain form."""
        return {name: _plain(value) for name, value in vars(self).items()}

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Any:
        """Pydantic's copy."""
        made = copy.deepcopy(self) if deep else copy.copy(self)
        vars(made).update(update or {})
        return made

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


class Message(Model):
    """One turn of a chat."""

    role: str
    content: Any = ""
    reasoning_content: str | None = None
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: Any = None
    function_call: Any = None


class MetricResult(Model):
    """One named number of a result."""

    score: float
    is_score_valid: bool = True
    reason: str = ""
    data: Any = {}  # noqa: RUF012  copied for each


class StepOutput(Model):
    """One step of a trajectory."""

    step_index: Any
    base_reward: float
    terminated: bool = False
    control_plane_info: Any = None
    metrics: Any = {}  # noqa: RUF012
    reason: str | None = None


class EvaluateResult(Model):
    """What an evaluation makes of a row."""

    _nested: ClassVar[Mapping[str, type[Model]]] = {
        "metrics": MetricResult,
        "step_outputs": StepOutput,
    }
    score: float
    is_score_valid: bool = True
    reason: str | None = None
    metrics: Any = {}  # noqa: RUF012
    step_outputs: Any = None
    error: str | None = None
    trajectory_info: Any = None
    final_control_plane_info: Any = None
    agg_score: float | None = None
    standard_error: float | None = None


class InputMetadata(Model):
    """Where a row comes from."""

    row_id: str | None = None
    completion_params: Any = {}  # noqa: RUF012
    dataset_info: Any = None
    session_data: Any = None


class Status(Model):
    """How a rollout ended."""

    code: int = 0
    message: str = ""
    details: Any = []  # noqa: RUF012


class ExecutionMetadata(Model):
    """Identities of a rollout; none are given here."""

    invocation_id: str | None = None
    experiment_id: str | None = None
    rollout_id: str | None = None
    run_id: str | None = None
    usage: Any = None


class EvaluationRow(Model):
    """A conversation to evaluate."""

    _nested: ClassVar[Mapping[str, type[Model]]] = {
        "messages": Message,
        "input_metadata": InputMetadata,
        "rollout_status": Status,
        "evaluation_result": EvaluateResult,
        "execution_metadata": ExecutionMetadata,
    }
    messages: Any = []  # noqa: RUF012
    tools: Any = None
    input_metadata: Any = InputMetadata()
    rollout_status: Any = Status()
    ground_truth: Any = None
    evaluation_result: Any = None
    execution_metadata: Any = ExecutionMetadata()
    created_at: Any = None
    eval_metadata: Any = None
    pid: Any = None

    def last_assistant_message(self) -> Message | None:
        """The model's last turn."""
        found = self.get_assistant_messages()
        return found[-1] if found else None

    def get_assistant_messages(self) -> list[Message]:
        """The model's turns."""
        return [message for message in self.messages if message.role == "assistant"]

    def get_user_messages(self) -> list[Message]:
        """The user's turns."""
        return [message for message in self.messages if message.role == "user"]

    def get_system_message(self) -> Message:
        """The system prompt; an empty one when there is none."""
        found = [message for message in self.messages if message.role == "system"]
        return found[0] if found else Message(role="system", content="")

    def get_conversation_length(self) -> int:
        """How many turns there are."""
        return len(self.messages)


def evaluation_test(**parameters: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The decorator: keeps ``mode`` and how the function is to be called."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        mode = parameters.get("mode", "pointwise")
        name = "row" if mode == "pointwise" else "rows"

        async def call(argument: Any) -> Any:
            found = function(**{name: argument})
            return await found if inspect.isawaitable(found) else found

        call.__name__ = function.__name__
        call.__wrapped__ = function  # type: ignore[attr-defined]
        call.__ep_params__ = parameters  # type: ignore[attr-defined]
        return call

    return decorate


class _RolloutProcessor:
    """In place of what would have made the completions; here they exist already."""

    def __init__(self, *_: Any, **__: Any) -> None:
        """Takes anything."""


def install() -> None:
    """Make ``eval_protocol`` importable in this process."""
    package = types.ModuleType("eval_protocol")
    package.__path__ = []
    models, tests = (types.ModuleType(f"eval_protocol.{name}") for name in ("models", "pytest"))
    for kind in (
        Message, MetricResult, StepOutput, EvaluateResult, InputMetadata, Status,
        ExecutionMetadata, EvaluationRow,
    ):  # fmt: skip
        setattr(models, kind.__name__, kind)
        setattr(package, kind.__name__, kind)
    for name in ("SingleTurn", "NoOp", "Agent", "Remote", "MCPGym", "GithubAction"):
        setattr(tests, f"{name}RolloutProcessor", _RolloutProcessor)
        setattr(package, f"{name}RolloutProcessor", _RolloutProcessor)
    for module in (tests, package):
        module.evaluation_test = evaluation_test  # type: ignore[attr-defined]
    package.models, package.pytest = models, tests  # type: ignore[attr-defined]
    for module in (package, models, tests):
        sys.modules[module.__name__] = module


def evaluation_tests(namespace: Mapping[str, Any]) -> list[Callable[..., Any]]:
    """The decorated functions of a file."""
    return [value for value in namespace.values() if hasattr(value, "__ep_params__")]


async def score_rows(
    test: Callable[..., Any], jobs: Sequence[Job], metrics: Sequence[str]
) -> list[dict[str, Any] | None]:
    """Results of ``test`` for the completions of one row (one of them when it is pointwise).

    Of a result's metrics those in ``metrics`` count; ``None`` stands for one that is not valid.
    """
    rows = [_row(job) for job in jobs]
    if test.__ep_params__.get("mode", "pointwise") == "pointwise":  # type: ignore[attr-defined]
        rows = [await test(row) for row in rows]
    else:
        rows = await test(rows)
    found: list[dict[str, Any] | None] = []
    for row in rows:
        result = row.evaluation_result
        if result is None or not result.is_score_valid:
            found.append(None)
            continue
        named = {name: value.score for name, value in result.metrics.items() if name in metrics}
        named["score"] = result.score
        # A truth value may have been assigned after the result was made; there it counts.
        found.append({k: float(v) if isinstance(v, bool) else v for k, v in named.items()})
    return found


def _row(job: Job) -> EvaluationRow:
    extra = dict(job.extra)
    return EvaluationRow(
        messages=[Message(**message) for message in job.messages],
        tools=extra.pop("tools", None),
        ground_truth=job.ground_truth,
        input_metadata=InputMetadata(row_id=extra.pop("id", None), dataset_info=extra),
    )


def _number(value: Any) -> float:
    """As pydantic reads a ``float``: truth values and text that is a number are numbers too."""
    if isinstance(value, str) or hasattr(value, "__float__"):
        return float(value)
    raise ValueError("not a number")


def _plain(value: Any) -> Any:
    if isinstance(value, Model):
        return value.model_dump()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value
