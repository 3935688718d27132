"""A session between its processes: what it makes sure of before it goes on."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from strongroom.audit.events import types as events
from strongroom.crypto.digests import canonical
from strongroom.enclave.evidence import Evidence
from strongroom.pipeline.broker.errors import BrokerLost, OutputConflict
from strongroom.pipeline.broker.messages import Stored
from strongroom.pipeline.planning.plan import build_plan
from strongroom.pipeline.run.manifests import Manifests, SignedManifest
from strongroom.pipeline.run.session import RunSession
from strongroom.pipeline.runfile.load import LoadedRun
from support import sample

EVIDENCE = Evidence(
    role="train",
    assurance="A1",
    measurement="sha256:code",
    plan_digest="",
    nonce="",
    hpke_key="",
    signing_key="",
    probes={},
    warnings=(),
)


class World:
    """Broker, releaser and log of one run, which note what reaches them."""

    def __init__(self, keyset: Any) -> None:
        self.objects: dict[str, bytes] = {}
        self.given: list[bytes] = []
        self.recorded: list[events.EventData] = []
        self.released = SimpleNamespace(keyset=keyset, sealed=b"sealed keys")
        self.meanwhile: Callable[[], None] = lambda: None
        self.data = self.releaser = self.journal = self
        self.run = "r"
        self.watcher = SimpleNamespace(stage=lambda _name: None)

    def read(self, uri: str, _purpose: str) -> Stored | None:
        found = self.objects.get(uri)
        return None if found is None else Stored(data=found, etag="tag")

    def create(self, uri: str, _purpose: str, data: bytes) -> bool:
        return self.objects.setdefault(uri, data) is data

    def give_keys(self, sealed: bytes) -> None:
        self.given.append(sealed)

    def release_run(self, *_: object) -> Any:
        self.meanwhile()
        return self.released

    def record(self, _actor: str, *data: events.EventData) -> None:
        self.recorded += data


@pytest.fixture
def world() -> World:
    return World(sample.dataset("outputs", 1).manifest.keyset)


@pytest.fixture
def session(world: Any, load_example: Callable[..., LoadedRun], example: str) -> RunSession:
    facts = sample.facts()
    plan = build_plan(load_example(example).spec, facts, "r")
    train, held_out = (SignedManifest(b"", each.manifest) for each in (facts.train, facts.held_out))
    return RunSession(plan, Manifests(train, held_out), world)


def test_a_new_output_keyset_is_stored_before_the_enclave_has_it(world, session):
    session.enclave.release_keys(EVIDENCE)
    assert world.objects == {session.layout.keys: canonical(world.released.keyset)}
    assert world.given == [b"sealed keys"]


def test_no_enclave_seals_under_a_keyset_that_is_stored_nowhere(world, session):
    """Another machine's ``resume`` stores its own between this one's look and its write."""
    other = canonical(msgspec.structs.replace(world.released.keyset, key_id=8))
    world.meanwhile = lambda: world.objects.update({session.layout.keys: other})
    with pytest.raises(OutputConflict) as caught:
        session.enclave.release_keys(EVIDENCE)
    assert caught.value.place == session.layout.keys
    assert world.given == []
    assert world.recorded == []
    assert world.objects == {session.layout.keys: other}


def test_a_write_that_was_repeated_is_no_conflict(world, session):
    """Control: the same keyset there, as after a request whose answer was lost."""
    same = bytes(canonical(world.released.keyset))
    world.meanwhile = lambda: world.objects.update({session.layout.keys: same})
    session.enclave.release_keys(EVIDENCE)
    assert world.given == [b"sealed keys"]


def test_a_plan_that_cannot_be_written_does_not_leave_the_run_running(world, session, monkeypatch):
    """After ``run.admitted``: else the log would have it running for ever."""

    def refuse(*_: object) -> bool:
        raise BrokerLost(place="broker")

    monkeypatch.setattr(world, "create", refuse)
    session.recorder.enter("admit")
    with pytest.raises(BrokerLost), session.failing():
        session.publish_plan(b"evaluator")
    assert world.recorded == [events.RunFailed(code=BrokerLost.code, stage="admit", step=0)]
