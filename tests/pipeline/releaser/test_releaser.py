"""The releaser with a real policy, real keys (a keyring for the KMS) and made-up evidence.

What an adversary tries is in ``tests/attacks``; here it does its work, and says no in order.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from strongroom.audit.log.note import Checkpoint
from strongroom.connectors.keys.errors import KmsRefused
from strongroom.connectors.keys.keyring import create_local_keyring
from strongroom.connectors.keys.kms import Kms
from strongroom.connectors.keys.open import open_kms
from strongroom.crypto.digests import Sha256, canonical
from strongroom.crypto.dsse import KeyRef, key_ref, open_envelope, sign_envelope
from strongroom.crypto.keyset import Keyset
from strongroom.crypto.manifest import (
    DATASET_TYPE,
    DatasetManifest,
    WrappedKeyset,
    encode,
)
from strongroom.crypto.release import new_private_key, open_keys, public_bytes
from strongroom.enclave.attest import export_subject, seal_subject, view_subject
from strongroom.enclave.evidence import Evidence, evidence_digest
from strongroom.enclave.plan.document import Plan
from strongroom.enclave.plan.parts import DatasetFacts, KeyFacts, KeyRefs, KmsFacts, PolicyFacts
from strongroom.enclave.sandbox import probe_names
from strongroom.errors.listing import errors_of
from strongroom.errors.registry import from_documents
from strongroom.pipeline.planning.facts import Facts
from strongroom.pipeline.planning.plan import build_plan
from strongroom.pipeline.releaser import messages
from strongroom.pipeline.releaser.config import ReleaserConfig
from strongroom.pipeline.releaser.releaser import (
    MAX_OPEN_NONCES,
    NONCE_LIFETIME_S,
    Releaser,
)
from strongroom.pipeline.releaser.signed_roots import ROOTS_PER_LOG
from strongroom.pipeline.runfile.load import LoadedRun
from strongroom.pipeline.runfile.spec import RunSpec
from strongroom.policies.gate import Settings, read_bundle, write_bundle
from support import sample

DATA, OUTPUTS, AUDIT, SIGNER = (
    f"vault://transit/{name}"
    for name in ("feedback", "feedback-outputs", "audit-log", "feedback-signer")
)
MEASUREMENT = sample.MEASUREMENT


def probes(role: str) -> dict[str, str]:
    """What a well-locked enclave sees."""
    names = probe_names.MAIN | (probe_names.EVALUATOR if role == "train" else frozenset())
    found = {}
    for name in names:
        if name.removeprefix("evaluator.") in probe_names.TRIED:
            found[name] = "blocked"
        else:
            state = probe_names._of(name)
            found[name] = min(state.good or state.tolerated)
    return found


@dataclass
class Owner:
    """A key owner with a keyring, and the releaser that acts for them."""

    folder: Path
    now: float = 0.0
    opened: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ring = self.folder / "keyring.json"
        create_local_keyring(self.ring, [ref.rpartition("/")[2] for ref in self.refs])
        self.signer = key_ref(self.key(SIGNER).public_key())
        self.bundle = self.folder / "policy"
        write_bundle(
            self.bundle,
            Settings(
                signers=(self.signer,),
                output_prefixes=("s3://acme-data/runs/",),
                audit_prefixes=("s3://acme-audit/",),
                kms_prefixes=("vault://transit/",),
            ),
        )
        config = ReleaserConfig(
            socket="unused",
            credentials_file="unused",
            vault_addr="http://127.0.0.1:8200",
            policy=str(self.bundle),
            min_assurance="A1",
            measurements=(MEASUREMENT,),
            signers=(self.signer,),
            manifest_signer=SIGNER,
        )
        self.releaser = Releaser(config, open_key=self.key, clock=lambda: self.now)

    @property
    def refs(self) -> tuple[str, ...]:
        return (DATA, OUTPUTS, AUDIT, SIGNER)

    def key(self, ref: str) -> Kms:
        self.opened.append(ref)
        return open_kms(f"local://{self.ring}#{ref.rpartition('/')[2]}")

    def wrapped(self, ref: str, context: dict[str, str]) -> tuple[Keyset, WrappedKeyset]:
        keyset = Keyset.generate()
        return keyset, WrappedKeyset(
            kms=ref,
            context=context,
            wrapped=self.key(ref).wrap(keyset.to_tink(), context),
            key_id=keyset.key_id,
            commitment=keyset.commitment(),
        )

    def ask(self, request: messages.Request) -> Any:
        return self.releaser.answer(request)

    def refuse(self, request: messages.Request) -> list[str]:
        answer = self.releaser.answer(request)
        assert isinstance(answer, messages.Denied), answer
        return [error.code for error in errors_of(from_documents(answer.errors))]

    def evidence(self, role: str, order: str, **changes: Any) -> tuple[bytes, X25519PrivateKey]:
        """Good evidence on a fresh challenge, and the enclave's private key."""
        private = new_private_key()
        key = base64.b64encode(public_bytes(private)).decode()
        found = probes(role)
        said = {
            "role": role,
            "assurance": "A1",
            "measurement": MEASUREMENT,
            "plan_digest": order,
            "nonce": self.ask(messages.Challenge()).nonce,
            "hpke_key": key,
            "signing_key": f"ed25519:{key}",
            "probes": found,
            "warnings": tuple(sorted(n for n in found if probe_names.tolerated(n, found[n]))),
        }
        return msgspec.json.encode(Evidence(**(said | changes))), private


def opened(released: Any, evidence: bytes, private: X25519PrivateKey) -> dict[str, Keyset]:
    assert isinstance(released, messages.Released), released
    digest = evidence_digest(msgspec.json.decode(evidence, type=Evidence))
    return open_keys(released.sealed, private, digest)


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    folder = tmp_path / "owner"
    folder.mkdir()
    return Owner(folder)


@dataclass
class Job:
    """An admitted plan with its two signed manifests."""

    plan: Plan
    facts: Facts
    manifests: dict[str, bytes]
    keysets: dict[str, Keyset]


@pytest.fixture
def facts(owner: Owner) -> Facts:
    """Facts of the run with the owner's policy and the owner's own signature on the datasets."""
    bundle = read_bundle(owner.bundle)
    policy = PolicyFacts(digest=bundle.digest, rules=bundle.rule_ids)
    return msgspec.structs.replace(sample.facts(), policy=policy)


def signed(owner: Owner, manifest: DatasetManifest) -> tuple[Keyset, bytes, DatasetFacts]:
    """A manifest under a keyset that the owner's key wraps: the keyset, the envelope, the facts."""
    keyset, wrapped = owner.wrapped(DATA, {"dataset": manifest.name})
    manifest = msgspec.structs.replace(manifest, keyset=wrapped)
    envelope = sign_envelope(DATASET_TYPE, encode(manifest), owner.signer, owner.key(SIGNER).sign)
    return keyset, envelope, DatasetFacts.of(envelope, owner.signer, manifest)


@pytest.fixture
def job(owner: Owner, facts: Facts, load_example: Callable[..., LoadedRun], example: str) -> Job:
    manifests, keysets = {}, {}
    for name in ("train", "held_out"):
        made = signed(owner, getattr(facts, name).manifest)
        keysets[name], manifests[name], found = made
        facts = msgspec.structs.replace(facts, **{name: found})
    plan = build_plan(load_example(example).spec, facts, "feedback-1")
    owner.opened.clear()
    return Job(plan, facts, manifests, keysets)


@pytest.fixture
def sealed_spec(load_example: Callable[..., LoadedRun], example: str) -> RunSpec:
    """The run file with a sealed evaluator."""
    uri = "s3://acme-data/evaluators/feedback/"
    return load_example(re.sub(r"source: evaluator.py[^\n]*", f"sealed: {uri}", example)).spec


@pytest.fixture
def sealed_job(owner: Owner, job: Job, sealed_spec: RunSpec) -> Job:
    """The same run with a sealed evaluator."""
    one = sample.dataset("evaluators.feedback", 1).manifest
    shard = msgspec.structs.replace(one.shards[0], records=1)
    manifest = msgspec.structs.replace(one, format="python", records=1, shards=(shard,))
    keyset, envelope, found = signed(owner, manifest)
    facts = msgspec.structs.replace(job.facts, evaluator=found)
    plan = build_plan(sealed_spec, facts, "feedback-1")
    manifests = {**job.manifests, "evaluator": envelope}
    return Job(plan, facts, manifests, {**job.keysets, "evaluator": keyset})


def test_a_sealed_evaluator_s_keys_come_with_those_of_the_data(owner, sealed_job):
    answer, evidence, private = release_run(owner, sealed_job)
    keysets = opened(answer, evidence, private)
    assert sorted(keysets) == ["evaluator", "held_out", "outputs", "train"]
    assert keysets["evaluator"].key == sealed_job.keysets["evaluator"].key


@pytest.mark.parametrize("instead", ["train", None])
def test_a_sealed_evaluator_is_the_plan_s(owner, sealed_job, instead):
    manifests = dict(sealed_job.manifests)
    if instead is None:
        del manifests["evaluator"]
    else:
        manifests["evaluator"] = manifests[instead]
    answer, _, _ = release_run(owner, sealed_job, manifests=manifests)
    assert isinstance(answer, messages.Denied)
    assert [error.code for error in answer.errors] == ["SR-RELEASE-002"]


def test_rows_do_not_pass_for_a_sealed_evaluator(owner, sealed_job):
    """Whole, signed and pinned by an admitted plan, and still a dataset."""
    envelope = sealed_job.manifests["train"]
    data = sealed_job.plan.to_dict()
    digest = data["data"]["train"]["manifest_sha256"]
    data["evaluator"]["sha256"] = data["evaluator"]["sealed"]["manifest_sha256"] = digest
    plan = Plan.from_json(canonical(data))
    manifests = {**sealed_job.manifests, "evaluator": envelope}
    answer, _, _ = release_run(owner, Job(plan, sealed_job.facts, manifests, {}))
    assert isinstance(answer, messages.Denied)
    assert [error.code for error in answer.errors] == ["SR-CRYPTO-012"]


def release_run(owner: Owner, job: Job, **changes: Any) -> tuple[Any, bytes, X25519PrivateKey]:
    evidence, private = owner.evidence("train", job.plan.digest)
    said = {"plan": job.plan.to_json(), "evidence": evidence, "manifests": job.manifests} | changes
    return owner.ask(messages.ReleaseRun(**said)), evidence, private


def test_a_runs_keys(owner, job):
    answer, evidence, private = release_run(owner, job)
    keysets = opened(answer, evidence, private)
    assert sorted(keysets) == ["held_out", "outputs", "train"]
    assert keysets["train"].key == job.keysets["train"].key
    assert keysets["held_out"].key == job.keysets["held_out"].key
    assert answer.keyset.kms == OUTPUTS
    assert answer.keyset.context == {"run": "feedback-1"}
    assert answer.keyset.commitment == keysets["outputs"].commitment()


def test_a_resumed_run_gets_the_same_output_keys(owner, job):
    first, evidence, private = release_run(owner, job)
    outputs = opened(first, evidence, private)["outputs"]
    second, evidence, private = release_run(owner, job, outputs=first.keyset)
    assert opened(second, evidence, private)["outputs"].key == outputs.key
    assert second.keyset == first.keyset


def test_each_new_run_gets_new_output_keys(owner, job):
    found = {opened(*release_run(owner, job))["outputs"].key for _ in range(2)}
    assert len(found) == 2


def test_keys_are_sealed_to_that_enclave(owner, job):
    answer, evidence, _private = release_run(owner, job)
    with pytest.raises(Exception, match="SR-CRYPTO"):
        opened(answer, evidence, new_private_key())


def test_a_denied_plan_gets_no_keys_and_every_reason(owner, job):
    data = job.plan.to_dict()
    data["facts"]["audit_bucket"]["object_lock"] = False
    data["facts"]["data_bucket"]["versioned"] = False
    plan = Plan.from_json(msgspec.json.encode(data, order="deterministic"))
    evidence, _ = owner.evidence("train", plan.digest)
    request = messages.ReleaseRun(plan=plan.to_json(), evidence=evidence, manifests=job.manifests)
    answer = owner.ask(request)
    assert isinstance(answer, messages.Denied)
    assert {error.code for error in answer.errors} == {"SR-RELEASE-002"}
    assert len(answer.errors) >= 2
    assert owner.opened == []


def test_a_plan_that_is_none(owner, job):
    evidence, _ = owner.evidence("train", job.plan.digest)
    request = messages.ReleaseRun(plan=b"{}", evidence=evidence, manifests=job.manifests)
    assert owner.refuse(request) == ["SR-RUN-030"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"manifests": {}}, "SR-RELEASE-002"),
        ({"outputs": {"context": {"run": "another"}}}, "SR-RELEASE-002"),
        ({"outputs": {"kms": DATA}}, "SR-RELEASE-002"),
    ],
)
def test_what_does_not_belong_to_the_plan(owner, job, changes, code):
    if "outputs" in changes:
        good = owner.wrapped(OUTPUTS, {"run": "feedback-1"})[1]
        changes = {"outputs": msgspec.structs.replace(good, **changes["outputs"])}
    answer, _, _ = release_run(owner, job, **changes)
    assert isinstance(answer, messages.Denied)
    assert [error.code for error in answer.errors] == [code]


def test_a_key_that_is_not_the_one_that_sealed(owner, job):
    """The KMS unwraps it, and it is not what the signed manifest commits to."""
    _, other = owner.wrapped(OUTPUTS, {"run": "feedback-1"})
    lying = msgspec.structs.replace(
        owner.wrapped(OUTPUTS, {"run": "feedback-1"})[1], wrapped=other.wrapped
    )
    answer, _, _ = release_run(owner, job, outputs=lying)
    assert isinstance(answer, messages.Denied)
    assert answer.errors[0].code.startswith("SR-CRYPTO-")


def test_a_key_to_seal_with(owner):
    order = seal_subject("feedback.train", DATA)
    evidence, private = owner.evidence("seal", order)
    request = messages.ReleaseSeal(evidence=evidence, dataset="feedback.train", kms=DATA)
    answer = owner.ask(request)
    keysets = opened(answer, evidence, private)
    assert sorted(keysets) == ["dataset"]
    assert answer.keyset.context == {"dataset": "feedback.train"}
    unwrapped = owner.key(DATA).unwrap(answer.keyset.wrapped, answer.keyset.context)
    assert Keyset.from_tink(unwrapped).key == keysets["dataset"].key


def test_a_key_to_view_with(owner):
    keyset, wrapped = owner.wrapped(OUTPUTS, {"run": "feedback-1"})
    evidence, private = owner.evidence("view", view_subject("feedback-1"))
    request = messages.ReleaseView(evidence=evidence, run="feedback-1", outputs=wrapped)
    assert opened(owner.ask(request), evidence, private)["outputs"].key == keyset.key


def test_a_key_to_export_with(owner):
    keyset, wrapped = owner.wrapped(OUTPUTS, {"run": "feedback-1"})
    evidence, private = owner.evidence("export", export_subject("feedback-1"))
    request = messages.ReleaseExport(evidence=evidence, run="feedback-1", outputs=wrapped)
    assert opened(owner.ask(request), evidence, private)["outputs"].key == keyset.key


def test_a_viewer_sees_its_own_run_only(owner):
    _, wrapped = owner.wrapped(OUTPUTS, {"run": "another"})
    evidence, _ = owner.evidence("view", view_subject("feedback-1"))
    request = messages.ReleaseView(evidence=evidence, run="feedback-1", outputs=wrapped)
    assert owner.refuse(request) == ["SR-RELEASE-002"]


def seal_request(owner: Owner, **changes: Any) -> messages.ReleaseSeal:
    role = changes.pop("role", "seal")
    evidence, _ = owner.evidence(role, seal_subject("d", DATA), **changes)
    return messages.ReleaseSeal(evidence=evidence, dataset="d", kms=DATA)


def test_a_challenge_answers_once(owner):
    request = seal_request(owner)
    assert isinstance(owner.ask(request), messages.Released)
    assert owner.refuse(request) == ["SR-RELEASE-003"]


def test_a_refused_challenge_is_used_up_too(owner):
    request = seal_request(owner, measurement="sha256:" + "b" * 64)
    assert owner.refuse(request) == ["SR-ENCLAVE-013"]
    assert owner.refuse(request) == ["SR-RELEASE-003"]


@pytest.mark.parametrize(
    ("age", "good"), [(NONCE_LIFETIME_S - 1, True), (NONCE_LIFETIME_S + 1, False)]
)
def test_a_challenge_ends_after_a_while(owner, age, good):
    request = seal_request(owner)
    owner.now += age
    assert isinstance(owner.ask(request), messages.Released if good else messages.Denied)


def test_a_challenge_nobody_made(owner):
    assert owner.refuse(seal_request(owner, nonce="n" * 22)) == ["SR-RELEASE-003"]


def test_challenges_do_not_pile_up(owner):
    request = seal_request(owner)
    nonces = {owner.ask(messages.Challenge()).nonce for _ in range(MAX_OPEN_NONCES)}
    assert len(nonces) == MAX_OPEN_NONCES
    assert len(owner.releaser._nonces) == MAX_OPEN_NONCES
    assert owner.refuse(request) == ["SR-RELEASE-003"]
    owner.now += NONCE_LIFETIME_S + 1
    owner.ask(messages.Challenge())
    assert len(owner.releaser._nonces) == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"role": "view"}, "SR-ENCLAVE-011"),
        ({"assurance": "A0"}, "SR-ENCLAVE-012"),
        ({"measurement": "sha256:" + "b" * 64}, "SR-ENCLAVE-013"),
        ({"plan_digest": "sha256:" + "b" * 64}, "SR-ENCLAVE-014"),
        ({"probes": {}, "warnings": ()}, "SR-ENCLAVE-016"),
        ({"probes": probes("seal") | {"socket.inet": "open"}}, "SR-ENCLAVE-017"),
        ({"warnings": ()}, "SR-ENCLAVE-019"),
        ({"hpke_key": "hello"}, "SR-ENCLAVE-010"),
    ],
)
def test_evidence_is_checked(owner, changes, code):
    assert owner.refuse(seal_request(owner, **changes)) == [code]


@pytest.mark.parametrize("evidence", [b"", b"{}", b"\xff", b"[" * 5000])
def test_evidence_that_is_none(owner, evidence):
    request = messages.ReleaseSeal(evidence=evidence, dataset="d", kms=DATA)
    assert owner.refuse(request) == ["SR-ENCLAVE-010"]


def note(size: int, root: bytes = bytes(32), origin: str = "acme-audit/strongroom") -> bytes:
    return Checkpoint(origin, size, root).text()


def test_a_checkpoint_is_signed(owner):
    answer = owner.ask(messages.SignNote(kms=AUDIT, note=note(5)))
    public = owner.key(AUDIT).public_key()
    assert answer.signer == key_ref(public)
    Ed25519PublicKey.from_public_bytes(public).verify(answer.signature, note(5))


def test_one_size_has_one_history(owner):
    for _ in range(2):
        assert isinstance(owner.ask(messages.SignNote(kms=AUDIT, note=note(5))), messages.Signed)
    fork = note(5, b"\x01" * 32)
    assert owner.refuse(messages.SignNote(kms=AUDIT, note=fork)) == ["SR-RELEASE-005"]
    assert isinstance(
        owner.ask(messages.SignNote(kms=AUDIT, note=note(6, b"\x01" * 32))), messages.Signed
    )
    other_log = note(5, b"\x01" * 32, origin="acme-audit/other")
    assert isinstance(owner.ask(messages.SignNote(kms=AUDIT, note=other_log)), messages.Signed)


def test_what_was_signed_is_remembered_in_bounded_memory(owner):
    """Of what is forgotten nothing is signed again, so that there is still one history."""
    for size in range(ROOTS_PER_LOG + 1):
        assert isinstance(owner.ask(messages.SignNote(kms=AUDIT, note=note(size))), messages.Signed)
    for root in (bytes(32), b"\x01" * 32):
        assert owner.refuse(messages.SignNote(kms=AUDIT, note=note(0, root))) == ["SR-RELEASE-005"]
    assert isinstance(owner.ask(messages.SignNote(kms=AUDIT, note=note(1))), messages.Signed)


@pytest.mark.parametrize("text", [b"", b"hello", b"origin\n5\nnot base64\n", note(5) + b"more\n"])
def test_nothing_else_is_signed_as_a_note(owner, text):
    answer = owner.ask(messages.SignNote(kms=AUDIT, note=text))
    assert isinstance(answer, messages.Denied)


def test_a_manifest_is_signed(owner):
    payload = encode(sample.dataset("feedback-train", 2).manifest)
    answer = owner.ask(messages.SignManifest(payload=payload))
    signer = KeyRef(answer.signer)
    envelope = sign_envelope(DATASET_TYPE, payload, signer, lambda _: answer.signature)
    assert open_envelope(envelope, DATASET_TYPE, [owner.signer], place="m") == (payload, signer)


@pytest.mark.parametrize("payload", [b"", b"{}", b'{"kind":"checkpoint","version":1}', note(5)])
def test_nothing_else_is_signed_as_a_manifest(owner, payload):
    answer = owner.ask(messages.SignManifest(payload=payload))
    assert isinstance(answer, messages.Denied)


def test_the_audit_keys_public_half(owner):
    answer = owner.ask(messages.PublicKeys(audit=AUDIT))
    assert answer.audit == key_ref(owner.key(AUDIT).public_key())


def described(owner: Owner, **keys: str) -> KmsFacts:
    refs = KeyRefs(**{"data": DATA, "outputs": OUTPUTS, "audit": AUDIT} | keys)
    answer = owner.ask(messages.DescribeKeys(keys=refs))
    assert isinstance(answer, messages.KeysDescribed), answer
    return answer.kms


def test_every_key_is_asked_of_its_service(owner):
    held = KeyFacts(owner="http://127.0.0.1:8200", state="held")
    missing = KeyFacts(owner="http://127.0.0.1:8200", state="missing")
    assert described(owner) == KmsFacts(data=held, outputs=held, audit=held)
    for name in ("data", "outputs", "audit"):
        facts = described(owner, **{name: "vault://transit/never-made"})
        assert facts == msgspec.structs.replace(
            KmsFacts(data=held, outputs=held, audit=held), **{name: missing}
        )


def test_a_key_that_another_owner_keeps_is_refused(owner, monkeypatch):
    theirs = "vault://theirs/log"
    ours = owner.key

    def key(ref: str) -> Kms:
        if ref == theirs:
            raise KmsRefused(place=ref)
        return ours(ref)

    monkeypatch.setattr(owner.releaser, "_open_key", key)
    assert described(owner, audit=theirs).audit.state == "refused"
    assert described(owner, audit=theirs).data.state == "held"


def test_a_key_is_named_in_its_grammar(owner):
    refs = KeyRefs(data="feedback", outputs=OUTPUTS, audit=AUDIT)
    assert owner.refuse(messages.DescribeKeys(keys=refs)) == ["SR-KMS-001"]


@pytest.mark.parametrize(
    "change", [{"owner": "http://elsewhere"}, {"state": "missing"}], ids=["owner", "state"]
)
def test_the_plan_s_word_about_keys_is_not_taken_for_it(owner, job, change):
    """The plan is the controller's; what it says of keys must be what the releaser is answered."""
    answer, _, _ = release_run(owner, job)
    assert isinstance(answer, messages.Released)
    other = msgspec.structs.replace(sample.HELD, **change)
    kms = msgspec.structs.replace(job.plan.facts.kms, outputs=other)
    facts = msgspec.structs.replace(job.plan.facts, kms=kms)
    job.plan = msgspec.structs.replace(job.plan, facts=facts)
    answer, _, _ = release_run(owner, job)
    (error,) = errors_of(from_documents(answer.errors))
    assert error.code == "SR-RELEASE-002"
    assert error.place == ("spec.keys" if "owner" in change else "spec.keys.outputs")


@pytest.mark.parametrize(
    "request_",
    [messages.PublicKeys(audit="vault://transit/none"), messages.SignNote(kms="x", note=note(1))],
)
def test_a_key_that_is_not_there(owner, request_):
    assert isinstance(owner.ask(request_), messages.Denied)


def test_answers_hold_no_key(owner, job):
    answer, _, _ = release_run(owner, job)
    encoded = msgspec.json.encode(answer)
    for keyset in job.keysets.values():
        for form in (keyset.key, keyset.to_tink()):
            assert base64.b64encode(form) not in encoded
            assert form not in answer.sealed
    assert Sha256(job.keysets["train"].commitment())
