"""Short-lived S3 credentials as one value.

Invariants: the secret parts never appear in ``repr`` or ``str``, and the value refuses to be
pickled or copied, so that credentials stay in the process that leased them. It does no I/O and
does not refresh itself; see ``connectors.access.leases`` for that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NoReturn


@dataclass(frozen=True)
class S3Credentials:
    """One set of S3 credentials.

    ``expires_at`` is timezone-aware; ``session_token`` is ``None`` only for static keys, which
    tests and the set-up of the embedded stack use. Raises ``ValueError`` for a naive expiry.
    """

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    session_token: str | None = field(repr=False)
    expires_at: datetime

    def __post_init__(self) -> None:
        if self.expires_at.tzinfo is None:
            raise ValueError("expires_at must carry a timezone")

    def remaining_s(self) -> float:
        """Seconds until the credentials expire; negative once they have."""
        return (self.expires_at - datetime.now(UTC)).total_seconds()

    def __reduce__(self) -> NoReturn:
        raise TypeError("credentials do not leave the process that leased them")


CredentialSource = Callable[[], S3Credentials]
"""Returns credentials that are valid now. Called often, from several threads: cache inside."""
