"""Code that is not in the measured set, put where Python finds it.

Each plant is tried on an ordinary start of Python first, where it runs (the control), and then on
every kind of process that we start. The plants leave a mark with the process they ran in.
"""

from __future__ import annotations

import importlib.util
import marshal
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.linked_environment import STARTS, Environment, linked, started

ALL_UP = dict.fromkeys(STARTS)
"""Each process came up."""


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Nothing planted: every process comes up."""
    return linked(tmp_path_factory.mktemp("clean") / "venv")


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return linked(tmp_path / "venv")


class Mark:
    """Which processes a plant ran in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.code = (
            f"open({str(folder)!r} + '/' + str(__import__('os').getpid()), 'w')"
            ".write(open('/proc/self/cmdline').read())\n"
        )

    def found(self) -> list[str]:
        """Their command lines; those of before are forgotten."""
        marks = list(self.folder.iterdir())
        found = [mark.read_text() for mark in marks]
        for mark in marks:
            mark.unlink()
        return found

    @property
    def ours(self) -> list[str]:
        """Those among them that we started: their command line names the boot."""
        return [line for line in self.found() if "isolated" in line]


@pytest.fixture
def mark(tmp_path: Path) -> Mark:
    return Mark(tmp_path / "marks")


def byte_code(source: Path, code: str, *, checked: bool) -> bytes:
    """A ``.pyc`` that stands for ``source`` and does something else."""
    compiled = compile(source.read_text() + code, str(source), "exec")
    magic = importlib.util.MAGIC_NUMBER
    if not checked:  # says of itself that nobody need compare the source
        return magic + (1).to_bytes(4, "little") + bytes(8) + marshal.dumps(compiled)
    status = source.stat()
    stamp = int(status.st_mtime).to_bytes(4, "little") + status.st_size.to_bytes(4, "little")
    return magic + bytes(4) + stamp + marshal.dumps(compiled)


def cached(environment: Environment, mark: Mark, *, checked: bool) -> None:
    for source in environment.package.glob("*.py"):
        cache = Path(importlib.util.cache_from_source(str(source)))
        cache.parent.mkdir(exist_ok=True)
        cache.write_bytes(byte_code(source, mark.code, checked=checked))


def pth(environment: Environment, mark: Mark) -> None:
    (environment.packages / "aaa.pth").write_text(f"import os; {mark.code}")


def customised(environment: Environment, mark: Mark) -> None:
    for name in ("sitecustomize.py", "usercustomize.py"):
        (environment.packages / name).write_text(mark.code)


NO_EFFECT: dict[str, Callable[[Environment, Mark], None]] = {
    "a .pth file": pth,
    "sitecustomize": customised,
    "byte code with the source's time and size": lambda e, m: cached(e, m, checked=True),
    "byte code that says it need not be checked": lambda e, m: cached(e, m, checked=False),
}


def refused(path: Path) -> dict[str, list[str] | None]:
    """Each process that loads the changed library refused it: all but one."""
    found: dict[str, list[str] | None] = {kind: ["SR-CODE-001", str(path)] for kind in STARTS}
    return found | {"child of the quickstart": None}


def test_nothing_planted(clean: Environment, tmp_path: Path) -> None:
    assert started(clean, cwd=tmp_path) == ALL_UP


@pytest.mark.parametrize("plant", NO_EFFECT)
def test_what_ordinary_python_runs_unasked(
    environment: Environment, mark: Mark, tmp_path: Path, plant: str
) -> None:
    NO_EFFECT[plant](environment, mark)
    environment.run("import msgspec", cwd=tmp_path)
    assert mark.found(), "the plant does not work at all"
    assert started(environment, cwd=tmp_path) == ALL_UP
    assert not mark.ours


def changed(environment: Environment, mark: Mark) -> Path:
    path = environment.package / "__init__.py"
    path.write_text(path.read_text() + mark.code)
    return path


def sourceless(environment: Environment, mark: Mark) -> Path:
    source = environment.package / "json.py"
    path = environment.package / "json.pyc"
    path.write_bytes(byte_code(source, mark.code, checked=True))
    source.unlink()
    return path


def put_before(environment: Environment, mark: Mark) -> Path:
    """A package where the distribution has a module: packages are found first."""
    path = environment.package / "json" / "__init__.py"
    path.parent.mkdir()
    module = (environment.package / "json.py").read_text()
    path.write_text(module.replace("from ._", "from msgspec._") + mark.code)
    return path


REFUSED: dict[str, Callable[[Environment, Mark], Path]] = {
    "a changed source": changed,
    "byte code in place of a source": sourceless,
    "a file of no distribution": put_before,
}


@pytest.mark.parametrize("plant", REFUSED)
def test_what_takes_the_place_of_a_library(
    environment: Environment, mark: Mark, tmp_path: Path, plant: str
) -> None:
    path = REFUSED[plant](environment, mark)
    environment.run("import msgspec", cwd=tmp_path)
    assert mark.found(), "the plant does not work at all"
    assert started(environment, cwd=tmp_path) == refused(path)
    assert not mark.ours


def test_a_changed_shared_object(environment: Environment, tmp_path: Path) -> None:
    """The control is that it can still be loaded."""
    path = next(environment.package.glob("*.so"))
    with path.open("ab") as file:
        file.write(b"\0")
    assert environment.run("import msgspec._core", cwd=tmp_path).returncode == 0
    assert started(environment, cwd=tmp_path) == refused(path)


SHADOWED = ("hashlib", "resource", "json", "random", "msgspec", "strongroom", "pip", "regopy")


def test_modules_in_the_working_folder(clean: Environment, mark: Mark, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    for name in SHADOWED:
        (folder / f"{name}.py").write_text(mark.code)
    for name in SHADOWED:
        clean.run(f"import {name}", cwd=folder)
        assert mark.found(), name
    # Else the starter, which is not the target, would not get that far.
    assert started(clean, cwd=folder, before="import sys; sys.path.remove('')\n") == ALL_UP
    assert not mark.ours


@pytest.fixture
def preload(tmp_path: Path, mark: Mark) -> Path:
    """A library that leaves a mark when it is loaded."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to make a library to preload")
    source, library = tmp_path / "preload.c", tmp_path / "preload.so"
    source.write_text(
        """
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
__attribute__((constructor)) static void mark(void) {
  char name[4096], line[4096];
  int from = open("/proc/self/cmdline", O_RDONLY);
  ssize_t size = read(from, line, sizeof line);
  snprintf(name, sizeof name, "%s/%d", FOLDER, (int)getpid());
  int to = open(name, O_WRONLY | O_CREAT, 0600);
  if (write(to, line, size)) {}
  close(from); close(to);
}
"""
    )
    folder = f'-DFOLDER="{mark.folder}"'
    command = [compiler, "-shared", "-fPIC", folder, "-o", str(library), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return library


def test_what_the_environment_of_the_starter_names(
    clean: Environment, mark: Mark, preload: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "path"
    folder.mkdir()
    for name in (*SHADOWED[:4], "sitecustomize", "usercustomize"):
        (folder / f"{name}.py").write_text(mark.code)
    variables = {
        "LD_PRELOAD": str(preload),
        "PYTHONPATH": str(folder),
        "PYTHONUSERBASE": str(folder),
        "PYTHONPYCACHEPREFIX": str(folder),
    }
    for name, value in variables.items():
        clean.run("import hashlib, random", cwd=tmp_path, **{name: value})
        if name in ("LD_PRELOAD", "PYTHONPATH"):
            assert mark.found(), name
    # Modules that shadow the standard library's would stop the starter, which is not the target.
    for name in SHADOWED[:4]:
        (folder / f"{name}.py").unlink()
    assert started(clean, cwd=tmp_path, **variables) == ALL_UP
    assert not mark.ours
