from __future__ import annotations

import importlib.machinery
import json
import subprocess
import sys
from pathlib import Path

import pytest

from strongroom.enclave import measurement
from support import PYTHONPATH


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """Our packages stand in for a small one that a test may change."""
    package = tmp_path / "pkg"
    package.mkdir()
    (package / "__init__.py").write_text("A = 1\n")
    (package / "inner.py").write_text("B = 2\n")
    spec = importlib.machinery.ModuleSpec("pkg", None, is_package=True)
    spec.submodule_search_locations = [str(package)]
    monkeypatch.setattr(measurement, "FIRST_PARTY", ("pkg",))
    monkeypatch.setattr(measurement.importlib.util, "find_spec", lambda name: spec)
    return package


def take() -> str:
    measurement.components.cache_clear()
    measurement.measure.cache_clear()
    return measurement.measure()


@pytest.fixture(autouse=True)
def _forget():
    yield
    measurement.components.cache_clear()
    measurement.measure.cache_clear()


def test_it_is_repeatable_and_reads_little(monkeypatch):
    """Sources and the libraries' lists of files, not the libraries: torch alone has a gigabyte."""
    read = []
    whole = Path.read_bytes

    def counting(path):
        read.append(path.stat().st_size)
        return whole(path)

    monkeypatch.setattr(Path, "read_bytes", counting)
    first = take()
    assert take() == first
    assert 100_000 < sum(read) < 4 << 20


def test_it_names_what_runs_inside():
    names = {(part["kind"], part["name"]) for part in measurement.components()}
    assert {("source", "enclave/sandbox/lockdown.py"), ("source", "errors/__init__.py")} <= names
    assert {("library", "torch"), ("library", "cryptography"), ("python", "CPython")} <= names
    assert not any(name.startswith(("connectors/", "pipeline/")) for _, name in names)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """The distributions of all modules that training, sealing and viewing load."""
    program = """
import importlib, importlib.metadata, json, sys
from support import tiny_model
from strongroom.trainer.warmup import warm_up
for name in ("roles.export", "rows.parquet", "roles.seal", "roles.view"):
    importlib.import_module(f"strongroom.enclave.{name}")
importlib.import_module("strongroom.enclave.evaluator.child")
importlib.import_module("strongroom.enclave.evaluator.eval_protocol")
importlib.import_module("strongroom.enclave.roles.train")
importlib.import_module("strongroom.enclave.roles.tasks")
warm_up(tiny_model.tiny_policy(), tiny_model.tiny_config())
owners = importlib.metadata.packages_distributions()
files = {name for name, module in sys.modules.items() if getattr(module, "__file__", None)}
names = {name.partition(".")[0] for name in files} - {"support"}
print(json.dumps(sorted({name for top in names for name in owners.get(top, ())})))
"""
    found = subprocess.run(
        [sys.executable, "-B", "-c", program],
        env=PYTHONPATH,
        cwd=tmp_path_factory.mktemp("loaded"),
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.lower().replace("_", "-") for name in json.loads(found.stdout)}


def test_every_library_that_is_loaded_inside_is_measured(loaded):
    assert {"torch", "pyarrow", "jinja2", "cryptography"} <= loaded
    assert loaded - {"strongroom"} - set(measurement.LIBRARIES) == set()


@pytest.mark.parametrize("change", ["edit", "add", "rename", "remove"])
def test_any_change_of_the_source_changes_it(copied, change):
    before = take()
    inner = copied / "inner.py"
    match change:
        case "edit":
            inner.write_text("B = 3\n")
        case "add":
            (copied / "more.py").write_text("")
        case "rename":
            inner.rename(copied / "other.py")
        case "remove":
            inner.unlink()
    assert take() != before


def test_byte_code_does_not_change_it(copied):
    before = take()
    (copied / "__pycache__").mkdir()
    (copied / "__pycache__" / "inner.cpython-311.pyc").write_bytes(b"x")
    assert take() == before


def test_another_version_of_a_library_changes_it(monkeypatch):
    before = take()
    real = measurement.importlib.metadata.distribution

    class Other:
        version = "9.9"

        def read_text(self, name: str) -> str:
            return real("msgspec").read_text(name)

    monkeypatch.setattr(
        measurement.importlib.metadata,
        "distribution",
        lambda name: Other() if name == "msgspec" else real(name),
    )
    assert take() != before


def test_where_the_libraries_lie_does_not_change_it(monkeypatch):
    record = "torch/a.py,sha256=x,1\n"
    scripts = "../../bin/torchrun,sha256=y,2\ntorch/__pycache__/a.pyc,,\n"

    class Fake:
        version = "1"

        def __init__(self, text: str) -> None:
            self.text = text

        def read_text(self, _: str) -> str:
            return self.text

    digests = []
    for text in (record, scripts + record, record + "torch/b.py,sha256=z,3\n"):
        monkeypatch.setattr(
            measurement.importlib.metadata, "distribution", lambda _, t=text: Fake(t)
        )
        digests.append(measurement._library("torch")["digest"])
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("stage", ["A", "AB"])
def test_it_is_the_same_inside(inside, stage):
    seen = inside(
        "from strongroom.enclave.measurement import measure; lock(); report(measure())", stage
    )
    assert seen == take()
    assert Path(measurement.__file__).exists()
