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
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from strongroom.audit.events import types
from strongroom.audit.events.entries import RELEASER, Event
from strongroom.audit.log.errors import EventRefused, LogNotWritable
from strongroom.audit.log.note import Checkpoint
from strongroom.connectors.keys.errors import KmsRefused
from strongroom.connectors.keys.keyring import create_local_keyring
from strongroom.connectors.keys.kms import Kms
from strongroom.connectors.keys.open import open_kms
from strongroom.crypto.digests import Sha256, canonical, sha256
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
from strongroom.pipeline.releaser.nonces import LIFETIME_S, MOST_PER_CALLER, Nonces
from strongroom.pipeline.releaser.releaser import Releaser
from strongroom.pipeline.runfile.load import LoadedRun
from strongroom.pipeline.runfile.spec import RunSpec
from strongroom.policies.gate import Settings, read_bundle, write_bundle
from support import kept_log, sample, told
from support.kept_log import KeptLog
from support.releasers import settings
from support.told import said

DATA, OUTPUTS, AUDIT, SIGNER = (
    f"vault://transit/{name}"
    for name in ("feedback", "feedback-outputs", "audit-log", "feedback-signer")
)
OPENED = types.RolloutsOpened(uri="s3://acme-data/runs/r/rollouts.sealed", sha256=told.OTHER)
NEVER_MADE = "vault://transit/never-made"
"""Of the owner's settings, and not at the key service."""
MEASUREMENT = sample.MEASUREMENT
USER, ANOTHER = "uid:1000", "uid:1001"
RUN = "feedback-1"


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
        config = settings(
            policy=str(self.bundle),
            measurements=(MEASUREMENT,),
            signers=(self.signer,),
            manifest_signer=SIGNER,
            keys=(DATA, OUTPUTS, NEVER_MADE),
        )
        self.log = KeptLog(self.folder / "log")
        self.releaser = Releaser(
            config, self.log.notary, self.log.vkey, open_key=self.key, clock=lambda: self.now
        )

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

    def ask(self, request: messages.Request, caller: str = USER) -> Any:
        return self.releaser.answer(request, caller)

    def tell(self, *data: types.EventData, run: str = RUN) -> None:
        """Say events of a run, as its controller."""
        assert isinstance(
            self.ask(messages.Append(events=tuple(said(each, run) for each in data))),
            messages.Taken,
        )

    @property
    def last(self) -> Event:
        """The log's last entry."""
        return self.log.events()[-1]

    def refuse(self, request: messages.Request, caller: str = USER) -> list[str]:
        answer = self.releaser.answer(request, caller)
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
    plan = build_plan(load_example(example).spec, facts, RUN)
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
    plan = build_plan(sealed_spec, facts, RUN)
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


def start(owner: Owner, job: Job, run: str = RUN) -> tuple[bytes, X25519PrivateKey]:
    """What a run says before it asks for its keys: its admission, or that it goes on, and its
    enclave's start."""
    evidence, private = owner.evidence("train", job.plan.digest)
    digest = evidence_digest(msgspec.json.decode(evidence, type=Evidence))
    if run == RUN and not owner.log.notary.told(run).plans:
        owner.tell(msgspec.structs.replace(told.ADMITTED, plan=job.plan.digest))
    else:
        owner.tell(types.RunResumed(plan=job.plan.digest, step=0), run=run)
    owner.tell(msgspec.structs.replace(told.STARTED, evidence=digest), run=run)
    return evidence, private


def release_run(owner: Owner, job: Job, **changes: Any) -> tuple[Any, bytes, X25519PrivateKey]:
    run = changes.get("run", RUN)
    evidence, private = start(owner, job, run)
    request = {"run": run, "plan": job.plan.to_json(), "evidence": evidence}
    request |= {"manifests": job.manifests} | changes
    return owner.ask(messages.ReleaseRun(**request)), evidence, private


def test_a_runs_keys(owner, job):
    answer, evidence, private = release_run(owner, job)
    keysets = opened(answer, evidence, private)
    assert sorted(keysets) == ["held_out", "outputs", "train"]
    assert keysets["train"].key == job.keysets["train"].key
    assert keysets["held_out"].key == job.keysets["held_out"].key
    assert answer.keyset.kms == OUTPUTS
    assert answer.keyset.context == {"run": RUN}
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
    request = messages.ReleaseRun(
        run=RUN, plan=plan.to_json(), evidence=evidence, manifests=job.manifests
    )
    answer = owner.ask(request)
    assert isinstance(answer, messages.Denied)
    assert {error.code for error in answer.errors} == {"SR-RELEASE-002"}
    assert len(answer.errors) >= 2
    assert owner.opened == []


def test_a_plan_that_is_none(owner, job):
    evidence, _ = owner.evidence("train", job.plan.digest)
    request = messages.ReleaseRun(run=RUN, plan=b"{}", evidence=evidence, manifests=job.manifests)
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
        good = owner.wrapped(OUTPUTS, {"run": RUN})[1]
        changes = {"outputs": msgspec.structs.replace(good, **changes["outputs"])}
    answer, _, _ = release_run(owner, job, **changes)
    assert isinstance(answer, messages.Denied)
    assert [error.code for error in answer.errors] == [code]


def test_a_key_that_is_not_the_one_that_sealed(owner, job):
    """The KMS unwraps it, and it is not what the signed manifest commits to."""
    _, other = owner.wrapped(OUTPUTS, {"run": RUN})
    lying = msgspec.structs.replace(owner.wrapped(OUTPUTS, {"run": RUN})[1], wrapped=other.wrapped)
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
    keyset, wrapped = owner.wrapped(OUTPUTS, {"run": RUN})
    owner.tell(told.ADMITTED)
    evidence, private = owner.evidence("view", view_subject(RUN))
    request = messages.ReleaseView(evidence=evidence, run=RUN, outputs=wrapped, opened=OPENED)
    assert opened(owner.ask(request), evidence, private)["outputs"].key == keyset.key


def test_a_key_to_export_with(owner):
    keyset, wrapped = owner.wrapped(OUTPUTS, {"run": RUN})
    owner.tell(told.ADMITTED)
    evidence, private = owner.evidence("export", export_subject(RUN))
    request = messages.ReleaseExport(
        evidence=evidence, run=RUN, outputs=wrapped, exported=told.EXPORTED
    )
    assert opened(owner.ask(request), evidence, private)["outputs"].key == keyset.key


def test_a_viewer_sees_its_own_run_only(owner):
    _, wrapped = owner.wrapped(OUTPUTS, {"run": "another"})
    evidence, _ = owner.evidence("view", view_subject(RUN))
    request = messages.ReleaseView(evidence=evidence, run=RUN, outputs=wrapped, opened=OPENED)
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


@pytest.mark.parametrize(("age", "good"), [(LIFETIME_S - 1, True), (LIFETIME_S + 1, False)])
def test_a_challenge_ends_after_a_while(owner, age, good):
    request = seal_request(owner)
    owner.now += age
    assert isinstance(owner.ask(request), messages.Released if good else messages.Denied)


def test_a_challenge_nobody_made(owner):
    assert owner.refuse(seal_request(owner, nonce="n" * 22)) == ["SR-RELEASE-003"]


def test_challenges_do_not_pile_up(owner):
    """Of one caller the oldest is forgotten; another's, however many there are, stays."""
    theirs = seal_request(owner)
    mine = owner.ask(messages.Challenge(), ANOTHER).nonce
    nonces = {owner.ask(messages.Challenge()).nonce for _ in range(MOST_PER_CALLER)}
    assert len(nonces) == MOST_PER_CALLER
    held = owner.releaser._nonces
    assert isinstance(held, Nonces)
    assert {caller: len(ends) for caller, ends in held._ends.items()} == {
        USER: MOST_PER_CALLER,
        ANOTHER: 1,
    }
    assert owner.refuse(theirs) == ["SR-RELEASE-003"]
    request = seal_request(owner, nonce=mine)
    assert isinstance(owner.ask(request, ANOTHER), messages.Released)
    owner.now += LIFETIME_S + 1
    owner.ask(messages.Challenge())
    assert len(held._ends[USER]) == 1


def test_a_challenge_is_its_caller_s(owner):
    request = seal_request(owner)
    assert owner.refuse(request, ANOTHER) == ["SR-RELEASE-003"]
    assert isinstance(owner.ask(request), messages.Released), "and is not used up by another"


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


def test_a_manifest_is_signed(owner):
    payload = encode(sample.dataset("feedback-train", 2).manifest)
    answer = owner.ask(messages.SignManifest(payload=payload))
    signer = KeyRef(answer.signer)
    envelope = sign_envelope(DATASET_TYPE, payload, signer, lambda _: answer.signature)
    assert open_envelope(envelope, DATASET_TYPE, [owner.signer], place="m") == (payload, signer)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b'{"kind":"checkpoint","version":1}',
        Checkpoint(kept_log.ORIGIN, 5, bytes(32)).text(),
    ],
)
def test_nothing_else_is_signed_as_a_manifest(owner, payload):
    answer = owner.ask(messages.SignManifest(payload=payload))
    assert isinstance(answer, messages.Denied)


def test_it_says_which_log_it_keeps(owner):
    assert owner.ask(messages.WhichLog()) == messages.Log(uri=kept_log.URI, vkey=owner.log.vkey)


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
        facts = described(owner, **{name: NEVER_MADE})
        assert facts == msgspec.structs.replace(
            KmsFacts(data=held, outputs=held, audit=held), **{name: missing}
        )


def test_a_key_that_the_service_refuses_is_told(owner, monkeypatch):
    ours = owner.key

    def key(ref: str) -> Kms:
        if ref == AUDIT:
            raise KmsRefused(place=ref)
        return ours(ref)

    monkeypatch.setattr(owner.releaser, "_open", key)
    assert described(owner).audit.state == "refused"
    assert described(owner).data.state == "held"


@pytest.mark.parametrize("ref", ["vault://theirs/log", "local:///etc/passwd#x", SIGNER])
@pytest.mark.parametrize("name", ["data", "outputs", "audit"])
def test_a_key_of_no_setting_is_not_opened(owner, name, ref):
    refs = KeyRefs(**{"data": DATA, "outputs": OUTPUTS, "audit": AUDIT} | {name: ref})
    owner.opened.clear()
    found = owner.ask(messages.DescribeKeys(keys=refs))
    assert getattr(found.kms, name).state == "refused"
    assert ref not in owner.opened


def test_a_key_is_named_in_its_grammar(owner):
    refs = KeyRefs(data="feedback", outputs=OUTPUTS, audit=AUDIT)
    assert owner.refuse(messages.DescribeKeys(keys=refs)) == ["SR-KMS-001"]


@pytest.mark.parametrize(
    "change", [{"owner": "http://elsewhere"}, {"state": "missing"}], ids=["owner", "state"]
)
def test_the_plan_s_word_about_keys_is_not_taken_for_it(owner, job, change):
    """The plan is the controller's; what it says of keys must be what the releaser is answered."""
    answer, evidence, _ = release_run(owner, job)
    assert isinstance(answer, messages.Released)
    other = msgspec.structs.replace(sample.HELD, **change)
    kms = msgspec.structs.replace(job.plan.facts.kms, outputs=other)
    facts = msgspec.structs.replace(job.plan.facts, kms=kms)
    plan = msgspec.structs.replace(job.plan, facts=facts).to_json()
    answer = owner.ask(
        messages.ReleaseRun(run=RUN, plan=plan, evidence=evidence, manifests=job.manifests)
    )
    (error,) = errors_of(from_documents(answer.errors))
    assert error.code == "SR-RELEASE-002"
    assert error.place == ("spec.keys" if "owner" in change else "spec.keys.outputs")


# ---- the log -------------------------------------------------------------------------------------


def test_what_the_releaser_did_is_in_the_log_when_the_caller_learns_of_it(owner, job):
    answer, evidence, _ = release_run(owner, job)
    released = owner.last
    assert (released.run, released.actor, released.caller) == (RUN, "releaser", RELEASER)
    assert isinstance(released.data, types.KeyReleased)
    decoded = msgspec.json.decode(evidence, type=Evidence)
    assert released.data.plan == job.plan.digest
    assert released.data.evidence == evidence_digest(decoded)
    assert (released.data.measurement, released.data.assurance) == (MEASUREMENT, "A1")
    commitments = {key.name: key.commitment for key in released.data.keys}
    assert commitments == {
        **{name: keyset.commitment() for name, keyset in job.keysets.items()},
        "outputs": answer.keyset.commitment,
    }
    owner.ask(seal_request(owner))
    assert owner.last.data.evidence != released.data.evidence
    assert (owner.last.type, owner.last.run) == ("dataset.key.released", "")
    owner.ask(messages.SignManifest(payload=encode(sample.dataset("d", 2).manifest)))
    assert isinstance(owner.last.data, types.ManifestSigned)
    assert (owner.last.data.dataset, owner.last.data.signer) == ("d", owner.signer)
    owner.log.check()


@pytest.mark.parametrize(
    ("request_", "subject", "event"),
    [
        (messages.ReleaseView, view_subject, OPENED),
        (messages.ReleaseExport, export_subject, told.EXPORTED),
    ],
)
def test_what_a_key_holder_looks_at_is_in_the_log(owner, request_, subject, event):
    """And a look at a run that there is not is none."""
    _, wrapped = owner.wrapped(OUTPUTS, {"run": RUN})

    def ask() -> messages.Request:
        role = "view" if request_ is messages.ReleaseView else "export"
        evidence, _ = owner.evidence(role, subject(RUN))
        return request_(evidence, RUN, wrapped, event)

    assert owner.refuse(ask()) == [EventRefused.code]
    owner.tell(told.ADMITTED)
    assert isinstance(owner.ask(ask()), messages.Released)
    assert (owner.last.data, owner.last.run, owner.last.caller) == (event, RUN, RELEASER)


def test_a_refusal_is_in_the_log_with_its_reasons(owner, job):
    evidence, _ = start(owner, job)
    request = messages.ReleaseRun(run=RUN, plan=job.plan.to_json(), evidence=evidence, manifests={})
    for reasons in (["SR-RELEASE-002"], ["SR-RELEASE-003"]):
        assert owner.refuse(request) == reasons
        assert owner.last.data == types.KeyDenied(
            role="train",
            subject=job.plan.digest,
            evidence=sha256(evidence),
            reasons=tuple(reasons),
        )
        assert (owner.last.run, owner.last.caller) == (RUN, RELEASER)
    assert owner.refuse(seal_request(owner, measurement="sha256:" + "b" * 64))
    assert isinstance(owner.last.data, types.KeyDenied)
    assert (owner.last.data.role, owner.last.run) == ("seal", "")


def test_no_key_leaves_where_the_log_cannot_say_so(owner, job, monkeypatch):
    requests = [
        messages.ReleaseRun(
            run=RUN,
            plan=job.plan.to_json(),
            evidence=start(owner, job)[0],
            manifests=job.manifests,
        ),
        seal_request(owner),
        messages.SignManifest(payload=encode(sample.dataset("d", 2).manifest)),
    ]

    def full(_path: str, _data: bytes) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(owner.log.store, "create", full)
    for request in requests:
        assert owner.refuse(request) == [LogNotWritable.code]


def test_keys_are_for_the_enclave_that_the_log_tells_of(owner, job):
    """Not for a plan that was not admitted there, nor for an enclave that it does not know."""
    evidence, _ = owner.evidence("train", job.plan.digest)
    request = messages.ReleaseRun(
        run=RUN, plan=job.plan.to_json(), evidence=evidence, manifests=job.manifests
    )
    assert owner.refuse(request) == [EventRefused.code]
    start(owner, job)
    evidence, _ = owner.evidence("train", job.plan.digest)
    again = msgspec.structs.replace(request, evidence=evidence)
    assert owner.refuse(again) == [EventRefused.code]
    assert isinstance(release_run(owner, job)[0], messages.Released)


def test_keys_of_a_replay_are_logged_with_the_replay(owner, job, load_example, example):
    """Which is of a run that has completed, with the same plan."""
    refusal, _, _ = release_run(owner, job, run="a-replay")
    assert [error.code for error in refusal.errors] == ["SR-RELEASE-002"]
    assert isinstance(release_run(owner, job)[0], messages.Released)
    owner.tell(*told.AFTER_KEYS)
    answer, evidence, private = release_run(owner, job, run="a-replay")
    assert opened(answer, evidence, private)
    assert (owner.last.type, owner.last.run) == ("key.released", "a-replay")
    other = build_plan(load_example(example).spec, job.facts, "another-1")
    refusal, _, _ = release_run(owner, Job(other, job.facts, job.manifests, {}), run="a-replay-2")
    assert [error.place for error in refusal.errors] == ["a-replay-2"]
    owner.log.check()


@pytest.mark.parametrize("other", [{"uri": "s3://acme-audit/another/"}, {"key": DATA}])
def test_a_plan_names_the_log_that_this_releaser_keeps(owner, job, monkeypatch, other):
    config = owner.releaser._config
    keeps = msgspec.structs.replace(config.log, **other)
    monkeypatch.setattr(owner.releaser, "_config", msgspec.structs.replace(config, log=keeps))
    answer, _, _ = release_run(owner, job)
    assert isinstance(answer, messages.Denied)
    assert [error.place for error in answer.errors] == ["spec.audit"]


def test_events_are_taken_as_their_caller_s(owner):
    owner.tell(told.ADMITTED)
    assert (owner.last.caller, owner.last.data) == (USER, told.ADMITTED)
    more = messages.Append(events=(said(told.FAILED, RUN),))
    assert owner.refuse(more, ANOTHER) == [EventRefused.code]
    assert owner.ask(more) == messages.Taken(size=2)
    assert owner.ask(more) == messages.Taken(size=2)


def test_answers_hold_no_key(owner, job):
    answer, _, _ = release_run(owner, job)
    encoded = msgspec.json.encode(answer)
    for keyset in job.keysets.values():
        for form in (keyset.key, keyset.to_tink()):
            assert base64.b64encode(form) not in encoded
            assert form not in answer.sealed
    assert Sha256(job.keysets["train"].commitment())
