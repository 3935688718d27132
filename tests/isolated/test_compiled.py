"""The byte code that stands in place of sources, and what becomes of somebody else's."""

from __future__ import annotations

import hashlib
import marshal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import CodeType

import pytest

from strongroom.isolated import compiled
from strongroom.isolated.boot import Guard
from strongroom.isolated.compiled import compile_all, compiled_set
from strongroom.isolated.errors import ByteCodeHomeless
from strongroom.isolated.measured import MeasuredSet, measured_set

SOURCES = {
    "own/enclave/roles/train.py": "import pack.inner\nfrom pack import other\n",
    "site/pack/__init__.py": "from .lazy import x\nif TYPE_CHECKING:\n    import unused\n",
    "site/pack/inner.py": "def late():\n    import never\ntry:\n    import tried\nexcept: pass\n",
    "site/pack/other.py": "VALUES = {'a', 'b', 'c'}\nprint(1 in {3, 4, 'x'})\n",
    "site/pack/lazy.py": "x = 1\n",
    "site/tried.py": "",
    "site/unused.py": "",
    "site/never.py": "",
    "site/broken.py": "no python",
}


@pytest.fixture
def small(tmp_path: Path) -> MeasuredSet:
    files = {}
    for name, text in SOURCES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        files[name] = hashlib.sha256(text.encode()).digest()
    roots = [(label, str(tmp_path / label)) for label in ("own", "site")]
    return replace(measured_set(), files=files, roots=roots)


def test_what_the_entries_import_is_compiled(small: MeasuredSet) -> None:
    index, code = compile_all(small)
    pack = {f"site/pack/{name}.py" for name in ("__init__", "inner", "other", "lazy")}
    assert set(index) == {*pack, "site/tried.py"}
    for name, (offset, size, digest) in index.items():
        piece = code[offset : offset + size]
        assert hashlib.sha256(piece).digest() == digest
        assert marshal.loads(piece) == compile(SOURCES[name], name, "exec", dont_inherit=True)


def test_a_source_with_another_digest_is_not_compiled(small: MeasuredSet) -> None:
    Path(small.roots[1][1], "pack", "lazy.py").write_text("x = 2\n")
    assert "site/pack/lazy.py" not in compile_all(small)[0]


def test_the_same_sources_give_the_same_bytes() -> None:
    """Whatever the order of sets, and whatever strings are in memory."""
    program = """
import hashlib, marshal, sys, pathlib, typing
for name in ("argparse", "typing", "enum", "ast", "inspect", "dataclasses"):
    path = pathlib.Path(typing.__file__).with_name(f"{name}.py")
    code = compile(path.read_bytes(), name, "exec", dont_inherit=True)
    print(hashlib.sha256(marshal.dumps(code, 2)).hexdigest())
"""
    said = {
        subprocess.check_output(
            [sys.executable, "-c", extra + program], env={"PYTHONHASHSEED": str(seed)}
        )
        for seed in (1, 2)
        for extra in ("", "import argparse, ast, inspect, email.message\n")
    }
    assert len(said) == 1


def test_most_of_what_an_enclave_imports_is_there() -> None:
    found = compiled_set()
    for module in ("torch", "transformers", "sympy", "torch/_dynamo"):
        assert f"site/{module}/__init__.py" in found.code
    assert len(found.code) > 2000
    assert set(found.code) <= set(found.files)


@pytest.fixture
def archived(small: MeasuredSet, tmp_path: Path) -> tuple[MeasuredSet, Path]:
    index, code = compile_all(small)
    archive = tmp_path / "archive"
    archive.write_bytes(code)
    return replace(small, code=index, archive=str(archive)), archive


def load(found: MeasuredSet, name: str) -> CodeType:
    guard = Guard(found.roots, found.files, found.shared, found.code, found.archive)
    return guard.code_of(f"{found.roots[1][1]}/{name}", found.read(f"site/{name}"))


def test_it_is_what_runs(
    archived: tuple[MeasuredSet, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = archived
    code = load(found, "pack/other.py")
    assert code.co_filename == f"{found.roots[1][1]}/pack/other.py"
    evil = marshal.dumps(compile("EVIL = 1", "x", "exec"), 2)
    monkeypatch.setitem(
        found.code, "site/pack/lazy.py", (0, len(evil), hashlib.sha256(evil).digest())
    )
    Path(found.archive).write_bytes(evil)
    assert "EVIL" in load(found, "pack/lazy.py").co_names  # and the measurement is another


@pytest.mark.parametrize("change", ["emptied", "removed", "replaced", "swapped"])
def test_a_changed_archive_is_not_used(archived: tuple[MeasuredSet, Path], change: str) -> None:
    found, archive = archived
    offset, size, _ = found.code["site/pack/lazy.py"]
    match change:
        case "emptied":
            archive.write_bytes(b"")
        case "removed":
            archive.unlink()
        case "replaced":
            evil = marshal.dumps(compile("EVIL = 1", "x", "exec"), 2)
            archive.write_bytes(b" " * offset + evil.ljust(size))
        case "swapped":
            archive.write_bytes(archive.read_bytes()[::-1])
    code = load(found, "pack/lazy.py")
    assert (code.co_names, code.co_consts) == (("x",), (1, None))


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Byte code is kept in a folder of the test's; the first that is tried is none."""
    folders = (tmp_path / "none" / "file", tmp_path / "here")
    monkeypatch.setattr(compiled, "_folders", lambda: folders)
    (tmp_path / "none").write_text("no folder")
    return tmp_path / "here"


def test_it_is_made_once_and_anew_for_who_approves(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def run(module: str, arguments: tuple[str, ...], **options: object) -> object:
        made.append(module)
        Path(arguments[0]).write_bytes(b"code")
        return subprocess.CompletedProcess(module, 0, b'{"site/a.py":[0,4,"AAAA"]}', b"")

    monkeypatch.setattr(compiled, "run", run)
    elsewhere.mkdir()
    (elsewhere / "0123.code").write_bytes(b"of an older environment")
    found = measured_set()
    for function in (compiled._made_anew, compiled._found_or_made):
        function.cache_clear()
    first = compiled_set()
    assert (len(made), first.code) == (1, {"site/a.py": (0, 4, b"\0\0\0")})
    compiled._found_or_made.cache_clear()
    assert compiled_set().code == first.code
    compiled_set(anew=True)
    assert len(made) == 1, "this process had it made itself"
    compiled._made_anew.cache_clear()
    compiled_set(anew=True)
    assert len(made) == 2, "another process had made it"
    assert {path.suffix for path in elsewhere.iterdir()} == {".code", ".index"}
    assert len(list(elsewhere.iterdir())) == 2
    assert found is measured_set()
    for function in (compiled._made_anew, compiled._found_or_made):
        function.cache_clear()


def test_no_place_for_it_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(compiled, "_folders", lambda: (tmp_path / "file",))
    for function in (compiled._made_anew, compiled._found_or_made):
        function.cache_clear()
    with pytest.raises(ByteCodeHomeless, match="file"):
        compiled_set()
