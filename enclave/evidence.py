"""What an enclave states about itself, and the rules by which a key's owner accepts it.

:func:`check_evidence` runs in the releaser, which trusts neither the enclave nor the broker between
them. It returns nothing or raises, on the first of these that fails:

1. every field has its form, and every probe a known name and a known value: nothing in evidence is
   free text, so it cannot carry rows out;
2. role, plan and nonce are those expected, the measurement is approved, the assurance suffices;
3. every probe that the role must have is there, and, above A0, shows a closed layer;
4. no swap, or locked memory;
5. each weakness that is tolerated at this assurance is among the warnings, and nothing else is.

At A0 there is no sandbox and 3 to 5 do not apply: only the owner's ``min_assurance`` allows it. At
A1 the enclave vouches for itself, and no hardware ties its key to its code: any process that can
ask the releaser can write such evidence for a key of its own. It shows honest parties that code and
walls are as they should be, and stops no forger.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

import msgspec

from strongroom.crypto.digests import SHA256_PATTERN, Sha256, digest_of
from strongroom.enclave.assurance import LEVELS, Assurance, Level
from strongroom.enclave.errors import (
    AssuranceTooLow,
    EvidenceMalformed,
    LayerOpen,
    MeasurementUnknown,
    NonceMismatch,
    PlanDigestMismatch,
    ProbeMissing,
    RoleMismatch,
    SwapUnprotected,
    WarningMissing,
)
from strongroom.enclave.sandbox.probe_names import EVALUATOR, MAIN, closed, known, tolerated
from strongroom.errors import bounded_json

Role: TypeAlias = Literal["train", "seal", "view", "export"]

_DIGEST = re.compile(SHA256_PATTERN)
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,128}")
_KEY_BYTES = 32


class Evidence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One enclave's statement, made after its lock-down and before it has any key."""

    version: Literal[1] = 1
    role: Role
    assurance: Assurance
    measurement: str
    """:func:`enclave.measurement.measure`."""
    plan_digest: str
    nonce: str
    """The releaser's challenge: 16 to 128 characters of base64url."""
    hpke_key: str
    """Raw X25519 public key, base64: keys are sealed to it, bound to this evidence's digest."""
    signing_key: str
    """``ed25519:<base64>``: the enclave signs its manifests with it."""
    probes: dict[str, str]
    warnings: tuple[str, ...]
    """Names of the probes that show a tolerated weakness, sorted."""


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What the key's owner requires of an enclave before it gets a key."""

    role: Role
    min_assurance: Level
    """The key owner's minimum or the plan's, whichever is higher."""
    measurements: frozenset[str]
    """Approved measurements."""
    plan_digest: str
    nonce: str


def evidence_digest(evidence: Evidence) -> Sha256:
    """The digest that binds released keys to this evidence."""
    return digest_of(evidence)


def decode_evidence(data: bytes) -> Evidence:
    """Evidence from JSON, strictly. Raises ``EvidenceMalformed``; forms are checked later."""
    try:
        return bounded_json.decode(data, shape=Evidence)
    except msgspec.DecodeError:
        raise EvidenceMalformed(place="evidence", actual=f"{len(data)} bytes") from None


def check_evidence(evidence: Evidence, expectation: Expectation) -> None:
    """Return if the enclave may have the key; otherwise raise the error that gives the reason."""
    _check_form(evidence)
    _check_match(evidence, expectation)
    if evidence.assurance == "A0":
        return
    _check_layers(evidence)


def _check_form(evidence: Evidence) -> None:
    forms = {
        "measurement": bool(_DIGEST.fullmatch(evidence.measurement)),
        "plan_digest": bool(_DIGEST.fullmatch(evidence.plan_digest)),
        "nonce": bool(_NONCE.fullmatch(evidence.nonce)),
        "hpke_key": _is_key(evidence.hpke_key),
        "signing_key": evidence.signing_key.startswith("ed25519:")
        and _is_key(evidence.signing_key.removeprefix("ed25519:")),
        "probes": all(known(name, value) for name, value in evidence.probes.items()),
        "warnings": set(evidence.warnings) <= set(evidence.probes)
        and list(evidence.warnings) == sorted(set(evidence.warnings)),
    }
    for name, well_formed in forms.items():
        if not well_formed:
            raise EvidenceMalformed(place=f"evidence.{name}")


def _check_match(evidence: Evidence, expectation: Expectation) -> None:
    if evidence.role != expectation.role:
        raise RoleMismatch(
            place="evidence.role", expected=expectation.role, actual=str(evidence.role)
        )
    if LEVELS.index(evidence.assurance) < LEVELS.index(expectation.min_assurance):
        raise AssuranceTooLow(
            place="evidence.assurance",
            expected=f"{expectation.min_assurance} or above",
            actual=str(evidence.assurance),
        )
    if evidence.nonce != expectation.nonce:
        raise NonceMismatch(place="evidence.nonce")
    if evidence.plan_digest != expectation.plan_digest:
        raise PlanDigestMismatch(
            place="evidence.plan_digest",
            expected=expectation.plan_digest,
            actual=evidence.plan_digest,
        )
    if evidence.measurement not in expectation.measurements:
        raise MeasurementUnknown(
            place="evidence.measurement",
            expected=" or ".join(sorted(expectation.measurements)) or "an approved measurement",
            actual=evidence.measurement,
        )


def _check_layers(evidence: Evidence) -> None:
    required = MAIN | (EVALUATOR if evidence.role == "train" else frozenset())
    for name in sorted(required):
        if name not in evidence.probes:
            raise ProbeMissing(place=f"evidence.probes.{name}")
    for name, value in sorted(evidence.probes.items()):
        if not closed(name, value) and not tolerated(name, value):
            raise LayerOpen(place=f"evidence.probes.{name}", actual=value)
    if evidence.probes["swap"] != "none":
        for name in ("mlock", "evaluator.mlock"):
            if evidence.probes.get(name) == "unlocked":
                raise SwapUnprotected(place=f"evidence.probes.{name}")
    required_warnings = sorted(
        name for name, value in evidence.probes.items() if tolerated(name, value)
    )
    if list(evidence.warnings) != required_warnings:
        raise WarningMissing(place="evidence.warnings")


def _is_key(text: str) -> bool:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return len(raw) == _KEY_BYTES and base64.b64encode(raw).decode() == text
