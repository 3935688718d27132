from __future__ import annotations

import base64
import pickle

import msgspec
import pytest

from strongroom.enclave import errors
from strongroom.enclave.evidence import (
    Evidence,
    Expectation,
    check_evidence,
    decode_evidence,
    evidence_digest,
)
from strongroom.enclave.sandbox import probe_names
from strongroom.errors import Exit

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
KEY = base64.b64encode(bytes(32)).decode()
NONCE = "n" * 22


def best(name: str) -> str:
    if name.removeprefix("evaluator.") in probe_names.TRIED:
        return "blocked"
    state = probe_names._of(name)
    return min(state.good or state.tolerated)


def evidence(probes: dict[str, str | None] | None = None, **changes: object) -> Evidence:
    """Good evidence but for the changes; a probe of ``None`` is left out. Owes its warnings."""
    role = changes.get("role", "train")
    names = probe_names.MAIN | (probe_names.EVALUATOR if role == "train" else frozenset())
    found = {name: best(name) for name in names} | (probes or {})
    found = {name: value for name, value in found.items() if value is not None}
    known = {name for name in found if name in names}
    owed = tuple(sorted(n for n in known if probe_names.tolerated(n, found[n])))
    fields = {
        "role": "train",
        "assurance": "A1",
        "measurement": DIGEST,
        "plan_digest": DIGEST,
        "nonce": NONCE,
        "hpke_key": KEY,
        "signing_key": f"ed25519:{KEY}",
        "probes": found,
        "warnings": owed,
    }
    return Evidence(**(fields | changes))


def expectation(**changes: object) -> Expectation:
    fields = {
        "role": "train",
        "min_assurance": "A1",
        "measurements": frozenset({DIGEST}),
        "plan_digest": DIGEST,
        "nonce": NONCE,
    }
    return Expectation(**(fields | changes))


@pytest.mark.parametrize("role", ["train", "seal", "view", "export"])
def test_good_evidence_passes(role):
    check_evidence(evidence(role=role), expectation(role=role))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"role": "seal"}, errors.RoleMismatch),
        ({"assurance": "A0"}, errors.AssuranceTooLow),
        ({"measurement": OTHER}, errors.MeasurementUnknown),
        ({"plan_digest": OTHER}, errors.PlanDigestMismatch),
        ({"nonce": "m" * 22}, errors.NonceMismatch),
        ({"nonce": "short"}, errors.EvidenceMalformed),
        ({"nonce": "n" * 22 + "\n"}, errors.EvidenceMalformed),
        ({"measurement": "row 17 says hello"}, errors.EvidenceMalformed),
        ({"plan_digest": DIGEST.upper()}, errors.EvidenceMalformed),
        ({"hpke_key": KEY[:-4]}, errors.EvidenceMalformed),
        ({"hpke_key": KEY + "\n"}, errors.EvidenceMalformed),
        ({"signing_key": KEY}, errors.EvidenceMalformed),
        ({"signing_key": "ed25519:row"}, errors.EvidenceMalformed),
        ({"warnings": ("text",)}, errors.EvidenceMalformed),
        ({"warnings": ("host_root", "host_root")}, errors.EvidenceMalformed),
        ({"warnings": ()}, errors.WarningMissing),
        ({"warnings": ("dumpable", "host_root")}, errors.WarningMissing),
    ],
)
def test_each_field_is_checked(changes, error):
    with pytest.raises(error) as caught:
        check_evidence(evidence(**changes), expectation())
    assert caught.value.exit_code == Exit.KEY_REFUSED
    assert caught.value.fix
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("name", sorted(probe_names.MAIN | probe_names.EVALUATOR))
def test_a_missing_probe_refuses_the_key(name):
    with pytest.raises(errors.ProbeMissing, match=name.replace(".", r"\.")):
        check_evidence(evidence({name: None}), expectation())


@pytest.mark.parametrize("prefix", ["", "evaluator."])
@pytest.mark.parametrize("name", sorted(probe_names.TRIED))
def test_an_open_door_refuses_the_key(prefix, name):
    with pytest.raises(errors.LayerOpen):
        check_evidence(evidence({prefix + name: "open"}), expectation())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dumpable", "1"),
        ("core_limit", "raised"),
        ("file_limit", "raised"),
        ("no_new_privs", "0"),
        ("seccomp", "0"),
        ("seccomp", "1"),
        ("capabilities", "some"),
        ("parent_death", "survives"),
        ("stdio", "open"),
        ("inherited_fds", "some"),
        ("landlock_abi", "0"),
        ("landlock_abi", "2"),
        ("evaluator.landlock_abi", "2"),
        ("evaluator.stdio", "open"),
        ("evaluator.executable_memory", "allowed"),
    ],
)
def test_a_missing_layer_refuses_the_key(name, value):
    with pytest.raises(errors.LayerOpen, match=name.replace(".", r"\.")):
        check_evidence(evidence({name: value}), expectation())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("netns", "shared"),
        ("landlock_abi", "3"),
        ("landlock_abi", "5"),
        ("secret_memory", "plain"),
        ("mlock", "unlocked"),
        ("evaluator.mlock", "unlocked"),
        ("swap", "present"),
        ("title", "open"),
        ("mapped_files", "unsealed"),
        ("executable_memory", "allowed"),
        ("look_up.open", "engine"),
    ],
)
def test_a_tolerated_weakness_passes_with_a_warning_and_not_without(name, value):
    weak = evidence({name: value})
    assert name in weak.warnings
    check_evidence(weak, expectation())
    silent = msgspec.structs.replace(weak, warnings=("host_root",))
    with pytest.raises(errors.WarningMissing):
        check_evidence(silent, expectation())


@pytest.mark.parametrize("lock", ["mlock", "evaluator.mlock"])
@pytest.mark.parametrize("swap", ["present", "unknown"])
def test_swap_without_locked_memory_refuses_the_key(lock, swap):
    with pytest.raises(errors.SwapUnprotected):
        check_evidence(evidence({lock: "unlocked", "swap": swap}), expectation())


@pytest.mark.parametrize(
    "probes",
    [
        {"write.tmp": "row 17 says hello"},
        {"note": "blocked"},
        {"row 17 says hello": "blocked"},
        {"landlock_abi": "0x7"},
        {"evaluator.netns": "own"},
        {"evaluator.look_up.open": "engine"},
    ],
)
def test_evidence_carries_no_free_text(probes):
    with pytest.raises(errors.EvidenceMalformed) as caught:
        check_evidence(evidence(probes), expectation(min_assurance="A0"))
    assert "hello" not in str(caught.value)


def test_no_sandbox_passes_only_where_the_owner_says_so():
    bare = evidence({"seccomp": "0", "write.tmp": "open"}, assurance="A0")
    with pytest.raises(errors.AssuranceTooLow):
        check_evidence(bare, expectation())
    check_evidence(bare, expectation(min_assurance="A0"))


def test_claiming_a1_without_a_sandbox_does_not_pass_even_where_a0_would():
    with pytest.raises(errors.LayerOpen):
        check_evidence(evidence({"seccomp": "0"}), expectation(min_assurance="A0"))


def test_the_digest_covers_every_field():
    good = evidence()
    changed = [
        msgspec.structs.replace(good, **{name: value})
        for name, value in {
            "role": "seal",
            "assurance": "A0",
            "measurement": OTHER,
            "plan_digest": OTHER,
            "nonce": "m" * 22,
            "hpke_key": base64.b64encode(bytes(31) + b"1").decode(),
            "signing_key": "ed25519:x",
            "probes": {},
            "warnings": (),
        }.items()
    ]
    digests = {evidence_digest(each) for each in [good, *changed]}
    assert len(digests) == len(changed) + 1


def test_it_survives_the_wire():
    good = evidence()
    again = decode_evidence(msgspec.json.encode(good))
    assert again == good
    assert evidence_digest(again) == evidence_digest(good)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-1],
        lambda data: b"\xff" + data,
        lambda data: b"[" * 100_000,
        lambda data: data.replace(b'"role":"train"', b'"role":"root"'),
        lambda data: data.replace(b'"version":1', b'"version":2'),
        lambda data: data.replace(b'"version":1', b'"version":1,"note":"hello"'),
        lambda data: data.replace(b'"nonce":', b'"nonse":'),
    ],
)
def test_bytes_that_are_no_evidence_are_refused(change):
    with pytest.raises(errors.EvidenceMalformed):
        decode_evidence(change(msgspec.json.encode(evidence())))
