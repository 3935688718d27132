"""What is known about an embedded stack: the content of ``stack.json``. No secrets."""

from __future__ import annotations

from pathlib import Path

import msgspec

from strongroom.connectors.host.folders import write_private
from strongroom.connectors.host.processes import Process
from strongroom.connectors.stack.errors import StackNotFound, StackStateDamaged

_VERSION = 1
IDENTITIES = ("broker", "log", "owner", "releaser", "admin")
"""Who may log in at the stack's key service; ``provision`` says what each may do there."""


class StackInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What others need to use the stack. Holds no secret.

    ``roles``: ARN by ``broker``, ``audit``, ``log``, ``owner``. ``oidc_roles``: the OpenBao OIDC
    role whose token each of them wants. ``identities``: absolute path of the credentials file by
    ``broker``, ``log``, ``owner``, ``releaser``, ``admin``. ``public_keys``: ``ed25519:<base64>``
    by ``feedback-signer`` and ``audit-log``. ``entities``: OpenBao entity ids, the tokens' ``sub``.
    """

    version: int = _VERSION
    s3_endpoint: str
    sts_endpoint: str
    vault_addr: str
    region: str
    data_bucket: str
    audit_bucket: str
    oidc_audience: str
    roles: dict[str, str]
    oidc_roles: dict[str, str]
    identities: dict[str, str]
    public_keys: dict[str, str]
    entities: dict[str, str]
    token_duration_s: int
    ports: dict[str, int]
    processes: dict[str, Process]

    @staticmethod
    def load(state: Path) -> StackInfo:
        """Read ``stack.json``. Raises ``StackNotFound`` and ``StackStateDamaged``."""
        path = Path(state) / "stack.json"
        try:
            info = msgspec.json.decode(path.read_bytes(), type=StackInfo)
        except (FileNotFoundError, NotADirectoryError):
            raise StackNotFound(place=str(state)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
            raise StackStateDamaged(place=str(path), actual=type(error).__name__) from None
        if info.version != _VERSION:
            raise StackStateDamaged(
                place=str(path), expected=f"version {_VERSION}", actual=str(info.version)
            )
        # The folder may have been moved since.
        return msgspec.structs.replace(info, identities=identity_files(Path(state)))


class ServiceStatus(msgspec.Struct, frozen=True):
    """One server of the stack: whether it runs, and where."""

    name: str
    running: bool
    endpoint: str
    pid: int
    log: str


def identity_files(state: Path) -> dict[str, str]:
    """The absolute path of each identity's credentials file, by its name."""
    folder = state.absolute() / "identity"
    return {name: str(folder / f"{name}.json") for name in IDENTITIES}


def log_file(state: Path, name: str) -> Path:
    """Where the server ``name`` prints."""
    return state / "logs" / f"{name}.log"


def save(state: Path, info: StackInfo) -> None:
    """Write ``stack.json``. Raises ``StackFolderUnusable``."""
    encoded = msgspec.json.format(msgspec.json.encode(info), indent=2)
    write_private(state / "stack.json", encoded)
