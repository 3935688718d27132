"""Whoever can talk to the releaser and wants a key, or a signature, that is not theirs to have.

The decisions are those of the product's releaser with a keyring in place of the key service. Each
request differs from an honest one in one thing, and is refused with that thing's own code; the
honest request is the control.
"""

from __future__ import annotations

import base64
import os
import socket
import stat
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from strongroom.audit.events import types as events
from strongroom.audit.events.entries import Event
from strongroom.audit.log.note import Checkpoint
from strongroom.connectors.keys.errors import KmsContextMismatch
from strongroom.connectors.keys.keyring import KeyringKms, create_local_keyring
from strongroom.crypto.digests import Sha256, canonical, sha256
from strongroom.crypto.dsse import key_ref, sign_envelope
from strongroom.crypto.errors import (
    CommitmentMismatch,
    ManifestKindWrong,
    ManifestMalformed,
    ReleaseRefused,
    SignerNotListed,
)
from strongroom.crypto.keyset import Keyset
from strongroom.crypto.manifest import DATASET_TYPE, DatasetManifest, WrappedKeyset, encode
from strongroom.crypto.release import new_private_key, open_keys, public_bytes
from strongroom.enclave import errors
from strongroom.enclave.attest import export_subject, seal_subject, view_subject
from strongroom.enclave.channel import framing
from strongroom.enclave.evidence import Evidence, evidence_digest
from strongroom.enclave.plan.document import Plan
from strongroom.enclave.plan.errors import PlanInconsistent, PlanMalformed
from strongroom.enclave.plan.parts import DatasetFacts, PolicyFacts
from strongroom.enclave.sandbox import probe_names
from strongroom.errors import StrongroomError
from strongroom.pipeline.planning.plan import build_plan
from strongroom.pipeline.releaser import messages
from strongroom.pipeline.releaser.client import ANSWERS, ReleaserClient
from strongroom.pipeline.releaser.config import ReleaserConfig
from strongroom.pipeline.releaser.errors import (
    NonceUnknown,
    ReleaseDenied,
    ReleaserUnreachable,
    RequestMalformed,
    SignRefused,
)
from strongroom.pipeline.releaser.nonces import LIFETIME_S
from strongroom.pipeline.releaser.releaser import Releaser
from strongroom.pipeline.runfile.load import load_text
from strongroom.policies.gate import Settings, write_bundle
from support import kept_log, sample, told
from support.releasers import settings
from support.serving import serving
from support.told import said

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
KEYS = ("feedback", "feedback-outputs", "feedback-signer", "audit-log", "somebody")
DATA_KEY, OUTPUT_KEY = "vault://transit/feedback", "vault://transit/feedback-outputs"
SIGNER_KEY = "vault://transit/feedback-signer"
CALLER, RUN = "uid:1000", "feedback-1"
OPENED = events.RolloutsOpened(uri="s3://acme-data/runs/r/rollouts.sealed", sha256=OTHER)


@dataclass
class Owner:
    """A key owner: keys, a policy, a plan that it admits, and the manifests that it signed."""

    folder: Path
    config: ReleaserConfig
    plan: Plan
    manifests: dict[str, bytes] = field(repr=False)
    keysets: dict[str, Keyset] = field(repr=False)
    facts: object = field(repr=False)
    spec: object = field(repr=False)

    def kms(self, ref: str) -> KeyringKms:
        return KeyringKms(self.folder / "keyring", ref.rpartition("/")[2], place=ref)

    def wrap(self, keyset: Keyset, ref: str, context: dict[str, str]) -> WrappedKeyset:
        return WrappedKeyset(
            kms=ref,
            context=context,
            wrapped=self.kms(ref).wrap(keyset.to_tink(), context),
            key_id=keyset.key_id,
            commitment=keyset.commitment(),
        )

    def signed(self, manifest: DatasetManifest, ref: str = SIGNER_KEY) -> bytes:
        kms = self.kms(ref)
        return sign_envelope(DATASET_TYPE, encode(manifest), key_ref(kms.public_key()), kms.sign)

    def replan(self, train: DatasetManifest, signer: str = SIGNER_KEY) -> tuple[Plan, bytes]:
        """A plan over another training set, and that set's envelope."""
        envelope = self.signed(train, signer)
        dataset = DatasetFacts.of(envelope, key_ref(self.kms(signer).public_key()), train)
        facts = msgspec.structs.replace(self.facts, train=dataset)
        return build_plan(self.spec, facts, self.plan.run), envelope

    def releaser(self, clock=time.monotonic, **config: object) -> Releaser:
        """With a log of its own."""
        log = kept_log.KeptLog(Path(tempfile.mkdtemp(dir=self.folder)))
        config = msgspec.structs.replace(self.config, **config)
        return Releaser(config, log.notary, log.vkey, self.kms, clock)


def write_policy(folder: Path, signers: tuple[str, ...], **settings: object):
    return write_bundle(
        folder,
        Settings(
            signers=signers,
            output_prefixes=("s3://acme-data/runs/",),
            audit_prefixes=("s3://acme-audit/",),
            kms_prefixes=("vault://transit/",),
            **settings,
        ),
    )


@pytest.fixture(scope="module")
def owner(tmp_path_factory) -> Owner:
    folder = tmp_path_factory.mktemp("owner")
    create_local_keyring(folder / "keyring", KEYS)
    signer = key_ref(KeyringKms(folder / "keyring", "feedback-signer", place="test").public_key())
    bundle = write_policy(folder / "policy", (signer,))
    config = settings(
        socket=str(folder / "socket"),
        policy=str(folder / "policy"),
        measurements=(DIGEST,),
        signers=(signer,),
        manifest_signer=SIGNER_KEY,
        keys=(DATA_KEY, OUTPUT_KEY),
    )
    made = Owner(folder, config, None, {}, {}, None, None)
    facts = sample.facts()
    policy = PolicyFacts(digest=bundle.digest, rules=bundle.rule_ids)
    code = msgspec.structs.replace(facts.code, measurement=DIGEST)
    changes: dict[str, object] = {"policy": policy, "code": code}
    for name in ("train", "held_out"):
        dataset = getattr(facts, name)
        keyset = made.keysets[name] = Keyset.generate()
        wrapped = made.wrap(keyset, DATA_KEY, {"dataset": dataset.manifest.name})
        manifest = msgspec.structs.replace(dataset.manifest, keyset=wrapped)
        envelope = made.manifests[name] = made.signed(manifest)
        changes[name] = DatasetFacts.of(envelope, signer, manifest)
    made.facts = msgspec.structs.replace(facts, **changes)
    (folder / "evaluator.py").write_text("def evaluate(): ...\n")
    text = sample.EXAMPLE.read_text()
    made.spec = load_text(text, folder / "run.yaml", stack=sample.stack(folder)).spec
    made.plan = build_plan(made.spec, made.facts, RUN)
    return made


def probes(role: str = "train") -> dict[str, str]:
    names = probe_names.MAIN | (probe_names.EVALUATOR if role == "train" else frozenset())

    def best(name: str) -> str:
        if name.removeprefix("evaluator.") in probe_names.TRIED:
            return "blocked"
        state = probe_names._of(name)
        return min(state.good or state.tolerated)

    return {name: best(name) for name in names}


class Applicant:
    """An enclave with a key of its own that asks one releaser for keys."""

    def __init__(self, owner: Owner, releaser: Releaser) -> None:
        self.owner = owner
        self.releaser = releaser
        self.private = new_private_key()
        self.sent: Evidence | None = None

    def nonce(self) -> str:
        return self.answer(messages.Challenge()).nonce

    def answer(self, request: messages.Request) -> messages.Answer:
        return self.releaser.answer(request, CALLER)

    def begun(self, plan: Plan) -> list[Event]:
        """What its controller tells of the run before it asks for keys; nothing of another plan."""
        before = self.releaser._notary.told(plan.run)
        if before.plans and plan.digest not in before.plans:
            return []
        resumed = events.RunResumed(plan=plan.digest, step=0)
        admitted = msgspec.structs.replace(told.ADMITTED, plan=plan.digest)
        started = msgspec.structs.replace(told.STARTED, evidence=evidence_digest(self.sent))
        return [said(each, plan.run) for each in (resumed if before.plans else admitted, started)]

    def evidence(self, plan: bytes, **changes: object) -> bytes:
        role = changes.get("role", "train")
        found = {**probes(role), **changes.pop("probes", {})}
        found = {name: value for name, value in found.items() if value is not None}
        names = probe_names.MAIN | probe_names.EVALUATOR
        owed = sorted(n for n, v in found.items() if n in names and probe_names.tolerated(n, v))
        fields = {
            "role": role,
            "assurance": "A1",
            "measurement": DIGEST,
            "plan_digest": sha256(plan),
            "nonce": changes["nonce"] if "nonce" in changes else self.nonce(),
            "hpke_key": base64.b64encode(public_bytes(self.private)).decode(),
            "signing_key": "ed25519:" + base64.b64encode(bytes(32)).decode(),
            "probes": found,
            "warnings": tuple(owed),
        }
        self.sent = Evidence(**fields | changes)
        return msgspec.json.encode(self.sent)

    def ask(self, *, plan: bytes | None = None, **changes: object) -> messages.Answer:
        """An honest request but for the changes: of the request, else of the evidence."""
        admitted = self.owner.plan.to_json()
        request = {
            "plan": admitted if plan is None else plan,
            "manifests": changes.pop("manifests", self.owner.manifests),
            "outputs": changes.pop("outputs", None),
        }
        evidence = changes.pop("evidence", None) or self.evidence(
            changes.pop("attested", request["plan"]), **changes
        )
        with suppress(StrongroomError):
            self.releaser._notary.take(self.begun(Plan.from_json(request["plan"])), CALLER)
        return self.answer(messages.ReleaseRun(run=RUN, evidence=evidence, **request))


@pytest.fixture
def applicant(owner) -> Applicant:
    return Applicant(owner, owner.releaser())


def codes(answer: messages.Answer) -> set[str]:
    assert isinstance(answer, messages.Denied), "it was granted"
    return {error.code for error in answer.errors}


def refused(answer: messages.Answer, kind: type[StrongroomError]) -> bool:
    return codes(answer) == {kind.code}


# ---- keys ----------------------------------------------------------------------------------------


def test_the_honest_request_gets_the_keys_and_only_its_enclave_can_open_them(applicant):
    released = applicant.ask()
    assert isinstance(released, messages.Released)
    digest = evidence_digest(applicant.sent)
    opened = open_keys(released.sealed, applicant.private, digest)
    assert opened.keys() == {"train", "held_out", "outputs"}
    for name, keyset in applicant.owner.keysets.items():
        assert opened[name].commitment() == keyset.commitment()
    assert opened["outputs"].commitment() == released.keyset.commitment
    with pytest.raises(ReleaseRefused):
        open_keys(released.sealed, new_private_key(), digest)
    with pytest.raises(ReleaseRefused):
        open_keys(released.sealed, applicant.private, Sha256(OTHER))
    for keyset in opened.values():
        assert keyset.key not in released.sealed


def test_a_resumed_run_gets_the_same_output_key(applicant):
    first = applicant.ask()
    again = applicant.ask(outputs=first.keyset)
    assert isinstance(again, messages.Released)
    opened = open_keys(again.sealed, applicant.private, evidence_digest(applicant.sent))
    assert opened["outputs"].commitment() == first.keyset.commitment


EVIDENCE = {
    "another plan": ({"plan_digest": OTHER}, errors.PlanDigestMismatch),
    "unknown code": ({"measurement": OTHER}, errors.MeasurementUnknown),
    "no sandbox": ({"assurance": "A0"}, errors.AssuranceTooLow),
    "a sealer's": ({"role": "seal"}, errors.RoleMismatch),
    "a missing probe": ({"probes": {"socket.inet": None}}, errors.ProbeMissing),
    "no probe of the evaluator": ({"probes": {"evaluator.fork": None}}, errors.ProbeMissing),
    "an open probe": ({"probes": {"write.tmp": "open"}}, errors.LayerOpen),
    "an open evaluator": ({"probes": {"evaluator.socket.inet": "open"}}, errors.LayerOpen),
    "a raised core limit": ({"probes": {"core_limit": "raised"}}, errors.LayerOpen),
    "swap without locks": (
        {"probes": {"swap": "present", "mlock": "unlocked"}},
        errors.SwapUnprotected,
    ),
    "an unknown probe": ({"probes": {"magic": "blocked"}}, errors.EvidenceMalformed),
    "text as a probe": ({"probes": {"fork": "row 17"}}, errors.EvidenceMalformed),
    "a kept silence": ({"warnings": ()}, errors.WarningMissing),
    "a nonce of its own": ({"nonce": "n" * 43}, NonceUnknown),
    "no key": ({"hpke_key": ""}, errors.EvidenceMalformed),
}


@pytest.mark.parametrize("what", EVIDENCE)
def test_evidence_that_is_not_enough(what, applicant):
    changes, kind = EVIDENCE[what]
    assert refused(applicant.ask(**dict(changes)), kind)


def test_each_probe_counts(applicant):
    """Every door that is open and every probe that is missing, one at a time, without policy."""
    applicant.releaser._admit = lambda _plan: None
    for name in sorted(probes()):
        assert refused(applicant.ask(probes={name: None}), errors.ProbeMissing)
        if name.removeprefix("evaluator.") in probe_names.TRIED:
            assert refused(applicant.ask(probes={name: "open"}), errors.LayerOpen)


def test_the_plan_s_own_assurance_counts_where_the_owner_asks_for_less(owner):
    """The plan says A1; an owner who would allow A0 still gets what the plan promises."""
    careless = Applicant(owner, owner.releaser(min_assurance="A0"))
    assert isinstance(careless.ask(), messages.Released)
    assert refused(careless.ask(assurance="A0"), errors.AssuranceTooLow)


def test_evidence_counts_once(applicant):
    evidence = applicant.evidence(applicant.owner.plan.to_json())
    assert isinstance(applicant.ask(evidence=evidence), messages.Released)
    assert refused(applicant.ask(evidence=evidence), NonceUnknown)


def test_a_refused_request_has_used_its_nonce_up(applicant):
    nonce = applicant.nonce()
    assert refused(applicant.ask(nonce=nonce, measurement=OTHER), errors.MeasurementUnknown)
    assert refused(applicant.ask(nonce=nonce), NonceUnknown)


def test_a_nonce_grows_stale(owner):
    now = [0.0]
    applicant = Applicant(owner, owner.releaser(clock=lambda: now[0]))
    fresh, stale = applicant.nonce(), applicant.nonce()
    now[0] = LIFETIME_S - 1
    assert isinstance(applicant.ask(nonce=fresh), messages.Released)
    now[0] = LIFETIME_S + 1
    assert refused(applicant.ask(nonce=stale), NonceUnknown)


def test_a_nonce_of_one_releaser_says_nothing_to_another(owner):
    here, there = (Applicant(owner, owner.releaser()) for _ in range(2))
    assert refused(here.ask(nonce=there.nonce()), NonceUnknown)


def test_a_plan_changed_by_one_byte_after_the_enclave_attested_to_it(applicant):
    admitted = applicant.owner.plan.to_json()
    at = admitted.index(b'"seed":') + len(b'"seed":')
    digit = b"1" if admitted[at : at + 1] != b"1" else b"2"
    changed = admitted[:at] + digit + admitted[at + 1 :]
    assert isinstance(Plan.from_json(changed), Plan)  # a good plan, but another one
    assert refused(applicant.ask(plan=changed, attested=admitted), errors.PlanDigestMismatch)


@pytest.mark.parametrize("part", range(12))
def test_no_single_byte_of_a_plan_can_change(part, applicant):
    admitted = applicant.owner.plan.to_json()
    at = (len(admitted) * (2 * part + 1)) // 24
    for flip in (0x01, 0x20):
        changed = bytearray(admitted)
        changed[at] ^= flip
        answer = applicant.ask(plan=bytes(changed), attested=admitted)
        refusals = PlanMalformed, PlanInconsistent, errors.PlanDigestMismatch, ReleaseDenied
        assert codes(answer) <= {refusal.code for refusal in refusals}


def test_a_plan_that_the_owner_s_policy_does_not_admit(owner, tmp_path):
    """Admitted by whatever policy the controller used; the releaser has its own copy."""
    stricter = owner.releaser(policy=str(tmp_path / "policy"))
    write_policy(tmp_path / "policy", owner.config.signers, regions=("us-gov-west-1",))
    assert refused(Applicant(owner, stricter).ask(), ReleaseDenied)


def test_a_manifest_that_is_not_the_plan_s(applicant):
    owner = applicant.owner
    swapped = {"train": owner.manifests["held_out"], "held_out": owner.manifests["held_out"]}
    assert refused(applicant.ask(manifests=swapped), ReleaseDenied)
    assert refused(applicant.ask(manifests={}), ReleaseDenied)


@pytest.mark.parametrize("policy_knows", [False, True])
def test_a_manifest_by_an_unlisted_signer(policy_knows, owner, tmp_path):
    """Refused by the policy; and by the releaser itself where the policy would let it pass."""
    somebody = "vault://transit/somebody"
    plan, envelope = owner.replan(owner.facts.train.manifest, somebody)
    releaser, kind = owner.releaser(), ReleaseDenied
    if policy_knows:
        signers = (*owner.config.signers, key_ref(owner.kms(somebody).public_key()))
        bundle = write_policy(tmp_path / "policy", signers)
        facts = msgspec.structs.replace(plan.policy, digest=bundle.digest)
        plan = msgspec.structs.replace(plan, policy=facts)
        releaser, kind = owner.releaser(policy=str(tmp_path / "policy")), SignerNotListed
    manifests = {**owner.manifests, "train": envelope}
    answer = Applicant(owner, releaser).ask(plan=plan.to_json(), manifests=manifests)
    assert refused(answer, kind)


def test_another_run_s_output_key(applicant):
    """As this run's output key: with its own context, and with this run's context on it."""
    owner = applicant.owner
    theirs = owner.wrap(Keyset.generate(), OUTPUT_KEY, {"run": "salaries-1"})
    assert refused(applicant.ask(outputs=theirs), ReleaseDenied)
    renamed = msgspec.structs.replace(theirs, context={"run": owner.plan.run})
    assert refused(applicant.ask(outputs=renamed), KmsContextMismatch)
    ours = owner.wrap(Keyset.generate(), OUTPUT_KEY, {"run": owner.plan.run})
    assert isinstance(applicant.ask(outputs=ours), messages.Released)


def test_a_data_key_as_this_run_s_output_key(applicant):
    """Else an enclave would seal outputs, or a viewer open rows, with it."""
    dataset = applicant.owner.facts.train.manifest.keyset
    assert refused(applicant.ask(outputs=dataset), ReleaseDenied)
    posing = msgspec.structs.replace(dataset, context={"run": applicant.owner.plan.run})
    assert refused(applicant.ask(outputs=posing), ReleaseDenied)  # wrapped by another key


def test_another_run_s_output_key_that_poses_as_a_dataset_s(applicant):
    owner = applicant.owner
    theirs = owner.wrap(Keyset.generate(), DATA_KEY, {"run": "salaries-1"})
    manifest = msgspec.structs.replace(owner.facts.train.manifest, keyset=theirs)
    envelope, signer = owner.signed(manifest), owner.config.signers[0]
    train = DatasetFacts.of(envelope, signer, manifest).at(owner.plan.data.train.uri)
    data = msgspec.structs.replace(owner.plan.data, train=train)
    plan = msgspec.structs.replace(owner.plan, data=data)
    manifests = {**owner.manifests, "train": envelope}
    assert refused(applicant.ask(plan=plan.to_json(), manifests=manifests), PlanInconsistent)
    assert refused(applicant.answer(messages.SignManifest(payload=encode(manifest))), SignRefused)


def test_a_key_that_is_not_the_one_committed_to(applicant):
    owner = applicant.owner
    manifest = owner.facts.train.manifest
    context = {"dataset": manifest.name}
    lying = msgspec.structs.replace(
        owner.wrap(Keyset.generate(), DATA_KEY, context),
        commitment=manifest.keyset.commitment,
        key_id=manifest.keyset.key_id,
    )
    plan, envelope = owner.replan(msgspec.structs.replace(manifest, keyset=lying))
    manifests = {**owner.manifests, "train": envelope}
    answer = applicant.ask(plan=plan.to_json(), manifests=manifests)
    assert codes(answer) <= {CommitmentMismatch.code, "SR-CRYPTO-033"}


OPENERS = {
    "view": (messages.ReleaseView, view_subject, OPENED),
    "export": (messages.ReleaseExport, export_subject, told.EXPORTED),
}


@pytest.mark.parametrize("role", OPENERS)
def test_who_opens_outputs_gets_only_the_output_key_of_its_run(role, applicant):
    owner = applicant.owner
    outputs = owner.wrap(Keyset.generate(), OUTPUT_KEY, {"run": "feedback-1"})
    request, order, use = OPENERS[role]
    for run in ("feedback-1", "salaries-1"):
        applicant.releaser._notary.take([said(told.ADMITTED, run)], CALLER)

    def ask(run: str, wrapped: WrappedKeyset, attested: str) -> messages.Answer:
        evidence = applicant.evidence(b"", role=role, plan_digest=order(attested))
        return applicant.answer(request(evidence, run, wrapped, use))

    assert isinstance(ask("feedback-1", outputs, "feedback-1"), messages.Released)
    assert refused(ask("salaries-1", outputs, "salaries-1"), ReleaseDenied)
    assert refused(ask("feedback-1", outputs, "salaries-1"), errors.PlanDigestMismatch)
    dataset = owner.facts.train.manifest.keyset
    assert refused(ask("feedback-1", dataset, "feedback-1"), ReleaseDenied)


@pytest.mark.parametrize("role", OPENERS)
def test_a_viewer_is_no_exporter_and_the_other_way_round(role, applicant):
    """One writes for a person's eyes, the other weights to a disk: neither passes for the other."""
    outputs = applicant.owner.wrap(Keyset.generate(), OUTPUT_KEY, {"run": "feedback-1"})
    (other,) = OPENERS.keys() - {role}
    request, _order, use = OPENERS[other]
    applicant.releaser._notary.take([said(told.ADMITTED, "feedback-1")], CALLER)
    for claimed, kind in ((role, errors.RoleMismatch), (other, errors.PlanDigestMismatch)):
        own = OPENERS[role][1]("feedback-1")
        evidence = applicant.evidence(b"", role=claimed, plan_digest=own)
        assert refused(applicant.answer(request(evidence, "feedback-1", outputs, use)), kind)


def test_a_sealer_gets_only_the_key_of_the_dataset_that_it_attested_to(applicant):
    def seal(dataset: str, attested: str) -> messages.Answer:
        order = seal_subject(attested, DATA_KEY)
        evidence = applicant.evidence(b"", role="seal", plan_digest=order)
        request = messages.ReleaseSeal(evidence=evidence, dataset=dataset, kms=DATA_KEY)
        return applicant.answer(request)

    assert isinstance(seal("feedback", "feedback"), messages.Released)
    assert refused(seal("salaries", "feedback"), errors.PlanDigestMismatch)


# ---- signatures ----------------------------------------------------------------------------------


def test_a_checkpoint_is_signed_for_nobody(applicant):
    """Neither as a note, for which there is no request, nor as a manifest or a key's digest."""
    text = Checkpoint(kept_log.ORIGIN, 7, b"a" * 32).text()
    kinds = {kind.__struct_config__.tag for kind in get_args(messages.Request)}
    assert {name for name in kinds if "sign" in name} == {"sign_manifest"}
    assert refused(applicant.answer(messages.SignManifest(payload=text)), ManifestMalformed)


def test_what_is_no_dataset_manifest_is_not_signed(applicant):
    def sign(payload: bytes) -> messages.Answer:
        return applicant.answer(messages.SignManifest(payload=payload))

    manifest = applicant.owner.facts.train.manifest
    assert isinstance(sign(encode(manifest)), messages.Signed)
    assert refused(sign(b"I owe you one million"), ManifestMalformed)
    assert refused(sign(Checkpoint("acme", 7, bytes(32)).text()), ManifestMalformed)
    checkpoint = canonical({"version": 1, "kind": "checkpoint", "run": "feedback-1"})
    assert refused(sign(checkpoint), ManifestKindWrong)


# ---- the socket ----------------------------------------------------------------------------------


@contextmanager
def served_to(releaser, *allowed_uids):
    """A releaser on a real socket, in a folder that everybody may enter."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with serving(releaser, folder / "socket", *allowed_uids):
            yield folder / "socket"


@pytest.fixture
def served(owner):
    with served_to(owner.releaser()) as path:
        yield path


def test_the_honest_request_over_the_real_socket_and_its_replay(owner, served):
    client = ReleaserClient(served)
    applicant = Applicant(owner, owner.releaser())
    plan = owner.plan.to_json()
    evidence = applicant.evidence(plan, nonce=client.challenge())
    client.append(applicant.begun(owner.plan))
    released = client.release_run(RUN, plan, evidence, owner.manifests, None)
    opened = open_keys(released.sealed, applicant.private, evidence_digest(applicant.sent))
    assert opened["train"].commitment() == owner.keysets["train"].commitment()
    with pytest.raises(NonceUnknown):
        client.release_run(RUN, plan, evidence, owner.manifests, None)
    wrong = applicant.evidence(plan, nonce=client.challenge(), measurement=OTHER)
    with pytest.raises(errors.MeasurementUnknown):
        client.release_run(RUN, plan, wrong, owner.manifests, None)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\n\r\n".ljust(32),
        b"\x01\x05\x00\x00\x00hello",
        b"\x01\xff\xff\xff\xff",
        b"\x01\x14\x00\x00\x00" + b'{"message":"unlock"}',
        b"\x02\x02\x00\x00\x00{}",
    ],
)
def test_bytes_that_are_no_request(request_bytes, served):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.connect(str(served))
        peer.sendall(request_bytes)
        talk = framing.Channel(peer, "releaser")
        answer = talk.recv_record(ANSWERS)
    assert refused(answer, RequestMalformed)
    assert ReleaserClient(served).challenge()  # it goes on


NOBODY = 65534
GRANTED, REFUSED, IGNORED = 0, 3, 4


def ask_as_nobody(path: Path) -> int:
    """Ask for a challenge as another user; what came of it."""
    body = msgspec.json.encode(messages.Challenge())
    pid = os.fork()
    if pid == 0:
        status = 5
        with suppress(BaseException):
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                peer.connect(str(path))
                peer.sendall(b"\x01" + len(body).to_bytes(4, "little") + body)
                status = GRANTED if peer.recv(100) else IGNORED
            except PermissionError:
                status = REFUSED
            except OSError:
                status = IGNORED
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_another_user_is_not_answered(owner, served):
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    assert stat.S_IMODE(served.stat().st_mode) == 0o600
    assert ask_as_nobody(served) == REFUSED
    served.chmod(0o666)  # a careless owner; the peer's user is still looked at
    assert ask_as_nobody(served) == IGNORED
    # The controls: its own user, and the other one where the owner names it.
    assert ReleaserClient(served).challenge()
    with served_to(owner.releaser(), NOBODY) as open_to_nobody:
        assert ask_as_nobody(open_to_nobody) == GRANTED


def test_nobody_answers_where_no_releaser_is(tmp_path):
    with pytest.raises(ReleaserUnreachable):
        ReleaserClient(tmp_path / "socket").challenge()
