"""Whatever a store answers becomes an error of our own, and no text of the store gets into it."""

from __future__ import annotations

import http.server
import logging
import pickle
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from strongroom.connectors.access.credentials import S3Credentials
from strongroom.connectors.buckets import errors, s3
from strongroom.connectors.buckets.open import open_bucket
from strongroom.connectors.buckets.uri import parse
from strongroom.errors import Exit, Fault, StrongroomError
from strongroom.errors.registry import all_codes

SECRET = "hunter2-" + "s3cr3t" * 4


class SourceDown(StrongroomError):
    """Stands for the error of a lease."""

    code = "SR-TEST-001"
    title = "the source is down"


@dataclass
class Answers:
    """A store that gives one answer to everything, and repeats a secret in its text."""

    endpoint: str
    status: int = 500
    code: str = ""
    seen: int = 0
    delay_s: float = 0


@pytest.fixture
def answers() -> Iterator[Answers]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            found.seen += 1
            time.sleep(found.delay_s)
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            code = f"<Code>{found.code}</Code>" if found.code else ""
            body = f"<?xml version='1.0'?><Error>{code}<Message>{SECRET}</Message></Error>"
            payload = b"" if self.command == "HEAD" else body.encode()
            self.send_response(found.status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Answers(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def small_puts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that 20 MiB go through boto3, in parts, and less through obstore."""
    monkeypatch.setattr(s3, "PUT_BYTES", 8 << 20)


def good() -> S3Credentials:
    return S3Credentials("AK", SECRET, SECRET, datetime.now(UTC) + timedelta(hours=1))


def opened(endpoint, source=good):
    return open_bucket(parse("s3://acme-data/"), credentials=source, endpoint=endpoint)


def everything_about(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error.__context__) + repr(vars(error))


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "ExpiredToken", errors.CredentialsExpired),
        (403, "TokenRefreshRequired", errors.CredentialsExpired),
        (403, "InvalidAccessKeyId", errors.CredentialsRefused),
        (403, "SignatureDoesNotMatch", errors.CredentialsRefused),
        (403, "RequestTimeTooSkewed", errors.CredentialsRefused),
        (401, "", errors.CredentialsRefused),
        (403, "AccessDenied", errors.AccessDenied),
        (403, "", errors.AccessDenied),
        (404, "NoSuchBucket", errors.BucketMissing),
        (404, "NoSuchKey", errors.ObjectMissing),
        (301, "PermanentRedirect", errors.WrongRegion),
        (400, "AuthorizationHeaderMalformed", errors.WrongRegion),
        (403, "QuotaExceeded", errors.StoreFull),
        (507, "XMinioStorageFull", errors.StoreFull),
        (507, "", errors.StoreFull),
        (405, "ReadOnly", errors.StoreReadOnly),
        (429, "SlowDown", errors.StoreBusy),
        (418, "Teapot", errors.StoreFault),
        (400, "<script>", errors.StoreFault),
    ],
)
def test_each_answer_has_its_error(answers, status, code, expected, caplog):
    caplog.set_level(logging.DEBUG)
    answers.status, answers.code = status, code
    bucket = opened(answers.endpoint)
    for act in (
        lambda: bucket.get("a/b"),
        lambda: bucket.head("a/b"),
        lambda: bucket.create("a/b", b"data"),
        lambda: list(bucket.list("a/")),
    ):
        with pytest.raises(expected) as caught:
            act()
        assert type(caught.value) is expected
        assert caught.value.place.startswith("s3://acme-data/a/")
        assert caught.value.fix
        assert str(status) in caught.value.actual or "redirect" in caught.value.actual
        assert SECRET not in everything_about(caught.value)
        assert "script" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [(412, "PreconditionFailed", errors.ObjectExists), (403, "AccessDenied", errors.AccessDenied)],
)
def test_a_large_create_maps_its_answers_too(answers, status, code, expected):
    answers.status, answers.code = status, code
    with pytest.raises(expected) as caught:
        opened(answers.endpoint).create("a/b", (bytes(9 << 20) for _ in range(2)))
    assert SECRET not in everything_about(caught.value)


def test_replace_maps_a_failed_condition(answers):
    answers.status, answers.code = 412, "PreconditionFailed"
    with pytest.raises(errors.ObjectChanged):
        opened(answers.endpoint).replace("a/b", b"data", '"etag"')


def test_no_connection_is_unreachable():
    endpoint = "http://127.0.0.1:1"
    bucket = opened(endpoint)
    for act in (
        lambda: bucket.get("a"),
        lambda: bucket.create("a", b""),
        lambda: bucket.create("a", bytes(20 << 20)),
        lambda: next(bucket.list("")),
    ):
        with pytest.raises(errors.BucketUnreachable) as caught:
            act()
        assert endpoint in caught.value.expected


def test_unreachable_gs_and_wrong_endpoints():
    with pytest.raises(errors.BucketUnreachable):
        open_bucket(parse("gs://acme-data/"), endpoint="http://127.0.0.1:1").get("a")
    for endpoint in (
        "http://192.0.2.1:80",
        "https://user:secret@store.example",
        "https://store.example/?x=1",
        "https://store.example/path",
        "ftp://store.example",
        "store.example",
        "http://localhost.example",
    ):
        with pytest.raises(errors.EndpointRefused) as caught:
            opened(endpoint)
        assert "secret" not in str(caught.value)
    for endpoint in (None, "https://storage.googleapis.com"):
        with pytest.raises(errors.EndpointRefused):
            open_bucket(parse("gs://acme-data/"), endpoint=endpoint)


def test_the_text_of_a_failing_source_stays_inside(answers):
    def failing() -> S3Credentials:
        raise RuntimeError(SECRET)

    bucket = opened(answers.endpoint, failing)
    for act in (lambda: bucket.get("a"), lambda: bucket.create("a", bytes(20 << 20))):
        with pytest.raises(errors.CredentialsMissing) as caught:
            act()
        assert SECRET not in everything_about(caught.value)
        assert "RuntimeError" in caught.value.actual
    assert answers.seen == 0


def test_an_error_of_ours_from_the_source_arrives_as_it_is(answers):
    def failing() -> S3Credentials:
        raise SourceDown(place="a lease")

    with pytest.raises(SourceDown, match="a lease"):
        opened(answers.endpoint, failing).get("a")


def test_expired_credentials_are_not_sent(answers):
    def expired() -> S3Credentials:
        return S3Credentials("AK", SECRET, None, datetime.now(UTC) - timedelta(seconds=1))

    with pytest.raises(errors.CredentialsExpired):
        opened(answers.endpoint, expired).get("a")
    assert answers.seen == 0


def test_credentials_that_end_on_the_way_are_called_expired(answers):
    """SeaweedFS answers ``InvalidAccessKeyId`` for a session that has ended."""

    def lasting(lifetime_s: float) -> S3Credentials:
        return S3Credentials("AK", SECRET, None, datetime.now(UTC) + timedelta(seconds=lifetime_s))

    answers.status, answers.code, answers.delay_s = 403, "InvalidAccessKeyId", 0.3
    with pytest.raises(errors.CredentialsExpired):
        opened(answers.endpoint, lambda: lasting(0.2)).get("a")
    with pytest.raises(errors.CredentialsRefused):
        opened(answers.endpoint, lambda: lasting(60)).get("a")


def test_the_environment_is_not_asked(answers, monkeypatch):
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
        "AWS_ENDPOINT": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": "FROM-ENVIRONMENT",
        "AWS_SKIP_SIGNATURE": "true",
        "AWS_PROFILE": "no-such-profile",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true",
    }.items():
        monkeypatch.setenv(name, value)
    answers.status, answers.code = 403, "AccessDenied"
    bucket = opened(answers.endpoint)
    for data in (b"", bytes(20 << 20)):
        before = answers.seen
        with pytest.raises(errors.AccessDenied):
            bucket.create("a", data)
        assert answers.seen > before


def test_a_bucket_needs_a_source():
    with pytest.raises(errors.CredentialsMissing):
        open_bucket(parse("s3://acme-data/"))


def test_credentials_hide_and_stay():
    found = good()
    assert SECRET not in repr(found)
    assert "AK" not in repr(found)
    with pytest.raises(TypeError):
        pickle.dumps(found)
    with pytest.raises(ValueError, match="timezone"):
        S3Credentials("a", "b", None, datetime.now())


def test_every_code_is_complete():
    codes = {code: cls for code, cls in all_codes().items() if code.startswith("SR-BUCKET-")}
    assert list(codes) == [f"SR-BUCKET-{number:03}" for number in range(1, len(codes) + 1)]
    for cls in codes.values():
        assert cls.title
        assert cls.remedy
        assert cls.fault in Fault
        assert cls.exit_code != Exit.OK
        assert cls.__doc__
        assert pickle.loads(pickle.dumps(cls(place="s3://b/k"))).place == "s3://b/k"


@pytest.mark.parametrize(
    "read",
    [
        lambda bucket: bucket.get_range("a/b", 0, 100),
        lambda bucket: list(bucket.stream("a/b", chunk_bytes=100)),
    ],
    ids=["range", "stream"],
)
def test_a_store_that_sends_more_than_it_announced_is_cut_off(read):
    """It says 100 bytes, and goes on for as long as somebody reads."""
    sent_mib = 0

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.head(200)
            self.send_header("Content-Length", "100")
            self.end_headers()

        def do_GET(self) -> None:
            nonlocal sent_mib
            self.head(206)
            self.send_header("Content-Range", "bytes 0-99/100")
            self.send_header("Content-Length", str(512 << 20))
            self.end_headers()
            try:
                while sent_mib < 512:
                    self.wfile.write(bytes(1 << 20))
                    sent_mib += 1
            except OSError:
                return

        def head(self, status: int) -> None:
            self.send_response(status)
            self.send_header("ETag", '"e"')
            self.send_header("Last-Modified", "Mon, 30 Nov 2026 00:00:00 GMT")

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        with pytest.raises(errors.TransferIncomplete) as caught:
            read(opened(f"http://127.0.0.1:{server.server_port}"))
    finally:
        server.shutdown()
        server.server_close()
    assert caught.value.expected == "100 bytes"
    assert sent_mib < 64  # what a socket holds, and no more
