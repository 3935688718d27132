"""What the adapter remembers of its training rows: the exposure of planted random secrets.

N. Carlini, C. Liu, Ú. Erlingsson, J. Kos, D. Song, "The Secret Sharer", USENIX Security 2019. A
canary is a sentence with a random secret ``s`` from a space ``R``, planted into rows that are
trained on like all others. Afterwards all secrets of ``R`` are ranked by how likely the model finds
them in that sentence (its log-perplexity), and the canary's exposure is, in bits,

    exposure(s) = log2 |R| - log2 rank(s)

A model that never saw ``s`` has ``P(exposure > x) = 2^-x``: 1.44 bits in the mean, by luck. At
``log2 |R|`` the secret is the model's first guess.

A secret is two words, each one token, so the whole space is ranked exactly: a group whose
completions begin with each word gives the likelihood of every pair of them, in one row with a
shared prefix (``trainer.steps.batch``). The paper samples or extrapolates instead. The prefix is
the planted sentence after a held-out row: the prompt of an attacker who knows the form of the rows
but not the row.

What it does not show: how well answers (``ground_truth``) are remembered, or secrets that real
rows repeat more often; and no exposure is no proof that nothing can be extracted.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import torch
from torch import Tensor

from strongroom.trainer.config import Memorisation, TrainingConfig
from strongroom.trainer.data.chat import FaultCode, RecordFault
from strongroom.trainer.data.rows import Row, Rows, SparseRows
from strongroom.trainer.errors import CanariesMisfit
from strongroom.trainer.model.lora import Policy
from strongroom.trainer.rollouts.prompts import check_prompt, encode_prompt
from strongroom.trainer.rollouts.rollout import Rollouts
from strongroom.trainer.steps.batch import pack_groups
from strongroom.trainer.steps.logprobs import predicting_states
from strongroom.trainer.steps.schedule import row_indices

_WORD = re.compile(r"[Ġ▁][a-z]{4,8}")
"""A word with the space before it, as byte-level and sentencepiece vocabularies spell it."""


@dataclass(frozen=True)
class Canary:
    """A sentence with a secret: two of the alphabet's words."""

    account: int
    secret: tuple[int, int]
    """Indices into the alphabet."""
    words: tuple[str, str]

    @property
    def sentence(self) -> str:
        """What is planted, at the end of a row's last user turn."""
        return f"The pass phrase of account {self.account} is {self.words[0]} {self.words[1]}."

    def planted(self, row: Row) -> Row:
        """``row`` with the sentence in it. Raises :class:`RecordFault` for one without a user."""
        for at in reversed(range(len(row.messages))):
            message = row.messages[at]
            if message.role == "user":
                content = f"{message.content or ''}\n{self.sentence}"
                longer = msgspec.structs.replace(message, content=content)
                messages = (*row.messages[:at], longer, *row.messages[at + 1 :])
                return msgspec.structs.replace(row, messages=messages)
        raise RecordFault(FaultCode.MESSAGES_INVALID)


def alphabet(policy: Policy, size: int, seed: int) -> dict[str, int]:
    """``size`` words of one token each, by word: drawn by ``seed`` from the tokenizer's vocabulary.

    Raises :class:`CanariesMisfit` where there are too few.
    """
    tokenizer = policy.base.tokenizer.backend_tokenizer
    spelled = sorted(token for token in tokenizer.get_vocab() if _WORD.fullmatch(token))
    spelled.sort(key=lambda token: _draw(seed, "alphabet", token))
    words: dict[str, int] = {}
    for token in spelled:
        word = token[1:]
        ids = tokenizer.encode(f"is {word}.", add_special_tokens=False).ids
        if tokenizer.token_to_id(token) in ids:
            words[word] = tokenizer.token_to_id(token)
            if len(words) == size:
                return words
    raise CanariesMisfit(
        place="training.memorisation.words",
        expected=f"at most {len(words)} words",
        actual=f"{size}",
    )


def canaries(words: Mapping[str, int], settings: Memorisation, seed: int) -> list[Canary]:
    """The run's canaries: a function of the seed, so that a replay plants the same ones."""
    spelling = list(words)
    made = []
    for index in range(settings.canaries):
        first, second = (_draw(seed, "secret", index, place) % len(words) for place in (0, 1))
        # The index keeps account numbers different.
        account = 1000 * (index + 1) + _draw(seed, "account", index) % 1000
        made.append(Canary(account, (first, second), (spelling[first], spelling[second])))
    return made


def plant(policy: Policy, rows: SparseRows, config: TrainingConfig) -> SparseRows:
    """``rows`` with each canary in ``repetitions`` of those that the run is sure to train on.

    Unchanged where the run measures no memorisation. Raises :class:`CanariesMisfit` where too few
    rows have room for the sentence.
    """
    settings = config.memorisation
    if settings is None:
        return rows
    taken = min(len(rows), config.steps * config.prompts_per_step)
    free = sorted(set(row_indices(0, taken, len(rows), config.seed)))
    free.sort(key=lambda index: _draw(config.seed, "row", index))
    changed: dict[int, Row] = {}
    words = alphabet(policy, settings.words, config.seed)
    for canary in canaries(words, settings, config.seed):
        left = settings.repetitions
        while left and free:
            index = free.pop()
            planted = _planted(policy, canary, rows[index], config)
            if planted is not None:
                changed[index] = planted
                left -= 1
        if left:
            raise CanariesMisfit(
                place="training.memorisation",
                expected=f"{settings.canaries} times {settings.repetitions} rows with room",
                actual=f"{len(changed)}",
            )
    return rows.with_rows(changed)


def exposures(policy: Policy, held_out: Rows, config: TrainingConfig) -> list[float]:
    """Each canary's exposure, in bits, under the policy as it is; none where none are planted.

    Raises :class:`CanariesMisfit` where no held-out row has room for the sentence.
    """
    settings = config.memorisation
    if settings is None:
        return []
    words = alphabet(policy, settings.words, config.seed)
    ids = torch.tensor(list(words.values()))
    made = canaries(words, settings, config.seed)
    prefixes = []
    for index, canary in enumerate(made):
        context = _context(policy, canary, held_out, index, config)
        secret = ids[list(canary.secret)].tolist()
        prefixes.append(_before_secret(encode_prompt(policy, context), secret))
    tables = secret_logprobs(policy, prefixes, ids)
    return [exposure(table, canary.secret) for table, canary in zip(tables, made, strict=True)]


def exposure_metrics(policy: Policy, held_out: Rows, config: TrainingConfig) -> dict[str, float]:
    """Mean and maximum over the canaries under the names of ``metric_names.EXPOSURE_METRICS``."""
    found = exposures(policy, held_out, config)
    if not found:
        return {}
    return {"exposure_max": max(found), "exposure_mean": sum(found) / len(found)}


def secret_logprobs(policy: Policy, prefixes: Sequence[list[int]], words_A: Tensor) -> Tensor:
    """``log π`` of every two of the A words in a row after each prefix: float32, (N, A, A)."""
    count, width = len(prefixes), len(words_A)
    # Each word begins a completion of two tokens; a completion's last token predicts nothing.
    pairs = Rollouts(
        prompts=tuple(tuple(prefix) for prefix in prefixes),
        tokens_BT=words_A.repeat(count)[:, None].expand(-1, 2),
        logprobs_BT=torch.zeros(count * width, 2),
        lengths_B=torch.full((count * width,), 2),
        finished_B=torch.ones(count * width, dtype=torch.bool),
        texts=("",) * (count * width),
    )
    with torch.no_grad():
        every = torch.ones(count, width, dtype=torch.bool)
        batch = pack_groups(pairs, range(count), every).to(policy.device)
        hidden_KD = predicting_states(policy, batch)[batch.distinct_K]
        hidden_NA2D = hidden_KD.view(count, width, 2, -1)
        return torch.stack([_pairs(policy, hidden_A2D, words_A) for hidden_A2D in hidden_NA2D])


def _pairs(policy: Policy, hidden_A2D: Tensor, words_A: Tensor) -> Tensor:
    # All first states are the prefix's last one, which predicts the first word.
    hidden = torch.cat([hidden_A2D[:1, 0], hidden_A2D[:, 1]])
    logits = policy.logits(hidden)
    logprobs = torch.log_softmax(logits, dim=-1)[:, words_A.to(logits.device)].cpu()
    return logprobs[0][:, None] + logprobs[1:]


def exposure(logprobs_AA: Tensor, secret: tuple[int, int]) -> float:
    """``log2 |R| - log2 rank``; secrets that are equally likely share their mean rank."""
    own = logprobs_AA[secret]
    above = int((logprobs_AA > own).sum())
    equal = int((logprobs_AA == own).sum())
    return math.log2(logprobs_AA.numel()) - math.log2(above + (equal + 1) / 2)


def _planted(policy: Policy, canary: Canary, row: Row, config: TrainingConfig) -> Row | None:
    """The row with the sentence in it, or None where that does not fit."""
    try:
        planted = canary.planted(row)
        check_prompt(policy, planted, config)
    except RecordFault:
        return None
    return planted


def _context(policy: Policy, canary: Canary, rows: Rows, first: int, config: TrainingConfig) -> Row:
    """A held-out row with the sentence in it: the ``first``, or the next that has room."""
    for offset in range(len(rows)):
        found = _planted(policy, canary, rows[(first + offset) % len(rows)], config)
        if found is not None:
            return found
    raise CanariesMisfit(place="held-out rows", expected="one with room for a sentence")


def _before_secret(tokens: list[int], secret: list[int]) -> list[int]:
    """The tokens before the last place where both words of the secret stand."""
    for at in reversed(range(1, len(tokens) - 1)):
        if tokens[at : at + 2] == secret:
            return tokens[:at]
    raise CanariesMisfit(place="tokenizer", expected="words that stay one token in a sentence")


def _draw(seed: int, *what: object) -> int:
    """A random number that is the same for the same ``seed`` and purpose."""
    text = "/".join(map(str, ("strongroom/canary/v1", seed, *what)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
