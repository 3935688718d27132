"""The leak test: rows with a random canary, an evaluator that tries to get it out, a search.

Two runs are watched with sandbox and sealing on (one whose evaluator raises with the row in the
message, one whose enclave crashes where core files are allowed), and one with the sandbox off. The
first two must leave the canary in no place and in no form; the last is the control for the places.
Controls for the forms, the memory search, and the buckets stand beside them.
"""

from __future__ import annotations

import base64
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
import zstandard
from tokenizers import Tokenizer

from strongroom.connectors.stack.stack import admin_client
from strongroom.isolated.start import Child
from strongroom.pipeline.releaser.config import ReleaserConfig
from strongroom.policies.gate import Settings, write_bundle
from support import leak_search

OUTSIDE = ("controller", "data broker", "log broker", "releaser", "bucket server", "key service")
WRITTEN = ("/tmp", "/var/tmp", "/dev/shm", str(Path.home()))

# ---- sandbox and sealing on ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def crashed_run(watching, watched_run, tmp_path_factory, core_files):
    """A sandboxed run whose enclave gets SIGSEGV in the middle of a step; core files allowed."""
    folder = tmp_path_factory.mktemp("runs") / "leak-crash"
    return watching.watch(folder, end=crash, memory=False, core_files=True)


def crash(run) -> None:
    """Let the enclave crash, and wait for its core file: a broker that saw it crash kills it."""
    broker, enclave = run.pids["data broker"], run.pids["enclave"]
    os.kill(broker, signal.SIGSTOP)
    try:
        os.kill(enclave, signal.SIGSEGV)
        while ") Z " not in Path(f"/proc/{enclave}/stat").read_text():
            time.sleep(0.05)
    finally:
        os.kill(broker, signal.SIGCONT)


@pytest.fixture(scope="module")
def core_files() -> str:
    """Skips where a core file would not be an ordinary file beside the process."""
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if pattern.startswith(("|", "/")):
        pytest.skip(f"core files go to {pattern[0]}… on this host, not to the working folder")
    if not os.access("/", os.W_OK):
        pytest.skip("an enclave's working folder is /, where this user may write no core file")
    return pattern


def test_the_evaluator_ran_and_failed_as_planned(watched_run):
    """Else the searches below search nothing."""
    assert b"SR-EVAL-003" in watched_run.run.printed
    assert watched_run.status == 1


def test_no_canary_in_any_file(watched_run):
    assert watched_run.files == {}


def test_no_canary_in_any_version_of_any_object(watched_run):
    assert watched_run.objects == {}


def test_no_canary_in_what_the_command_printed(watched_run, secret_rows):
    assert leak_search.in_bytes(watched_run.run.printed, secret_rows.needles) == set()


@pytest.mark.parametrize("role", OUTSIDE)
def test_no_canary_in_memory_outside_the_enclave(role, watched_run, secret_rows):
    assert watched_run.memory[role] & secret_rows.needles.keys() == set()


def test_the_same_search_finds_it_in_the_enclave(watched_run):
    """The control for time and place: while others had nothing, it was there, as text and ids.

    Which type the ids have at that moment depends on how far the step has come.
    """
    found = watched_run.memory["enclave"]
    assert "text" in found
    assert any(name.startswith("token ids") for name in found)
    assert "text" in watched_run.memory["evaluator"]


def test_no_canary_in_thread_names_or_command_lines(watched_run):
    assert watched_run.titles == {}


def test_no_canary_on_the_network(watched_run):
    assert watched_run.packets.found == set()
    assert watched_run.packets.lost == 0
    assert watched_run.received == b""


def test_a_crashing_enclave_leaves_no_core_file_and_no_canary(crashed_run, secret_rows):
    assert crashed_run.status != 0
    assert b"SR-CHANNEL-003" in crashed_run.run.printed
    assert b"SIGSEGV" in crashed_run.run.printed
    assert [path for path in map(Path, crashed_run.files) if path.name.startswith("core")] == []
    assert crashed_run.files == {}
    assert new_cores(secret_rows.stamp) == []
    assert crashed_run.objects == {}


def new_cores(stamp: Path) -> list[Path]:
    since = stamp.stat().st_mtime
    return [path for path in Path("/").glob("core*") if path.stat().st_mtime >= since]


# ---- the control: the same with the sandbox off --------------------------------------------------


@pytest.fixture(scope="module")
def unguarded_run(watching, watched_run, crashed_run, core_files, tmp_path_factory):
    """The same run at A0, for a key owner who allows that; then its traces are removed.

    It runs after the two others, whose searches are over by then.
    """
    owner = tmp_path_factory.mktemp("careless-owner")
    info = watching.job.stack.info
    settings = Settings(
        signers=(info.public_keys["feedback-signer"],),
        output_prefixes=(f"s3://{info.data_bucket}/runs/",),
        audit_prefixes=(f"s3://{info.audit_bucket}/strongroom/",),
        kms_prefixes=("vault://transit/",),
        kms_owners=(info.vault_addr,),
        min_assurance="A0",
    )
    write_bundle(owner / "policy", settings)
    kept = watching.job.stack.state / "releaser" / "releaser.json"
    careful = msgspec.json.decode(kept.read_bytes(), type=ReleaserConfig)
    log = f"{careful.log.uri}careless/"  # a log has one releaser
    config = msgspec.structs.replace(
        careful,
        socket=str(owner / "socket"),
        policy=str(owner / "policy"),
        min_assurance="A0",
        log=msgspec.structs.replace(careful.log, uri=log, memory=str(owner / "log")),
    )
    (owner / "releaser.json").write_bytes(msgspec.json.encode(config))
    module, settings = "strongroom.pipeline.releaser.process", str(owner / "releaser.json")
    releaser = Child(module, (settings,), environment={}, stdout=None, stderr=None)
    folder = tmp_path_factory.mktemp("runs") / "leak-a0"
    try:
        while not (owner / "socket").exists():  # it looks at its log first
            assert releaser.poll() is None
            time.sleep(0.1)
        yield watching.watch(
            folder,
            end=crash,
            memory=False,
            assurance="A0",
            policy_bundle=owner / "policy",
            releaser_socket=owner / "socket",
            audit=log,
            core_files=True,
        )
    finally:
        releaser.kill()
        releaser.wait()
        for place in (*WRITTEN, "/"):
            for path in Path(place).glob("leak-leak-a0*"):
                path.unlink(missing_ok=True)
        for path in new_cores(watching.rows.stamp):
            path.unlink()
        with_canary = Path("/tmp") / watching.rows.canary[:40]
        if with_canary.is_dir():
            with_canary.rmdir()


@pytest.mark.parametrize("place", WRITTEN)
def test_without_the_sandbox_files_hold_it(place, unguarded_run):
    found = unguarded_run.files[f"{place}/leak-leak-a0"]
    assert {"text", "utf-16"} <= found
    assert any(name.startswith("base64") for name in found)


def test_without_the_sandbox_the_command_prints_it(unguarded_run, secret_rows):
    assert secret_rows.needles["text"] in unguarded_run.run.printed


def test_without_the_sandbox_a_thread_s_name_holds_it(unguarded_run):
    assert any("beginning" in names for names in unguarded_run.titles.values())


def test_without_the_sandbox_the_network_carries_it(unguarded_run, secret_rows):
    assert secret_rows.needles["text"] in unguarded_run.received
    if unguarded_run.packets.reason:
        pytest.skip(unguarded_run.packets.reason)
    assert "text" in unguarded_run.packets.found


def test_without_the_sandbox_a_core_file_holds_it(unguarded_run):
    cores = {path: names for path, names in unguarded_run.files.items() if path[:5] == "/core"}
    assert any("text" in names for names in cores.values())


# ---- controls of the searches --------------------------------------------------------------------


@pytest.fixture(scope="module")
def other_needles(tiny_model):
    """Needles of another canary, so that these controls are in nobody's way."""
    canary = secrets.token_hex(20)
    tokenizer = Tokenizer.from_file(str(tiny_model / "tokenizer.json"))
    return leak_search.text_needles(canary) | leak_search.token_needles(canary, tokenizer)


def test_the_file_search_finds_every_form(other_needles, tmp_path):
    stamp = tmp_path / "stamp"
    stamp.touch()
    for name, needle in other_needles.items():
        (tmp_path / name).write_bytes(b"x" * 100_000 + needle + b"y")
    (tmp_path / other_needles["text"].decode()).touch()
    found = leak_search.in_files(leak_search.files_changed_since(stamp, [tmp_path]), other_needles)
    assert all(name in found[str(tmp_path / name)] for name in other_needles)
    assert "text" in found[str(tmp_path / other_needles["text"].decode())]
    assert leak_search.in_files([stamp], other_needles) == {}


def test_the_base64_needles_hold_at_every_alignment():
    secret = secrets.token_bytes(32)
    needles = leak_search.base64_needles("it", secret)
    for before in range(6):
        for after in range(6):
            text = base64.b64encode(secrets.token_bytes(before) + secret + bytes(after))
            assert leak_search.in_bytes(text, needles)


READER = """
import sys
rows = [bytes.fromhex(line) for line in sys.stdin.readline().split()]
print("read", flush=True)
sys.stdin.readline()
"""


def test_the_memory_search_finds_every_form(other_needles, memory_is_readable):
    """In a process that does what no broker may: it reads plaintext."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", READER]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as reader:
        reader.stdin.write(" ".join(needle.hex() for needle in other_needles.values()) + "\n")
        reader.stdin.flush()
        assert reader.stdout.readline() == "read\n"
        found = leak_search.in_memory(reader.pid, other_needles)
        reader.stdin.write("\n")
    assert found == other_needles.keys()


def test_unsealed_rows_are_found_in_the_bucket_and_in_its_raw_storage(small_job, other_needles):
    """Sealing off: rows as they are, an old version of them, and rows that are only compressed."""
    stack = small_job.stack
    s3 = admin_client(stack.state)
    bucket = stack.info.data_bucket
    rows = b'{"messages": "' + other_needles["text"] + b'"}\n'
    packed = zstandard.ZstdCompressor().compress(rows * 100)
    s3.put_object(Bucket=bucket, Key="datasets/open/rows.bin", Body=rows)
    s3.put_object(Bucket=bucket, Key="datasets/open/rows.bin", Body=b"overwritten")
    s3.put_object(Bucket=bucket, Key="datasets/open/rows.zst", Body=packed)
    found = leak_search.in_buckets(s3, [bucket], other_needles)
    assert found.keys() == {f"{bucket}/datasets/open/rows.{end}" for end in ("bin", "zst")}
    files = leak_search.files_below(stack.state / "seaweedfs")
    raw = leak_search.in_files(files, other_needles)
    assert any("text" in names for names in raw.values())


def test_rows_that_the_store_compresses_are_found_in_its_raw_storage(small_job):
    """SeaweedFS gzips what compresses well: a plain search would find nothing, leak or not."""
    stack = small_job.stack
    canary = f"canary-{secrets.token_hex(16)}"
    rows = f'{{"messages": "{canary}"}}\n'.encode() * 100
    admin_client(stack.state).put_object(
        Bucket=stack.info.data_bucket, Key="datasets/open/rows.jsonl", Body=rows
    )
    below = leak_search.files_below(stack.state / "seaweedfs")
    files = [path for path in below if path.is_file()]
    assert not [path for path in files if canary.encode() in path.read_bytes()]
    assert leak_search.in_files(files, {"text": canary.encode()})
