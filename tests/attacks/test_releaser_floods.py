"""Whoever may connect to the releaser and wants others not to be answered, or to probe with it.

The worst place to stand is the honest caller's own user, as which the attacker runs here where
nothing else is said. Each attack succeeds where the bound that stops it is taken away.
"""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import pytest

from strongroom.audit.events import types
from strongroom.connectors.keys.errors import KmsUnreachable
from strongroom.connectors.keys.kms import Kms
from strongroom.crypto.manifest import WrappedKeyset
from strongroom.enclave.attest import seal_subject
from strongroom.enclave.channel.framing import Channel
from strongroom.enclave.errors import MeasurementUnknown
from strongroom.enclave.evidence import Evidence
from strongroom.enclave.plan.parts import KeyRefs
from strongroom.errors import ErrorDocument
from strongroom.pipeline.releaser import client as client_module
from strongroom.pipeline.releaser import messages, nonces, server
from strongroom.pipeline.releaser.client import ANSWERS, ReleaserClient
from strongroom.pipeline.releaser.errors import (
    NonceUnknown,
    ReleaseDenied,
    ReleaserBusy,
    ReleaserUnreachable,
    RequestMalformed,
)
from strongroom.pipeline.releaser.releaser import Releaser
from support import kept_log, told
from support.kept_log import KeptLog
from support.releasers import settings
from support.serving import serving
from support.told import said

VICTIM, THIEF = "uid:1000", "uid:1001"
DATA, OUTPUTS = "vault://transit/feedback", "vault://transit/feedback-outputs"
CHALLENGE = msgspec.json.encode(messages.Challenge())
REQUEST = b"\x01" + len(CHALLENGE).to_bytes(4, "little") + CHALLENGE


class Keys:
    """A key service that notes which keys it was asked for, and has none."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, ref: str) -> Kms:
        self.asked.append(ref)
        raise KmsUnreachable(place=ref)


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def releaser(tmp_path: Path, keys: Keys) -> Releaser:
    log = KeptLog(tmp_path / "log")
    config = settings(
        measurements=(told.CODE,),
        manifest_signer="vault://transit/feedback-signer",
        keys=(DATA, OUTPUTS),
    )
    return Releaser(config, log.notary, log.vkey, keys)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "socket"


@pytest.fixture
def served(releaser: Releaser, path: Path) -> Iterator[Path]:
    with serving(releaser, path):
        yield path


def codes(answer: messages.Answer) -> set[str]:
    assert isinstance(answer, messages.Denied), "it was granted"
    return {error.code for error in answer.errors}


# ---- challenges ----------------------------------------------------------------------------------


def seal(releaser: Releaser, nonce: str, caller: str) -> set[str]:
    """What an enclave of unknown code is refused with: that comes once its nonce is a good one."""
    evidence = Evidence(
        role="seal",
        assurance="A1",
        measurement=told.OTHER,
        plan_digest=seal_subject("d", DATA),
        nonce=nonce,
        hpke_key="A" * 43 + "=",
        signing_key="ed25519:" + "A" * 43 + "=",
        probes={},
        warnings=(),
    )
    request = messages.ReleaseSeal(evidence=msgspec.json.encode(evidence), dataset="d", kms=DATA)
    return codes(releaser.answer(request, caller))


def challenge(releaser: Releaser, caller: str) -> str:
    answer = releaser.answer(messages.Challenge(), caller)
    assert isinstance(answer, messages.Nonce)
    return answer.nonce


@pytest.mark.parametrize("flooder", [THIEF, VICTIM])
def test_a_thousand_challenges_push_out_nobody_else_s(releaser, flooder):
    """The control: a caller's own flood does, where all callers share the room."""
    nonce = challenge(releaser, VICTIM)
    for _ in range(nonces.MOST_PER_CALLER * 4):
        challenge(releaser, flooder)
    found = seal(releaser, nonce, VICTIM)
    assert (NonceUnknown.code in found) is (flooder == VICTIM)
    assert (found == {MeasurementUnknown.code}) is (flooder == THIEF)


def test_a_challenge_answers_whoever_asked_for_it(releaser):
    nonce = challenge(releaser, VICTIM)
    assert seal(releaser, nonce, THIEF) == {NonceUnknown.code}
    assert seal(releaser, nonce, VICTIM) == {MeasurementUnknown.code}  # and was not used up


# ---- connections ---------------------------------------------------------------------------------


@contextmanager
def connected(path: Path, count: int, sends: bytes = b"", half: bool = False) -> Iterator[None]:
    """Connections that send this much, and no more; closed for sending where ``half``."""
    with ExitStack() as opened:
        for _ in range(count):
            sock = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            sock.connect(str(path))
            sock.sendall(sends)
            if half:
                sock.shutdown(socket.SHUT_WR)
        yield


IDLE = {
    "say nothing": (b"", False),
    "have begun": (REQUEST[:3], False),
    "stop before the last byte": (REQUEST[:-1], False),
    "announce four megabytes": (b"\x01" + (4 << 20).to_bytes(4, "little"), False),
    "hang up halfway": (REQUEST[:-1], True),
    "do not fetch their answer": (REQUEST, False),
}


@pytest.mark.parametrize("what", IDLE)
def test_hundreds_that_are_idle_keep_nobody_out(served, what):
    sends, half = IDLE[what]
    with connected(served, 200, sends, half):
        assert ReleaserClient(served).challenge()
        assert ReleaserClient(served).append([said(told.ADMITTED)]) == 1


def test_they_would_if_none_gave_way(served, monkeypatch):
    """The control of the above."""
    monkeypatch.setattr(server._Connections, "_end_oldest", lambda *_: False)
    monkeypatch.setattr(client_module, "PATIENCE_S", 0.5)
    with connected(served, 200), pytest.raises(ReleaserBusy):
        ReleaserClient(served).challenge()


class Blocked:
    """A releaser whose answers to a thief take until they are let go; to others none."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.all_there = threading.Barrier(server.MOST_PER_USER + 1)

    def answer(self, _request: messages.Request, caller: str) -> messages.Answer:
        if caller == "uid:1":
            self.all_there.wait(60)
            self.go.wait(60)
        return messages.Nonce(nonce="n")


@pytest.mark.parametrize("alike", [False, True])
def test_a_user_s_many_requests_keep_no_other_user_out(path, monkeypatch, alike):
    """All of them being answered, so that none gives way. The control: all users count as one."""
    blocked, mine = Blocked(), os.getuid()
    seen: list[socket.socket] = []

    def uid(peer: socket.socket) -> int:
        seen.append(peer)
        return 1 if len(seen) <= server.MOST_PER_USER else mine

    monkeypatch.setattr(server, "_uid", uid)
    monkeypatch.setattr(client_module, "PATIENCE_S", 0.5)
    if alike:
        add = server._Connections.add
        monkeypatch.setattr(server._Connections, "add", lambda self, peer, _: add(self, peer, 1))
    with serving(blocked, path, 1), ExitStack() as stack:
        stack.callback(blocked.go.set)
        stack.enter_context(connected(path, server.MOST_PER_USER, REQUEST))
        blocked.all_there.wait(60)
        if alike:
            with pytest.raises(ReleaserBusy):
                ReleaserClient(path).challenge()
        else:
            assert ReleaserClient(path).challenge() == "n"


@pytest.mark.parametrize("patience_s", [0.4, 60.0])
def test_a_request_has_one_deadline_however_it_trickles_in(served, monkeypatch, patience_s):
    """Each byte comes in time, and all of them do not. The control: there is time for all."""
    monkeypatch.setattr(server, "REQUEST_S", patience_s)
    sent = 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.connect(str(served))
        sock.settimeout(0.05)
        for byte in REQUEST:
            try:
                sock.send(bytes([byte]))
            except BrokenPipeError:
                break
            sent += 1
            try:
                if sock.recv(1, socket.MSG_PEEK):
                    break
            except TimeoutError:
                continue
        sock.settimeout(20)
        answer = Channel(sock, "releaser").recv_record(ANSWERS)
    if patience_s < 1:
        assert sent < len(REQUEST)
        assert codes(answer) == {RequestMalformed.code}
    else:
        assert isinstance(answer, messages.Nonce)
    assert ReleaserClient(served).challenge()


class Verbose:
    """A releaser whose first answers are larger than a socket's buffer."""

    def __init__(self) -> None:
        self.left = 3

    def answer(self, _request: messages.Request, _caller: str) -> messages.Answer:
        self.left -= 1
        if self.left < 0:
            return messages.Nonce(nonce="n")
        errors = (ErrorDocument(code="SR-RELEASE-002", title="x" * 1000),) * 2000
        return messages.Denied(errors=errors)


def test_one_who_does_not_fetch_a_long_answer_keeps_nobody_out(path, monkeypatch):
    monkeypatch.setattr(server, "MOST_PER_USER", 3)
    with serving(Verbose(), path), connected(path, 3, REQUEST):
        assert ReleaserClient(path).challenge() == "n"


def test_bytes_that_are_no_request_keep_nobody_out(served):
    for _ in range(100):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.connect(str(served))
            sock.sendall(os.urandom(64))
    assert ReleaserClient(served).challenge()


FEW = 30
SERVE = f"""
import resource, sys
from pathlib import Path
from strongroom.pipeline.releaser import messages, server

class Releaser:
    def answer(self, request, caller):
        return messages.Nonce(nonce="n")

listening = server.listen(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_NOFILE, ({FEW}, {FEW}))
if sys.argv[2] == "none gives way":
    server._Connections._end_oldest = lambda *_: False
print("ready", flush=True)
server.serve(Releaser(), listening)
"""


@contextmanager
def serving_with_few_descriptors(path: Path, how: str) -> Iterator[None]:
    """A server process that may have fewer descriptors open than one user connections."""
    assert FEW < server.MOST_PER_USER
    command = [sys.executable, "-c", SERVE, str(path), how]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        yield
        assert process.poll() is None, "it ended"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("how", ["the oldest gives way", "none gives way"])
def test_it_survives_to_run_out_of_descriptors(path, monkeypatch, how):
    """``accept`` fails then; whoever is idle gives way, of whatever user."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft > 4 * FEW, "this process opens as many connections"
    monkeypatch.setattr(messages, "TIMEOUT_S", 20.0 if how.startswith("the") else 1.0)
    with serving_with_few_descriptors(path, how):
        with connected(path, 2 * FEW):
            if how == "none gives way":
                with pytest.raises(ReleaserUnreachable):
                    ReleaserClient(path).challenge()
            else:
                assert ReleaserClient(path).challenge() == "n"
        assert ReleaserClient(path).challenge() == "n"


# ---- key references ------------------------------------------------------------------------------

FOREIGN = (
    "local:///etc/passwd#root",
    "local:///proc/self/environ#x",
    "vault://transit/feedback-signer",
    "vault://transit/audit-log",
    "vault://transit/somebody",
    "vault://other/feedback",
    "awskms://arn:aws:kms:eu-central-1:111122223333:key/x",
    DATA + "/",
    DATA.upper(),
    " " + DATA,
)


def naming(ref: str) -> list[messages.Request]:
    """Each request that names a key, as one with a genuine enclave could make it."""
    keyset = WrappedKeyset(
        kms=ref, context={"run": "r"}, wrapped="w", key_id=1, commitment=told.OTHER
    )
    refs = {"data": DATA, "outputs": OUTPUTS, "audit": kept_log.KEY}
    opened = messages.ReleaseView(
        evidence=b"",
        run="r",
        outputs=keyset,
        opened=types.RolloutsOpened(uri="s3://a/b", sha256=told.OTHER),
    )
    exported = messages.ReleaseExport(evidence=b"", run="r", outputs=keyset, exported=told.EXPORTED)
    described = [
        messages.DescribeKeys(keys=KeyRefs(**{**refs, name: ref}))
        for name in refs
        if ref != kept_log.KEY  # the log's key may be asked about
    ]
    return [messages.ReleaseSeal(evidence=b"", dataset="d", kms=ref), opened, exported, *described]


def evidence(*_args: object) -> Evidence:
    return Evidence(
        role="seal",
        assurance="A1",
        measurement=told.CODE,
        plan_digest=told.PLAN,
        nonce="n",
        hpke_key="A" * 43 + "=",
        signing_key="s",
        probes={},
        warnings=(),
    )


@pytest.mark.parametrize("ref", FOREIGN)
@pytest.mark.parametrize("checked", [True, False])
def test_a_request_cannot_have_another_key_or_file_tried(releaser, keys, monkeypatch, ref, checked):
    """The control: without the check the key service, or the file system, is asked for it."""
    monkeypatch.setattr(releaser, "_trusted", evidence)
    releaser.answer(messages.Append(events=(said(told.ADMITTED),)), VICTIM)
    if not checked:
        monkeypatch.setattr(releaser, "_open_key", lambda ref, *_more: keys(ref))
    for request in naming(ref):
        keys.asked.clear()
        answer = releaser.answer(request, VICTIM)
        if isinstance(answer, messages.KeysDescribed):  # told as a key service would tell it
            states = {answer.kms.data.state, answer.kms.outputs.state, answer.kms.audit.state}
            assert "refused" in states
        else:
            assert isinstance(answer, messages.Denied)
        if checked:
            assert ref not in keys.asked
        elif "://" in ref and ref == ref.strip():
            assert ref in keys.asked or isinstance(request, messages.DescribeKeys)


@pytest.mark.parametrize("ref", FOREIGN)
def test_what_it_is_refused_with_is_the_same_for_all(releaser, monkeypatch, ref):
    """Whether there is such a file or key is not told, since it is not looked at."""
    monkeypatch.setattr(releaser, "_trusted", evidence)
    request = messages.ReleaseSeal(evidence=b"", dataset="d", kms=ref)
    assert codes(releaser.answer(request, VICTIM)) == {ReleaseDenied.code}
