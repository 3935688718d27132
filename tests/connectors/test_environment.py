"""No client of ours takes an address, proxy, authority or credential from the environment."""

from __future__ import annotations

import contextlib
import http.server
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import requests
from botocore.exceptions import ClientError
from hvac.exceptions import InvalidPath

from strongroom.connectors.access.credentials import S3Credentials
from strongroom.connectors.access.identity import new_client
from strongroom.connectors.access.leases import WebIdentityLeaser
from strongroom.connectors.access.scopes import Scope
from strongroom.connectors.buckets.aws import s3_client
from strongroom.connectors.buckets.open import open_bucket
from strongroom.connectors.buckets.uri import parse
from strongroom.connectors.stack import openbao
from strongroom.errors import StrongroomError
from strongroom.pipeline.cli import main


class Server:
    """Answers 404 to everything, and counts."""

    def __init__(self) -> None:
        heard: list[str] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def _answer(self) -> None:
                heard.append(self.path)
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_HEAD = do_PUT = do_POST = do_CONNECT = _answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.heard = heard
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def store() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Where every variable points that we know of."""
    server = Server()
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, server.url)
        monkeypatch.setenv(name.upper(), server.url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in (
        *("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT"),
        *("VAULT_ADDR", "BAO_ADDR", "STORAGE_EMULATOR_HOST", "GOOGLE_BASE_URL"),
        *("AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_METADATA_ENDPOINT"),
    ):
        monkeypatch.setenv(name, server.url)
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nonexistent")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent")
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    monkeypatch.setenv("AWS_USE_DUALSTACK_ENDPOINT", "true")
    yield server
    server.close()


def credentials() -> S3Credentials:
    return S3Credentials("key", "secret", None, datetime.now(UTC) + timedelta(hours=1))


def lease(url: str) -> object:
    leaser = WebIdentityLeaser(lambda: "token", url, "arn:aws:iam::000000000000:role/x", "test")
    return leaser.lease(Scope(bucket="acme-data", read=("p/",)), 900, "data-read")


CLIENTS: dict[str, Callable[[str], object]] = {
    "obstore, S3": lambda url: open_bucket(
        parse("s3://bucket/p/"), credentials=credentials, endpoint=url
    ).head("p/x"),
    "boto3, S3": lambda url: s3_client(credentials(), url, "us-east-1").head_bucket(Bucket="b"),
    "boto3, STS": lease,
    "obstore, GCS": lambda url: open_bucket(parse("gs://bucket/p/"), endpoint=url).head("p/x"),
    "google-cloud-storage": lambda url: open_bucket(parse("gs://bucket/p/"), endpoint=url).create(
        "p/x", b"data"
    ),
    "hvac": lambda url: new_client(url, "token").read("secret/x"),
    "requests, health": lambda url: openbao.answers(url),
}


@pytest.mark.parametrize("client", CLIENTS)
def test_traffic_goes_where_the_caller_says(client: str, store: Server, elsewhere: Server) -> None:
    with contextlib.suppress(StrongroomError, ClientError, InvalidPath, OSError):
        CLIENTS[client](store.url)
    assert store.heard
    assert elsewhere.heard == []


def test_a_client_that_is_not_told_would_go_through_the_proxy(
    store: Server, elsewhere: Server
) -> None:
    requests.get(store.url, timeout=5)
    assert elsewhere.heard
    assert not store.heard


def test_the_command_forgets_what_steers_clients(
    elsewhere: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    monkeypatch.setenv("OPENSSL_CONF", "/nonexistent")
    monkeypatch.setenv("STRONGROOM_STATE", "/state")
    monkeypatch.setattr(main, "app", lambda: None)
    before = dict(os.environ)
    try:
        main.main()
        assert not {
            name
            for name in os.environ
            if name.lower().endswith("_proxy") or name in ("SSL_CERT_FILE", "OPENSSL_CONF")
        }
        assert os.environ["STRONGROOM_STATE"] == "/state"
    finally:
        os.environ.update(before)
