"""Logins against a service that fails for a while; what works is in test_kms and test_leases."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hvac.exceptions import InternalServerError

from strongroom.connectors.access import identity
from strongroom.connectors.access.errors import IdentityUnreachable
from strongroom.connectors.access.identity import VaultSession
from strongroom.connectors.host.folders import write_private


@contextmanager
def electing(logins: int, reads: int) -> Iterator[str]:
    """A cluster without an active node for so many requests of each kind; yields its address.

    A real one says so for some milliseconds after its leader stepped down.
    """
    left = {"POST": logins, "GET": reads}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # how hvac logs in
            self._answer({"auth": {"client_token": "t", "lease_duration": 60}})

        def do_GET(self) -> None:
            self._answer({"data": {"value": "here"}})

        def _answer(self, content: dict[str, object]) -> None:
            method = "GET" if self.command == "GET" else "POST"
            left[method] -= 1
            failing = left[method] >= 0
            body = {"errors": ["local node not active but active cluster node not found"]}
            data = json.dumps(body if failing else content).encode()
            self.send_response(500 if failing else 200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def session(folder: Path, addr: str) -> VaultSession:
    path = folder / "identity.json"
    write_private(path, json.dumps({"addr": addr, "role_id": "r", "secret_id": "s"}).encode())
    return VaultSession(path)


@pytest.mark.parametrize(("logins", "reads"), [(0, 0), (1, 0), (0, 1), (3, 3)])
def test_a_cluster_that_elects_a_leader_is_asked_again(logins, reads, tmp_path):
    with electing(logins, reads) as addr:
        answer = session(tmp_path, addr).call(lambda client: client.read("kv/thing"))
    assert answer["data"] == {"value": "here"}


def test_a_service_that_stays_broken_is_not_asked_for_ever(tmp_path):
    tries = len(identity._PAUSES_S) + 1
    with electing(0, tries) as addr, pytest.raises(InternalServerError):
        session(tmp_path, addr).call(lambda client: client.read("kv/thing"))
    with electing(tries, 0) as addr, pytest.raises(IdentityUnreachable):
        session(tmp_path, addr).call(lambda client: client.read("kv/thing"))
