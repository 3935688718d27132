"""Reads a run file: YAML with positions, variables put in, strict schema, all errors at once.

Order: parse, look for secrets, put variables in, check fields, check what fields must hold
together. Each step reports everything that it finds; the caller gets one ``ErrorList`` in the
order of the file, with places such as ``run.yaml:9:3``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from strongroom.errors import StrongroomError
from strongroom.pipeline.runfile.checks import problems_in
from strongroom.pipeline.runfile.document import Document
from strongroom.pipeline.runfile.errors import FileMissing
from strongroom.pipeline.runfile.evaluator_file import read_evaluator
from strongroom.pipeline.runfile.spec import RunSpec
from strongroom.pipeline.runfile.validate import validated
from strongroom.pipeline.runfile.variables import put_in
from strongroom.pipeline.runfile.yaml_reader import parse, read

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class LoadedRun:
    """A run file that was read: the run, where it came from, and the document that it was."""

    spec: RunSpec
    source: Path
    document: Document

    def position(self, path: str) -> str:
        """``run.yaml:9:3`` for a dotted path such as ``spec.access.0.ttl``.

        A field that was left to its default is placed at the part of the file that would hold it.
        """
        steps = tuple(int(step) if step.isdigit() else step for step in path.split(".") if step)
        return self.document.place(steps)


def load(
    source: Path,
    *,
    env: Mapping[str, str] = _NOTHING,
    params: Mapping[str, str] = _NOTHING,
    stack: Mapping[str, str] = _NOTHING,
) -> LoadedRun:
    """Read a run file; the mappings give the values of ``${env.…}``, ``${params.…}`` and so on.

    ``${run.name}`` is the file's own ``metadata.name``. Relative paths in the file start at its
    folder. Raises ``ErrorList`` with every error.
    """
    return _loaded(read(source), source, {"env": env, "params": params, "stack": stack})


def load_text(
    text: str | bytes,
    source: Path,
    *,
    env: Mapping[str, str] = _NOTHING,
    params: Mapping[str, str] = _NOTHING,
    stack: Mapping[str, str] = _NOTHING,
) -> LoadedRun:
    """Like :func:`load` for text that is at hand; ``source`` gives the name and the folder."""
    data = text.encode() if isinstance(text, str) else text
    document = parse(data, source.name)
    return _loaded(document, source, {"env": env, "params": params, "stack": stack})


def _loaded(
    document: Document, source: Path, variables: Mapping[str, Mapping[str, str]]
) -> LoadedRun:
    put_in(document, variables)
    spec = validated(
        document,
        RunSpec,
        source.resolve().parent,
        contradictions=problems_in,
        missing_files=lambda spec: _missing_files(document, spec),
    )
    return LoadedRun(spec, source, document)


def _missing_files(document: Document, spec: RunSpec) -> list[StrongroomError]:
    """Files that planning reads. The broker's credentials are not among them: it alone may look."""
    found: list[StrongroomError] = []
    evaluator, bundle = spec.spec.evaluator.source, spec.spec.policy.bundle
    where = document.place(("spec", "evaluator", "source"))
    if evaluator is not None:
        try:
            read_evaluator(evaluator, place=where)
        except StrongroomError as error:
            found.append(error)
    if not bundle.is_dir():
        where = document.place(("spec", "policy", "bundle"))
        found.append(FileMissing(place=where, expected="a policy bundle's folder", actual="none"))
    return found
