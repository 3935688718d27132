"""What the trainer runs the model on: one row per group, nothing computed twice.

A group's row is its prompt and then the tree of its completions: tokens that several of them begin
with are there once. A token sees the prompt and what it follows in its completion, never another
branch, and its position continues from there. The last token of a completion predicts nothing and
is left out. Tokens that an environment put into a conversation are context: those after them see
them, and they are no targets. What all prompts of the batch share is cut off the rows and comes
before them once.

Log-probabilities and gradients are those of one pass per completion
(``tests/invariants/test_trainer_batch.py``).
"""

# Field names carry their shapes.
# ruff: noqa: N815
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import msgspec
import torch
from torch import Tensor

from strongroom.trainer.data.plaintext import Plaintext
from strongroom.trainer.rollouts.rollout import Rollouts, shared_prefix

MIN_SHARED_PREFIX = 16
"""Shorter common prefixes, in tokens, do not repay a pass over the weights of their own."""


class GroupBatch(Plaintext, msgspec.Struct, frozen=True, eq=False):
    """N groups as rows of S positions, after F shared ones.

    K completion tokens in all, of which U are distinct: another token, or after another beginning.
    """

    prefix_F: Tensor
    """Token ids that come before every row; may be empty."""
    ids_NS: Tensor
    """Token ids, padded at the end."""
    positions_NS: Tensor
    """Position of each token in its own conversation."""
    visible_NSL: Tensor
    """Which of the L = F + S positions each position sees, bool."""
    source_U: Tensor
    """Index into the N * S hidden states of the one that predicts each distinct token."""
    targets_U: Tensor
    """The distinct tokens."""
    distinct_K: Tensor
    """Which of them each completion token is."""
    sampler_logprobs_K: Tensor
    """The completion tokens' log-probabilities when they were drawn."""
    completion_K: Tensor
    """Index into the batch's C completions, at most N * G."""
    lengths_C: Tensor
    """Tokens of each of the batch's C completions."""
    members_C: Tensor
    """Which of the rollouts' completions they are."""

    def to(self, device: torch.device) -> GroupBatch:
        """The batch on ``device``."""
        tensors: dict[str, Tensor] = msgspec.structs.asdict(self)
        return GroupBatch(**{name: tensor.to(device) for name, tensor in tensors.items()})


def pack_groups(rollouts: Rollouts, groups: Sequence[int], keep_PG: Tensor) -> GroupBatch:
    """Lay out the ``groups`` (indices of prompts, at least one) of ``rollouts``.

    ``keep_PG`` is true for the completions to include, at least one in each group.
    """
    prompts = [rollouts.prompts[group] for group in groups]
    prefix = shared_prefix(prompts) if len(prompts) > 1 else 0
    if prefix < MIN_SHARED_PREFIX:
        prefix = 0
    own = [group * rollouts.samples + keep_PG[group].nonzero().squeeze(1) for group in groups]
    members = torch.cat(own)
    lengths_C = rollouts.lengths_B[members]
    branches = [[_branch(rollouts, int(member)) for member in group] for group in own]
    rows = [
        _row(prompt[prefix:], prefix, group)
        for prompt, group in zip(prompts, branches, strict=True)
    ]
    width = max(len(row.ids) for row in rows)
    firsts = accumulate([len(row.targets) for row in rows[:-1]], initial=0)
    ids_NS = torch.zeros(len(rows), width, dtype=torch.int64)
    positions_NS = torch.zeros(len(rows), width, dtype=torch.int64)
    # Padding sees itself, so that no row of the softmax is empty; nothing else sees it.
    visible_NSS = torch.eye(width, dtype=torch.bool).repeat(len(rows), 1, 1)
    visible_NSF = torch.ones(len(rows), width, prefix, dtype=torch.bool)
    for n, row in enumerate(rows):
        size = len(row.ids)
        ids_NS[n, :size] = row.ids
        positions_NS[n, :size] = row.positions
        visible_NSS[n, :size, :size] = row.visible
    return GroupBatch(
        prefix_F=torch.tensor(prompts[0][:prefix], dtype=torch.int64),
        ids_NS=ids_NS,
        positions_NS=positions_NS,
        visible_NSL=torch.cat([visible_NSF, visible_NSS], dim=2),
        source_U=torch.cat([n * width + row.source for n, row in enumerate(rows)]),
        targets_U=torch.cat([row.targets for row in rows]),
        distinct_K=torch.cat(
            [first + row.distinct for first, row in zip(firsts, rows, strict=True)]
        ),
        sampler_logprobs_K=torch.cat(
            [branch.logprobs[branch.drawn] for group in branches for branch in group]
        ),
        completion_K=torch.repeat_interleave(torch.arange(len(members)), lengths_C),
        lengths_C=lengths_C,
        members_C=members,
    )


@dataclass(frozen=True)
class _Branch:
    """What follows the prompt in one completion."""

    ids: Tensor
    logprobs: Tensor
    drawn: Tensor
    """Which of them were sampled; only these are targets. The last one always was."""


def _branch(rollouts: Rollouts, member: int) -> _Branch:
    size = int(rollouts.sizes_B[member])
    given = torch.zeros(size, dtype=torch.bool)
    if rollouts.given_BT is not None:
        given = rollouts.given_BT[member, :size]
    ids, logprobs = rollouts.tokens_BT[member, :size], rollouts.logprobs_BT[member, :size]
    return _Branch(ids, logprobs, ~given)


@dataclass(frozen=True)
class _Row:
    ids: Tensor
    positions: Tensor
    visible: Tensor
    source: Tensor
    targets: Tensor
    distinct: Tensor


def _row(prompt: Sequence[int], prefix: int, branches: Sequence[_Branch]) -> _Row:
    """One group: ``prompt`` is what follows the shared ``prefix`` tokens."""
    size = len(prompt)
    # Keys are the position of the token before and the token itself. Values are the token's own
    # position, if any follows it, and which of the targets it is, if it was sampled.
    placed: dict[tuple[int, int], int] = {}
    targets: dict[tuple[int, int], int] = {}
    distinct, paths = [], []
    for branch in branches:
        # The prompt's last position predicts the first token; each branch token, the next one.
        path = [size - 1]
        for token, drawn in zip(branch.ids.tolist(), branch.drawn.tolist(), strict=True):
            edge = (path[-1], token)
            if drawn:
                distinct.append(targets.setdefault(edge, len(targets)))
            if len(path) < len(branch.ids):
                path.append(placed.setdefault(edge, size + len(placed)))
        paths.append(torch.tensor(path[1:], dtype=torch.int64))
    total = size + len(placed)
    visible = torch.zeros(total, total, dtype=torch.bool)
    visible[:, :size] = True
    visible[:size, :size] = torch.ones(size, size).tril().bool()
    positions = torch.arange(prefix, prefix + total)
    for along in paths:
        visible[along[:, None], along] = torch.ones(len(along), len(along)).tril().bool()
        positions[along] = torch.arange(len(along)) + prefix + size
    return _Row(
        ids=torch.tensor([*prompt, *(token for _, token in placed)], dtype=torch.int64),
        positions=positions,
        visible=visible,
        source=torch.tensor([before for before, _ in targets], dtype=torch.int64),
        targets=torch.tensor([token for _, token in targets], dtype=torch.int64),
        distinct=torch.tensor(distinct, dtype=torch.int64),
    )
