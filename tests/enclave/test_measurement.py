from __future__ import annotations

from dataclasses import replace

import pytest

from strongroom.enclave import measurement
from strongroom.isolated.compiled import compiled_set
from strongroom.isolated.measured import MeasuredSet

DIGEST = bytes(32)
TORCH = "site/torch/__init__.py"


def take(monkeypatch: pytest.MonkeyPatch, found: MeasuredSet) -> str:
    """The measurement of this set."""
    monkeypatch.setattr(measurement, "compiled_set", lambda *, anew: found)
    measurement.components.cache_clear()
    measurement.measure.cache_clear()
    return measurement.measure()


@pytest.fixture(autouse=True)
def _forget():
    yield
    measurement.components.cache_clear()
    measurement.measure.cache_clear()


def test_it_names_what_runs_inside():
    names = {(part["kind"], part["name"]) for part in measurement.components()}
    assert {("source", "enclave/sandbox/lockdown.py"), ("source", "errors/__init__.py")} <= names
    assert {("source", "isolated/boot.py"), ("source", "__init__.py")} <= names
    assert {("library", "torch"), ("library", "cryptography"), ("python", "CPython")} <= names
    assert {("system", "libc.so.6"), ("system", "libstdc++.so.6")} <= {
        (kind, name.partition(".so")[0] + ".so.6" if kind == "system" else name)
        for kind, name in names
    }
    assert not any(name.startswith(("connectors/", "pipeline/")) for _, name in names)


def test_every_component_has_a_digest():
    for part in measurement.components():
        assert part["digest"].startswith("sha256:"), part


CHANGES = {
    "a source of ours": lambda s: with_file(s, "own/enclave/broker.py"),
    "a new source of ours": lambda s: with_file(s, "own/enclave/new.py"),
    "the standard library": lambda s: with_file(s, "python/json/__init__.py"),
    "a shared object of the standard library": lambda s: with_file(
        s, next(n for n in s.files if n.startswith("python/") and n.endswith(".so"))
    ),
    "the interpreter": lambda s: with_file(
        s, next(n for n in s.files if n.startswith("system/python"))
    ),
    "the system's C library": lambda s: with_file(s, "system/libc.so.6"),
    "a library's files": lambda s: replace(
        s, distributions={**s.distributions, "torch": (s.distributions["torch"][0], DIGEST)}
    ),
    "a library's version": lambda s: replace(
        s, distributions={**s.distributions, "torch": ("0", s.distributions["torch"][1])}
    ),
    "a library that is not there": lambda s: replace(
        s, distributions={n: v for n, v in s.distributions.items() if n != "regex"}
    ),
    "byte code": lambda s: replace(s, code={**s.code, TORCH: (*s.code[TORCH][:2], DIGEST)}),
}


def with_file(found: MeasuredSet, name: str) -> MeasuredSet:
    return replace(found, files={**found.files, name: DIGEST})


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_may_run_changes_it(change, monkeypatch):
    found = compiled_set()
    before = take(monkeypatch, found)
    assert take(monkeypatch, CHANGES[change](found)) != before


@pytest.mark.parametrize(
    "change",
    [
        lambda s: with_file(s, "own/pipeline/controller.py"),
        lambda s: replace(s, prefixes=("/elsewhere",) * 3),
        lambda s: replace(s, roots=[(label, "/elsewhere") for label, _ in s.roots]),
        lambda s: replace(s, archive="/elsewhere"),
    ],
    ids=["what does not run inside", "prefixes", "folders", "the archive's place"],
)
def test_what_else_there_is_does_not_change_it(change, monkeypatch):
    found = compiled_set()
    before = take(monkeypatch, found)
    assert take(monkeypatch, change(found)) == before


INSIDE = """
from strongroom.enclave.measurement import measure
from strongroom.enclave.sandbox.lockdown import lock_files_and_network
import os
def main(fd, assurance, arguments):
    before = measure()
    lock_files_and_network()
    measure.cache_clear()
    assert measure() == before
    os.write(fd, before.encode())
"""


def test_it_is_the_same_inside(tmp_path, monkeypatch):
    """A test's own module is measured too, so it is compared with that."""
    import socket

    from strongroom.enclave.sandbox import launch
    from support.measured_too import with_folders

    (tmp_path / "inside.py").write_text(INSIDE)
    measured = with_folders(tmp_path)
    monkeypatch.setattr(launch, "compiled_set", measured)
    expected = take(monkeypatch, measured())
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = launch.start("inside", theirs.fileno(), "A1")
        theirs.close()
        ours.settimeout(60)
        assert ours.recv(200).decode() == expected
        assert process.wait(20) == 0
