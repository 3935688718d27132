"""Rows of ``docs/tamper-matrix.md`` on the stack's bucket: the command says what the page says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from support import tampering
from support.auditor import CHECKPOINT
from support.tampering import ADMIN, BEFORE, THIEF

LOG = "s3://acme-audit/strongroom/"
BUCKET, PREFIX = "acme-audit", "strongroom/"


def newest(auditor: Any, level: str) -> str:
    """The newest bundle or tile of a level."""
    return max(uri for uri in auditor.covered() if uri.startswith(f"{LOG}tile/{level}/"))


def delete(auditor: Any, uri: str) -> None:
    """Put a delete marker: the bucket's lock keeps the versions."""
    auditor.client.delete_object(Bucket=BUCKET, Key=PREFIX + uri.removeprefix(LOG))


def checkpoints(auditor: Any) -> list[bytes]:
    """Every version of the checkpoint, the newest first."""
    pages = auditor.client.get_paginator("list_object_versions").paginate(
        Bucket=BUCKET, Prefix=f"{PREFIX}checkpoint"
    )
    return [
        auditor.client.get_object(
            Bucket=BUCKET, Key=f"{PREFIX}checkpoint", VersionId=each["VersionId"]
        )["Body"].read()
        for page in pages
        for each in page.get("Versions", ())
    ]


@contextmanager
def over(auditor: Any, uri: str, data: bytes | None) -> Iterator[None]:
    """Other bytes in an object's place, or none, and its own again afterwards."""
    good = auditor.get(uri)
    if data is None:
        delete(auditor, uri)
    else:
        auditor.put(uri, data)
    try:
        yield
    finally:
        auditor.put(uri, good)


def edited(auditor: Any) -> Any:
    uri = newest(auditor, "entries")
    good = auditor.get(uri)
    return over(auditor, uri, good[:-40] + bytes([good[-40] ^ 1]) + good[-39:])


def rolled_back(auditor: Any) -> Any:
    size = int(auditor.get(CHECKPOINT).split(b"\n")[1])
    signed = (note for note in checkpoints(auditor) if note.count(b"\n") == 5)
    older = (note for note in signed if int(note.split(b"\n")[1]) < size)
    return over(auditor, CHECKPOINT, next(older))


@contextmanager
def put_right(auditor: Any) -> Iterator[None]:
    with rolled_back(auditor):
        pass
    yield


@contextmanager
def written_over(auditor: Any) -> Iterator[None]:
    with over(auditor, newest(auditor, "0"), b"planted"):
        pass
    yield


@contextmanager
def planted(auditor: Any) -> Iterator[None]:
    auditor.put(f"{LOG}x", b"junk")
    try:
        yield
    finally:
        delete(auditor, f"{LOG}x")


DONE: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("edit an entry", ADMIN.name): edited,
    ("delete a hash tile", ADMIN.name): lambda auditor: over(auditor, newest(auditor, "0"), None),
    ("delete the checkpoint", ADMIN.name): lambda auditor: over(auditor, CHECKPOINT, None),
    ("plant junk as the checkpoint", THIEF.name): lambda auditor: over(
        auditor, CHECKPOINT, b"junk"
    ),
    ("roll back by 1", THIEF.name): rolled_back,
    ("plant junk beside the log", THIEF.name): planted,
    ("write over a tile and put it right", THIEF.name): written_over,
    ("roll back; the releaser put it right", THIEF.name): put_right,
}
"""What a row does, on the stack, by what it says and by whom; what can be put back, last."""


@pytest.fixture(scope="module")
def read_before(strongroom: Any, main_job: Any) -> None:
    """This machine has read the whole log."""
    assert strongroom("verify", main_job.run).code == 0


@pytest.mark.parametrize(("what", "by"), DONE, ids=lambda value: value)
def test_the_command_says_what_the_page_says(
    strongroom: Any, auditor: Any, main_job: Any, read_before: None, what: str, by: str
) -> None:
    (row,) = (row for row in tampering.rows() if (row.what, row.by.name) == (what, by))
    wanted = tampering.tried(row).verdicts[BEFORE]
    with DONE[what, by](auditor):
        found = strongroom("verify", main_job.run)
    assert found.code == wanted.exit_code
    checks = [check for check in found.data["checks"] if check["name"].startswith("Audit log: ")]
    if wanted.exit_code:
        said = {check["detail"].partition(":")[0] for check in checks if not check["ok"]}
        assert said == set(wanted.said)
    else:
        said = {check["name"].removeprefix("Audit log: ") for check in checks if check["noted"]}
        assert said >= set(wanted.said)


def test_all_of_it_was_put_back(strongroom: Any, main_job: Any, read_before: None) -> None:
    assert strongroom("verify", main_job.run).code == 0
