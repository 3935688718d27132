"""A run file from somebody who is trusted with less than whoever runs it.

It must not choose where an identity is sent, have files copied that its author could
not read, read the environment, or have anything connected before the rules that need nothing but
the run file have passed. Each control shows the same where the defence is off, or where the run
file is honest.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.connectors.access.errors import AccessError, IdentityElsewhere
from strongroom.connectors.access.identity import OpenBaoTokens, VaultSession
from strongroom.connectors.host.folders import write_private
from strongroom.enclave.errors import EvaluatorSyntax
from strongroom.errors import StrongroomError
from strongroom.errors.listing import errors_of
from strongroom.pipeline import controller, trial
from strongroom.pipeline.background.submit import submit
from strongroom.pipeline.owner.errors import ModelFolderInvalid
from strongroom.pipeline.owner.model_upload import model_paths, pieces
from strongroom.pipeline.run.watcher import Silent
from strongroom.pipeline.runfile.errors import FileMissing, VariableForbidden
from strongroom.pipeline.runfile.evaluator_file import read_evaluator
from strongroom.pipeline.runfile.load import LoadedRun, load_text
from strongroom.policies.bundle import read_bundle
from strongroom.policies.errors import BundleMissing, DenialList
from strongroom.policies.gate import Settings, write_bundle
from support import sample

SECRET = "a secret that only whoever runs it can read"


@pytest.fixture
def listener() -> Iterator[tuple[socket.socket, list[bytes]]]:
    """A server that keeps what it is sent."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                with peer:
                    peer.settimeout(5)
                    request = b""
                    while b"secret_id" not in request and (piece := peer.recv(1 << 16)):
                        request += piece
                    heard.append(request)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server, heard
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


# ---- identities ----------------------------------------------------------------------------------


def identity(folder: Path, addr: str) -> Path:
    path = folder / "broker.json"
    found = {"addr": addr, "role_id": "role", "secret_id": SECRET}
    write_private(path, json.dumps(found).encode())
    return path


def test_an_identity_is_sent_to_no_other_address_than_its_own(tmp_path, listener):
    server, heard = listener
    there = f"http://127.0.0.1:{server.getsockname()[1]}"
    path = identity(tmp_path, "https://bao.acme.example")
    for use in (lambda: VaultSession(path, there), lambda: OpenBaoTokens(there, path, "broker")):
        with pytest.raises(IdentityElsewhere):
            use()
    assert heard == []


def test_control_an_identity_is_sent_to_its_own_address(tmp_path, listener):
    server, heard = listener
    there = f"http://127.0.0.1:{server.getsockname()[1]}"
    session = VaultSession(identity(tmp_path, there), there + "/")
    with pytest.raises(AccessError):
        session.call(lambda client: client.read("x"))
    assert any(SECRET.encode() in request for request in heard)


# ---- files ---------------------------------------------------------------------------------------


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file of Python that the run file's author cannot read."""
    path = tmp_path / "elsewhere" / "settings.py"
    path.parent.mkdir()
    path.write_text(f"TOKEN = {SECRET!r}\n")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "folder"
    path.mkdir()
    return path


def test_an_evaluator_is_no_link_to_a_file_elsewhere(folder, outside):
    link = folder / "evaluator.py"
    link.symlink_to(outside)
    assert SECRET in link.read_text()  # what a plain open gives
    with pytest.raises(FileMissing, match="a link out of its folder"):
        read_evaluator(link)


def test_control_a_link_within_the_folder_is_an_evaluator(folder):
    (folder / "v2.py").write_text("def evaluate(): ...\n")
    (folder / "evaluator.py").symlink_to("v2.py")
    assert read_evaluator(folder / "evaluator.py") == b"def evaluate(): ...\n"


@pytest.mark.parametrize("name", ["/proc/self/environ", "/proc/self/cmdline", "/dev/zero", "/etc"])
def test_an_evaluator_is_a_file_on_a_disk(name):
    with pytest.raises(FileMissing):
        read_evaluator(Path(name))


def test_a_pipe_or_socket_is_refused_and_not_waited_for(folder):
    os.mkfifo(folder / "evaluator.py")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "other.py"))
        for name in ("evaluator.py", "other.py"):
            with pytest.raises(FileMissing):
                read_evaluator(folder / name)


@pytest.mark.parametrize("text", [b"root:x:0:0:root:/root:/bin/sh\n", b"\0", b"(" * 500, b"\xff\n"])
def test_what_is_not_python_is_never_read_into_a_run(folder, text):
    (folder / "evaluator.py").write_bytes(text)
    with pytest.raises(EvaluatorSyntax):
        read_evaluator(folder / "evaluator.py")
    with pytest.raises(StrongroomError) as caught:
        run_file(folder)
    assert EvaluatorSyntax.code in {error.code for error in errors_of(caught.value)}


MODEL = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def test_a_model_s_files_are_no_links_out_of_its_folder(folder, outside):
    for name in MODEL:
        (folder / name).write_text("{}")
    assert len(model_paths(folder)) == len(MODEL)
    (folder / "tokenizer_config.json").unlink()
    (folder / "tokenizer_config.json").symlink_to(outside)
    with pytest.raises(ModelFolderInvalid, match="a link out of its folder"):
        model_paths(folder)
    with pytest.raises(ModelFolderInvalid):
        list(pieces(folder / "tokenizer_config.json"))


def test_control_a_cache_of_models_holds_links_and_is_read(folder):
    snapshot = folder / "models--acme--tiny" / "snapshots" / "0123abcd"
    blobs = folder / "models--acme--tiny" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for name in MODEL:
        (blobs / f"blob-of-{name}").write_text(name)
        (snapshot / name).symlink_to(f"../../blobs/blob-of-{name}")
    assert [path.name for path in model_paths(snapshot)] == sorted(MODEL)
    assert b"".join(pieces(snapshot / "config.json")) == b"config.json"


@pytest.mark.parametrize("name", ["lease_lifetime.rego", "manifest.json", "data.json"])
def test_a_pipe_in_a_bundle_is_refused_and_not_waited_for(folder, name):
    write_bundle(folder, Settings())
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(BundleMissing, match="no regular file"):
        read_bundle(folder)


# ---- the environment -----------------------------------------------------------------------------


def run_file(
    folder: Path, change: tuple[str, str] = ("", ""), **variables: dict[str, str]
) -> LoadedRun:
    text = sample.EXAMPLE.read_text().replace(*change, 1)
    given = {"stack": sample.stack(folder), **variables}
    return load_text(text, folder / "run.yaml", **given)


def with_evaluator(folder: Path) -> Path:
    (folder / "evaluator.py").write_text("def evaluate(): ...\n")
    return folder


@pytest.mark.parametrize("name", ["DATABASE", "HOME", "AWS_PROFILE", "strongroom_team", "NOT_SET"])
def test_a_run_file_reads_no_variable_that_is_not_meant_for_it(folder, name):
    change = ("team: support-ml", f"team: ${{env.{name}}}")
    env = {"DATABASE": "internal-host", "HOME": "/root", "AWS_PROFILE": "prod"}
    with pytest.raises(StrongroomError) as caught:
        run_file(with_evaluator(folder), change, env=env)
    assert [error.code for error in errors_of(caught.value)] == [VariableForbidden.code]
    assert not any(value in str(caught.value) for value in env.values())


def test_control_what_is_meant_for_it_is_read(folder):
    change = ("team: support-ml", "team: ${env.STRONGROOM_TEAM}-${params.part}")
    given = {"env": {"STRONGROOM_TEAM": "support"}, "params": {"part": "ml"}}
    loaded = run_file(with_evaluator(folder), change, **given)
    assert loaded.spec.metadata.labels["team"] == "support-ml"


def test_no_hint_names_a_variable_that_may_not_be_read(folder):
    change = ("team: support-ml", "team: ${env.STRONGROOM_TEAN}")
    with pytest.raises(StrongroomError) as caught:
        run_file(with_evaluator(folder), change, env={"XSTRONGROOM_TEAN": "x"})
    assert "XSTRONGROOM" not in str(caught.value)


# ---- the first packet ----------------------------------------------------------------------------


@pytest.fixture
def reached(folder: Path) -> Iterator[list[str]]:
    """Who was connected to: the releaser of the run file, the first of all."""
    found: list[str] = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "releaser.sock"))
        server.listen()

        def serve() -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                found.append("releaser")
                peer.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield found
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def drive(how: str, loaded: LoadedRun, state: Path) -> None:
    match how:
        case "run":
            controller.run(loaded, "r", Silent())
        case "plan":
            controller.make_plan(loaded, "r", Silent())
        case "run_or_resume":
            controller.run_or_resume(loaded, "r", Silent())
        case "submit":
            submit(state, loaded, "r")
        case "trial":
            trial.try_evaluator(loaded, 1, 1, Silent())


COMMANDS = ("run", "plan", "run_or_resume", "submit", "trial")
BREACHES = {
    "lease_lifetime": ("ttl: 15m", "ttl: 12h"),
    "outputs_are_customers": ("outputs: s3://acme-data/runs/", "outputs: s3://acme-data/other/"),
    "audit_is_customers": ("audit: s3://acme-audit/strongroom/", "audit: s3://acme-data/log/"),
    "assurance_is_enough": ("assurance: A1", "assurance: A0"),
}


@pytest.fixture
def policy(folder: Path) -> Path:
    settings = Settings(
        output_prefixes=("s3://acme-data/runs/",), audit_prefixes=("s3://acme-audit/",)
    )
    write_bundle(folder / "policy", settings)
    return folder / "policy"


def loaded_with(folder: Path, policy: Path, change: tuple[str, str]) -> LoadedRun:
    stack = {**sample.stack(with_evaluator(folder)), "policy_bundle": str(policy)}
    text = sample.EXAMPLE.read_text()
    assert change[0] in text
    return load_text(text.replace(*change), folder / "run.yaml", stack=stack)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("rule", BREACHES)
def test_a_run_file_that_breaks_a_rule_of_its_own_connects_to_nobody(
    command, rule, folder, policy, reached, tmp_path, monkeypatch
):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a name was looked up")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    loaded = loaded_with(folder, policy, BREACHES[rule])
    with pytest.raises(DenialList) as caught:
        drive(command, loaded, tmp_path / "state")
    assert rule in str(caught.value)
    assert reached == []


@pytest.mark.parametrize("command", ["run", "plan", "run_or_resume", "trial"])
def test_control_an_honest_run_file_reaches_its_releaser(
    command, folder, policy, reached, tmp_path
):
    loaded = loaded_with(folder, policy, ("ttl: 15m", "ttl: 20m"))
    with pytest.raises(StrongroomError) as caught:
        drive(command, loaded, tmp_path / "state")
    assert not isinstance(caught.value, DenialList)
    assert reached
