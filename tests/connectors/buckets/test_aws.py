"""Answers that AWS gives and SeaweedFS does not, from a store that gives them."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from strongroom.connectors.access.credentials import S3Credentials
from strongroom.connectors.access.leases import WebIdentityLeaser
from strongroom.connectors.buckets import errors, s3
from strongroom.connectors.buckets.aws import endpoint_and_region
from strongroom.connectors.buckets.bucket import Bucket
from strongroom.connectors.buckets.open import open_bucket
from strongroom.connectors.buckets.uri import parse

KEY = "runs/r/plan.json"
GET = [f"GET {KEY}"]


@dataclass
class Aws:
    """One bucket as a role sees it that may list, if at all, below prefixes only."""

    endpoint: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    lists: bool = True
    denials: int = 0
    """Reads of what is there that are denied, too."""
    conflicts: int = 0
    """Conditional puts that are told of a conflict."""
    seen: list[str] = field(default_factory=list)

    def read(self, key: str) -> tuple[int, str, bytes]:
        if key in self.objects and self.denials == 0:
            return 200, "", self.objects[key]
        self.denials -= key in self.objects
        return 403, "AccessDenied", b""

    def list(self, prefix: str) -> tuple[int, str, bytes]:
        if not self.lists:
            return 403, "AccessDenied", b""
        keys = sorted(key for key in self.objects if key.startswith(prefix))[:1]
        found = "".join(f"<Contents><Key>{key}</Key></Contents>" for key in keys)
        return 200, "", f"<ListBucketResult>{found}</ListBucketResult>".encode()

    def create(self, key: str, data: bytes) -> tuple[int, str, bytes]:
        if self.conflicts > 0:
            self.conflicts -= 1
            return 409, "ConditionalRequestConflict", b""
        if key in self.objects:
            return 412, "PreconditionFailed", b""
        self.objects[key] = data
        return 200, "", b""


@pytest.fixture
def aws() -> Iterator[Aws]:
    store = Aws()

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            url = urlsplit(self.path)
            key = url.path.removeprefix("/acme-data").removeprefix("/")
            store.seen.append(f"{self.command} {key}")
            if self.command == "PUT":
                status, code, payload = store.create(key, body)
            elif key:
                status, code, payload = store.read(key)
            else:
                status, code, payload = store.list(parse_qs(url.query)["prefix"][0])
            payload = f"<Error><Code>{code}</Code></Error>".encode() if code else payload
            self.send_response(status)
            self.send_header("ETag", '"tag"')
            self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else payload)

        do_GET = do_PUT = do_HEAD = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    store.endpoint = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield store
    server.shutdown()
    server.server_close()


def opened(aws: Aws) -> Bucket:
    held = S3Credentials("AK", "secret", "token", datetime.now(UTC) + timedelta(hours=1))
    return open_bucket(parse("s3://acme-data/"), credentials=lambda: held, endpoint=aws.endpoint)


def reads(bucket: Bucket) -> tuple[object, ...]:
    """What each kind of read raises."""
    raised = []
    for read in (
        lambda: bucket.get(KEY),
        lambda: bucket.head(KEY),
        lambda: bucket.get_range(KEY, 0, 1),
        lambda: list(bucket.stream(KEY)),
    ):
        with pytest.raises(errors.BucketError) as caught:
            read()
        assert caught.value.place == f"s3://acme-data/{KEY}"
        raised.append(type(caught.value))
    return tuple(raised)


@pytest.mark.parametrize("neighbours", [[], [KEY + "2"], ["runs/r/plan.jsom"]])
def test_a_denied_key_that_no_list_shows_is_missing(aws, neighbours):
    aws.objects = dict.fromkeys(neighbours, b"x")
    assert set(reads(opened(aws))) == {errors.ObjectMissing}


def test_control_without_the_right_to_list_a_denial_stands(aws):
    aws.lists = False
    assert set(reads(opened(aws))) == {errors.AccessDenied}


def test_a_denied_key_that_is_there_stays_denied(aws):
    aws.objects, aws.denials = {KEY: b"x"}, 1000
    assert set(reads(opened(aws))) == {errors.AccessDenied}
    aws.seen.clear()
    with pytest.raises(errors.AccessDenied):
        opened(aws).get(KEY)
    assert aws.seen == [*GET, "GET ", *GET]


def test_an_object_that_comes_between_denial_and_list_is_read(aws):
    aws.objects, aws.denials = {KEY: b"late"}, 1
    assert opened(aws).get(KEY) == (b"late", '"tag"')


def test_no_list_is_asked_for_what_can_be_read(aws):
    aws.objects = {KEY: b"x"}
    opened(aws).get(KEY)
    assert aws.seen == GET


@pytest.fixture
def short_pauses(monkeypatch):
    monkeypatch.setattr(s3, "CONFLICT_PAUSES_S", (0.01, 0.01, 0.01))


@pytest.mark.usefixtures("short_pauses")
def test_a_put_that_conflicts_with_another_is_tried_again(aws):
    aws.conflicts = 3
    assert opened(aws).create(KEY, b"mine") == '"tag"'
    assert aws.objects == {KEY: b"mine"}


@pytest.mark.usefixtures("short_pauses")
def test_the_loser_of_a_conflict_learns_that_it_lost(aws):
    aws.objects, aws.conflicts = {KEY: b"theirs"}, 1
    with pytest.raises(errors.ObjectExists):
        opened(aws).create(KEY, b"mine")
    assert aws.objects == {KEY: b"theirs"}


@pytest.mark.usefixtures("short_pauses")
def test_conflicts_that_do_not_end_are_a_busy_store(aws):
    aws.conflicts = 1000
    with pytest.raises(errors.StoreBusy):
        opened(aws).create(KEY, b"mine")
    assert len(aws.seen) == 4


def test_control_without_another_try_one_conflict_ends_it(aws, monkeypatch):
    monkeypatch.setattr(s3, "CONFLICT_PAUSES_S", ())
    aws.conflicts = 1
    with pytest.raises(errors.StoreBusy):
        opened(aws).create(KEY, b"mine")


@pytest.mark.parametrize(
    ("endpoint", "meant"),
    [
        ("https://s3.eu-central-1.amazonaws.com", (None, "eu-central-1")),
        ("https://s3.us-gov-west-1.amazonaws.com/", (None, "us-gov-west-1")),
        (None, (None, "us-east-1")),
        *(
            (other, (other, "us-east-1"))
            for other in (
                "http://127.0.0.1:8333",
                "http://s3.eu-central-1.amazonaws.com",
                "https://s3.amazonaws.com",
                "https://s3.eu-central-1.amazonaws.com.example",
                "https://s3.eu-central-1.amazonaws.com:8443",
                "https://acme.s3.eu-central-1.amazonaws.com",
                "https://s3.example.amazonaws.com",
            )
        ),
    ],
)
def test_an_endpoint_names_aws_in_a_region_or_another_store(endpoint, meant):
    assert endpoint_and_region(endpoint) == meant


def test_tokens_go_to_the_region_s_own_service(monkeypatch):
    monkeypatch.setenv("AWS_STS_REGIONAL_ENDPOINTS", "legacy")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    for region in ("eu-central-1", "us-east-1"):
        own = f"https://s3.{region}.amazonaws.com"
        endpoint, named = endpoint_and_region(own)
        leaser = WebIdentityLeaser(lambda: "", endpoint, "role", "run", named)
        assert leaser._sts.meta.endpoint_url == f"https://sts.{region}.amazonaws.com"
        # As it was before: tokens would go to the bucket's service.
        leaser = WebIdentityLeaser(lambda: "", own, "role", "run", named)
        assert leaser._sts.meta.endpoint_url == own
