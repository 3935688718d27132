"""The releaser's socket: real connections, and peers that are gone, mute or talk nonsense."""

from __future__ import annotations

import ctypes
import os
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from strongroom.audit.log.errors import EventRefused
from strongroom.audit.log.note import parse_vkey
from strongroom.connectors.keys.keyring import create_local_keyring
from strongroom.connectors.keys.kms import Kms
from strongroom.connectors.keys.open import open_kms
from strongroom.crypto.manifest import WrappedKeyset
from strongroom.enclave.channel.framing import Channel, Kind
from strongroom.enclave.sandbox import syscalls
from strongroom.errors import ErrorList
from strongroom.errors.defect import Defect
from strongroom.pipeline.releaser import messages
from strongroom.pipeline.releaser.client import ANSWERS, ReleaserClient
from strongroom.pipeline.releaser.errors import (
    NonceUnknown,
    ReleaseDenied,
    ReleaserBusy,
    ReleaserUnreachable,
    RequestMalformed,
    SignRefused,
)
from strongroom.pipeline.releaser.releaser import Releaser
from support import kept_log, told
from support.kept_log import KeptLog
from support.releasers import settings
from support.serving import serving
from support.told import said

DATA = "vault://transit/feedback"
KEYSET = WrappedKeyset(kms=DATA, context={}, wrapped="w", key_id=1, commitment=told.OTHER)


def real_releaser(folder: Path) -> Releaser:
    ring = folder / "keyring.json"
    create_local_keyring(ring, ["feedback"])
    log = KeptLog(folder / "log")
    config = settings(keys=(DATA,))

    def open_key(ref: str) -> Kms:
        return open_kms(f"local://{ring}#{ref.split('/')[-1]}")

    return Releaser(config, log.notary, log.vkey, open_key)


class Scripted:
    """A releaser that says what it is told to."""

    def __init__(self, answer: Callable[[messages.Request], Any]) -> None:
        self._answer = answer

    def answer(self, request: messages.Request, _caller: str) -> Any:
        return self._answer(request)


@pytest.fixture
def start() -> Iterator[Callable[..., None]]:
    """Serve until the test ends."""
    with ExitStack() as served:
        yield lambda releaser, path, *uids: served.enter_context(serving(releaser, path, *uids))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "socket"


@pytest.fixture
def client(start: Callable[..., None], tmp_path: Path, path: Path) -> ReleaserClient:
    start(real_releaser(tmp_path), path)
    return ReleaserClient(path)


def test_it_answers(client):
    assert len(client.challenge()) >= 32
    log = client.log()
    assert log.uri == kept_log.URI
    assert parse_vkey(log.vkey).name == kept_log.ORIGIN
    assert client.append([said(told.ADMITTED), said(told.STARTED)]) == 2
    assert client.append([]) == 2


def test_a_caller_is_the_user_of_the_other_end(start, path):
    callers: list[str] = []

    class Listening:
        def answer(self, _request: messages.Request, caller: str) -> messages.Answer:
            callers.append(caller)
            return messages.Nonce(nonce="n")

    start(Listening(), path)
    ReleaserClient(path).challenge()
    assert callers == [f"uid:{os.getuid()}"]


def test_refusals_arrive_as_errors(client):
    with pytest.raises(Exception, match="SR-ENCLAVE-010"):
        client.release_seal(b"{}", "d", DATA)
    with pytest.raises(EventRefused):
        client.append([said(told.STARTED)])
    with pytest.raises(Exception, match="SR-CRYPTO"):
        client.sign_manifest(b"hello")


def test_only_its_owner_may_connect(client, path):
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert path.stat().st_mode & 0o777 == 0o600


OTHER = 65534


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to ask as another user")
@pytest.mark.parametrize(
    ("allowed", "answered"), [((OTHER,), True), ((OTHER - 1,), False), ((), False)]
)
def test_another_user_may_ask_where_the_owner_names_them(start, tmp_path, allowed, answered):
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to other users
        Path(folder).chmod(0o711)
        path = Path(folder, "socket")
        start(real_releaser(tmp_path), path, *allowed)
        found: list[object] = []

        def ask() -> None:
            number = syscalls.NUMBERS["setresuid"]  # changes the user of this thread alone
            assert ctypes.CDLL(None).syscall(number, OTHER, OTHER, OTHER) == 0
            try:
                found.append(ReleaserClient(path).challenge())
            except ReleaserUnreachable as error:
                found.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join(20)
        assert [isinstance(answer, str) for answer in found] == [answered]
        assert ReleaserClient(path).challenge()


def test_the_mask_of_the_process_is_restored(client):
    mask = os.umask(0o022)
    os.umask(mask)
    assert mask != 0o177


def test_many_at_once(start, client):
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(client.challenge())) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(set(found)) == 12


def test_nobody_there(path):
    with pytest.raises(ReleaserUnreachable) as caught:
        ReleaserClient(path).challenge()
    assert caught.value.place == str(path)
    assert caught.value.actual == "FileNotFoundError"


def test_a_path_too_long_for_a_socket(tmp_path):
    with pytest.raises(ReleaserUnreachable):
        ReleaserClient(tmp_path / ("x" * 200)).challenge()


def stale_socket(path: Path) -> None:
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(path))
    server.listen(1)
    server.close()


def test_a_socket_that_a_dead_server_left(start, path, tmp_path):
    stale_socket(path)
    with pytest.raises(ReleaserUnreachable) as caught:
        ReleaserClient(path).challenge()
    assert caught.value.actual == "ConnectionRefusedError"
    start(real_releaser(tmp_path), path)
    assert ReleaserClient(path).challenge()


def test_a_server_killed_in_the_middle(start, path):
    program = (
        "import socket,sys,time;s=socket.socket(socket.AF_UNIX);s.bind(sys.argv[1]);s.listen(1);"
        "print('ready',flush=True);c,_=s.accept();c.recv(1);time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", program, str(path)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    timer = threading.Timer(0.2, process.kill)
    timer.start()
    with pytest.raises(ReleaserUnreachable) as caught:
        ReleaserClient(path).challenge()
    assert caught.value.actual == "it closed the connection"
    process.wait(5)
    process.stdout.close()


def test_a_server_that_says_nothing(path, monkeypatch):
    monkeypatch.setattr(messages, "TIMEOUT_S", 0.2)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(path))
    server.listen(1)
    with pytest.raises(ReleaserUnreachable):
        ReleaserClient(path).challenge()
    server.close()


@pytest.fixture
def raw(client: ReleaserClient, path: Path) -> Iterator[Channel]:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(10)
    sock.connect(str(path))
    yield Channel(sock, "releaser")
    sock.close()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"hello",
        b"{}",
        b'{"message":"give_me_keys"}',
        b'{"message":"challenge","more":1}',
        b'{"message":"\xff"}',
        b'{"message":"sign_manifest","payload":"\xff"}',
        b'{"message":"append","events":[{}]}',
        b'{"message":"sign_note","kms":"","note":""}',
        b'{"message":"release_view","outputs":' + b"[" * 50_000,
    ],
    ids=lambda payload: payload[:30],
)
def test_a_malformed_request_is_answered(raw, client, payload):
    raw.send(Kind.RECORD, payload)
    answer = raw.recv_record(ANSWERS)
    assert isinstance(answer, messages.Denied)
    assert [error.code for error in answer.errors] == [RequestMalformed.code]
    assert client.challenge()


@pytest.mark.parametrize(
    "frame", [struct.pack("<BI", 1, 0xFFFFFFFF), struct.pack("<BI", 9, 1) + b"x"]
)
def test_a_malformed_frame_is_answered(raw, client, frame):
    raw._sock.sendall(frame)
    answer = raw.recv_record(ANSWERS)
    assert isinstance(answer, messages.Denied)
    assert client.challenge()


def test_a_client_that_hangs_up(raw, client):
    raw._sock.sendall(b"\x01\xff")
    raw.close()
    assert client.challenge()


def test_a_client_that_says_nothing_holds_nobody_up(raw, client):
    assert client.challenge()


def test_several_refusals_arrive_as_a_list(start, path):
    errors = (ReleaseDenied(place="a").document(), ReleaseDenied(place="b").document())
    start(Scripted(lambda _: messages.Denied(errors=errors)), path)
    with pytest.raises(ErrorList) as caught:
        ReleaserClient(path).release_run("", b"", b"", {}, None)
    assert [error.place for error in caught.value.errors] == ["a", "b"]


@pytest.mark.parametrize("error", [NonceUnknown(place="x"), SignRefused(expected="a", actual="b")])
def test_an_error_arrives_as_it_left(start, path, error):
    start(Scripted(lambda _: messages.Denied(errors=(error.document(),))), path)
    with pytest.raises(type(error)) as caught:
        ReleaserClient(path).challenge()
    assert caught.value.document() == error.document()


def test_a_defect_of_the_releaser_tells_no_text(start, path):
    def fail(_request: messages.Request) -> messages.Answer:
        raise ValueError("the key is 1234")

    start(Scripted(fail), path)
    with pytest.raises(Defect) as caught:
        ReleaserClient(path).challenge()
    assert caught.value.actual == "ValueError"
    assert "1234" not in str(caught.value)


def test_another_kind_of_answer_is_refused(start, path):
    start(Scripted(lambda _: messages.Taken(size=1)), path)
    with pytest.raises(RequestMalformed):
        ReleaserClient(path).challenge()


def test_requests_arrive_as_they_were_asked(start, path):
    heard: list[Any] = []
    events = (said(told.ADMITTED), said(told.LEASE))

    def note(request: messages.Request) -> messages.Answer:
        heard.append(request)
        return messages.Denied(errors=(NonceUnknown().document(),))

    start(Scripted(note), path)
    client = ReleaserClient(path)
    for ask in (
        lambda: client.release_run("r", b"p", b"e", {"train": b"m"}, None),
        lambda: client.release_seal(b"e", "d", "k"),
        lambda: client.sign_manifest(b"m"),
        lambda: client.release_export(b"e", "r", KEYSET, told.EXPORTED),
        lambda: client.append(events),
    ):
        with pytest.raises(NonceUnknown):
            ask()
    assert [msgspec.structs.asdict(request) for request in heard] == [
        {"run": "r", "plan": b"p", "evidence": b"e", "manifests": {"train": b"m"}, "outputs": None},
        {"evidence": b"e", "dataset": "d", "kms": "k"},
        {"payload": b"m"},
        {"evidence": b"e", "run": "r", "outputs": KEYSET, "exported": told.EXPORTED},
        {"events": events},
    ]


# ---- asked again ---------------------------------------------------------------------------------


def test_a_busy_releaser_is_asked_again(start, path):
    answers: list[messages.Answer] = [
        messages.Denied(errors=(ReleaserBusy().document(),)),
        messages.Nonce(nonce="n"),
    ]
    start(Scripted(lambda _: answers.pop(0)), path)
    assert ReleaserClient(path).challenge() == "n"


def test_a_releaser_that_stays_busy_is_told(start, path, monkeypatch):
    monkeypatch.setattr("strongroom.pipeline.releaser.client.PATIENCE_S", 0.3)
    start(Scripted(lambda _: messages.Denied(errors=(ReleaserBusy().document(),))), path)
    with pytest.raises(ReleaserBusy):
        ReleaserClient(path).challenge()


def test_events_wait_for_a_releaser_that_is_started_again(start, path, tmp_path):
    """And are taken once, though its answer was lost."""
    releaser = real_releaser(tmp_path)
    events = [said(told.ADMITTED)]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as first:
        first.bind(str(path))
        first.listen(1)

        def taken_and_gone() -> None:
            peer, _ = first.accept()
            with peer:
                releaser.answer(messages.Append(events=tuple(events)), f"uid:{os.getuid()}")
            first.close()
            start(releaser, path)

        thread = threading.Thread(target=taken_and_gone)
        thread.start()
        assert ReleaserClient(path).append(events) == 1
        thread.join(20)


def test_events_do_not_wait_for_ever(path, monkeypatch):
    monkeypatch.setattr("strongroom.pipeline.releaser.client.PATIENCE_S", 0.3)
    with pytest.raises(ReleaserUnreachable):
        ReleaserClient(path).append([said(told.ADMITTED)])
