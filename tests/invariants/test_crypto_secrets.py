"""Key material and plaintext cannot reach a pickle, a Beam coder, a log line or a copy.

The positive controls show that each way is open to types without this defence; the most surprising
is Beam's deterministic coder, which encodes frozen dataclasses without asking pickle.
"""

import copy
import json
import logging
import pickle
import traceback
from dataclasses import dataclass

import msgspec
import pytest
from apache_beam.coders import FastPrimitivesCoder, PickleCoder

from crypto.digests import canonical
from crypto.errors import NotCanonical
from crypto.keyset import Keyset
from crypto.plaintext import Plaintext
from crypto.streaming import StreamingKey

SECRET = b"CANARY-secret-bytes-of-length-32"
HOLDERS = {
    "Keyset": lambda: Keyset(7, SECRET),
    "Plaintext": lambda: Plaintext(SECRET),
    "StreamingKey": lambda: StreamingKey(SECRET),
    "Opener": lambda: StreamingKey(SECRET).opener(b"\x28" * 40, 56, b""),
    "SealWriter": lambda: StreamingKey(SECRET).writer(b"", lambda view: None),
}


@dataclass(frozen=True)
class Naive:
    """What a key holder would be without the defence."""

    key_id: int
    key: bytes


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


def test_json(holder):
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
