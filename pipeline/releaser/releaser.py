"""The releaser: the key owner's process that decides which enclave gets which key.

Run by the owner, with the owner's own identity at the KMS and nothing else: no bucket, no data, no
internet. It trusts neither controller nor broker, so it checks for itself: that the plan is
admitted by *its* copy of the policy, that the manifests are the plan's and signed by a listed key,
that the evidence is fresh, about this plan, from approved code with every layer of the sandbox
probed, and that the KMS gives keys whose commitments are those in the signed manifests. Data keys
pass through its memory only on their way from the KMS into an HPKE envelope for one enclave.

It signs two kinds of statement only: dataset manifests, and checkpoints of the one log that it
keeps. What it does is in that log before the caller learns of it.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from strongroom.audit.events import types as events
from strongroom.connectors.keys.kms import Kms
from strongroom.crypto.digests import Sha256, digest_of, sha256
from strongroom.crypto.dsse import KeyRef, key_ref, open_envelope, pae
from strongroom.crypto.keyset import Keyset
from strongroom.crypto.manifest import (
    DATASET_TYPE,
    DatasetManifest,
    WrappedKeyset,
    decode_dataset,
    decode_evaluator,
    decode_sealed,
)
from strongroom.crypto.pinned import check_keyset
from strongroom.crypto.release import seal_keys
from strongroom.enclave.assurance import Level
from strongroom.enclave.attest import export_subject, seal_subject, view_subject
from strongroom.enclave.evidence import (
    Evidence,
    Expectation,
    Role,
    check_evidence,
    decode_evidence,
    evidence_digest,
)
from strongroom.enclave.plan.derived import check_manifest, sealed_inputs
from strongroom.enclave.plan.document import Plan
from strongroom.enclave.plan.objects import KEYS, MANIFEST
from strongroom.enclave.plan.parts import DatasetFacts, KeyRefs, KmsFacts
from strongroom.errors import ErrorList, StrongroomError
from strongroom.errors.listing import documents_of, errors_of
from strongroom.pipeline.planning.plan import check_plan
from strongroom.pipeline.releaser import messages
from strongroom.pipeline.releaser.config import ReleaserConfig
from strongroom.pipeline.releaser.errors import ReleaseDenied, SignRefused
from strongroom.pipeline.releaser.key_facts import kms_facts
from strongroom.pipeline.releaser.nonces import Nonces
from strongroom.pipeline.releaser.notary import Notary
from strongroom.policies.gate import evaluate

OUTPUTS = "outputs"
DATASET = "dataset"
EVALUATOR = "evaluator"


class Releaser:
    """The decisions. Thread safe; knows nothing of sockets.

    ``notary`` keeps the log of ``vkey``; ``open_key`` opens a key by its reference.
    """

    def __init__(
        self,
        config: ReleaserConfig,
        notary: Notary,
        vkey: str,
        open_key: Callable[[str], Kms],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._notary = notary
        self._vkey = vkey
        self._open = open_key
        self._nonces = Nonces(clock)

    def answer(self, request: messages.Request, caller: str) -> messages.Answer:
        """One answer for one request of a caller; a refusal is an answer too."""
        try:
            match request:
                case messages.Challenge():
                    return messages.Nonce(nonce=self._nonces.new(caller))
                case messages.ReleaseRun():
                    plan = Plan.from_json(request.plan)
                    with self._refusing("train", plan.digest, request.evidence, request.run):
                        return self._release_run(request, plan, caller)
                case messages.ReleaseSeal():
                    subject = seal_subject(request.dataset, request.kms)
                    with self._refusing("seal", subject, request.evidence, ""):
                        return self._release_seal(request, subject, caller)
                case messages.ReleaseView(run=run, opened=opened):
                    subject = view_subject(run)
                    with self._refusing("view", subject, request.evidence, run):
                        return self._release_outputs(request, "view", subject, opened, caller)
                case messages.ReleaseExport(run=run, exported=exported):
                    subject = export_subject(run)
                    with self._refusing("export", subject, request.evidence, run):
                        return self._release_outputs(request, "export", subject, exported, caller)
                case messages.Append():
                    return messages.Taken(size=self._notary.take(request.events, caller))
                case messages.SignManifest():
                    return self._sign_manifest(request)
                case messages.WhichLog():
                    return messages.Log(uri=self._config.log.uri, vkey=self._vkey)
                case messages.DescribeKeys():
                    return messages.KeysDescribed(kms=self._kms_facts(request.keys))
        except StrongroomError as error:
            return messages.Denied(errors=documents_of(error))

    @contextmanager
    def _refusing(self, role: Role, subject: Sha256, evidence: bytes, run: str) -> Iterator[None]:
        """Enter a refusal in the log before it is told."""
        try:
            yield
        except StrongroomError as error:
            reasons = tuple(dict.fromkeys(each.code for each in errors_of(error)))
            self._notary.say(
                run,
                events.KeyDenied(
                    role=role, subject=subject, evidence=sha256(evidence), reasons=reasons
                ),
            )
            raise

    def _release_run(
        self, request: messages.ReleaseRun, plan: Plan, caller: str
    ) -> messages.Released:
        check_plan(plan)
        self._admit(plan)
        self._check_run(request.run, plan)
        wanted = plan.run_file.enclave.assurance
        evidence = self._trusted(request.evidence, "train", plan.digest, caller, wanted)
        if plan.code.measurement != evidence.measurement:
            raise ReleaseDenied(
                place="code.measurement",
                expected=evidence.measurement,
                actual=plan.code.measurement,
                remedy="Plan the run again, with the code that is to run it.",
            )
        keysets: dict[str, Keyset] = {}
        wrapped: dict[str, WrappedKeyset] = {}
        for name, (_place, dataset) in sealed_inputs(plan).items():
            envelope = request.manifests.get(name, b"")
            if sha256(envelope) != dataset.manifest_sha256:
                raise ReleaseDenied(
                    place=dataset.uri,
                    expected=dataset.manifest_sha256,
                    actual=sha256(envelope),
                )
            payload, signer = open_envelope(
                envelope,
                DATASET_TYPE,
                [KeyRef(signer) for signer in self._config.signers],
                place=dataset.uri + MANIFEST,
            )
            decode = decode_evaluator if name == EVALUATOR else decode_dataset
            manifest = decode(payload, dataset.uri)
            check_manifest(plan, name, DatasetFacts.of(envelope, signer, manifest))
            wrapped[name] = manifest.keyset
            keysets[name] = self._unwrap(manifest.keyset, dataset.uri)
        outputs = request.outputs or self._new_keyset(plan.keys.outputs, {"run": plan.run})
        if outputs.kms != plan.keys.outputs or outputs.context != {"run": plan.run}:
            raise ReleaseDenied(place=KEYS, expected=f"the output keyset of {plan.run}")
        keysets[OUTPUTS], wrapped[OUTPUTS] = self._unwrap(outputs, KEYS), outputs
        released = events.KeyReleased(
            plan=plan.digest,
            evidence=evidence_digest(evidence),
            measurement=evidence.measurement,
            assurance=evidence.assurance,
            keys=tuple(_logged(name, each) for name, each in wrapped.items()),
        )
        self._notary.say(request.run, released)
        return self._released(evidence, keysets, outputs)

    def _release_seal(
        self, request: messages.ReleaseSeal, subject: Sha256, caller: str
    ) -> messages.Released:
        evidence = self._trusted(request.evidence, "seal", subject, caller)
        wrapped = self._new_keyset(request.kms, {DATASET: request.dataset})
        keyset = self._unwrap(wrapped, request.kms)
        released = events.DatasetKeyReleased(
            dataset=request.dataset,
            evidence=evidence_digest(evidence),
            measurement=evidence.measurement,
            assurance=evidence.assurance,
            key=_logged(DATASET, wrapped),
        )
        self._notary.say("", released)
        return self._released(evidence, {DATASET: keyset}, wrapped)

    def _release_outputs(
        self,
        request: messages.ReleaseView | messages.ReleaseExport,
        role: Role,
        subject: Sha256,
        use: events.RolloutsOpened | events.AdapterExported,
        caller: str,
    ) -> messages.Released:
        """A run's output keyset, for an enclave that serves the key's holder."""
        evidence = self._trusted(request.evidence, role, subject, caller)
        if request.outputs.context != {"run": request.run}:
            raise ReleaseDenied(place=KEYS, expected=f"the output keyset of {request.run}")
        keyset = self._unwrap(request.outputs, KEYS)
        self._notary.say(request.run, use)
        return self._released(evidence, {OUTPUTS: keyset}, request.outputs)

    def _sign_manifest(self, request: messages.SignManifest) -> messages.Signed:
        manifest = decode_sealed(request.payload, "manifest to sign")
        if manifest.keyset.context != _dataset_context(manifest):
            raise SignRefused(place=manifest.name, expected="the keyset of this dataset")
        key = self._open(self._config.manifest_signer)
        signature = key.sign(pae(DATASET_TYPE, request.payload))
        signer = key_ref(key.public_key())
        signed = events.ManifestSigned(
            dataset=manifest.name,
            payload=sha256(request.payload),
            signer=signer,
            shards=len(manifest.shards),
            records=manifest.records,
        )
        self._notary.say("", signed)
        return messages.Signed(signature=signature, signer=signer)

    def _admit(self, plan: Plan) -> None:
        log = self._config.log
        if (plan.audit, plan.keys.audit) != (log.uri, log.key):
            raise ReleaseDenied(
                place="spec.audit", expected=f"{log.uri}, signed by {log.key}", actual=plan.audit
            )
        decision = evaluate(Path(self._config.policy), plan.to_dict())
        if not decision.allowed:
            denied = [
                ReleaseDenied(
                    place=denial.path or denial.rule,
                    expected=denial.expected,
                    actual=denial.actual,
                    remedy=denial.fix,
                )
                for denial in decision.denials
            ]
            raise ErrorList(denied)
        held = {*decision.passed, *(waived.rule for waived in decision.waived)}
        if plan.policy.digest != decision.bundle_digest or set(plan.policy.rules) != held:
            raise ReleaseDenied(
                place="spec.policy.bundle",
                expected=f"the policy {decision.bundle_digest}, and its rules",
                actual=plan.policy.digest,
                remedy="Plan the run again, with the policy that the keys' owner has.",
            )
        if plan.facts.kms != self._kms_facts(plan.keys):
            raise ReleaseDenied(
                place="spec.keys",
                expected="what the key services say of these keys",
                actual="another answer in the plan",
                remedy="Plan the run again.",
            )

    def _check_run(self, run: str, plan: Plan) -> None:
        """The plan is that run's own, or the run is a replay of one that completed with it."""
        order = self._notary.told(plan.run)
        if run != plan.run and not (order.completed and plan.digest in order.plans):
            raise ReleaseDenied(
                place=run, expected=f"{plan.run}, or a replay of it once it has completed"
            )

    def _trusted(
        self, data: bytes, role: Role, subject: Sha256, caller: str, assurance: Level = "A0"
    ) -> Evidence:
        evidence = decode_evidence(data)
        self._nonces.use(caller, evidence.nonce)
        expectation = Expectation(
            role=role,
            min_assurance=max(self._config.min_assurance, assurance),
            measurements=frozenset(self._config.measurements),
            plan_digest=subject,
            nonce=evidence.nonce,
        )
        check_evidence(evidence, expectation)
        return evidence

    def _new_keyset(self, kms: str, context: Mapping[str, str]) -> WrappedKeyset:
        keyset = Keyset.generate()
        return WrappedKeyset(
            kms=kms,
            context=dict(context),
            wrapped=self._open_key(kms).wrap(keyset.to_tink(), context),
            key_id=keyset.key_id,
            commitment=keyset.commitment(),
        )

    def _unwrap(self, wrapped: WrappedKeyset, place: str) -> Keyset:
        plain = self._open_key(wrapped.kms).unwrap(wrapped.wrapped, wrapped.context)
        keyset = Keyset.from_tink(plain, place=place)
        check_keyset(wrapped, keyset, place=place)
        return keyset

    def _released(
        self, evidence: Evidence, keysets: Mapping[str, Keyset], keyset: WrappedKeyset
    ) -> messages.Released:
        public = base64.b64decode(evidence.hpke_key)
        sealed = seal_keys(keysets, public, evidence_digest(evidence))
        return messages.Released(sealed=sealed, keyset=keyset)

    def _kms_facts(self, keys: KeyRefs) -> KmsFacts:
        log = self._config.log.key
        return kms_facts(keys, lambda ref: self._open_key(ref, log), self._config.vault_addr)

    def _open_key(self, ref: str, *more: str) -> Kms:
        """A key that the settings name: a request cannot make the releaser try another."""
        if ref not in (*self._config.keys, *more):
            raise ReleaseDenied(
                place=ref, expected=" or ".join(self._config.keys), actual="a key of no setting"
            )
        return self._open(ref)


def _logged(name: str, keyset: WrappedKeyset) -> events.ReleasedKey:
    return events.ReleasedKey(
        name=name,
        key_id=keyset.key_id,
        kms=keyset.kms,
        commitment=keyset.commitment,
        keyset=digest_of(keyset),
    )


def _dataset_context(manifest: DatasetManifest) -> dict[str, str]:
    """What a dataset's keyset is bound to, so that no other keyset passes for one."""
    return {DATASET: manifest.name}
