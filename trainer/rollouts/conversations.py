"""Completions of rows: one for each, or conversations of several turns with an environment.

A conversation's token ids are ``[prompt | completion | turn | completion | …]``. Sampled tokens are
kept as they were sampled and never encoded again; of a turn, only what the base model's template
writes after the completion is encoded. To find that, the template writes the chat with a
placeholder for each completion, and what it wrote for the shorter chat must be its beginning. All
conversations of a step advance together, by one completion in each turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import torch
from torch.nn.utils.rnn import pad_sequence

from strongroom.trainer.config import TrainingConfig
from strongroom.trainer.data.chat import Message, RecordFault
from strongroom.trainer.data.rows import Row
from strongroom.trainer.errors import ConversationFailed, EnvironmentMisbehaved
from strongroom.trainer.model.lora import Policy
from strongroom.trainer.rollouts.evaluators import Environment, Evaluator, Job, Reply, Turn
from strongroom.trainer.rollouts.prompts import (
    ANSWER,
    check_prompt,
    encode,
    encode_prompt,
    turn_text,
)
from strongroom.trainer.rollouts.rollout import Engine, Rollouts


@dataclass(frozen=True)
class Conversations:
    """Lets the policy answer rows."""

    policy: Policy
    engine: Engine
    evaluator: Evaluator
    config: TrainingConfig

    def hold(
        self,
        indices: Sequence[int],
        rows: Sequence[Row],
        samples: int,
        temperature: float,
        generator: torch.Generator | None,
    ) -> tuple[list[Row], Rollouts]:
        """``samples`` completions or conversations for each row; ``indices`` are those of the rows.

        Returns the rows with the messages that their conversations begin with, and the rollouts.
        Raises :class:`ConversationFailed`, :class:`EnvironmentMisbehaved` and whatever the
        environment raises.
        """
        max_tokens = self.config.sampling.max_tokens
        if self.config.sampling.max_turns == 1:
            prompts = [encode_prompt(self.policy, row) for row in rows]
            drawn = self.engine.generate(prompts, samples, max_tokens, temperature, generator)
            return list(rows), drawn
        environment = self.evaluator
        if not isinstance(environment, Environment):
            raise EnvironmentMisbehaved(expected="an environment")
        try:
            begun = self._open(environment, indices, rows, samples)
            prompts = [encode_prompt(self.policy, row) for row in begun]
            drawn = self.engine.generate(prompts, samples, max_tokens, temperature, generator)
            talks = [
                _Conversation(
                    indices[b // samples], begun[b // samples], list(prompts[b // samples])
                )
                for b in range(len(drawn.texts))
            ]
            self._continue(environment, talks, drawn, temperature, generator)
        except RecordFault as fault:
            raise ConversationFailed(actual=str(fault.code)) from None
        return begun, _rollouts(prompts, talks)

    def _open(
        self, environment: Environment, indices: Sequence[int], rows: Sequence[Row], samples: int
    ) -> list[Row]:
        """The rows with the messages that their conversations begin with."""
        jobs = [
            Job(
                messages=row.chat(),
                ground_truth=row.ground_truth,
                extra=row.extra,
                row=indices[group],
                group=group,
                episode=group * samples + sample,
            )
            for group, row in enumerate(rows)
            for sample in range(samples)
        ]
        openings = environment.reset(jobs)
        if len(openings) != len(jobs):
            raise EnvironmentMisbehaved(expected=f"{len(jobs)} openings")
        begun = []
        for group, row in enumerate(rows):
            opening, *others = openings[group * samples : (group + 1) * samples]
            if any(other != opening for other in others):
                raise EnvironmentMisbehaved(
                    place=f"group {group}", expected="one opening for one row"
                )
            if opening is not None:
                row = msgspec.structs.replace(row, messages=opening)
                check_prompt(self.policy, row, self.config)
            begun.append(row)
        return begun

    def _continue(
        self,
        environment: Environment,
        talks: Sequence[_Conversation],
        drawn: Rollouts,
        temperature: float,
        generator: torch.Generator | None,
    ) -> None:
        """Take turns, from the first completions on, until every conversation is over."""
        sampling = self.config.sampling
        going = list(range(len(talks)))
        for turn in range(1, sampling.max_turns + 1):
            for place, b in enumerate(going):
                talks[b].add_completion(drawn, place)
            replies = [Reply(episode=b, text=talks[b].text, row=talks[b].index) for b in going]
            turns = environment.step(replies)
            if len(turns) != len(replies):
                raise EnvironmentMisbehaved(expected=f"{len(replies)} turns")
            if turn == sampling.max_turns:
                return
            going = [b for b, each in zip(going, turns, strict=True) if self._add(talks[b], each)]
            if not going:
                return
            contexts = [talks[b].prompt + talks[b].tokens for b in going]
            drawn = self.engine.generate(contexts, 1, sampling.max_tokens, temperature, generator)

    def _add(self, talk: _Conversation, turn: Turn) -> bool:
        """Add a turn to its conversation; ``False`` if that is over instead."""
        if turn.done or not talk.finished:
            return False
        chat = [*talk.chat, Message(role="assistant", content=ANSWER), *turn.messages]
        ids = encode(self.policy, turn_text(self.policy, talk.chat, chat, talk.row.tools))
        if ids[:1] == talk.tokens[-1:]:
            del ids[0]  # the template's end of a completion, which was sampled
        room = self.config.context_tokens(self.policy.base.max_positions)
        if len(talk.prompt + talk.tokens + ids) + self.config.sampling.max_tokens > room:
            return False
        talk.chat = chat
        talk.between += [Message(role="assistant", content=talk.text), *turn.messages]
        talk.add_context(ids)
        return True


@dataclass
class _Conversation:
    """One conversation up to now."""

    index: int
    row: Row
    prompt: list[int]
    chat: list[Message] = field(init=False)
    """Everything before the last completion, with placeholders for those before."""
    between: list[Message] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    given: list[bool] = field(default_factory=list)
    text: str = ""
    finished: bool = False

    def __post_init__(self) -> None:
        self.chat = list(self.row.messages)

    def add_completion(self, drawn: Rollouts, place: int) -> None:
        """Append the completion at ``place`` of those that were sampled."""
        size = int(drawn.lengths_B[place])
        self.tokens += drawn.tokens_BT[place, :size].tolist()
        self.logprobs += drawn.logprobs_BT[place, :size].tolist()
        self.given += [False] * size
        self.text, self.finished = drawn.texts[place], bool(drawn.finished_B[place])

    def add_context(self, ids: Sequence[int]) -> None:
        """Append tokens that were not sampled."""
        self.tokens += ids
        self.logprobs += [0.0] * len(ids)
        self.given += [True] * len(ids)


def _rollouts(prompts: Sequence[Sequence[int]], talks: Sequence[_Conversation]) -> Rollouts:
    given = [torch.tensor(talk.given) for talk in talks]
    return Rollouts(
        prompts=tuple(tuple(prompt) for prompt in prompts),
        tokens_BT=pad_sequence([torch.tensor(talk.tokens) for talk in talks], batch_first=True),
        logprobs_BT=pad_sequence([torch.tensor(talk.logprobs) for talk in talks], batch_first=True),
        lengths_B=torch.tensor([int((~each).sum()) for each in given]),
        finished_B=torch.tensor([talk.finished for talk in talks]),
        texts=tuple(talk.text for talk in talks),
        given_BT=pad_sequence(given, batch_first=True),
        between=tuple(tuple(talk.between) for talk in talks),
    )
