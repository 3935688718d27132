"""Ways around the S3 port: the embedded servers' other ports and sockets, without credentials.

Each read is tried on the stack, where it must be refused, and on a server started as a careless
operator would (no ``security.toml``), where the same read must return the object.
"""

import base64
import hashlib
import hmac
import json
import secrets
import socket
import ssl
import stat
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest

from strongroom.connectors.access.credentials import S3Credentials
from strongroom.connectors.buckets import aws
from strongroom.connectors.host import processes
from strongroom.connectors.host.errors import StackError
from strongroom.connectors.host.folders import private_ca
from strongroom.connectors.stack import seaweed
from strongroom.connectors.stack.stack import admin_client, status

CANARY = b"canary-7f3a-in-the-rows "
BUCKET, KEY = "acme-data", "runs/r1/canary"


@dataclass(frozen=True)
class Target:
    """A SeaweedFS that holds the canary at ``path``, as chunk ``file_id``."""

    ports: dict[str, int]
    path: str
    file_id: str

    def http(self, server: str, path: str, *, tls: bool = False) -> bytes:
        """The body of a GET. Raises ``OSError`` when refused."""
        scheme = "https" if tls else "http"
        anyone = ssl.create_default_context()
        anyone.check_hostname = False
        anyone.verify_mode = ssl.CERT_NONE
        url = f"{scheme}://127.0.0.1:{self.ports[server]}{path}"
        with urllib.request.urlopen(url, timeout=5, context=anyone if tls else None) as answer:
            return answer.read()

    def grpc(self, server: str, method: str, request: bytes, *, unix: bool = False) -> bytes:
        """A call's first answer. Raises ``grpc.RpcError`` when refused."""
        port = self.ports[f"{server}_grpc"]
        target = f"unix:/tmp/seaweedfs-{server}-grpc-{port}.sock" if unix else f"127.0.0.1:{port}"
        with grpc.insecure_channel(target) as channel:
            call = channel.unary_stream(
                method, request_serializer=bytes, response_deserializer=bytes
            )
            return next(call(request, timeout=5))


def text_field(number: int, text: str) -> bytes:
    """A string field of a protobuf message."""
    data = text.encode()
    return bytes([number << 3 | 2, len(data)]) + data


def put_canary(s3) -> str:
    """The canary's path below its bucket in the filer, which keeps versions in a folder."""
    made = s3.put_object(Bucket=BUCKET, Key=KEY, Body=CANARY * 50_000)
    version = made.get("VersionId")
    return f"{KEY}.versions/v_{version}" if version else KEY


def find_file_id(
    path: str, ports: dict[str, int], context: ssl.SSLContext | None = None, token: str = ""
) -> str:
    """Where the canary's first chunk lies, told by the filer to its administrator."""
    scheme = "https" if context else "http"
    url = f"{scheme}://127.0.0.1:{ports['filer']}/buckets/{BUCKET}/{path}?metadata=true"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=5, context=context) as answer:
        chunk = json.load(answer)["chunks"][0]
    if "file_id" in chunk:
        return chunk["file_id"]
    fid = chunk["fid"]
    return f"{fid['volume_id']},{fid['file_key']:x}{fid['cookie']:08x}"


@pytest.fixture(scope="module")
def closed(embedded_stack):
    path = put_canary(admin_client(embedded_stack.state))
    ports, context, token = as_insider(embedded_stack)
    return Target(ports, path, find_file_id(path, ports, context, token))


def as_insider(embedded_stack):
    """The stack's own certificate and token key: what only this user can read."""
    folder = embedded_stack.state / "seaweedfs"
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    security = (folder / "security.toml").read_text()
    key = security.split('[jwt.filer_signing.read]\nkey = "')[1].split('"')[0]
    return embedded_stack.info.ports, context, hs256(key)


def hs256(key: str) -> str:
    def encode(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    head = json.dumps({"alg": "HS256", "typ": "JWT"}).encode()
    claims = json.dumps({"exp": int(time.time()) + 50}).encode()
    signed = f"{encode(head)}.{encode(claims)}"
    return f"{signed}.{encode(hmac.new(key.encode(), signed.encode(), hashlib.sha256).digest())}"


@pytest.fixture(scope="module")
def careless(tmp_path_factory):
    """The same server without ``security.toml``: the defence is off."""
    folder = tmp_path_factory.mktemp("careless")
    (folder / "data").mkdir()
    names = ["admin", *(name for name in seaweed.PORTS if name not in ("admin", "admin_grpc"))]
    found = processes.free_ports(len(names), offset=seaweed.ADMIN_GRPC_OFFSET)
    ports = dict(zip(names, found, strict=True))
    ports["admin_grpc"] = ports["admin"] + seaweed.ADMIN_GRPC_OFFSET
    access_key, secret_key = "CARELESS", secrets.token_hex(16)
    identity = {
        "name": "admin",
        "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
        "actions": ["Admin"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    command = [part for part in seaweed.command(ports) if "iam.config" not in part]
    log = folder / "log"
    process = processes.start(
        command, folder=folder, environment=seaweed.environment(folder), log=log
    )
    try:
        processes.wait_ready("seaweedfs", process, lambda: answers(ports["s3"]), log)
        keys = S3Credentials(access_key, secret_key, None, datetime(9999, 1, 1, tzinfo=UTC))
        s3 = aws.s3_client(keys, f"http://127.0.0.1:{ports['s3']}", "us-east-1")
        s3.create_bucket(Bucket=BUCKET)
        path = put_canary(s3)
        yield Target(ports, path, find_file_id(path, ports))
    finally:
        processes.stop("seaweedfs", process, log)
        for path in seaweed.sockets(ports):
            path.unlink(missing_ok=True)


def answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2).close()
    except OSError:
        return False
    return True


def filer_object(target, **how):
    return target.http("filer", f"/buckets/{BUCKET}/{target.path}", **how)


def filer_chunk(target, **how):
    return target.http("filer", f"/?proxyChunkId={target.file_id}", **how)


def volume_object(target, **how):
    return target.http("volume", f"/{target.file_id}", **how)


def volume_object_by_master(target, **how):
    """Ask the master for a read token, then read: closes only if the master asks who we are."""
    if how.get("tls"):
        return target.http("master", f"/{target.file_id}", **how)
    url = f"http://127.0.0.1:{target.ports['master']}/dir/lookup?read=yes&fileId={target.file_id}"
    with urllib.request.urlopen(url, timeout=5) as answer:
        token = answer.headers.get("Authorization", "")
    volume = f"http://127.0.0.1:{target.ports['volume']}/{target.file_id}"
    request = urllib.request.Request(volume, headers={"Authorization": token})
    return urllib.request.urlopen(request, timeout=5).read()


READS = [filer_object, filer_chunk, volume_object, volume_object_by_master]


@pytest.mark.parametrize("read", READS, ids=lambda read: read.__name__)
def test_http_reads_are_refused(closed, careless, read):
    for tls in (False, True):
        with pytest.raises(OSError):
            read(closed, tls=tls)
    assert CANARY in read(careless)


@pytest.mark.parametrize(
    ("server", "path", "shows"),
    [
        ("master", "/dir/status", b"Topology"),
        ("master", "/dir/assign", b"fid"),
        ("master", "/vol/status", b"Volumes"),
        ("master", "/cluster/status", b"Leader"),
        ("volume", "/status", b"Volumes"),
    ],
)
def test_servers_tell_strangers_nothing(closed, careless, server, path, shows):
    for tls in (False, True):
        with pytest.raises(OSError):
            closed.http(server, path, tls=tls)
    assert shows in careless.http(server, path)


CALLS = [
    ("filer", "/filer_pb.SeaweedFiler/ListEntries", text_field(1, f"/buckets/{BUCKET}")),
    ("filer", "/filer_pb.SeaweedFiler/SubscribeMetadata", text_field(1, "x") + text_field(2, "/")),
    ("master", "/master_pb.Seaweed/VolumeList", b""),
    ("volume", "/volume_server_pb.VolumeServer/VolumeServerStatus", b""),
]


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
@pytest.mark.parametrize(("server", "method", "request_"), CALLS, ids=lambda v: str(v)[-18:])
def test_grpc_is_refused(closed, careless, server, method, request_, unix):
    with pytest.raises(grpc.RpcError) as caught:
        closed.grpc(server, method, request_, unix=unix)
    assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED)
    assert careless.grpc(server, method, request_, unix=unix)


def test_a_certificate_of_another_authority_is_refused(closed, tmp_path):
    private_ca(tmp_path)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    for server in ("master", "volume", "filer"):
        url = f"https://127.0.0.1:{closed.ports[server]}/healthz"
        with pytest.raises(OSError):
            urllib.request.urlopen(url, timeout=5, context=context).read()


def test_the_stack_s_own_certificate_opens_them(embedded_stack, closed):
    """The control: the ports are closed by the certificate, not by being broken."""
    ports, context, token = as_insider(embedded_stack)
    headers = {"Authorization": f"Bearer {token}"}
    url = f"https://127.0.0.1:{ports['filer']}/buckets/{BUCKET}/{closed.path}"
    request = urllib.request.Request(url, headers=headers)
    assert CANARY in urllib.request.urlopen(request, timeout=5, context=context).read()
    without_token = urllib.request.Request(url)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(without_token, timeout=5, context=context)
    assert caught.value.code == 401


def test_every_listener_is_on_loopback_and_planned(embedded_stack):
    planned = set(embedded_stack.info.ports.values())
    found = set()
    for service in status(embedded_stack.state):
        for address, port in listeners(service.pid):
            assert address == "127.0.0.1", (service.name, address, port)
            found.add(port)
    assert found <= planned
    assert {embedded_stack.info.ports[name] for name in ("s3", "vault", "filer_grpc")} <= found


def listeners(pid: int) -> list[tuple[str, int]]:
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    found = []
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                raw, _, port = fields[1].partition(":")
                words = [bytes.fromhex(raw[i : i + 8])[::-1] for i in range(0, len(raw), 8)]
                found.append((socket.inet_ntop(family, b"".join(words)), int(port, 16)))
    return found


def test_no_secret_is_in_a_command_line_or_environment(embedded_stack):
    secrets_ = known_secrets(embedded_stack.state)
    assert len(secrets_) >= 18
    for service in status(embedded_stack.state):
        for name in ("cmdline", "environ"):
            shown = Path(f"/proc/{service.pid}/{name}").read_bytes()
            assert shown
            assert not [where for where, secret in secrets_.items() if secret in shown]
    # The control: the search finds a secret that is there.
    where, secret = next(iter(secrets_.items()))
    command = ["/bin/sh", "-c", "echo started; read line"]
    with subprocess.Popen(
        command, env={"KEY": secret.decode()}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as careless:
        assert careless.stdout.readline() == b"started\n"
        assert secret in Path(f"/proc/{careless.pid}/environ").read_bytes(), where


def known_secrets(state: Path) -> dict[str, bytes]:
    """Every generated secret of the stack, by where it lies."""
    found: dict[str, bytes] = {}
    for path in (state / "identity").iterdir():
        content = json.loads(path.read_bytes())
        found |= {f"{path.name} {key}": content[key].encode() for key in ("role_id", "secret_id")}
    admin = json.loads((state / "seaweedfs/s3-admin.json").read_bytes())
    found |= {f"s3-admin {key}": value.encode() for key, value in admin.items()}
    found["sts.key"] = (state / "seaweedfs/sts.key").read_bytes()
    found["key.pem"] = (state / "seaweedfs/key.pem").read_bytes().splitlines()[1]
    for line in (state / "seaweedfs/security.toml").read_text().splitlines():
        if line.startswith("key = ") and ".pem" not in line:
            found[f"security.toml {len(found)}"] = line.split('"')[1].encode()
    found["seal.key"] = (state / "openbao/seal.key").read_bytes()
    found["seal.key hex"] = (state / "openbao/seal.key").read_bytes().hex().encode()
    recovery = json.loads((state / "openbao/recovery.json").read_bytes())
    found |= {f"recovery {i}": key.encode() for i, key in enumerate(recovery["recovery_keys"])}
    return found


def test_no_secret_is_in_a_log_or_in_stack_json(embedded_stack):
    state = embedded_stack.state
    readable = [*(state / "logs").iterdir(), state / "stack.json", state / "openbao/audit.log"]
    for path in readable:
        content = path.read_bytes()
        # role_id is the name of an AppRole, which the audit log may show; its secret is not.
        for where, secret in known_secrets(state).items():
            assert secret not in content or where.endswith("role_id"), (path.name, where)


def test_the_state_is_closed_to_other_users(embedded_stack):
    state = embedded_stack.state
    data = {state / "seaweedfs/data", state / "openbao/data"}
    ours = [state, *(path for path in state.rglob("*") if not data & set(path.parents))]
    assert data < set(ours)
    for path in ours:
        assert not stat.S_IMODE(path.lstat().st_mode) & 0o077, path


def test_stack_errors_are_one_branch():
    assert all(cls.code.startswith("SR-STACK-") for cls in StackError.__subclasses__())
