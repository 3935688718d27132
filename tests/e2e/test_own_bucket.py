"""docs/own-bucket.md, step by step: the stack's servers as somebody else's, and no stack here."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from strongroom.pipeline.embedded.owner import Embedded
from strongroom.pipeline.releaser.client import ReleaserClient
from strongroom.pipeline.releaser.errors import ReleaserUnreachable

KEY = "vault://transit/feedback"
DATA = "s3://acme-data"
AUDIT = "s3://acme-audit/strongroom/own/"
"""A log of this side's own, beside that of the stack's releaser."""
COMMAND = [sys.executable, "-m", "strongroom"]
ROW = {"messages": [{"role": "user", "content": "Say something nice."}], "ground_truth": "a"}


@dataclass
class Side:
    """Files of the key owner and of the data's owner, and the command with an empty state."""

    folder: Path
    strongroom: Any
    servers: Embedded
    serving: subprocess.Popen[bytes] | None = None

    def serve(self) -> None:
        """Start the key owner's releaser."""
        command = [*COMMAND, "releaser", "serve", "releaser.json"]
        self.serving = subprocess.Popen(command, cwd=self.folder)
        _wait_for(self.folder / "socket", self.serving)

    def stop(self) -> None:
        """End it."""
        assert self.serving is not None
        self.serving.kill()
        self.serving.wait()

    def done(self, *arguments: str | Path) -> Any:
        result = self.strongroom(*arguments)
        assert result.code == 0, result.out + result.err
        return result.data

    def owner_file(self, name: str = "owner.yaml", role: str = "owner") -> Path:
        info = self.servers.info
        path = self.folder / name
        path.write_text(
            f"""apiVersion: strongroom/v1
kind: DataOwner
access:
  - uri: {DATA}/
    role: {info.roles[role]}
    endpoint: {info.s3_endpoint}
identity:
  type: openbao
  addr: {info.vault_addr}
  oidc_role: {info.oidc_roles["owner"]}
  credentials: {info.identities["owner"]}
releaser: unix://socket
signers: ["{info.public_keys["feedback-signer"]}"]
"""
        )
        return path


@pytest.fixture(scope="module")
def side(
    strongroom: Any, small_job: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Side]:
    folder = tmp_path_factory.mktemp("own")
    info = small_job.stack.info
    here = Side(folder, type(strongroom)(folder / "state"), small_job.stack)
    signers = [info.public_keys["feedback-signer"]]
    settings = {
        "signers": signers,
        "output_prefixes": [f"{DATA}/runs/"],
        "audit_prefixes": [AUDIT],
        "kms_prefixes": ["vault://transit/"],
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    written = [*COMMAND, "policy", "write", "policy", "--settings", "settings.json"]
    subprocess.run(written, cwd=folder, check=True)
    measured = [*COMMAND, "releaser", "measure", "--json"]
    measurement = json.loads(subprocess.check_output(measured))["measurement"]
    config = {
        "socket": "socket",
        "vault_addr": info.vault_addr,
        "credentials_file": info.identities["releaser"],
        "policy": "policy",
        "min_assurance": "A1",
        "measurements": [measurement],
        "signers": signers,
        "manifest_signer": "vault://transit/feedback-signer",
        "keys": [KEY, "vault://transit/feedback-outputs"],
        "log": {
            "uri": AUDIT,
            "key": "vault://transit/audit-log",
            "role": info.roles["log"],
            "vault_addr": info.vault_addr,
            "credentials_file": info.identities["log"],
            "oidc_role": info.oidc_roles["log"],
            "memory": "memory",
            "endpoint": info.s3_endpoint,
        },
    }
    (folder / "releaser.json").write_text(json.dumps(config))
    try:
        here.serve()
        yield here
    finally:
        here.stop()


def _wait_for(socket: Path, serving: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        try:
            ReleaserClient(socket).challenge()
        except ReleaserUnreachable:
            assert serving.poll() is None
            time.sleep(0.05)
        else:
            return
    pytest.fail("the releaser does not answer")


def written(side: Side, count: int) -> Path:
    """A file of rows."""
    path = side.folder / "rows.jsonl"
    path.write_text(f"{json.dumps(ROW)}\n" * count)
    return path


def test_a_whole_run_on_inputs_that_an_owner_file_put_there(
    side: Side, small_job: Any, tiny_model: Path, strongroom: Any
) -> None:
    owner = side.owner_file()
    rows = written(side, 8)
    datasets = {name: f"{DATA}/datasets/own/{name}/" for name in ("train", "held-out")}
    for uri in datasets.values():
        sealed = side.done("seal", rows, uri, "--key", KEY, "--owner", owner)
        assert side.done("dataset", uri, "--owner", owner) == sealed
        assert sealed["records"] == 8
    base = f"{DATA}/models/own/"
    model = side.done("model", "upload", tiny_model, base, "--owner", owner)
    assert side.done("model", "upload", tiny_model, base, "--owner", owner) == model
    file = small_job.run_file("own", train=datasets["train"], held_out=datasets["held-out"])
    values = {
        **side.servers.variables(),
        "releaser_socket": str(side.folder / "socket"),
        "policy_bundle": str(side.folder / "policy"),
        "model_digest": model["digest"],
    }
    text = file.read_text().replace(f"{DATA}/models/tiny/", base)
    text = text.replace("audit: s3://acme-audit/strongroom/", f"audit: {AUDIT}")
    for name, value in values.items():
        text = text.replace(f"${{stack.{name}}}", value)
    assert "${" not in text
    file.write_text(text)
    side.done("run", file, "--id", "own-bucket")
    assert all(check["ok"] for check in side.done("verify", "own-bucket")["checks"])
    assert not (side.strongroom.state / "stack.json").exists()


def refused(side: Side) -> str:
    """What the releaser says that does not start."""
    command = [*COMMAND, "releaser", "serve", "releaser.json"]
    done = subprocess.run(command, cwd=side.folder, capture_output=True, text=True)
    assert done.returncode == 2
    return done.stdout + done.stderr


def test_a_log_whose_memory_was_lost_is_taken_over_with_a_checkpoint(side: Side) -> None:
    """As docs/own-bucket.md says under "The releaser's memory"."""
    vkey = side.folder / "vkey"
    vkey.write_text(side.done("log", "key", "own-bucket")["vkey"])
    kept = side.done("log", "checkpoint", "own-bucket", "--vkey", vkey)
    (side.folder / "checkpoint").write_text(kept["checkpoint"])
    assert "SR-RELEASE-008" in refused(side)
    side.stop()
    (side.folder / "memory").rename(side.folder / "lost")
    assert "SR-AUDIT-022" in refused(side)
    adopt = [*COMMAND, "releaser", "adopt", "releaser.json", "--checkpoint"]
    nothing = subprocess.run([*adopt, "vkey"], cwd=side.folder, capture_output=True)
    assert nothing.returncode == 5
    subprocess.run([*adopt, "checkpoint"], cwd=side.folder, check=True)
    side.serve()
    since = ("--vkey", vkey, "--since", side.folder / "checkpoint")
    assert all(check["ok"] for check in side.done("verify", "own-bucket", *since)["checks"])
    entries = side.done("log", "entries", "own-bucket", "--all", "--vkey", vkey)
    assert len(entries) > kept["size"]
    memories = [row["entry"]["unmapped"].get("memory") for row in entries]
    assert [memory for memory in memories if memory] == ["new", "adopted"]


def test_an_evaluator_is_sealed_there_too(side: Side) -> None:
    source = side.folder / "evaluator.py"
    source.write_text("def evaluate(messages, ground_truth, **row):\n    return 0.0\n")
    uri = f"{DATA}/evaluators/own/"
    owner = side.owner_file()
    sealed = side.done("evaluator", "seal", source, uri, "--key", KEY, "--owner", owner)
    assert sealed["uri"] == uri


def test_without_an_owner_file_there_must_be_a_stack(side: Side) -> None:
    rows = written(side, 1)
    uri = f"{DATA}/datasets/own/other/"
    result = side.strongroom("seal", rows, uri, "--key", KEY)
    assert (result.code, result.codes) == (2, ["SR-STACK-005"])
    elsewhere = "s3://somebody-else/datasets/own/"
    result = side.strongroom("seal", rows, elsewhere, "--key", KEY, "--owner", side.owner_file())
    assert (result.code, result.codes) == (2, ["SR-SEAL-005"])


def test_another_role_is_refused(side: Side, auditor: Any) -> None:
    """The owner's identity may not act as the broker, whatever the file says."""
    rows = written(side, 1)
    uri = f"{DATA}/datasets/own/refused/"
    owner = side.owner_file("wrong.yaml", role="broker")
    result = side.strongroom("seal", rows, uri, "--key", KEY, "--owner", owner)
    assert result.code != 0
    assert result.codes[0].startswith("SR-ACCESS-")
    assert auditor.objects("datasets/own/refused/") == {}


def test_a_folder_that_is_no_model_is_not_uploaded(side: Side, auditor: Any) -> None:
    folder = side.folder / "no-model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    uri = f"{DATA}/models/none/"
    result = side.strongroom("model", "upload", folder, uri, "--owner", side.owner_file())
    assert (result.code, result.codes) == (2, ["SR-SEAL-006"])
    assert "*.safetensors" in result.errors[0]["expected"]
    assert auditor.objects("models/none/") == {}


@pytest.mark.parametrize("text", [None, "{", '{"socket": 1}', '{"socket": "s", "sokcet": "s"}'])
def test_a_releaser_does_not_start_on_settings_that_say_nothing(
    tmp_path: Path, text: str | None
) -> None:
    path = tmp_path / "releaser.json"
    if text is not None:
        path.write_text(text)
    command = [sys.executable, "-m", "strongroom", "releaser", "serve", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "SR-RELEASE-006" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
