"""Bad input through the command line: a stable code, the right place, nothing half-written.

Every case is a real run on the real stack, made when the first test asks for it; each test looks at
how its case ended and at what it left behind.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from strongroom.audit.events import types as events
from strongroom.audit.log.verify import COMPLETE
from strongroom.connectors.keys.open import open_kms
from strongroom.crypto.digests import canonical, sha256
from strongroom.crypto.dsse import KeyRef, key_ref, sign_envelope
from strongroom.crypto.keyset import Keyset
from strongroom.crypto.manifest import (
    DATASET_TYPE,
    DatasetManifest,
    Shard,
    WrappedKeyset,
    encode,
    encode_header,
    shard_identity,
    shard_name,
)
from strongroom.crypto.segments import HEADER_BYTES
from strongroom.pipeline.releaser.client import ReleaserClient
from strongroom.policies.gate import Settings, read_bundle, write_bundle
from support import leak_search
from support.small_job import places

CANARY = "heliotrope-quagmire-4417"
LEFT_BY_A_FAILED_RUN = {"plan.json", "evaluator.py", "keys.json"}
EVALUATORS = {
    "raises": "    raise ValueError(messages[0]['content'])",
    "hangs": "    while True: pass",
    "nan": "    return float('nan')",
    "string": "    return messages[0]['content']",
    "forks": "    import os; return os.fork()",
    "connects": "    import socket; return socket.socket().fileno()",
    "writes": "    return open('/tmp/rows', 'w').write(str(messages))",
    "prints": "    import sys; print(messages, row); print(messages, file=sys.stderr); return 1.0",
}
BAD_LINES = {
    2: (b"not json " + CANARY.encode(), "not_json"),
    3: (b'{"text": "%s"}' % CANARY.encode(), "messages_missing"),
    5: (b'["%s"]' % CANARY.encode(), "not_object"),
    6: (b'{"messages": "%s"}' % CANARY.encode(), "messages_invalid"),
    7: (b'{"messages": "' + b"a" * (5 << 20) + b'"}', "too_long"),
    9: (b'{"messages": "' + b"b" * 100_000_000 + b'"}', "too_long"),
}


def row(index: int, times: int = 1) -> bytes:
    messages = [{"role": "user", "content": f"{CANARY} number {index:04d}" * times}]
    return json.dumps({"messages": messages, "ground_truth": "a", "note": CANARY}).encode()


def some_bad_lines() -> list[bytes]:
    """Ten lines of which six are bad."""
    return [BAD_LINES[line][0] if line in BAD_LINES else row(line) for line in range(1, 11)]


class Forge:
    """Seals datasets as their owner could with the primitives alone, so that any may be wrong."""

    def __init__(self, job: Any, auditor: Any) -> None:
        info = job.stack.info
        self._put = auditor.put
        self._releaser = ReleaserClient(job.stack.releaser_socket)
        self._kms = open_kms(
            "vault://transit/feedback",
            vault_addr=info.vault_addr,
            credentials_file=Path(info.identities["releaser"]),
        )

    def keyset(self, name: str) -> tuple[Keyset, WrappedKeyset]:
        """A new keyset, wrapped for the dataset ``name``."""
        keyset = Keyset.generate()
        context = {"dataset": name}
        wrapped = WrappedKeyset(
            kms="vault://transit/feedback",
            context=context,
            wrapped=self._kms.wrap(keyset.to_tink(), context),
            key_id=keyset.key_id,
            commitment=keyset.commitment(),
        )
        return keyset, wrapped

    def seal(
        self, name: str, shards: Sequence[Sequence[bytes]], keys: tuple[Keyset, WrappedKeyset]
    ) -> tuple[DatasetManifest, list[bytes]]:
        """A manifest and its shards' sealed bytes."""
        keyset, wrapped = keys
        sealed = []
        entries = []
        for index, lines in enumerate(shards):
            plain = zstandard.compress(b"".join(line + b"\n" for line in lines))
            identity = shard_identity(name, keyset.key_id, index, len(lines))
            data = bytes(keyset.streaming().seal(plain, identity))
            entries.append(
                Shard(
                    index=index,
                    object=shard_name(index),
                    header=encode_header(data[:HEADER_BYTES]),
                    size_bytes=len(data),
                    sha256=sha256(data),
                    records=len(lines),
                    plaintext_bytes=len(plain),
                )
            )
            sealed.append(data)
        count = sum(len(lines) for lines in shards)
        manifest = DatasetManifest(name=name, records=count, keyset=wrapped, shards=tuple(entries))
        return manifest, sealed

    def signed(self, manifest: DatasetManifest) -> bytes:
        """The manifest's envelope, signed by the owner."""
        payload = encode(manifest)
        signed = self._releaser.sign_manifest(payload)
        return sign_envelope(
            DATASET_TYPE, payload, KeyRef(signed.signer), lambda _: signed.signature
        )

    def publish(self, name: str, envelope: bytes, sealed: Sequence[bytes | None]) -> str:
        """Put it all into the bucket; ``None`` for a shard that is not there."""
        uri = f"s3://acme-data/datasets/forged/{name}/"
        for index, data in enumerate(sealed):
            if data is not None:
                self._put(uri + shard_name(index), data)
        self._put(uri + "manifest.json", envelope)
        return uri

    def dataset(
        self,
        name: str,
        shards: Sequence[Sequence[bytes]],
        tamper: Callable[[list[bytes]], Sequence[bytes | None]] = list,
    ) -> str:
        """A signed dataset whose shards were tampered with after it was signed."""
        manifest, sealed = self.seal(name, shards, self.keyset(name))
        return self.publish(name, self.signed(manifest), tamper(sealed))


@pytest.fixture(scope="module")
def forge(small_job: Any, auditor: Any) -> Forge:
    return Forge(small_job, auditor)


@pytest.fixture(scope="module")
def good(forge: Forge) -> tuple[str, str]:
    """Good datasets to train on and to hold out, with the canary in every row."""
    train = forge.dataset("train", [[row(index) for index in range(8)]])
    held_out = forge.dataset("held-out", [[row(index) for index in range(100, 104)]])
    return train, held_out


@pytest.fixture(scope="module")
def tampered(forge: Forge) -> dict[str, str]:
    """Datasets by what is wrong with them."""
    rows = [row(index) for index in range(4)]

    def flip(sealed: list[bytes]) -> list[bytes]:
        middle = len(sealed[1]) // 2
        return [
            sealed[0],
            sealed[1][:middle] + bytes([sealed[1][middle] ^ 1]) + sealed[1][middle + 1 :],
        ]

    stranger = Ed25519PrivateKey.generate()
    stranger_key = key_ref(stranger.public_key().public_bytes_raw())
    keys = forge.keyset("older")
    _, older = forge.seal("older", [rows], keys)
    newer, _ = forge.seal("older", [rows], keys)
    manifest, sealed = forge.seal("other", [rows], forge.keyset("other"))
    envelope = msgspec.json.decode(forge.signed(manifest))
    changed = encode(msgspec.structs.replace(manifest, name="another"))
    envelope["payload"] = base64.b64encode(changed).decode()
    future = canonical({**msgspec.to_builtins(manifest), "version": 2})
    return {
        "bit-flipped": forge.dataset("bit-flipped", [rows, rows], flip),
        "swapped": forge.dataset("swapped", [rows, rows], lambda sealed: sealed[::-1]),
        "older": forge.publish("older", forge.signed(newer), older),
        "lengths": forge.dataset(
            "lengths",
            [rows] * 4,
            lambda sealed: [None, sealed[1][:-1], sealed[2] + b"\0", sealed[3]],
        ),
        "bad-signature": forge.publish("bad-signature", canonical(envelope), sealed),
        "unknown-version": forge.publish(
            "unknown-version",
            sign_envelope(DATASET_TYPE, future, stranger_key, stranger.sign),
            sealed,
        ),
        "other-key": forge.publish(
            "other-key",
            sign_envelope(DATASET_TYPE, encode(manifest), stranger_key, stranger.sign),
            sealed,
        ),
        "bad-records": forge.dataset("bad-records", [[row(0)], some_bad_lines()]),
        "long-train": forge.dataset("long-train", [[row(0)], [row(1, times=500)]]),
        "long-held-out": forge.dataset("long-held-out", [[row(0), row(1, times=500), row(2)]]),
    }


class Cases:
    """Run files by case, and how each run ended."""

    def __init__(self, job: Any, strongroom: Any, good: tuple[str, str]) -> None:
        self._job = job
        self._strongroom = strongroom
        self._good = good
        self.files: dict[str, Path] = {}
        self.results: dict[str, Any] = {}

    def add(self, case: str, *changes: tuple[str, str], **settings: Any) -> None:
        """A run file for ``case``: the small job with other settings and other text."""
        train, held_out = self._good
        settings = {
            "train": train,
            "held_out": held_out,
            "steps": 1,
            "checkpoint_every": 1,
        } | settings
        path: Path = self._job.run_file(f"bad-{case}", **settings)
        text = path.read_text()
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        path.write_text(text)
        self.files[case] = path

    def result(self, case: str) -> Any:
        """How a case ended."""
        if case not in self.results:
            self.results[case] = self._strongroom("run", self.files[case], "--id", f"bad-{case}")
        return self.results[case]


@pytest.fixture(scope="module")
def cases(
    small_job: Any,
    strongroom: Any,
    good: tuple[str, str],
    tampered: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Cases:
    found = Cases(small_job, strongroom, good)
    found.add("manifests", train=tampered["bad-signature"], held_out=tampered["unknown-version"])
    for name in ("other-key", "lengths", "bit-flipped", "swapped", "older", "bad-records"):
        found.add(name, train=tampered[name])
    found.add(
        "long-prompts",
        train=tampered["long-train"],
        held_out=tampered["long-held-out"],
    )
    found.add("no-dataset", train="s3://acme-data/datasets/nowhere/")
    found.add(
        "no-bucket",
        ("  access:\n", "  access:\n    - {uri: s3://acme-nowhere/, role: "
         '"${stack.broker_role}", ttl: 15m, endpoint: "${stack.s3_endpoint}"}\n'),
        train="s3://acme-nowhere/datasets/",
    )  # fmt: skip
    found.add("unreachable", ("${stack.s3_endpoint}", "http://127.0.0.1:9"))
    for name, body in EVALUATORS.items():
        code = f"# scores nothing\ndef evaluate(messages, ground_truth, **row):\n{body}\n"
        found.add(name, ("timeout: 10s", "timeout: 1s"), ("[accuracy]", "[]"), evaluator=code)
    found.add("a0", assurance="A0")
    found.add("ttl", ("ttl: 15m", "ttl: 2h"))
    found.add("no-key", ("vault://transit/feedback-outputs", "vault://transit/absent"))
    policy = tmp_path_factory.mktemp("policy")
    info = small_job.stack.info
    write_bundle(
        policy,
        Settings(
            signers=(info.public_keys["feedback-signer"],),
            output_prefixes=("s3://acme-data/runs/",),
            audit_prefixes=("s3://acme-audit/other/",),
            kms_prefixes=("vault://transit/",),
            kms_owners=(info.vault_addr,),
        ),
    )
    found.add(
        "no-log",
        ("s3://acme-audit/strongroom/", "s3://acme-audit/other/"),
        ("${stack.policy_bundle}", str(policy)),
    )
    loose = tmp_path_factory.mktemp("loose")
    settings = read_bundle(small_job.stack.policy).settings
    write_bundle(loose, msgspec.structs.replace(settings, max_ttl_s=7200))
    found.add("own-policy", ("ttl: 15m", "ttl: 2h"), ("${stack.policy_bundle}", str(loose)))
    return found


def assert_failed_while_planning(auditor: Any, case: str, code: str) -> None:
    """The leases that were taken are in the log, then how it ended, and nothing else."""
    *leases, last = [event.data for event in auditor.events(f"bad-{case}")]
    assert leases
    assert all(isinstance(lease, events.LeaseIssued) for lease in leases)
    assert isinstance(last, events.RunFailed)
    assert (last.code, last.stage, last.step) == (code, "plan", 0)


def left(auditor: Any, case: str) -> set[str]:
    names: set[str] = auditor.names(f"bad-{case}")
    return names


# ---- before anything runs ----------------------------------------------------------------------


def test_five_mistakes_are_five_errors_with_their_lines(strongroom: Any, tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "examples" / "feedback" / "run.yaml"
    lines = example.read_text().splitlines()

    def change(old: str, new: str) -> tuple[int, int]:
        line = next(number for number, text in enumerate(lines) if old in text)
        lines[line] = lines[line].replace(old, new)
        return line + 1, lines[line].index(new.strip()) + 1

    marks = sorted(
        [
            change("  outputs:", "  output:"),
            change("steps:", "stepz:"),
            (change("type: grpo", "type: grqo")[0], 0),
            (change("learning_rate: ", "learning_rate: fast #")[0], 0),
            (change("assurance:", "assurance: A7 #")[0], 0),
        ]
    )
    path = tmp_path / "run.yaml"
    path.write_text("\n".join(lines) + "\n")
    for command in ("validate", "plan", "run"):
        result = strongroom(command, path)
        assert result.code == 2
        places = [error["place"].split(":") for error in result.errors]
        assert [int(place[1]) for place in places] == [line for line, _ in marks]
        assert all(place[0] == "run.yaml" and int(place[2]) > 0 for place in places)
        assert sorted(set(result.codes)) == ["SR-RUN-012", "SR-RUN-014", "SR-RUN-016"]


def test_a_missing_variable_is_named_at_its_place(
    strongroom: Any, small_job: Any, good: tuple[str, str]
) -> None:
    path = small_job.run_file("variable", train="s3://acme-data/${env.STRONGROOM_TEST_UNSET}/x/")
    result = strongroom("run", path, "--id", "bad-variable")
    assert (result.code, result.codes) == (2, ["SR-RUN-018"])
    [error] = result.errors
    line = next(
        n for n, text in enumerate(path.read_text().splitlines(), 1) if "STRONGROOM_TEST" in text
    )
    assert error["place"].startswith(f"variable.yaml:{line}:")
    assert "STRONGROOM_TEST_UNSET" in error["actual"] + error["expected"] + error["remedy"]
    again = strongroom("validate", path, environment={"STRONGROOM_TEST_UNSET": "datasets"})
    assert again.code == 0


def test_sealing_lists_every_bad_record_and_writes_nothing(
    strongroom: Any, auditor: Any, tmp_path: Path
) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_bytes(b"".join(line + b"\n" for line in some_bad_lines()))
    uri = "s3://acme-data/datasets/bad/rows/"
    result = strongroom("seal", source, uri, "--key", "vault://transit/feedback")
    assert result.code == 2
    found = [(error["place"], error["actual"]) for error in result.errors[:-1]]
    assert found == [(f"{source}:{line}", fault) for line, (_, fault) in BAD_LINES.items()]
    assert result.codes == ["SR-DATA-004"] * len(BAD_LINES) + ["SR-DATA-001"]
    assert auditor.objects("datasets/bad/rows/") == {}
    assert CANARY not in result.out + result.err


# ---- what stands in the bucket -----------------------------------------------------------------


def test_bad_manifests_are_refused_together(
    cases: Cases, tampered: dict[str, str], auditor: Any
) -> None:
    result = cases.result("manifests")
    assert result.code == 5
    assert [(error["code"], error["place"]) for error in result.errors] == [
        ("SR-CRYPTO-023", f"{tampered['bad-signature']}manifest.json"),
        ("SR-CRYPTO-011", f"{tampered['unknown-version']}manifest.json"),
    ]
    assert left(auditor, "manifests") == set()
    assert_failed_while_planning(auditor, "manifests", "SR-CRYPTO-011")


def test_a_manifest_by_another_key_is_denied_at_its_line(cases: Cases, auditor: Any) -> None:
    result = cases.result("other-key")
    assert (result.code, result.codes) == (3, ["SR-POLICY-001"])
    assert [result.errors[0]["place"]] == places(cases.files["other-key"], "train: ")
    assert auditor.types("bad-other-key")[-1] == "run.denied"
    assert left(auditor, "other-key") == set()


def test_shards_of_the_wrong_length_are_all_named_before_anything_starts(
    cases: Cases, tampered: dict[str, str], auditor: Any
) -> None:
    result = cases.result("lengths")
    uri = tampered["lengths"]
    assert result.code == 5
    assert [(error["code"], error["place"]) for error in result.errors] == [
        ("SR-RUN-205", f"{uri}shard-00000.sealed"),
        ("SR-CRYPTO-002", f"{uri}shard-00001.sealed"),
        ("SR-CRYPTO-003", f"{uri}shard-00002.sealed"),
    ]
    assert left(auditor, "lengths") == set()
    assert_failed_while_planning(auditor, "lengths", "SR-CRYPTO-003")


@pytest.mark.parametrize(
    ("case", "code", "shard"),
    [
        ("bit-flipped", "SR-CRYPTO-004", "train/shard-00001.sealed"),
        pytest.param(
            "swapped", "SR-CHANNEL-005", "train/shard-00000.sealed", marks=pytest.mark.full
        ),
        ("older", "SR-CHANNEL-005", "train/shard-00000.sealed"),
    ],
)
def test_a_shard_that_was_changed_stops_the_run(
    cases: Cases, auditor: Any, case: str, code: str, shard: str
) -> None:
    result = cases.result(case)
    assert (result.code, result.codes) == (5, [code])
    assert result.errors[0]["place"].startswith(shard)
    assert left(auditor, case) == LEFT_BY_A_FAILED_RUN
    types = auditor.types(f"bad-{case}")
    assert types[-1] == "run.failed"
    assert "evaluation.finished" not in types
    assert "training.step" not in types


def test_bad_records_are_all_named_before_any_training(
    cases: Cases, tampered: dict[str, str], auditor: Any
) -> None:
    result = cases.result("bad-records")
    uri = tampered["bad-records"]
    assert result.code == 2
    found = [(error["place"], error["actual"]) for error in result.errors[:-1]]
    assert found == [
        (f"{uri}shard-00001.sealed:{line}", fault) for line, (_, fault) in BAD_LINES.items()
    ]
    assert result.codes == ["SR-DATA-004"] * len(BAD_LINES) + ["SR-DATA-001"]
    assert left(auditor, "bad-records") == LEFT_BY_A_FAILED_RUN
    types = auditor.types("bad-bad-records")
    assert types.count("record.rejected") == len(BAD_LINES)
    assert "evaluation.finished" not in types
    assert "training.step" not in types


def test_prompts_that_are_too_long_are_all_named_before_any_training(
    cases: Cases, tampered: dict[str, str], auditor: Any
) -> None:
    result = cases.result("long-prompts")
    assert result.code == 2
    assert [(error["place"], error["actual"]) for error in result.errors[:-1]] == [
        (f"{tampered['long-train']}shard-00001.sealed:1", "prompt_too_long"),
        (f"{tampered['long-held-out']}shard-00000.sealed:2", "prompt_too_long"),
    ]
    types = auditor.types("bad-long-prompts")
    assert types.count("record.rejected") == 2
    assert "evaluation.finished" not in types
    assert "training.step" not in types


def test_a_dataset_that_is_not_there(cases: Cases, auditor: Any) -> None:
    result = cases.result("no-dataset")
    assert (result.code, result.codes) == (2, ["SR-RUN-205"])
    assert result.errors[0]["place"] == "s3://acme-data/datasets/nowhere/manifest.json"
    assert left(auditor, "no-dataset") == set()
    assert_failed_while_planning(auditor, "no-dataset", "SR-RUN-205")


def test_a_run_that_failed_without_a_plan_is_told_as_such(
    cases: Cases, strongroom: Any, auditor: Any
) -> None:
    cases.result("no-dataset")
    [row] = strongroom("status", "bad-no-dataset").data
    assert (row["state"], row["code"], row["plan"]) == ("failed", "SR-RUN-205", None)
    assert row["reason"] == "in stage plan, after step 0"
    verified = strongroom("verify", "bad-no-dataset")
    assert verified.code == 1
    [bad] = [check for check in verified.data["checks"] if not check["ok"]]
    ending = "run.failed: SR-RUN-205 in stage plan, after step 0"
    assert (bad["name"], bad["detail"]) == (COMPLETE, ending)
    # Control: where the plan is there, it is looked at, admitted or not.
    auditor.put("s3://acme-data/runs/bad-no-dataset/plan.json", b"{}")
    planted = strongroom("verify", "bad-no-dataset")
    assert planted.code == 5
    failed = {check["name"] for check in planted.data["checks"] if not check["ok"]}
    assert "Plan is the admitted one" in failed
    auditor.client.delete_object(Bucket="acme-data", Key="runs/bad-no-dataset/plan.json")


def test_a_bucket_that_is_not_there(cases: Cases, auditor: Any) -> None:
    """A role that knows no such bucket is told no more than that it may not."""
    result = cases.result("no-bucket")
    assert result.code in (1, 2)
    assert set(result.codes) <= {"SR-BUCKET-007", "SR-BUCKET-008"}
    assert result.errors[0]["place"].startswith("s3://acme-nowhere/")
    assert_failed_while_planning(auditor, "no-bucket", result.codes[0])


def test_an_endpoint_that_nobody_answers(cases: Cases, auditor: Any) -> None:
    """No lease was taken, so there is nothing to account for."""
    result = cases.result("unreachable")
    assert (result.code, set(result.codes)) == (1, {"SR-ACCESS-006"})
    assert auditor.types("bad-unreachable") == []
    assert left(auditor, "unreachable") == set()


# ---- the evaluator -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "code"),
    [
        ("raises", "SR-EVAL-003"),
        ("hangs", "SR-EVAL-004"),
        pytest.param("nan", "SR-EVAL-008", marks=pytest.mark.full),
        pytest.param("string", "SR-EVAL-007", marks=pytest.mark.full),
        pytest.param("forks", "SR-EVAL-006", marks=pytest.mark.full),
        pytest.param("connects", "SR-EVAL-006", marks=pytest.mark.full),
        pytest.param("writes", "SR-EVAL-006", marks=pytest.mark.full),
    ],
)
def test_a_bad_evaluator_is_told_by_row_and_line(
    cases: Cases, auditor: Any, case: str, code: str
) -> None:
    result = cases.result(case)
    assert (result.code, result.codes) == (1, [code])
    place = result.errors[0]["place"]
    assert place.startswith("held_out row 0")
    # An answer that is no score is told by where its function begins; a hang has no line.
    assert {"hangs": "", "nan": "line 2", "string": "line 2"}.get(case, "line 3") in place
    assert left(auditor, case) == LEFT_BY_A_FAILED_RUN
    types = auditor.types(f"bad-{case}")
    assert types[-1] == "run.failed"
    assert "evaluation.finished" not in types


@pytest.mark.full
def test_what_an_evaluator_prints_goes_nowhere(cases: Cases, auditor: Any) -> None:
    result = cases.result("prints")
    assert result.code == 0, result.out
    assert "result.json" in left(auditor, "prints")


# ---- policy, keys, log -------------------------------------------------------------------------


def test_no_sandbox_is_denied_before_anything_is_connected(cases: Cases, auditor: Any) -> None:
    """So there is no log that could tell of it, and nothing to tell."""
    result = cases.result("a0")
    assert (result.code, result.codes) == (3, ["SR-POLICY-001"])
    assert [result.errors[0]["place"]] == places(cases.files["a0"], "assurance: ")
    assert auditor.types("bad-a0") == []
    assert left(auditor, "a0") == set()


def test_too_long_a_lifetime_is_denied_at_its_line_and_column(cases: Cases, auditor: Any) -> None:
    result = cases.result("ttl")
    assert result.code == 3
    assert set(result.codes) == {"SR-POLICY-001"}
    found = {error["place"] for error in result.errors}
    assert found == set(places(cases.files["ttl"], "ttl: "))
    assert len(found) == 2
    assert left(auditor, "ttl") == set()


def test_a_key_that_the_service_refuses_is_denied_at_its_place(cases: Cases, auditor: Any) -> None:
    """The service tells the releaser no more of a key that is not there than of others' keys."""
    result = cases.result("no-key")
    assert (result.code, result.codes) == (3, ["SR-POLICY-001"])
    (error,) = result.errors
    assert [error["place"]] == places(cases.files["no-key"], "    outputs: ")
    assert error["actual"].startswith("vault://transit/absent ")
    assert "grant your releaser its use" in error["remedy"]
    assert auditor.types("bad-no-key")[-1] == "run.denied"
    assert not {"enclave.started", "key.released"} & set(auditor.types("bad-no-key"))
    assert left(auditor, "no-key") == set()


def test_a_policy_of_the_run_s_own_opens_no_key(cases: Cases, auditor: Any) -> None:
    """The key's owner decides by the owner's policy, whatever the run was admitted by."""
    result = cases.result("own-policy")
    assert result.code == 4
    assert set(result.codes) == {"SR-RELEASE-002"}
    types = auditor.types("bad-own-policy")
    assert "run.admitted" in types
    assert "key.denied" in types
    assert types[-1] == "run.failed"
    assert "shard.opened" not in types
    assert left(auditor, "own-policy") == {"plan.json", "evaluator.py"}


def test_a_run_does_not_start_without_its_log(cases: Cases, auditor: Any) -> None:
    """The releaser keeps one log, and what is told elsewhere would not be in it."""
    result = cases.result("no-log")
    assert (result.code, result.codes) == (2, ["SR-RUN-223"])
    assert result.errors[0]["place"] == "spec.audit"
    assert result.errors[0]["expected"] == "s3://acme-audit/strongroom/"
    assert left(auditor, "no-log") == set()
    assert auditor.objects("other/", "acme-audit") == {}


# ---- what all of them have in common -----------------------------------------------------------


def test_no_row_text_is_in_any_output(cases: Cases) -> None:
    for case, result in cases.results.items():
        assert CANARY not in result.out + result.err, case
        assert "Traceback" not in result.out + result.err, case


def test_no_row_text_is_in_the_state_folder(cases: Cases, small_job: Any) -> None:
    """Logs, buckets, key service: everything that the servers and the releaser have written."""
    cases.result("raises")
    files = list(leak_search.files_below(small_job.stack.state))
    assert leak_search.in_files(files, {"rows": CANARY.encode()}) == {}
    # The search itself: an object's plain text is found in the volume that holds it.
    assert leak_search.in_files(files, {"evaluator": b"# scores nothing"})


def test_the_log_is_whole_after_all_of_it(cases: Cases, auditor: Any) -> None:
    assert [check for check in auditor.check() if not check.ok] == []
