"""Byte code that is measured: what takes an enclave seconds to compile anew each time it starts.

Compiling torch and transformers takes 7 s, and byte code that lies beside a source may be that of
another one. So the libraries' sources that an enclave imports are compiled once, into one file in
the environment, and the measured set holds the digest of each piece: code that is not what these
sources compile to has another measurement. The same sources give the same bytes on every machine
with the same Python.

The file is as safe as the libraries beside it, and no safer. So whoever *approves* a measurement
asks for :func:`compiled_set` ``anew``, and nothing that others left there is in it.

Which modules an enclave imports is found in the sources, from :data:`ENTRIES` on. A module that is
missing here costs milliseconds, since it is compiled when it is imported; nothing else hangs on it.
"""

from __future__ import annotations

import contextlib
import hashlib
import marshal
import os
import pwd
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from opcode import EXTENDED_ARG, opmap
from pathlib import Path
from types import CodeType
from typing import Any

import msgspec

from strongroom.isolated.errors import ByteCodeHomeless
from strongroom.isolated.measured import Index, MeasuredSet, measured_set
from strongroom.isolated.start import run

ENTRIES = (
    *(f"strongroom.enclave.roles.{role}" for role in ("train", "tasks", "seal", "view", "export")),
    *("strongroom.enclave.roles.probe", "strongroom.enclave.sandbox.launch"),
    *("strongroom.enclave.rows.parquet", "strongroom.trainer.warmup"),
    # Imported where they are first used.
    *("dill", "huggingface_hub.hf_api", "huggingface_hub.utils", "numpy.fft", "pydantic.main"),
    *("pydantic._internal._generate_schema", "torch._dynamo", "torch.onnx"),
    *("torch.profiler._cupti_monitor", "transformers", "transformers.generation.utils"),
    *("transformers.convert_slow_tokenizer", "transformers.tokenization_utils_tokenizers"),
    "transformers.models.llama.modeling_llama",
    "transformers.models.qwen2.modeling_qwen2",
    # A run starts two brokers, and asks the rules some times.
    *("strongroom.pipeline.broker.process", "strongroom.policies.interpreter"),
    "strongroom.pipeline.releaser.process",
)

_CONSTANT, _NAME, _IMPORT = opmap["LOAD_CONST"], opmap["LOAD_NAME"], opmap["IMPORT_NAME"]
_UNLESS = {opmap.get("POP_JUMP_FORWARD_IF_FALSE"), opmap.get("POP_JUMP_IF_FALSE")}


def compiled_set(*, anew: bool = False) -> MeasuredSet:
    """What may run in an enclave, with byte code.

    With ``anew`` it was compiled from the sources on behalf of this very process, and not found in
    the environment. Raises ``ByteCodeHomeless``.
    """
    given = measured_set()
    if given.code:  # an enclave's own
        return given
    return _made_anew(given) if anew else _found_or_made(given)


@cache
def _made_anew(found: MeasuredSet) -> MeasuredSet:
    for folder in _folders():
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            return _made_in(folder, found)
    raise ByteCodeHomeless(place=" or ".join(map(str, _folders())))


@cache
def _found_or_made(found: MeasuredSet) -> MeasuredSet:
    for folder in _folders():
        index, archive = _names(folder, found)
        with contextlib.suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
            code = msgspec.json.decode(index.read_bytes(), type=Index)
            if archive.is_file():
                return replace(found, code=code, archive=str(archive))
    return _made_anew(found)


def _folders() -> tuple[Path, ...]:
    # The second where others own the environment: by the user, whatever variables say.
    this = hashlib.sha256(sys.prefix.encode()).hexdigest()[:16]
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    return Path(sys.prefix, "share", "strongroom"), home / ".cache" / "strongroom" / this


def _names(folder: Path, found: MeasuredSet) -> tuple[Path, Path]:
    """Index and code, named by what they are made from."""
    sources = [(name, pin) for name, pin in found.files.items() if not name.startswith("own/")]
    made_by = found.files["own/isolated/compiled.py"]
    key = hashlib.sha256(marshal.dumps((sources, made_by), 2)).hexdigest()[:16]
    return folder / f"{key}.index", folder / f"{key}.code"


def _made_in(folder: Path, found: MeasuredSet) -> MeasuredSet:
    index, archive = _names(folder, found)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as scratch:
        fresh = Path(scratch, "code")
        done = run(__name__, (str(fresh),), environment={})
        if done.returncode != 0:
            raise OSError(done.stderr.decode(errors="replace"))
        code = msgspec.json.decode(done.stdout, type=Index)
        for old in {*folder.glob("*.index"), *folder.glob("*.code")} - {index, archive}:
            old.unlink(missing_ok=True)
        fresh.replace(archive)
        fresh.write_bytes(done.stdout)
        fresh.replace(index)
    return replace(found, code=code, archive=str(archive))


def main(archive: str) -> None:
    """Write the code to ``archive``, and the index to standard output."""
    index, code = compile_all(measured_set())
    Path(archive).write_bytes(code)
    sys.stdout.buffer.write(msgspec.json.encode(index))


def compile_all(found: MeasuredSet) -> tuple[Index, bytes]:
    """The code of all library modules that the entries import."""
    index: Index = {}
    pieces: list[bytes] = []
    size = 0
    seen = set(ENTRIES)
    waiting = list(ENTRIES)
    while waiting:
        module = waiting.pop()
        name = _file_of(module, found)
        if not name:
            continue
        source = found.read(name)
        if hashlib.sha256(source).digest() != found.files[name]:
            continue
        try:
            code = compile(source, name, "exec", dont_inherit=True)
        except (SyntaxError, ValueError):  # a template, or for another version of Python
            continue
        if not name.startswith("own/"):  # those change too often to be worth it
            # In this form strings are not shared, so what else is in memory does not show.
            piece = marshal.dumps(code, 2)
            index[name] = (size, len(piece), hashlib.sha256(piece).digest())
            pieces.append(piece)
            size += len(piece)
        package = module if name.endswith("/__init__.py") else module.rpartition(".")[0]
        for imported in _imported(code, package):
            parts = imported.split(".")
            for part in (".".join(parts[: count + 1]) for count in range(len(parts))):
                if part not in seen:
                    seen.add(part)
                    waiting.append(part)
    return dict(sorted(index.items())), b"".join(pieces)


def _file_of(module: str, found: MeasuredSet) -> str:
    path = module.replace(".", "/")
    if module.partition(".")[0] == "strongroom":
        candidates = [path.replace("strongroom", "own", 1)]
    else:
        candidates = [f"python/{path}", f"site/{path}"]
    names = (name for each in candidates for name in (f"{each}/__init__.py", f"{each}.py"))
    return next((name for name in names if name in found.files), "")


def _imported(code: CodeType, package: str) -> Iterator[str]:
    """What a module's own code imports, functions that it defines aside.

    Read from its instructions: parsing once more would take longer than compiling.
    """
    constants: tuple[Any, ...] = ()
    extended = skipped = 0
    name = ""
    for at, (operation, low) in enumerate(zip(code.co_code[::2], code.co_code[1::2], strict=True)):
        argument, extended = extended | low, 0
        if at < skipped:
            continue
        if operation == EXTENDED_ARG:
            extended = argument << 8
        elif operation == _CONSTANT:
            constants = (*constants[-1:], code.co_consts[argument])
        elif operation == _NAME:
            name = code.co_names[argument]
        elif operation in _UNLESS and name == "TYPE_CHECKING":
            skipped, name = at + 1 + argument, ""
        elif operation == _IMPORT:
            level, names = constants
            base = package.rsplit(".", level - 1)[0] if level else ""
            module = ".".join(filter(None, (base, code.co_names[argument])))
            yield module
            yield from (f"{module}.{each}" for each in names or ())
