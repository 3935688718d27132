"""The two evaluator processes of one enclave: one for training rows, one for held-out rows.

A customer's code may keep what it has seen. In one process it could carry truths of held-out rows
into prompts and scores of the training, and the held-out figure would mean nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from strongroom.enclave.errors import ChildSetupFailed
from strongroom.enclave.evaluator.process import EvaluatorProcess


@dataclass(frozen=True)
class Evaluators:
    """Both processes; neither ever gets a row of the other's dataset."""

    train: EvaluatorProcess
    held_out: EvaluatorProcess

    @classmethod
    def start(cls, *, locked: bool = True) -> Evaluators:
        """Fork both, see :meth:`EvaluatorProcess.start`. Raises ``ChildSetupFailed``."""
        pair = cls(*(EvaluatorProcess.start(locked=locked) for _ in range(2)))
        if pair.train.probes != pair.held_out.probes:
            raise ChildSetupFailed(actual="two evaluators with different walls")
        return pair

    def __iter__(self) -> Iterator[EvaluatorProcess]:
        return iter((self.train, self.held_out))

    @property
    def probes(self) -> dict[str, str]:
        """What each of them found when it tried its walls."""
        return self.train.probes

    def fds(self) -> frozenset[int]:
        """The descriptors that both hold in this process."""
        return self.train.fds() | self.held_out.fds()
