"""Rows of the examples: chats that end with a question, in two sets that share none.

Pure but for :func:`write`. The same questions always give the same rows in the same order.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

ORDER_SEED = 7
Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Question:
    """One question and its right answer."""

    id: str
    text: str
    answer: str


@dataclass(frozen=True)
class Prompt:
    """What stands before every question: without examples of the answer's form a small model
    never earns a first reward."""

    system: str
    turns: tuple[tuple[str, str], ...]
    """Questions with their answers."""
    before: str = ""
    """What each question begins with."""

    def row(self, question: Question) -> dict[str, Any]:
        """A row ``{id, messages, ground_truth}``."""
        messages = [{"role": "system", "content": self.system}]
        for asked, answer in self.turns:
            messages.append({"role": "user", "content": self.before + asked})
            messages.append({"role": "assistant", "content": answer})
        messages.append({"role": "user", "content": self.before + question.text})
        return {"id": question.id, "messages": messages, "ground_truth": question.answer}


class Rows(NamedTuple):
    """What is trained on, and what is only scored."""

    train: list[dict[str, Any]]
    held_out: list[dict[str, Any]]


def distinct(questions: Iterable[Question]) -> list[Question]:
    """The first of those whose text is the same without case and spacing."""
    first: dict[str, Question] = {}
    for question in questions:
        first.setdefault(" ".join(question.text.casefold().split()), question)
    return list(first.values())


def shuffled(things: Iterable[Thing]) -> list[Thing]:
    """The same things in an order that is always the same."""
    order = list(things)
    random.Random(ORDER_SEED).shuffle(order)
    return order


def split(
    prompt: Prompt, kinds: Sequence[Sequence[Question]], *, train: int, held_out: int
) -> Rows:
    """As many questions of each kind, shuffled; the first ``held_out`` are not trained on."""
    shuffle = random.Random(ORDER_SEED).shuffle
    chosen: list[Question] = []
    for kind in kinds:
        questions = list(kind)
        shuffle(questions)
        chosen += questions[: (train + held_out) // len(kinds)]
    shuffle(chosen)
    rows = [prompt.row(question) for question in chosen]
    return Rows(rows[held_out:], rows[:held_out])


def split_by_answer(
    prompt: Prompt, questions: Iterable[Question], *, of_each: int, held_out: int
) -> Rows:
    """One question of each of ``held_out`` answers, and up to ``of_each`` of each other answer.

    So the held-out score measures whether answers are found, not whether they are remembered.
    """
    same: dict[str, list[Question]] = {}
    for question in distinct(questions):
        same.setdefault(question.answer.casefold(), []).append(question)
    answers = shuffled(same.values())
    train = [question for few in answers[held_out:] for question in few[:of_each]]
    return Rows(
        [prompt.row(question) for question in shuffled(train)],
        [prompt.row(few[0]) for few in answers[:held_out]],
    )


def encoded(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as JSONL."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def write(rows: Rows, folder: Path) -> None:
    """``train.jsonl`` and ``held_out.jsonl``, ready for ``strongroom seal``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in rows._asdict().items():
        (folder / f"{name}.jsonl").write_text(encoded(part), encoding="utf-8")
