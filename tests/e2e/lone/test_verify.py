"""``strongroom verify`` on the finished main job, against who may write to the buckets.

Objects are changed where they are stored, one byte in one object at a time, and each has to be
named. Reading run and log anew takes seconds, so the command itself is run for some changes only;
for all of them its checks are made on a copy of the buckets that reads the changed object again.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from strongroom.audit import independent
from strongroom.errors import Exit
from support.screens import on_terminal, plain

RUN = "main-job"
FOLDER = f"s3://acme-data/runs/{RUN}/"
LOG = "s3://acme-audit/strongroom/"
INDEPENDENT = Path(independent.__file__)

PLAN = "Plan is the admitted one"
KEYS = "Output keyset is the released one"
MANIFESTS = "Checkpoint manifests and their signatures"
RESULT = "Result follows from the log"
STRAY = "Nothing else in the run's folder"


def flipped(data: bytes) -> bytes:
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def check_of(uri: str) -> str:
    """The check that has to name an object of the run's folder when it is another one."""
    name = uri.removeprefix(FOLDER)
    own = {"plan.json": PLAN, "keys.json": KEYS, "evaluator.py": "Evaluator", "result.json": RESULT}
    if name in own:
        return own[name]
    return MANIFESTS if name.endswith("/manifest.json") else "Checkpoint objects"


def commanded(result: Any) -> set[tuple[str, str]]:
    """What a ``verify`` that ended with exit code 5 said."""
    assert result.code == Exit.INTEGRITY
    assert result.data["verified"] is False
    return {(check["name"], check["object"]) for check in result.data["checks"] if not check["ok"]}


def test_every_object_is_in_a_check_that_holds(
    strongroom: Any, auditor: Any, main_job: Any, copy: Any
) -> None:
    result = strongroom("verify", RUN)
    assert result.code == 0, result.out
    assert (result.data["run"], result.data["verified"]) == (RUN, True)
    checks = result.data["checks"]
    assert all(check["name"] and check["ok"] is True for check in checks)
    named = {(check["name"], check["object"]) for check in checks}
    assert {(check_of(uri), uri) for uri in auditor.of(RUN)} <= named
    inputs = auditor.objects("datasets/tiny/").keys()
    assert auditor.covered() | inputs <= {uri for _, uri in named}
    assert copy.failures(auditor.vkey) == set(), "the copy says what the command says"


def test_the_command_names_an_object_with_one_wrong_byte(
    strongroom: Any, auditor: Any, main_job: Any
) -> None:
    adapter = f"{FOLDER}checkpoints/000004/adapter.sealed"
    (bundle,) = (uri for uri in auditor.covered() if "/entries/" in uri)
    for uri in (adapter, bundle):
        good = auditor.get(uri)
        auditor.put(uri, flipped(good))
        try:
            found = commanded(strongroom("verify", RUN))
        finally:
            auditor.put(uri, good)
        if uri == adapter:
            assert found == {("Checkpoint objects", uri)}
        assert {named for _, named in found} & auditor.covered() == {uri} - {adapter}


def test_one_wrong_byte_in_any_object_is_named(auditor: Any, main_job: Any, copy: Any) -> None:
    run, data = auditor.of(RUN), auditor.objects("datasets/tiny/")
    model = auditor.objects("models/tiny/")
    assert (len(run), len(data), len(model) > 3) == (12, 6, True)
    kinds = {uri.removeprefix(LOG).partition("/")[0] for uri in main_job.logged}
    assert kinds == {"checkpoint", "next", "tile"}
    for uri in sorted({*run, *data, *model, *auditor.covered()}):
        good = auditor.get(uri)
        auditor.put(uri, flipped(good))
        copy.refresh(uri)
        found = copy.failures(auditor.vkey)
        auditor.put(uri, good)
        copy.refresh(uri)
        if uri in run:
            assert (check_of(uri), uri) in found
        named = {each for _, each in found}
        assert uri in named
        assert named & auditor.covered() <= {uri}, "and no object of the log beside it"
    assert copy.failures(auditor.vkey) == set()


def test_what_the_log_has_left_behind_is_no_part_of_it_and_is_named_when_it_was_changed(
    auditor: Any, main_job: Any, copy: Any
) -> None:
    """Whoever may write under the prefix must not be able to spoil the log for everybody."""
    behind = {uri for uri in main_job.logged - auditor.covered() if "/tile/" in uri}
    assert len(behind) > 10
    planted = f"{LOG}tile/entries/000.p/250"
    for uri in sorted(behind)[:6]:
        changed = copy.holding(copy.objects | {uri: flipped(copy.objects[uri]), planted: b"x"})
        checks = changed.checks(auditor.vkey)
        assert [check for check in checks if not check.ok] == []
        assert {check.object for check in checks if check.noted} == {uri, planted}


def test_what_is_missing_and_what_is_too_much_is_named(
    strongroom: Any, auditor: Any, main_job: Any, copy: Any
) -> None:
    for uri in sorted({*auditor.of(RUN), *auditor.covered()}):
        there = {name: data for name, data in copy.objects.items() if name != uri}
        found = copy.holding(there).failures(auditor.vkey)
        assert uri in {named for _, named in found}
    strays = {f"{FOLDER}notes.txt", f"{FOLDER}checkpoints/000003/adapter.sealed", f"{LOG}tile/x"}
    gone = f"{FOLDER}checkpoints/000002/state.sealed"
    good = auditor.get(gone)
    for uri in strays:
        auditor.put(uri, b"planted")
    remove(auditor, gone)
    try:
        found = commanded(strongroom("verify", RUN))
    finally:
        for uri in strays:
            remove(auditor, uri)
        auditor.put(gone, good)
    assert {named for _, named in found} >= {*strays, gone} - {f"{LOG}tile/x"}
    assert {(STRAY, uri) for uri in strays if uri.startswith(FOLDER)} <= found


def test_the_name_of_an_object_does_nothing_to_the_one_who_verifies(
    strongroom: Any, auditor: Any, main_job: Any
) -> None:
    """Markup in a name ended the command with 1, and hid every failure."""
    stray = f"{FOLDER}[/x][link=evil.example]\u202ey"
    auditor.put(stray, b"planted")
    command = [sys.executable, "-m", "strongroom", "verify", RUN, "--state", str(strongroom.state)]
    try:
        code, shown = on_terminal(command)
    finally:
        remove(auditor, stray)
    assert code == Exit.INTEGRITY
    assert f"{FOLDER}[/x][link=evil.example]\\u202ey" in plain(shown.decode())
    assert "NOT VERIFIED" in shown.decode()


def test_all_holds_again_once_everything_is_restored(strongroom: Any, main_job: Any) -> None:
    assert strongroom("verify", RUN).code == 0


def remove(auditor: Any, uri: str) -> None:
    """Put a delete marker over an object: under the bucket's lock no version goes away."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    auditor.client.delete_object(Bucket=bucket, Key=key)


def test_the_log_passes_a_verifier_that_shares_no_code(
    auditor: Any, copy: Any, tmp_path: Path
) -> None:
    """Signed by the key service, stored by the S3 server, read by ``audit.independent``."""
    for name in copy.names(LOG):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(auditor.get(LOG + name))

    def verify() -> tuple[int, str]:
        command = [sys.executable, "-I", str(INDEPENDENT), str(tmp_path), auditor.vkey]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    code, said = verify()
    assert code == 0, said
    size = len(auditor.every_event())
    assert said.startswith(f"ok: {size} entries, root ")
    tile = max(uri for uri in auditor.covered() if "/tile/0/" in uri)
    for name, named in (("checkpoint", "log: "), (tile.removeprefix(LOG), tile.removeprefix(LOG))):
        path = tmp_path / name
        good = path.read_bytes()
        path.write_bytes(flipped(good))
        code, said = verify()
        path.write_bytes(good)
        assert code == Exit.INTEGRITY
        assert said.startswith(named)
