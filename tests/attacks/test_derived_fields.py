"""A controller that lies in its plan: nobody who acts on a plan believes what can be derived.

The lies are told to each of the five: to the planner (a resumed run reads its plan back), the
broker, the enclave, the releaser, and ``verify``. The plan is canonical, and everything that
attests to it attests to its digest, so the lie is what was "admitted". The control leaves the check
out: then keys are released, and the enclave asks for the other model's files.
"""

from __future__ import annotations

import base64
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from strongroom.audit.events import types as events
from strongroom.audit.events.entries import new_event
from strongroom.connectors.keys.keyring import KeyringKms, create_local_keyring
from strongroom.crypto.digests import sha256
from strongroom.crypto.dsse import key_ref, sign_envelope
from strongroom.crypto.keyset import Keyset
from strongroom.crypto.manifest import DATASET_TYPE, WrappedKeyset, encode
from strongroom.crypto.release import new_private_key, public_bytes
from strongroom.enclave.channel import capacity, frames
from strongroom.enclave.channel.framing import Channel
from strongroom.enclave.evidence import Evidence, evidence_digest
from strongroom.enclave.plan import derived
from strongroom.enclave.plan.document import Plan
from strongroom.enclave.plan.errors import PlanInconsistent
from strongroom.enclave.plan.objects import RunLayout
from strongroom.enclave.plan.parts import DatasetFacts, LeaseRef, PolicyFacts
from strongroom.enclave.sandbox import probe_names
from strongroom.errors import StrongroomError
from strongroom.errors.listing import errors_of
from strongroom.pipeline.broker import messages as broker_messages
from strongroom.pipeline.broker import process
from strongroom.pipeline.broker.process import BrokerProcess
from strongroom.pipeline.broker.reach import Reach
from strongroom.pipeline.inspection.rules import Rules
from strongroom.pipeline.planning.plan import build_plan
from strongroom.pipeline.releaser import messages
from strongroom.pipeline.releaser.config import ReleaserConfig
from strongroom.pipeline.releaser.releaser import Releaser
from strongroom.pipeline.run.stored import stored_plan
from strongroom.policies.gate import Settings, write_bundle
from support import kept_log, sample, told
from support.forks import Forks
from support.releasers import settings
from support.told import said

LAYOUT = RunLayout("s3://acme-data/runs/", "feedback-1")
KEYS = ("feedback", "feedback-outputs", "feedback-signer", "audit-log")
OTHER = "sha256:" + "f" * 64
CALLER = "uid:1000"
Lie = Callable[[Plan], Plan]


# ---- the lies ------------------------------------------------------------------------------------


def replaced(*path: str, to: Callable[[Any], Any]) -> Lie:
    """A plan in which one part is another."""

    def lie(plan: Plan) -> Plan:
        return change(plan, path)

    def change(part: Any, rest: tuple[str, ...]) -> Any:
        if not rest:
            return to(part)
        inner = change(getattr(part, rest[0]), rest[1:])
        return msgspec.structs.replace(part, **{rest[0]: inner})

    return lie


def other_files(plan: Plan) -> Plan:
    """Another model's weights under the approved digest."""
    swapped = tuple(msgspec.structs.replace(each, sha256=OTHER) for each in plan.model.files)
    return replaced("model", "files", to=lambda _files: swapped)(plan)


def wide_limits(plan: Plan) -> Plan:
    """Limits of gigabits, stated as they were admitted."""
    return replaced("limits", "steps", to=lambda _steps: 10**8)(plan)


def wider_lease(plan: Plan) -> Plan:
    """A lease for the whole bucket, in a plan whose folders are narrow."""

    def widen(leases: tuple[LeaseRef, ...]) -> tuple[LeaseRef, ...]:
        return (msgspec.structs.replace(leases[0], read=("",)), *leases[1:])

    return replaced("leases", to=widen)(plan)


LIES: dict[str, tuple[Lie, str]] = {
    "other model files": (other_files, "model.digest"),
    "limits": (wide_limits, "limits.steps"),
    "metrics that may leave": (
        replaced("limits", "evaluation_metrics", to=lambda names: (*names, "row")),
        "limits.evaluation_metrics",
    ),
    "memory": (replaced("limits", "memory_bytes", to=lambda size: size * 2), "limits.memory_bytes"),
    "capacity": (replaced("capacity_bits", to=lambda _bits: 20_000), "capacity_bits"),
    "a wider lease": (wider_lease, "leases.0.read"),
    "where outputs go": (replaced("outputs", to=lambda uri: uri + "x/"), "outputs"),
    "where the log is": (replaced("audit", to=lambda uri: uri + "x/"), "audit"),
    "another dataset": (
        replaced("data", "train", "uri", to=lambda uri: uri + "x/"),
        "data.train.uri",
    ),
    "a dataset's name": (replaced("data", "train", "name", to=lambda _: "x"), "data.train.keyset"),
    "another key": (replaced("keys", "audit", to=lambda key: key + "x"), "keys.audit"),
    "what is read": (replaced("objects", "reads", to=lambda reads: reads[1:]), "objects.reads"),
    "what is written": (
        replaced("objects", "writes", "objects", to=lambda uris: (*uris, "s3://x/y")),
        "objects.writes.objects",
    ),
    "a longer call": (replaced("evaluator", "timeout_s", to=lambda _: 9999), "evaluator.timeout_s"),
    "the evaluator's metrics": (
        replaced("evaluator", "metrics", to=lambda names: (*names, "row")),
        "evaluator.metrics",
    ),
    "calls at a time": (
        replaced("evaluator", "concurrency", to=lambda _: 64),
        "evaluator.concurrency",
    ),
    "where the model is": (replaced("model", "uri", to=lambda uri: uri + "x/"), "model.uri"),
}


# ---- an honest world -----------------------------------------------------------------------------


@dataclass
class World:
    """An owner with keys and a releaser, and a plan over datasets that the owner signed."""

    folder: Path
    plan: Plan
    manifests: dict[str, bytes]
    config: ReleaserConfig
    kms: Callable[[str], KeyringKms]

    def ask(self, plan: Plan, measurement: str = sample.MEASUREMENT) -> messages.Answer:
        """A releaser with a log of its own, asked for the keys of a run that has begun."""
        log = kept_log.KeptLog(Path(tempfile.mkdtemp(dir=self.folder)))
        releaser = Releaser(self.config, log.notary, log.vkey, self.kms)
        data = plan.to_json()
        nonce = releaser.answer(messages.Challenge(), CALLER)
        assert isinstance(nonce, messages.Nonce)
        evidence = self.evidence(data, nonce.nonce, measurement)
        admitted = msgspec.structs.replace(told.ADMITTED, plan=plan.digest)
        started = msgspec.structs.replace(told.STARTED, evidence=evidence_digest(evidence))
        log.notary.take([said(each, plan.run) for each in (admitted, started)], CALLER)
        return releaser.answer(
            messages.ReleaseRun(
                run=plan.run,
                plan=data,
                evidence=msgspec.json.encode(evidence),
                manifests=self.manifests,
            ),
            CALLER,
        )

    def evidence(self, plan: bytes, nonce: str, measurement: str) -> Evidence:
        """What a well-locked enclave says of itself."""
        names = probe_names.MAIN | probe_names.EVALUATOR
        found = {name: _best(name) for name in names}
        key = base64.b64encode(public_bytes(new_private_key())).decode()
        return Evidence(
            role="train",
            assurance="A1",
            measurement=measurement,
            plan_digest=sha256(plan),
            nonce=nonce,
            hpke_key=key,
            signing_key=f"ed25519:{key}",
            probes=found,
            warnings=tuple(sorted(n for n in found if probe_names.tolerated(n, found[n]))),
        )


def _best(name: str) -> str:
    if name.removeprefix("evaluator.") in probe_names.TRIED:
        return "blocked"
    state = probe_names._of(name)
    return min(state.good or state.tolerated)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    create_local_keyring(folder / "keyring", KEYS)

    def kms(ref: str) -> KeyringKms:
        return KeyringKms(folder / "keyring", ref.rpartition("/")[2], place=ref)

    signing = kms("vault://transit/feedback-signer")
    signer = key_ref(signing.public_key())
    facts, manifests = sample.facts(), {}
    for name in ("train", "held_out"):
        manifest = getattr(facts, name).manifest
        keyset, context = Keyset.generate(), {"dataset": manifest.name}
        wrapped = WrappedKeyset(
            kms="vault://transit/feedback",
            context=context,
            wrapped=kms("feedback").wrap(keyset.to_tink(), context),
            key_id=keyset.key_id,
            commitment=keyset.commitment(),
        )
        manifest = msgspec.structs.replace(manifest, keyset=wrapped)
        envelope = sign_envelope(DATASET_TYPE, encode(manifest), signer, signing.sign)
        manifests[name] = envelope
        found = DatasetFacts.of(envelope, signer, manifest)
        facts = msgspec.structs.replace(facts, **{name: found})
    bundle = write_bundle(
        folder / "policy",
        Settings(
            signers=(signer,),
            output_prefixes=("s3://acme-data/runs/",),
            audit_prefixes=("s3://acme-audit/",),
            kms_prefixes=("vault://transit/",),
        ),
    )
    policy = PolicyFacts(digest=bundle.digest, rules=bundle.rule_ids)
    facts = msgspec.structs.replace(facts, policy=policy)
    config = settings(
        policy=str(folder / "policy"),
        measurements=(sample.MEASUREMENT, OTHER),
        signers=(signer,),
        manifest_signer="vault://transit/feedback-signer",
        keys=("vault://transit/feedback", "vault://transit/feedback-outputs"),
    )
    plan = build_plan(sample.spec(folder), facts, "feedback-1")
    return World(folder, plan, manifests, config, kms)


# ---- the five ------------------------------------------------------------------------------------
# Each is told a plan, and raises, or returns once it has gone on.


def planner(_world: World, plan: Plan) -> None:
    stored = SimpleNamespace(data=plan.to_json())
    stored_plan(LAYOUT, SimpleNamespace(read=lambda *_: stored))  # type: ignore[arg-type]


def broker(world: World, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def handle(**asked: Any) -> Any:
        started.append(asked["plan"])
        return SimpleNamespace(evidence=None)

    def bucket(_self: Reach, _purpose: str, uri: str) -> tuple[Any, str]:
        name = "held_out" if "held-out" in uri else "train"
        return SimpleNamespace(get=lambda _key, max_bytes: (world.manifests[name], "tag")), uri

    monkeypatch.setattr(process, "EnclaveHandle", handle)
    monkeypatch.setattr(Reach, "bucket", bucket)
    honest = BrokerProcess(Channel(socket.socketpair()[0], "controller"))
    identity = broker_messages.Identity(addr="", credentials_file="", oidc_role="")
    leases = tuple(ref for ref in world.plan.leases if ref.purpose != "audit-read")[1:]
    honest._answer(broker_messages.Configure(run=plan.run, identity=identity, leases=leases))
    try:
        honest._started(
            broker_messages.StartEnclave(plan=plan.to_json(), nonce="n", assurance="A1")
        )
    finally:
        assert started in ([], [plan.to_json()])
    assert started


def releaser(world: World, plan: Plan) -> None:
    answer = world.ask(plan)
    if isinstance(answer, messages.Denied):
        raise Refused({(error.code, error.place) for error in answer.errors})
    assert isinstance(answer, messages.Released)


def verifier(_world: World, plan: Plan) -> None:
    rules = Rules(plan.run, LAYOUT, plan.audit)
    admitted = events.RunAdmitted(
        plan=plan.digest,
        policy=plan.policy.digest,
        rules_passed=1,
        waivers=0,
        base_model=plan.model.digest,
        evaluator=plan.evaluator.sha256,
        datasets=(),
        outputs=plan.outputs,
    )
    rules.take_log([], [new_event(plan.run, "controller", admitted)])
    rules.take_plan(plan.to_json())
    failed = [check for check in rules.checks if not check.ok and "plan.json" in check.object]
    if failed:
        assert [check.name for check in failed] == ["Plan's fields follow from each other"]
        assert failed[0].detail.startswith(PlanInconsistent.code)
        raise Refused({(PlanInconsistent.code, place) for place in failed[0].detail.split()})


class Refused(Exception):
    """With which codes and places."""


@pytest.fixture
def tell(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Plan], None]:
    def to(role: str, plan: Plan) -> None:
        match role:
            case "broker":
                broker(world, plan, monkeypatch)
            case "planner":
                planner(world, plan)
            case "releaser":
                releaser(world, plan)
            case "verify":
                verifier(world, plan)

    return to


def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the check, and nothing else."""
    monkeypatch.setattr(derived, "_raise", lambda _found: None)


ROLES = ("planner", "broker", "releaser", "verify")


@pytest.mark.parametrize("role", ROLES)
def test_an_honest_plan_is_acted_upon(role, world, tell):
    tell(role, world.plan)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_refused_by_whoever_is_told_it(role, name, world, tell):
    lie, place = LIES[name]
    with pytest.raises((StrongroomError, Refused)) as caught:
        tell(role, lie(world.plan))
    if isinstance(caught.value, Refused):
        found = caught.value.args[0]
    else:
        found = {(error.code, error.place) for error in errors_of(caught.value)}
    assert {code for code, _ in found} == {PlanInconsistent.code}
    if role != "verify":  # which names the first of them
        assert place in {where for _, where in found}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", ["other model files", "limits", "capacity", "memory"])
def test_without_the_check_the_lie_gets_through(role, name, world, tell, monkeypatch):
    unchecked(monkeypatch)
    lie, _place = LIES[name]
    tell(role, lie(world.plan))


# ---- the enclave, a process of its own -----------------------------------------------------------


@pytest.fixture(scope="module")
def enclaves() -> Iterator[Forks]:
    with Forks("support.programs.plain_enclave") as forks:
        yield forks


def first_word(world: World, enclaves: Forks, plan: Plan, checks: str = "checked") -> Any:
    """What an enclave says first of a plan."""
    path = world.folder / "enclave"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen(1)
        done = enclaves.begin(str(path), checks)
        accepted, _ = listening.accept()
    channel = Channel(accepted, "enclave")
    channel.send_record(frames.Start(plan=plan.to_json(), nonce="nonce"))
    word = channel.recv_record(frames.RECORDS)
    channel.close()
    done()
    return word


@pytest.mark.parametrize("name", LIES)
def test_an_enclave_refuses_the_lie_before_it_does_anything(name, world, enclaves):
    word = first_word(world, enclaves, LIES[name][0](world.plan))
    assert isinstance(word, frames.Failure)
    assert word.code == PlanInconsistent.code


def test_an_enclave_asks_for_the_files_of_an_honest_plan(world, enclaves):
    assert first_word(world, enclaves, world.plan) == frames.Fetch(kind="model", index=0)


def test_without_the_check_an_enclave_asks_for_the_other_files(world, enclaves):
    word = first_word(world, enclaves, other_files(world.plan), "unchecked")
    assert word == frames.Fetch(kind="model", index=0)


# ---- facts that somebody vouches for -------------------------------------------------------------


def test_no_keys_for_evidence_of_other_code_than_the_plan_s(world):
    """Both are approved; the plan, and so the report, would name the wrong one."""
    answer = world.ask(world.plan, OTHER)
    assert isinstance(answer, messages.Denied)
    assert [error.place for error in answer.errors] == ["code.measurement"]
    releaser(world, replaced("code", "measurement", to=lambda _: sample.MEASUREMENT)(world.plan))


@pytest.mark.parametrize(
    "lie",
    [
        replaced("policy", "rules", to=lambda rules: rules[1:]),
        replaced("policy", "digest", to=lambda _digest: OTHER),
    ],
)
def test_no_keys_for_a_plan_that_names_another_policy(lie, world):
    with pytest.raises(Refused):
        releaser(world, lie(world.plan))


@pytest.mark.parametrize("role", ["broker", "releaser"])
@pytest.mark.parametrize("field", ["records", "plaintext_bytes"])
def test_what_a_plan_says_of_a_dataset_is_what_its_owner_signed(role, field, world, tell):
    """Consistent in itself, so that only the manifest tells."""
    train = replaced("data", "train", field, to=lambda number: number - 1)(world.plan)
    found = derived._found(train)
    lying = derived.derive(world.plan.run, world.plan.spec, found)
    derived.check_derived(lying)
    with pytest.raises((StrongroomError, Refused)):
        tell(role, lying)


def test_a_capacity_that_goes_with_its_limits_is_no_help(world, tell):
    """Limits of 37 Gbit, honestly added up: they do not follow from what was asked for."""
    wide = wide_limits(world.plan)
    bits = capacity.capacity_bits(wide.limits)
    assert bits > 30 * 10**9
    with pytest.raises(Refused):
        tell("releaser", msgspec.structs.replace(wide, capacity_bits=bits))
