"""The main job from end to end through the command line: every promise of one whole run."""

from __future__ import annotations

import json
from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from strongroom.audit.events import types as events
from strongroom.connectors.stack.provision import READY_KEY
from strongroom.crypto.digests import digest_of, sha256
from strongroom.crypto.dsse import KeyRef, open_envelope
from strongroom.crypto.manifest import CHECKPOINT_TYPE, decode_checkpoint
from strongroom.errors import StrongroomError

RUN = "main-job"
MILESTONES = [
    "run.admitted",
    "enclave.started",
    "key.released",
    "shard.opened",
    "evaluation.finished",
    "training.step",
    "checkpoint.written",
    "training.step",
    "checkpoint.written",
    "training.finished",
    "evaluation.finished",
    "run.published",
    "run.completed",
]


@pytest.fixture(scope="module")
def finished(main_job: Any) -> Any:
    """What the run itself printed."""
    return main_job.result


def test_sealing_writes_shards_and_a_signed_manifest(
    strongroom: Any, lone_job: Any, auditor: Any, tmp_path: Path
) -> None:
    source = tmp_path / "rows.jsonl"
    row = json.dumps({"messages": [{"role": "user", "content": "good day"}], "ground_truth": "a"})
    source.write_text(f"{row}\n" * 5)
    uri = "s3://acme-data/datasets/cli/rows/"
    arguments = ("--key", "vault://transit/feedback", "--records-per-shard", "2")
    result = strongroom("seal", source, uri, *arguments)
    assert result.code == 0, result.out
    assert (result.data["records"], result.data["shards"]) == (5, 3)
    assert result.data["signer"] == lone_job.stack.info.public_keys["feedback-signer"]
    shards = [f"{uri}shard-{index:05d}.sealed" for index in range(3)]
    assert sorted(auditor.objects("datasets/cli/rows/")) == [f"{uri}manifest.json", *shards]
    assert all(b"good day" not in auditor.get(shard) for shard in shards)
    again = strongroom("seal", source, uri, *arguments)
    assert (again.code, again.codes) == (2, ["SR-SEAL-001"])


def test_the_run_file_is_valid(strongroom: Any, main_run_file: Path) -> None:
    result = strongroom("validate", main_run_file)
    assert (result.code, result.data["valid"]) == (0, True)


def test_planning_is_repeatable_and_writes_nothing(
    strongroom: Any, main_run_file: Path, main_plan: Any, auditor: Any
) -> None:
    again = strongroom("plan", main_run_file, "--id", "main-job-again")
    assert again.code == 0
    assert main_plan["admitted"] is True
    assert main_plan["digest"] == digest_of(main_plan["plan"])
    assert auditor.of("main-job-again") == {}
    same = json.dumps(again.data["plan"]).replace("main-job-again", RUN)
    assert json.loads(same) == main_plan["plan"]


def test_the_run_writes_exactly_what_the_plan_lists(
    finished: Any, main_plan: Any, auditor: Any
) -> None:
    assert sorted(auditor.of(RUN)) == main_plan["plan"]["objects"]["writes"]["objects"]
    assert sha256(auditor.get(f"s3://acme-data/runs/{RUN}/plan.json")) == main_plan["digest"]


def test_nothing_outside_the_run_folder_and_the_log_was_written(
    finished: Any, auditor: Any
) -> None:
    for bucket, allowed in (
        ("acme-data", ("datasets/", "evaluators/", "models/", "runs/", READY_KEY)),
        ("acme-audit", ("strongroom/",)),
    ):
        prefixes = tuple(f"s3://{bucket}/{prefix}" for prefix in allowed)
        stray = [uri for uri in auditor.objects("", bucket) if not uri.startswith(prefixes)]
        assert stray == []


def test_the_log_tells_the_run_in_order(finished: Any, main_plan: Any, auditor: Any) -> None:
    found = auditor.types(RUN)
    counts = Counter(found)
    assert counts["shard.opened"] == 4
    assert counts["training.step"] == 4
    # Leases are told where they were taken, which may be between any two others.
    story = [kind for kind, _ in groupby(kind for kind in found if kind != "lease.issued")]
    assert story == MILESTONES
    data = [event.data for event in auditor.events(RUN)]
    leases = {item.purpose: item for item in data if isinstance(item, events.LeaseIssued)}
    assert set(leases) == {"facts-read", "data-read", "run-read", "run-create", "audit-read"}
    assert leases["data-read"].create == ()
    assert leases["run-create"].read == ()
    assert leases["run-create"].create == (f"runs/{RUN}/",)
    admitted = next(item for item in data if isinstance(item, events.RunAdmitted))
    assert admitted.plan == main_plan["digest"]
    released = next(item for item in data if isinstance(item, events.KeyReleased))
    assert [key.name for key in released.keys] == ["train", "held_out", "outputs"]
    assert released.plan == main_plan["digest"]
    bad = [check for check in auditor.check() if not check.ok]
    assert bad == []


def test_every_checkpoint_is_signed_by_the_enclave_of_the_log(
    finished: Any, main_plan: Any, auditor: Any
) -> None:
    data = [event.data for event in auditor.events(RUN)]
    started = next(item for item in data if isinstance(item, events.EnclaveStarted))
    signer = KeyRef(started.signing_key)
    written = [item for item in data if isinstance(item, events.CheckpointWritten)]
    assert [item.step for item in written] == [2, 4]
    for item in written:
        place = f"{item.uri}manifest.json"
        envelope = auditor.get(place)
        assert sha256(envelope) == item.manifest
        payload, found = open_envelope(envelope, CHECKPOINT_TYPE, [signer], place=place)
        assert found == signer
        manifest = decode_checkpoint(payload, place)
        assert (manifest.run, manifest.step) == (RUN, item.step)
        assert manifest.plan_digest == main_plan["digest"]
        assert manifest.objects["adapter"].plaintext_sha256 == item.adapter
        for entry in manifest.objects.values():
            sealed = auditor.get(item.uri + entry.object)
            assert (len(sealed), sha256(sealed)) == (entry.size_bytes, entry.sha256)
    stranger = KeyRef(main_plan["plan"]["data"]["train"]["signer"])
    with pytest.raises(StrongroomError, match="SR-CRYPTO-022"):
        open_envelope(envelope, CHECKPOINT_TYPE, [stranger], place=place)


def test_the_result_is_the_last_checkpoint(finished: Any, auditor: Any) -> None:
    data = [event.data for event in auditor.events(RUN)]
    last = [item for item in data if isinstance(item, events.CheckpointWritten)][-1]
    result = json.loads(auditor.get(f"s3://acme-data/runs/{RUN}/result.json"))
    assert finished["step"] == result["step"] == 4
    assert finished["adapter_sha256"] == result["adapter_sha256"] == last.adapter
    assert result["manifest_sha256"] == last.manifest
    assert set(finished["evaluation"]) == {"before", "after"}
    assert set(finished["evaluation"]["after"]) == {"score_mean", "evaluator_accuracy"}


def test_status_has_every_number_of_every_step(
    strongroom: Any, finished: Any, auditor: Any
) -> None:
    steps = strongroom("status", RUN, "--steps").data
    assert [values.pop("step") for values in steps] == list(range(1, len(steps) + 1))
    logged = [event.data for event in auditor.events(RUN)]
    assert steps == [item.values for item in logged if isinstance(item, events.TrainingStep)]
    assert {"reward_mean", "ratio_max", "seconds_learn"} <= set(steps[0])


def test_status_says_completed(strongroom: Any, finished: Any) -> None:
    [row] = strongroom("status", RUN).data
    assert (row["run"], row["state"], row["step"]) == (RUN, "completed", 4)


def test_the_run_verifies(strongroom: Any, finished: Any) -> None:
    result = strongroom("verify", RUN)
    assert result.code == 0, result.out
    assert result.data["verified"] is True
    assert len(result.data["checks"]) > 10


@pytest.mark.full
def test_the_same_settings_give_the_same_adapter(
    strongroom: Any, main_run_file: Path, finished: Any
) -> None:
    again = strongroom("run", main_run_file, "--id", "main-job-twin")
    assert again.code == 0, again.out
    assert again.data["adapter_sha256"] == finished["adapter_sha256"]
    assert again.data["evaluation"] == finished["evaluation"]
