"""The evaluator's source, as the run file names it.

What is read here is uploaded beside the plan. So it is a regular file in the folder that its name
says, and Python: a run file cannot have any other file copied into the bucket.
"""

from __future__ import annotations

from pathlib import Path

from strongroom.enclave.errors import EvaluatorTooLarge
from strongroom.enclave.evaluator.messages import MAX_SOURCE_BYTES
from strongroom.enclave.evaluator.syntax import check_syntax
from strongroom.errors.regular_files import read_beneath
from strongroom.pipeline.runfile.errors import FileMissing


def read_evaluator(path: Path, *, place: str = "") -> bytes:
    """The source at ``path``.

    Raises ``FileMissing``, ``EvaluatorTooLarge`` and ``EvaluatorSyntax``.
    """
    try:
        text = read_beneath(path.parent, path.name, MAX_SOURCE_BYTES)
    except OSError as error:
        raise FileMissing(
            place=place or str(path), expected="a Python file", actual=error.strerror or "none"
        ) from None
    if len(text) > MAX_SOURCE_BYTES:
        raise EvaluatorTooLarge(place=place, expected=f"{MAX_SOURCE_BYTES} bytes at most")
    check_syntax(text)
    return text
