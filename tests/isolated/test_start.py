"""The one way to start a process of ours."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import strongroom
from strongroom.isolated import start
from strongroom.isolated.errors import CodeRefused
from support.measured_too import with_folders

ROOT = Path(strongroom.__file__).parent

STARTERS = {
    "isolated/start.py": {"subprocess.Popen"},
    "connectors/host/processes.py": {"subprocess.Popen"},  # servers that are no Python
    "enclave/evaluator/process.py": {"os.fork"},
}
"""Every file that starts a process, and how."""
_STARTING = {
    "subprocess": {"Popen", "run", "call", "check_call", "check_output", "getoutput"},
    "os": {"fork", "forkpty", "system", "popen", "posix_spawn", "posix_spawnp", "startfile"},
    "multiprocessing": {"Process", "Pool", "get_context"},
    "concurrent.futures": {"ProcessPoolExecutor"},
    "pty": {"spawn", "fork"},
    "asyncio": {"create_subprocess_exec", "create_subprocess_shell"},
}


def _starts(source: str) -> Iterator[str]:
    """Names in a source that start processes, as ``module.function``."""
    tree = ast.parse(source)
    for node in ast.walk(tree):  # types start nothing
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                node.returns = None
            case ast.arg() | ast.AnnAssign():
                node.annotation = ast.Constant(None)
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=module), attr=name):
                known = _STARTING.get(module, set())
                if name in known or (module == "os" and name.startswith(("exec", "spawn"))):
                    yield f"{module}.{name}"
            case ast.ImportFrom(module=str() as module, names=names):
                for alias in names:
                    if alias.name in _STARTING.get(module, set()):
                        yield f"{module}.{alias.name}"
            case ast.Import(names=names):
                for alias in names:
                    if alias.name.startswith("multiprocessing") or (
                        alias.asname and alias.name in _STARTING
                    ):
                        yield alias.name


def test_nothing_else_in_the_product_starts_a_process() -> None:
    found = {}
    for folder in ROOT.iterdir():
        for path in folder.resolve().rglob("*.py") if folder.is_dir() else ():
            if starts := set(_starts(path.read_text())):
                found[f"{folder.name}/{path.relative_to(folder.resolve())}"] = starts
    assert found == STARTERS


@pytest.mark.parametrize(
    "source",
    [
        "import subprocess as s\nsubprocess.run([])",
        "from subprocess import Popen",
        "import os\nos.execv('', [])",
        "import os\nos.posix_spawn",
        "import multiprocessing.pool",
        "from concurrent.futures import ProcessPoolExecutor",
    ],
)
def test_it_would_be_found(source: str) -> None:
    assert list(_starts(source))


SHOW = """
import json, os, sys
def main(*arguments):
    print(json.dumps({
        "arguments": arguments, "environment": dict(os.environ), "path": sys.path,
        "cwd": os.getcwd(), "site": "site" in sys.modules, "flags": list(sys.flags),
        "descriptors": sorted(os.listdir("/proc/self/fd"), key=int), "prefix": sys.prefix,
        "hash": hash("a"),
    }))
"""


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    (tmp_path / "show.py").write_text(SHOW)
    monkeypatch.setenv("CANARY", "canary")
    monkeypatch.setattr(start, "measured_set", with_folders(tmp_path))
    done = start.run("show", ("a", "b c"), environment={"HOME": "/nowhere"})
    assert done.returncode == 0, done.stderr
    said: dict[str, object] = json.loads(done.stdout)
    return said


def test_a_child_gets_what_is_written_here(shown: dict[str, object]) -> None:
    assert shown["arguments"] == ["a", "b c"]
    assert shown["environment"] == {"LANG": "C.UTF-8", "HOME": "/nowhere"}
    assert (shown["cwd"], shown["prefix"], shown["site"]) == ("/", sys.prefix, False)


def test_its_path_is_the_standard_library_then_packages_then_ours(
    shown: dict[str, object], tmp_path: Path
) -> None:
    library, extensions, packages, *rest = map(Path, shown["path"])  # type: ignore[call-overload]
    assert (library / "os.py").exists()
    assert list(extensions.glob("*.so"))
    assert (packages / "msgspec").exists()
    assert rest == [ROOT.parent, tmp_path]


def test_a_seed_is_the_only_variable_of_python_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "show.py").write_text(SHOW)
    monkeypatch.setattr(start, "measured_set", with_folders(tmp_path))
    hashes = set()
    for seed in (None, None, 0, 0):
        done = start.run("show", environment={}, hash_seed=seed)
        said = json.loads(done.stdout)
        hashes.add((seed, said["hash"]))
        assert set(said["environment"]) - {"LANG"} <= {"PYTHONHASHSEED"}
    assert len(hashes) == 3


def test_a_module_that_is_not_measured_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "show.py").write_text(SHOW)
    measured = with_folders(tmp_path)()
    (tmp_path / "show.py").write_text(SHOW + "\n")
    monkeypatch.setattr(start, "measured_set", lambda: measured)
    with pytest.raises(CodeRefused) as caught:
        start.run("show", environment={})
    assert caught.value.place == str(tmp_path / "show.py")
    assert caught.value.expected.startswith("sha256:")


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    start.run("strongroom.policies.interpreter", environment={}, given=b"{}")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
