"""A releaser's settings, of which a test names what it is about."""

from __future__ import annotations

from typing import Any

from strongroom.pipeline.releaser.config import ReleaserConfig
from support import kept_log


def settings(**named: Any) -> ReleaserConfig:
    """Settings of a releaser that releases nothing to nobody, changed by ``named``."""
    nothing: dict[str, Any] = {
        "socket": "unused",
        "credentials_file": "unused",
        "vault_addr": "http://127.0.0.1:8200",
        "policy": "unused",
        "min_assurance": "A1",
        "measurements": (),
        "signers": (),
        "manifest_signer": "unused",
        "keys": (),
        "log": kept_log.SETTINGS,
    }
    return ReleaserConfig(**nothing | named)
