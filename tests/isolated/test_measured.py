"""What is in the measured set, and what is not."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from strongroom.isolated.measured import _CODE, _Found, measured_set
from support import PYTHONPATH


def test_files_are_those_that_are_there():
    found = measured_set()
    for name in ("site/msgspec/__init__.py", "own/isolated/boot.py", "python/hashlib.py"):
        assert found.files[name] == hashlib.sha256(found.read(name)).digest()


def test_nothing_but_sources_and_shared_objects_is_code():
    names = [name for name in measured_set().files if name.startswith(("site/", "own/"))]
    assert all(name.endswith(".py") or ".so" in name for name in names)
    assert not any("__pycache__" in name for name in names)


def test_a_file_of_no_distribution_is_not_in_it():
    found = measured_set()
    editable = next(
        path.name for folder in found.path if (path := next(Path(folder).glob("*.pth"), None))
    )
    assert f"site/{editable}" not in found.files


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """Every file that training, sealing and viewing load, and all that is mapped then."""
    program = """
import importlib, json, sys
from support import tiny_model
from strongroom.trainer.warmup import warm_up
for name in ("roles.export", "rows.parquet", "roles.seal", "roles.view"):
    importlib.import_module(f"strongroom.enclave.{name}")
importlib.import_module("strongroom.enclave.evaluator.child")
importlib.import_module("strongroom.enclave.evaluator.eval_protocol")
importlib.import_module("strongroom.enclave.roles.train")
importlib.import_module("strongroom.enclave.roles.tasks")
warm_up(tiny_model.tiny_policy(), tiny_model.tiny_config())
files = {getattr(module, "__file__", None) for module in sys.modules.values()}
mapped = {line.split(None, 5)[5].strip() for line in open("/proc/self/maps") if "/" in line}
print(json.dumps(sorted(filter(None, files | mapped))))
"""
    import json

    found = subprocess.run(
        [sys.executable, "-B", "-c", program],
        env=PYTHONPATH,
        cwd=tmp_path_factory.mktemp("loaded"),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(found.stdout)


def test_all_that_is_loaded_and_mapped_is_in_it(loaded):
    """As an ordinary process has it, which nobody guards."""
    found = measured_set()
    roots = [(label, os.path.realpath(folder)) for label, folder in found.roots]
    outside = []
    for path in map(os.path.realpath, loaded):
        label = next((f"{name}{path[len(at) :]}" for name, at in roots if path.startswith(at)), "")
        own = "/support/" in path or f"/{Path(sys.prefix).name}/bin/" in path
        name = label or f"system/{Path(path).name}"
        if not own and Path(path).is_file() and name not in found.files:
            outside.append(path)
    # Our own sources are linked into one package, and lie elsewhere.
    assert [path for path in outside if "site-packages" in path or "/lib/" in path] == []
    assert sum("site-packages/torch/" in path for path in loaded) > 100


def record(folder: Path, name: str, **files: bytes) -> Path:
    path = folder / f"{name}-1.0.dist-info" / "RECORD"
    path.parent.mkdir(parents=True)
    lines = []
    for file, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        lines.append(f"{file.replace('__', '/')}.py,sha256={digest},{len(content)}")
    lines += ["../../bin/tool,sha256=x,1", f"{name}/__pycache__/a.pyc,,"]
    path.write_text("\n".join([*lines, ""]))
    return path


def test_where_and_how_it_was_installed_does_not_change_a_distribution(tmp_path):
    found = []
    for number, extra in enumerate(("", "../../bin/other,,\nthing/__pycache__/b.pyc,,\n")):
        path = record(tmp_path / str(number), "thing", thing__a=b"a")
        path.write_text(extra + path.read_text() + "thing-1.0.dist-info/INSTALLER,sha256=y,4\n")
        made = _Found()
        made.add_distribution(path)
        found.append((made.distributions, made.files))
    assert found[0] == found[1]


def test_two_distributions_with_one_file(tmp_path):
    """The one that was installed last is there; either may run."""
    made = _Found()
    made.add_distribution(record(tmp_path, "one", shared__a=b"1"))
    made.add_distribution(record(tmp_path, "two", shared__a=b"2"))
    digests = made.files["site/shared/a.py"]
    assert digests == hashlib.sha256(b"1").digest() + hashlib.sha256(b"2").digest()


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("a/b.py", True),
        ("a/b.so", True),
        ("a.libs/libz-d13a2644.so.1.2.3", True),
        ("a.libs/libcrypto-5409cd36.so.1.1.1k", True),
        ("a/libPlugin.so.24.0git", True),
        ("a/b.pyc", False),
        ("a/v0.7.1.some-named-index.parquet", False),
        ("a/b.so.txt", False),
    ],
)
def test_which_files_of_a_distribution_may_run(name: str, runs: bool) -> None:
    assert bool(_CODE.fullmatch(name)) is runs
