"""The releaser: the key owner's process that decides which enclave gets which key.

Run by the owner, with the owner's own identity at the KMS and nothing else: no bucket, no data, no
internet. It trusts neither controller nor broker, so it checks for itself: that the plan is
admitted by *its* copy of the policy, that the manifests are the plan's and signed by a listed key,
that the evidence is fresh, about this plan, from approved code with every layer of the sandbox
probed, and that the KMS gives keys whose commitments are those in the signed manifests. Data keys
pass through its memory only on their way from the KMS into an HPKE envelope for one enclave.

It signs two kinds of statement only: dataset manifests, and audit log checkpoints. Of those
it never signs two histories of one size while it runs; a restart forgets what it signed before.
"""

from __future__ import annotations

import base64
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from strongroom.audit.log.note import parse_text
from strongroom.connectors.keys.kms import Kms
from strongroom.connectors.keys.open import open_kms
from strongroom.crypto.digests import Sha256, sha256
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
from strongroom.errors.listing import documents_of
from strongroom.pipeline.planning.plan import check_plan
from strongroom.pipeline.releaser import messages
from strongroom.pipeline.releaser.config import ReleaserConfig
from strongroom.pipeline.releaser.errors import NonceUnknown, ReleaseDenied, SignRefused
from strongroom.pipeline.releaser.key_facts import kms_facts
from strongroom.pipeline.releaser.signed_roots import SignedRoots
from strongroom.policies.gate import evaluate

NONCE_LIFETIME_S = 600.0
MAX_OPEN_NONCES = 1024
OUTPUTS = "outputs"
DATASET = "dataset"
EVALUATOR = "evaluator"


class Releaser:
    """The decisions. Thread safe; knows nothing of sockets."""

    def __init__(
        self,
        config: ReleaserConfig,
        open_key: Callable[[str], Kms] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._open_key = open_key or self._vault_key
        self._clock = clock
        self._nonces: dict[str, float] = {}
        self._signed_roots = SignedRoots()
        self._lock = threading.Lock()

    def answer(self, request: messages.Request) -> messages.Answer:
        """One answer for one request; a refusal is an answer too."""
        try:
            match request:
                case messages.Challenge():
                    return self._challenge()
                case messages.ReleaseRun():
                    return self._release_run(request)
                case messages.ReleaseSeal():
                    return self._release_seal(request)
                case messages.ReleaseView():
                    return self._release_outputs(request, "view", view_subject(request.run))
                case messages.ReleaseExport():
                    return self._release_outputs(request, "export", export_subject(request.run))
                case messages.SignNote():
                    return self._sign_note(request)
                case messages.SignManifest():
                    return self._sign_manifest(request)
                case messages.PublicKeys():
                    return messages.Public(
                        audit=key_ref(self._open_key(request.audit).public_key())
                    )
                case messages.DescribeKeys():
                    return messages.KeysDescribed(kms=self._kms_facts(request.keys))
        except StrongroomError as error:
            return messages.Denied(errors=documents_of(error))

    def _challenge(self) -> messages.Nonce:
        nonce = secrets.token_urlsafe(32)
        now = self._clock()
        with self._lock:
            self._nonces = {n: end for n, end in self._nonces.items() if end > now}
            while len(self._nonces) >= MAX_OPEN_NONCES:
                del self._nonces[next(iter(self._nonces))]
            self._nonces[nonce] = now + NONCE_LIFETIME_S
        return messages.Nonce(nonce=nonce)

    def _release_run(self, request: messages.ReleaseRun) -> messages.Released:
        plan = Plan.from_json(request.plan)
        check_plan(plan)
        self._admit(plan)
        wanted = plan.run_file.enclave.assurance
        evidence = self._trusted(request.evidence, "train", sha256(request.plan), wanted)
        if plan.code.measurement != evidence.measurement:
            raise ReleaseDenied(
                place="code.measurement",
                expected=evidence.measurement,
                actual=plan.code.measurement,
                remedy="Plan the run again, with the code that is to run it.",
            )
        keysets: dict[str, Keyset] = {}
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
            keysets[name] = self._unwrap(manifest.keyset, dataset.uri)
        outputs = request.outputs or self._new_keyset(plan.keys.outputs, {"run": plan.run})
        if outputs.kms != plan.keys.outputs or outputs.context != {"run": plan.run}:
            raise ReleaseDenied(place=KEYS, expected=f"the output keyset of {plan.run}")
        keysets[OUTPUTS] = self._unwrap(outputs, KEYS)
        return self._released(evidence, keysets, outputs)

    def _release_seal(self, request: messages.ReleaseSeal) -> messages.Released:
        subject = seal_subject(request.dataset, request.kms)
        evidence = self._trusted(request.evidence, "seal", subject)
        wrapped = self._new_keyset(request.kms, {DATASET: request.dataset})
        keyset = self._unwrap(wrapped, request.kms)
        return self._released(evidence, {"dataset": keyset}, wrapped)

    def _release_outputs(
        self, request: messages.ReleaseView | messages.ReleaseExport, role: Role, subject: Sha256
    ) -> messages.Released:
        """A run's output keyset, for an enclave that serves the key's holder."""
        evidence = self._trusted(request.evidence, role, subject)
        if request.outputs.context != {"run": request.run}:
            raise ReleaseDenied(place=KEYS, expected=f"the output keyset of {request.run}")
        keyset = self._unwrap(request.outputs, KEYS)
        return self._released(evidence, {OUTPUTS: keyset}, request.outputs)

    def _sign_note(self, request: messages.SignNote) -> messages.Signed:
        checkpoint = parse_text(request.note, place="log checkpoint")
        key = self._open_key(request.kms)
        with self._lock:
            self._signed_roots.add(checkpoint)
        return messages.Signed(signature=key.sign(request.note), signer=key_ref(key.public_key()))

    def _sign_manifest(self, request: messages.SignManifest) -> messages.Signed:
        manifest = decode_sealed(request.payload, "manifest to sign")
        if manifest.keyset.context != _dataset_context(manifest):
            raise SignRefused(place=manifest.name, expected="the keyset of this dataset")
        key = self._open_key(self._config.manifest_signer)
        signature = key.sign(pae(DATASET_TYPE, request.payload))
        return messages.Signed(signature=signature, signer=key_ref(key.public_key()))

    def _admit(self, plan: Plan) -> None:
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

    def _trusted(
        self, data: bytes, role: Role, subject: Sha256, assurance: Level = "A0"
    ) -> Evidence:
        evidence = decode_evidence(data)
        with self._lock:
            end = self._nonces.pop(evidence.nonce, None)
        if end is None or end < self._clock():
            raise NonceUnknown(place="evidence.nonce")
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
        return kms_facts(keys, self._open_key, self._config.vault_addr)

    def _vault_key(self, ref: str) -> Kms:
        return open_kms(
            ref,
            vault_addr=self._config.vault_addr,
            credentials_file=Path(self._config.credentials_file),
        )


def _dataset_context(manifest: DatasetManifest) -> dict[str, str]:
    """What a dataset's keyset is bound to, so that no other keyset passes for one."""
    return {DATASET: manifest.name}
