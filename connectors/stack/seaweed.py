"""SeaweedFS of the embedded stack: its configuration files, its command, its closed doors.

One ``weed mini`` process serves S3, IAM and STS to clients, and runs master, volume, filer and
admin servers for itself. Only the S3 port takes requests without a client certificate. All others,
HTTP and gRPC alike, demand mutual TLS with the stack's private certificate, and volume and filer
demand signed tokens as well. Tokens alone are not enough: the master's HTTP port hands out read
and write tokens for any file id to any client, and every gRPC port answers without one.

The S3 port itself speaks plain HTTP on loopback: requests are signed, and objects are sealed
before they get here.
"""

from __future__ import annotations

import base64
import http.client
import json
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from strongroom.connectors.host.errors import StackBinaryMissing
from strongroom.connectors.host.folders import made_once, private_ca, private_folder, write_private

ACCOUNT = "000000000000"
PROVIDER = "openbao"
SERVERS = ("master", "volume", "filer", "s3", "admin")
PORTS = tuple(f"{server}{suffix}" for server in SERVERS for suffix in ("", "_grpc"))
"""Names of the ports that one SeaweedFS needs."""

ADMIN_GRPC_OFFSET = 10_000
"""Its worker looks for the admin server's gRPC port here, whatever it is told."""

LONGEST_SESSION = "1h"
_VOLUME_SIZE_MB = 1024
_VOLUMES = 512
_ADMIN = "s3-admin.json"


def binary() -> Path:
    """The ``weed`` program of this environment. Raises ``StackBinaryMissing``."""
    path = Path(sys.executable).parent / "weed"
    if not path.is_file():
        raise StackBinaryMissing(place=str(path), actual="no such file")
    return path


def role_arn(name: str) -> str:
    """The ARN of one of the stack's roles."""
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


def make_secrets(folder: Path) -> None:
    """Make, once, the certificate, the token keys and the administrator's key of this stack."""
    private_folder(folder)
    if not (folder / "key.pem").exists():
        private_ca(folder)
    made_once(folder / "security.toml", _security)
    made_once(folder / "sts.key", lambda: base64.b64encode(secrets.token_bytes(48)))
    made_once(folder / _ADMIN, _admin_key)


def admin_key(folder: Path) -> tuple[str, str]:
    """Access key and secret key of the stack's administrator."""
    key = json.loads((folder / _ADMIN).read_bytes())
    return key["access_key"], key["secret_key"]


def write_configuration(
    folder: Path,
    *,
    issuer: str,
    audience: str,
    subjects: Mapping[str, str],
    policies: Mapping[str, dict[str, object]],
    token_duration_s: int,
) -> bool:
    """Write ``s3.json`` and ``iam.json``; whether either differs from what was there.

    ``subjects`` maps each role to the only ``oidc:sub`` that may assume it, ``policies`` each role
    to its policy document.
    """
    access_key, secret_key = admin_key(folder)
    identity = {
        "name": "admin",
        "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
        "actions": ["Admin"],
    }
    iam = {
        "sts": {
            "tokenDuration": f"{token_duration_s}s",
            "maxSessionLength": LONGEST_SESSION,
            "issuer": "strongroom-embedded",
            "signingKey": (folder / "sts.key").read_text(),
        },
        "providers": [
            {
                "name": PROVIDER,
                "type": "oidc",
                "enabled": True,
                "config": {
                    "issuer": f"{issuer}/v1/identity/oidc",
                    "clientId": audience,
                    "jwksUri": f"{issuer}/v1/identity/oidc/.well-known/keys",
                },
            }
        ],
        "policy": {"defaultEffect": "Deny", "storeType": "memory"},
        "roles": [_role(role, subject) for role, subject in subjects.items()],
        "policies": [{"name": role, "document": document} for role, document in policies.items()],
    }
    wanted = {"s3.json": {"identities": [identity]}, "iam.json": iam}
    changed = False
    for name, content in wanted.items():
        encoded = json.dumps(content, indent=1).encode()
        path = folder / name
        if not path.exists() or path.read_bytes() != encoded:
            write_private(path, encoded)
            changed = True
    return changed


def _role(role: str, subject: str) -> dict[str, object]:
    trust = {
        "Effect": "Allow",
        "Principal": {"Federated": PROVIDER},
        "Action": ["sts:AssumeRoleWithWebIdentity"],
        "Condition": {"StringEquals": {"oidc:sub": subject}},
    }
    return {
        "roleName": role,
        "roleArn": role_arn(role),
        "trustPolicy": {"Version": "2012-10-17", "Statement": [trust]},
        "attachedPolicies": [role],
    }


def command(ports: Mapping[str, int]) -> list[str]:
    """The server's command line, to be run in its folder. It holds no secret."""
    options = [
        "-dir=data",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-master.telemetry=false",
        f"-master.volumeSizeLimitMB={_VOLUME_SIZE_MB}",
        f"-volume.max={_VOLUMES}",
        "-volume.preStopSeconds=0",
        "-filer.localSocket=filer.sock",
        "-filer.exposeDirectoryData=false",
        "-s3.localSocket=s3.sock",
        "-s3.config=s3.json",
        "-s3.iam.config=iam.json",
        "-s3.autoCreateBucket=false",
        "-s3.allowDeleteBucketNotEmpty=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-webdav=false",
        "-admin.ui=false",
    ]
    for server in SERVERS:
        options.append(f"-{server}.port={ports[server]}")
        options.append(f"-{server}.port.grpc={ports[f'{server}_grpc']}")
    return [str(binary()), "-logtostderr=true", "mini", *options]


def environment(folder: Path) -> dict[str, str]:
    """The server's environment. Go's memory limit keeps a busy server near 300 MB."""
    return {"HOME": str(folder), "GOMEMLIMIT": "300MiB"}


def sockets(ports: Mapping[str, int]) -> list[Path]:
    """Sockets that ``weed`` makes at fixed places, and does not always remove.

    They lead to the same gRPC servers and demand the same certificate.
    """
    return [
        Path(f"/tmp/seaweedfs-{server}-grpc-{ports[f'{server}_grpc']}.sock")  # noqa: S108
        for server in SERVERS
    ]


def healthy(port: int) -> bool:
    """Whether S3 answers and the token service is there.

    The server starts without its token service when it cannot read ``iam.json``; then an STS
    request is answered 405 instead of being judged.
    """
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    question = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            return False
        connection.request("POST", "/", question, headers)
        return connection.getresponse().status == 400
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _admin_key() -> bytes:
    key = {
        "access_key": "SR" + secrets.token_hex(9).upper(),
        "secret_key": secrets.token_urlsafe(32),
    }
    return json.dumps(key).encode()


def _security() -> bytes:
    """``security.toml``, with paths relative to the server's folder."""
    parts = ["[filer.expose_directory_metadata]\nenabled = false\n", '[grpc]\nca = "ca.pem"\n']
    for purpose in ("signing", "signing.read", "filer_signing", "filer_signing.read"):
        key = secrets.token_hex(32)
        parts.append(f'[jwt.{purpose}]\nkey = "{key}"\nexpires_after_seconds = 60\n')
    pair = 'cert = "cert.pem"\nkey = "key.pem"\n'
    users = ("msg_broker", "msg_agent", "worker", "mq", "client", *SERVERS)
    parts += [f"[grpc.{user}]\n{pair}" for user in users]
    parts += [f'[https.{s}]\n{pair}ca = "ca.pem"\n' for s in ("master", "volume", "filer", "admin")]
    parts.append(f'[https.client]\nenabled = true\n{pair}ca = "ca.pem"\n')
    return "\n".join(parts).encode()
