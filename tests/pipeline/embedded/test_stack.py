"""The embedded stack as a customer's side: its variables, its releaser, its model upload."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from strongroom.connectors.buckets.errors import BucketError, ObjectExists
from strongroom.connectors.stack.errors import StackNotFound
from strongroom.crypto.digests import sha256
from strongroom.enclave.measurement import components, measure
from strongroom.pipeline.broker.errors import OutputConflict
from strongroom.pipeline.embedded import stack as embedded
from strongroom.pipeline.planning.model_list import decode_model_list
from strongroom.pipeline.releaser.client import ReleaserClient
from strongroom.pipeline.releaser.errors import ReleaserUnreachable
from strongroom.policies.gate import read_bundle
from support.tiny_folder import save_tiny_model


@pytest.fixture
def stack(lone_job: Any) -> embedded.Embedded:
    """The running stack; brought back up if a test left something stopped."""
    found: embedded.Embedded = embedded.up(lone_job.stack.state)
    return found


def pids(stack: embedded.Embedded) -> dict[str, int]:
    return {service.name: service.pid for service in embedded.status(stack.state)}


def test_no_stack(tmp_path):
    with pytest.raises(StackNotFound):
        embedded.Embedded.load(tmp_path)


def test_everything_runs(stack):
    found = embedded.status(stack.state)
    assert all(service.running for service in found)
    assert "releaser" in {service.name for service in found}
    assert ReleaserClient(stack.releaser_socket).challenge()


def test_up_twice_changes_nothing(stack):
    components.cache_clear()
    measure.cache_clear()
    embedded.up(stack.state)
    before = pids(stack)
    again = embedded.up(stack.state)
    assert pids(stack) == before
    assert again.info == stack.info
    assert embedded.Embedded.load(stack.state).info == stack.info


def test_a_killed_releaser_comes_back(stack):
    before = pids(stack)
    os.kill(before["releaser"], signal.SIGKILL)
    while pids(stack)["releaser"]:
        time.sleep(0.05)
    with pytest.raises(ReleaserUnreachable):
        ReleaserClient(stack.releaser_socket).challenge()
    embedded.up(stack.state)
    after = pids(stack)
    assert after.pop("releaser") != before.pop("releaser")
    assert after == before
    assert ReleaserClient(stack.releaser_socket).challenge()


def test_a_releaser_with_other_settings_is_replaced(stack):
    """As after an upgrade, which changes the measurement of the enclave's code."""
    path = stack.state / "releaser" / "releaser.json"
    settings = json.loads(path.read_bytes())
    settings["measurements"] = ["sha256:" + "0" * 64]
    path.write_text(json.dumps(settings))
    before = pids(stack)["releaser"]
    embedded.up(stack.state)
    assert pids(stack)["releaser"] != before
    assert json.loads(path.read_bytes())["measurements"] == [measure()]


def test_variables_name_what_a_run_file_needs(stack):
    found = stack.variables()
    assert found["s3_endpoint"] == stack.info.s3_endpoint
    assert Path(found["broker_credentials"]).is_file()
    assert Path(found["releaser_socket"]).is_socket()
    assert found["broker_role"] != found["audit_role"]
    assert read_bundle(Path(found["policy_bundle"])).settings.kms_owners == (stack.info.vault_addr,)


def test_variables_hold_no_secret(stack):
    secrets = json.loads(Path(stack.info.identities["broker"]).read_bytes())
    text = json.dumps(stack.variables())
    assert secrets["secret_id"] not in text
    assert secrets["role_id"] not in text


def test_the_state_is_private(stack):
    assert stack.state.stat().st_mode & 0o777 == 0o700
    for path in (*(stack.state / "identity").iterdir(), stack.state / "releaser" / "releaser.json"):
        assert path.stat().st_mode & 0o077 == 0


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    save_tiny_model(folder)
    (folder / "README.md").write_text("Not what an enclave reads.")
    return folder


@pytest.fixture
def kept_digest(stack: embedded.Embedded) -> Any:
    """``${stack.model_digest}`` is the last upload's: give it back to the other tests."""
    path = stack.state / "model.sha256"
    before = path.read_bytes()
    yield
    path.write_bytes(before)


@pytest.mark.usefixtures("kept_digest")
def test_a_model_is_put_there_once(stack, model, tmp_path):
    uri = f"s3://acme-data/models/{tmp_path.name.replace('_', '-')}/"
    digest = embedded.upload_model(stack, model, uri)
    assert stack.variables()["model_digest"] == digest
    key = uri.removeprefix("s3://acme-data/")
    bucket = stack.owner_bucket(key)
    listing, _ = bucket.get(key + "model.json")
    assert sha256(listing) == digest
    names = [file.name for file in decode_model_list(listing)]
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(names)
    assert "README.md" not in names
    assert embedded.upload_model(stack, model, uri) == digest

    config = (model / "config.json").read_bytes()
    (model / "config.json").write_bytes(config.replace(b": ", b":\t"))  # of the same length
    with pytest.raises(OutputConflict) as caught:
        embedded.upload_model(stack, model, uri)
    assert caught.value.place == uri + "config.json"
    (model / "config.json").write_bytes(config + b"\n")
    with pytest.raises(ObjectExists):
        embedded.upload_model(stack, model, uri)
    assert bucket.get(key + "config.json")[0] == config
    assert stack.variables()["model_digest"] == digest


def test_an_owners_rights_end_at_the_prefix(stack, lone_job):
    bucket = stack.owner_bucket("datasets/mine/")
    bucket.create("datasets/mine/x", b"x")
    for key in ("datasets/other/x", "runs/r/plan.json"):
        with pytest.raises(BucketError):
            bucket.create(key, b"x")
    theirs = lone_job.train.removeprefix("s3://acme-data/") + "manifest.json"
    with pytest.raises(BucketError):
        bucket.get(theirs)
