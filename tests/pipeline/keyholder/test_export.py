"""``strongroom export`` on a real run: plain weights for the key holder, scored again outside.

The run is made on the real stack; what is exported is loaded by plain ``transformers`` and ``peft``
and has to give the held-out score that the enclave reported.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import pytest
import safetensors.torch
import torch
import transformers

from strongroom.audit.events.types import AdapterExported, EvaluationFinished
from strongroom.connectors.stack.stack import admin_client
from strongroom.crypto.digests import sha256
from strongroom.crypto.errors import IntegrityError, ObjectDigestMismatch
from strongroom.enclave.channel.capacity import rounded
from strongroom.errors import Exit, StrongroomError
from strongroom.pipeline.background import registry
from strongroom.pipeline.broker.reading import ReadAccess
from strongroom.pipeline.inspection.log import Logs
from strongroom.pipeline.inspection.report import write_report
from strongroom.pipeline.inspection.trust import Trust
from strongroom.pipeline.inspection.verify import verify
from strongroom.pipeline.keyholder.errors import AdapterMissing, DestinationTaken, ExportNotWritten
from strongroom.pipeline.keyholder.export import Exported, export
from strongroom.pipeline.owner.model_upload import upload
from strongroom.pipeline.releaser.errors import ReleaserUnreachable
from strongroom.pipeline.runfile.spec import RunSpec

BUCKET = "acme-data"
RUN = "exported"
MODEL_URI = "s3://acme-data/models/exported/"
CLI = (sys.executable, "-m", "strongroom")
PROMPTS = [f"Say something nice about number {index}." for index in range(100, 106)]
MAX_TOKENS = 6


@dataclass(frozen=True)
class Finished:
    """A finished run of four steps, with checkpoints after two and four."""

    state: Path
    spec: RunSpec
    folder: Path

    def key(self, step: int, name: str) -> str:
        """The key of a checkpoint's object in the data bucket."""
        return f"runs/{RUN}/checkpoints/{step:06d}/{name}"

    def stored(self, key: str) -> bytes:
        """What is stored under this key."""
        body = admin_client(self.state).get_object(Bucket=BUCKET, Key=key)["Body"]
        return bytes(body.read())

    @contextmanager
    def changed(self, key: str, data: bytes) -> Iterator[None]:
        """Another object under this key for a while."""
        before = self.stored(key)
        client = admin_client(self.state)
        client.put_object(Bucket=BUCKET, Key=key, Body=data)
        try:
            yield
        finally:
            client.put_object(Bucket=BUCKET, Key=key, Body=before)

    def events(self, kind: type[Any]) -> list[Any]:
        """The run's events of this kind, from the verified log."""
        found = [event.data for event in Logs().of(self.spec, RUN).events]
        return [data for data in found if isinstance(data, kind)]

    def score(self, phase: str) -> float:
        """The held-out score in the log."""
        (found,) = [d for d in self.events(EvaluationFinished) if d.phase == phase]
        return float(found.values["score_mean"])

    def export(self, to: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """``strongroom export`` as a person would start it."""
        command = [*CLI, "export", RUN, "--to", str(to), "--state", str(self.state), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def finished(
    small_job: Any, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    # A model of its own, which a test changes for a while; other runs use the shared one meanwhile.
    upload(small_job.stack.owner(), tiny_model, MODEL_URI)
    file = small_job.run_file(RUN, steps=4, checkpoint_every=2)
    # So that four steps move a model of which greedy answers hardly change. In float32, since the
    # best two of a random model's logits are often equal in bfloat16, and processors round apart.
    text = file.read_text().replace("s3://acme-data/models/tiny/", MODEL_URI)
    text = text.replace("learning_rate: 1.0e-3", "learning_rate: 1.0e-1")
    file.write_text(text.replace("    lora:", "    precision: float32\n    lora:"))
    state = small_job.stack.state
    command = [*CLI, "run", str(file), "--id", RUN, "--state", str(state), "--json"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    return Finished(state, registry.recall(state, RUN), tmp_path_factory.mktemp("exports"))


@pytest.fixture(scope="module")
def adapter(finished: Finished) -> Exported:
    """The published adapter, exported."""
    return export(finished.spec, RUN, finished.folder / "adapter")


@pytest.fixture(scope="module")
def merged(finished: Finished) -> Exported:
    """The published adapter, merged."""
    return export(finished.spec, RUN, finished.folder / "merged", form="merged")


def held_out_score(model: Any, tokenizer: Any) -> float:
    """The mean score that the job's evaluator gives to greedy answers to the held-out rows."""
    scores = []
    for prompt in PROMPTS:
        chat = [{"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
        made = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=MAX_TOKENS,
            do_sample=False,
            pad_token_id=2,
        )
        answer = tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True)
        vowels = sum(answer.count(vowel) for vowel in "aeiou")
        scores.append(vowels / (len(answer) + 1.0))
    return rounded(sum(scores) / len(scores))


def plain(folder: Path) -> tuple[Any, Any]:
    """Model and tokenizer of a folder, loaded as anybody would."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), transformers.AutoTokenizer.from_pretrained(folder)


def test_plain_peft_gives_the_score_that_the_enclave_reported(
    finished: Finished, adapter: Exported, tiny_model: Path
) -> None:
    base, tokenizer = plain(tiny_model)
    assert held_out_score(base, tokenizer) == finished.score("before")
    tuned = peft.PeftModel.from_pretrained(base, adapter.folder).eval()
    assert held_out_score(tuned, tokenizer) == finished.score("after")
    assert finished.score("after") != finished.score("before")


@pytest.mark.full
def test_the_merged_model_gives_that_score_too(finished: Finished, merged: Exported) -> None:
    """Rounding the merged weights to bfloat16 flips no answer of these; it could."""
    assert held_out_score(*plain(merged.folder)) == finished.score("after")


def test_the_adapter_s_file_is_what_the_log_says(finished: Finished, adapter: Exported) -> None:
    folder = adapter.folder
    assert adapter.step == 4
    data = (folder / "adapter_model.safetensors").read_bytes()
    assert sha256(data) == adapter.adapter
    assert set(adapter.files) == {"README.md", "adapter_config.json", "adapter_model.safetensors"}
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == MODEL_URI
    assert (config["r"], config["lora_alpha"]) == (4, 8.0)
    card = (folder / "README.md").read_text()
    assert adapter.adapter in card
    assert f"| score_mean, this step | {finished.score('after'):g} |" in card
    assert f"| score_mean, base model | {finished.score('before'):g} |" in card
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_merged_folder_is_the_base_s_with_other_weights(
    merged: Exported, tiny_model: Path
) -> None:
    names = {path.name for path in tiny_model.iterdir()}
    assert {path.name for path in merged.folder.iterdir()} == names | {"README.md"}
    for path in tiny_model.iterdir():
        same = (merged.folder / path.name).read_bytes() == path.read_bytes()
        assert same is (path.suffix != ".safetensors"), path.name
    before = safetensors.torch.load_file(tiny_model / "model.safetensors")
    after = safetensors.torch.load_file(merged.folder / "model.safetensors")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if "q_proj" in name or "v_proj" in name}


def test_another_step_can_be_named(finished: Finished, adapter: Exported, tmp_path: Path) -> None:
    made = export(finished.spec, RUN, tmp_path / "two", step=2, base="acme/base")
    assert made.step == 2
    assert made.adapter != adapter.adapter
    config = json.loads((tmp_path / "two" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "acme/base"


def test_an_export_is_logged_reported_and_the_run_still_verifies(
    finished: Finished, adapter: Exported, tmp_path: Path
) -> None:
    before = len(finished.events(AdapterExported))
    done = finished.export(tmp_path / "logged", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert (said["step"], said["form"], said["adapter_sha256"]) == (4, "adapter", adapter.adapter)
    found = finished.events(AdapterExported)
    assert len(found) == before + 1
    assert found[-1] == AdapterExported(step=4, adapter=adapter.adapter, form="adapter")
    trust = Trust(Logs().key(finished.spec))
    reader = ReadAccess(finished.spec, RUN)
    page, report = write_report(reader, RUN, tmp_path / "report.html", finished.state, trust)
    assert report.verified
    assert report.controls_failed == ()
    assert "Exports: weights that left the seal" in page.read_text()
    assert all(check.ok for check in verify(reader, RUN, trust).checks)


# ---- what must not come out --------------------------------------------------------------------


def left_over(folder: Path) -> list[str]:
    """Names in a folder where an export failed."""
    return sorted(path.name for path in folder.iterdir())


def test_without_a_log_nothing_is_exported(finished: Finished, tmp_path: Path) -> None:
    audit = finished.spec.spec.audit
    access = [
        entry.model_copy(update={"role": "arn:aws:iam::000000000000:role/Nobody"})
        if audit.startswith(entry.uri)
        else entry
        for entry in finished.spec.spec.access
    ]
    inner = finished.spec.spec.model_copy(update={"access": access})
    with pytest.raises(StrongroomError):
        export(finished.spec.model_copy(update={"spec": inner}), RUN, tmp_path / "out")
    assert left_over(tmp_path) == []


def test_without_the_releaser_nothing_is_exported(finished: Finished, tmp_path: Path) -> None:
    keys = finished.spec.spec.keys.model_copy(update={"releaser": Path("/nowhere/socket")})
    inner = finished.spec.spec.model_copy(update={"keys": keys})
    with pytest.raises(ReleaserUnreachable) as caught:
        export(finished.spec.model_copy(update={"spec": inner}), RUN, tmp_path / "out")
    assert caught.value.exit_code == Exit.KEY_REFUSED
    assert left_over(tmp_path) == []


def test_a_flipped_byte_is_named_and_nothing_is_exported(
    finished: Finished, tmp_path: Path
) -> None:
    key = finished.key(4, "adapter.sealed")
    damaged = bytearray(finished.stored(key))
    damaged[-1] ^= 1
    with finished.changed(key, bytes(damaged)):
        done = finished.export(tmp_path / "out")
    assert done.returncode == Exit.INTEGRITY
    assert ObjectDigestMismatch.code in done.stderr
    assert f"s3://{BUCKET}/{key}" in done.stderr.replace("\n", "")
    assert left_over(tmp_path) == []


def test_another_step_s_checkpoint_does_not_pass_for_the_logged_one(
    finished: Finished, tmp_path: Path
) -> None:
    """Object and manifest fit each other and are of this run; the log tells them apart."""
    other = {n: finished.stored(finished.key(2, n)) for n in ("adapter.sealed", "manifest.json")}
    with (
        finished.changed(finished.key(4, "adapter.sealed"), other["adapter.sealed"]),
        finished.changed(finished.key(4, "manifest.json"), other["manifest.json"]),
        pytest.raises(IntegrityError) as caught,
    ):
        export(finished.spec, RUN, tmp_path / "out")
    assert caught.value.place.endswith("manifest.json")
    assert left_over(tmp_path) == []


def test_a_changed_base_model_is_not_merged(finished: Finished, tmp_path: Path) -> None:
    key = f"{MODEL_URI}model.safetensors".removeprefix(f"s3://{BUCKET}/")
    weights = bytearray(finished.stored(key))
    weights[-1] ^= 1
    with finished.changed(key, bytes(weights)), pytest.raises(ObjectDigestMismatch) as caught:
        export(finished.spec, RUN, tmp_path / "out", form="merged")
    assert caught.value.place == f"s3://{BUCKET}/{key}"
    assert left_over(tmp_path) == []


def test_a_step_without_a_checkpoint_names_those_that_have_one(
    finished: Finished, tmp_path: Path
) -> None:
    with pytest.raises(AdapterMissing) as caught:
        export(finished.spec, RUN, tmp_path / "out", step=3)
    assert caught.value.actual == "checkpoints of steps 2, 4"
    with pytest.raises(AdapterMissing):
        export(finished.spec, "never", tmp_path / "out")
    assert left_over(tmp_path) == []


# ---- where it goes -----------------------------------------------------------------------------


def test_nothing_is_overwritten(finished: Finished, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("full", "file", "link"):
        done = finished.export(tmp_path / name)
        assert done.returncode == Exit.BAD_INPUT
        assert DestinationTaken.code in done.stderr
    assert left_over(tmp_path) == ["file", "full", "link"]
    assert left_over(full) == ["mine.txt"]
    with pytest.raises(ExportNotWritten):
        export(finished.spec, RUN, tmp_path / "no" / "such" / "parent")


def test_an_empty_folder_is_filled(finished: Finished, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    export(finished.spec, RUN, tmp_path / "empty")
    assert len(left_over(tmp_path / "empty")) == 3
    assert left_over(tmp_path) == ["empty"]


def test_a_disk_that_fills_up_leaves_nothing_half_written(
    finished: Finished, tmp_path: Path
) -> None:
    """A file size limit, which the kernel also enforces on ``splice``, stands for a full disk.

    It is set when the files are filled: what starts the exporter is larger, and in memory.
    """
    program = (
        "import resource, signal, sys; from strongroom.pipeline.cli.main import main;"
        "from strongroom.pipeline.keyholder import export; fill = export.fill_file;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        "export.fill_file = lambda *given: (limit(), fill(*given))[1];"
        "sys.argv[0] = 'strongroom'; main()"
    )
    arguments = ["export", RUN, "--to", str(tmp_path / "out"), "--state", str(finished.state)]
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == Exit.FAILED
    assert ExportNotWritten.code in done.stderr
    assert "EFBIG" in done.stderr
    assert left_over(tmp_path) == []


def test_an_export_that_is_interrupted_keeps_nothing(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_arguments: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "splice", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export(finished.spec, RUN, tmp_path / "out")
    assert left_over(tmp_path) == []
