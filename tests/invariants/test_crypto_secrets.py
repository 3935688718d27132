"""Key material and plaintext cannot reach a pickle, a Beam coder, a log line or a copy.

The positive controls show that each way is open to types without this defence; the most surprising
is Beam's deterministic coder, which encodes frozen dataclasses without asking pickle.
"""

import copy
import importlib
import json
import logging
import pickle
import pkgutil
import traceback
from dataclasses import dataclass

import msgspec
import pytest
import torch
from apache_beam.coders import FastPrimitivesCoder, PickleCoder

from strongroom.crypto.digests import canonical
from strongroom.crypto.errors import NotCanonical
from strongroom.crypto.keyset import Keyset
from strongroom.crypto.streaming import StreamingKey
from strongroom.trainer.checkpoints.checkpoint import Checkpoint
from strongroom.trainer.data.chat import FunctionCall, Message, ToolCall
from strongroom.trainer.data.plaintext import Plaintext
from strongroom.trainer.data.rows import Row
from strongroom.trainer.rollouts.evaluators import Job, Reply, Turn
from strongroom.trainer.rollouts.rollout import Rollouts
from strongroom.trainer.rollouts.scoring import ScoredRollout
from strongroom.trainer.steps.batch import GroupBatch

SECRET = b"CANARY-secret-bytes-of-length-32"
KEYS = {
    "Keyset": lambda: Keyset(7, SECRET),
    "StreamingKey": lambda: StreamingKey(SECRET),
    "Opener": lambda: StreamingKey(SECRET).opener(b"\x28" * 40, 56, b""),
    "SealWriter": lambda: StreamingKey(SECRET).writer(b"", lambda view: None),
}
TEXT = SECRET.decode()
MESSAGE = Message(role="user", content=TEXT)
CALL = FunctionCall(name=TEXT)
TOKENS = torch.tensor([[7, 8]])
PLAINTEXT = {
    "Row": lambda: Row(messages=(MESSAGE,), ground_truth=TEXT),
    "Message": lambda: MESSAGE,
    "FunctionCall": lambda: CALL,
    "ToolCall": lambda: ToolCall(function=CALL),
    "Job": lambda: Job(messages=[MESSAGE.plain()], ground_truth=TEXT),
    "Reply": lambda: Reply(episode=0, text=TEXT),
    "Turn": lambda: Turn(messages=(MESSAGE,), done=False),
    "ScoredRollout": lambda: ScoredRollout(
        step=1, row=0, messages=[], completion=TEXT, tokens=1, score=0.0, metrics={}
    ),
    "Rollouts": lambda: Rollouts(
        prompts=((1,),),
        tokens_BT=TOKENS,
        logprobs_BT=TOKENS,
        lengths_B=TOKENS,
        finished_B=TOKENS,
        texts=(TEXT,),
    ),
    "GroupBatch": lambda: GroupBatch(*[TOKENS] * len(GroupBatch.__struct_fields__)),
    "Checkpoint": lambda: Checkpoint(step=1, adapter=SECRET, state=SECRET),
}
HOLDERS = {**KEYS, **PLAINTEXT}


@dataclass(frozen=True)
class Naive:
    """What a key holder would be without the defence."""

    key_id: int
    key: bytes


class NaiveStruct(msgspec.Struct, frozen=True):
    """What a row would be without the defence."""

    messages: tuple[Message, ...]
    ground_truth: str


@pytest.fixture(params=HOLDERS)
def holder(request):
    return HOLDERS[request.param]()


def shows(text):
    raw = text if isinstance(text, bytes) else str(text).encode()
    return b"CANARY" in raw or SECRET.hex().encode() in raw


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle(holder, protocol):
    with pytest.raises(TypeError, match="must not leave this process"):
        pickle.dumps(holder, protocol)
    with pytest.raises(TypeError):
        pickle.dumps({"nested": [holder]}, protocol)
    assert shows(pickle.dumps(Naive(7, SECRET), max(protocol, 2)))


def test_every_type_of_plaintext_is_here():
    """But for those that stay inside one function's module."""
    import strongroom.trainer

    for module in pkgutil.walk_packages(strongroom.trainer.__path__, "strongroom.trainer."):
        if module.name != "strongroom.trainer.engines.vllm":  # its package is optional
            importlib.import_module(module.name)
    assert {kind.__name__ for kind in Plaintext.__subclasses__()} == set(PLAINTEXT)


def test_a_struct_without_the_defence_pickles_copies_and_prints():
    naive = NaiveStruct((), TEXT)
    assert shows(pickle.dumps(naive))
    assert shows(copy.copy(naive).ground_truth)
    assert shows(copy.deepcopy(naive).ground_truth)
    assert shows(naive.__getstate__())
    assert shows(FastPrimitivesCoder().encode(naive))
    assert shows(naive)


def test_nor_does_one_that_holds_another(holder):
    with pytest.raises(TypeError, match="must not leave this process"):
        pickle.dumps(NaiveStruct((holder,), ""))


@pytest.mark.parametrize("kind", PLAINTEXT)
def test_plaintext_is_encoded_where_that_is_asked_for(kind):
    """So that it can be sealed, and reach the evaluator's process."""
    if kind not in ("Rollouts", "GroupBatch"):
        assert msgspec.json.encode(PLAINTEXT[kind]())


def test_state(holder):
    """Some libraries ask for the state directly."""
    with pytest.raises(TypeError, match="must not leave this process"):
        holder.__getstate__()
    assert shows(Naive(7, SECRET).__getstate__())


def test_copy(holder):
    for attempt in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="must not leave this process"):
            attempt(holder)
    assert shows(copy.deepcopy(Naive(7, SECRET)))


@pytest.mark.parametrize(
    "coder",
    [
        FastPrimitivesCoder(),
        PickleCoder(),
        FastPrimitivesCoder().as_deterministic_coder("step"),
    ],
    ids=["fast primitives", "pickle", "deterministic"],
)
def test_beam_coders(holder, coder):
    with pytest.raises(TypeError) as caught:
        coder.encode(holder)
    assert not shows(caught.value)
    with pytest.raises(TypeError):
        coder.encode([("nested", holder)])
    assert shows(coder.encode(Naive(7, SECRET)))


def test_text(holder):
    for text in (repr(holder), str(holder), f"{holder}", f"{holder!r:>20}", "%s" % [holder]):
        assert not shows(text)
    assert type(holder).__name__ in repr(holder)
    assert shows(Naive(7, SECRET))


def test_logs_and_tracebacks(holder, caplog):
    logging.getLogger("strongroom").warning("got %s", holder)
    assert not shows(caplog.text)
    try:
        raise ValueError(holder)
    except ValueError as error:
        trace = traceback.TracebackException.from_exception(error, capture_locals=True)
    lines = [line for line in trace.format() if "Naive" not in line]
    assert not shows("\n".join(lines))


@pytest.mark.parametrize("kind", KEYS)
def test_json(kind):
    holder = KEYS[kind]()
    with pytest.raises(TypeError):
        json.dumps(holder)
    with pytest.raises(TypeError):
        msgspec.json.encode(holder)
    with pytest.raises(NotCanonical) as caught:
        canonical({"key": holder})
    assert not shows(caught.value)
    assert b"key" in msgspec.json.encode(Naive(7, SECRET))


def test_there_is_no_dict_to_look_into(holder):
    with pytest.raises(TypeError):
        vars(holder)
