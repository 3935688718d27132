"""Who a process is: an AppRole login at OpenBao (or Vault), and OIDC tokens from it.

The long-lived secret is one JSON file, ``{"addr", "role_id", "secret_id"}``, readable by its
owner only. Everything derived from it is short-lived, kept in memory, and renewed by logging in
again: no token is ever written to disk. Servers' messages are not repeated in errors.
"""

from __future__ import annotations

import base64
import binascii
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import hvac
import msgspec
import requests
from hvac import exceptions as vault

from strongroom.connectors.access.errors import (
    IdentityElsewhere,
    IdentityFileUnusable,
    IdentityRefused,
    IdentitySealed,
    IdentityUnreachable,
)
from strongroom.connectors.host.private_files import NotPrivate, read_private
from strongroom.errors import bounded_json

T = TypeVar("T")

REQUEST_TIMEOUT_S = 15
_RENEW_SHARE = 0.2
"""A token is replaced once less than this share of its life remains."""
_PAUSES_S = (0.2, 0.5, 1.0)
"""Before asking again while a cluster has no active node: it answers 500 until one is elected."""


class AppRoleFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of a credentials file; ``repr`` shows only the address."""

    addr: str
    role_id: str
    secret_id: str

    def __repr__(self) -> str:
        return f"AppRoleFile(addr={self.addr!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("credentials do not leave the process that read them")

    @classmethod
    def read(cls, path: Path) -> AppRoleFile:
        """Read and check a credentials file.

        Raises ``IdentityFileUnusable`` when it is missing, not of this form, not a plain file,
        or readable by anybody but its owner.
        """
        place = str(path)
        try:
            content = read_private(path, max_bytes=64 * 1024)
        except NotPrivate as reason:
            raise IdentityFileUnusable(place=place, actual=str(reason)) from None
        try:
            return bounded_json.decode(content, shape=cls)
        except msgspec.DecodeError:
            raise IdentityFileUnusable(place=place, actual="content of another form") from None


class VaultSession:
    """A logged-in client that logs in again before its token ends, or when it is refused.

    Thread safe. The file names the one address that it is sent to. Raises the ``Identity…``
    errors; ``IdentityElsewhere``, before anything is sent, where ``addr`` is another one.
    """

    def __init__(self, credentials_file: Path, addr: str | None = None) -> None:
        self._file = Path(credentials_file)
        self._lock = threading.Lock()
        self._client: hvac.Client | None = None
        self._renew_at = 0.0
        self.addr = AppRoleFile.read(self._file).addr
        if addr is not None and addr.rstrip("/") != self.addr.rstrip("/"):
            raise IdentityElsewhere(place=str(self._file), expected=self.addr, actual=addr)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a login does not leave the process that made it")

    def call(self, request: Callable[[hvac.Client], T]) -> T:
        """Run ``request`` with a client; log in again once if its token is no longer accepted.

        ``request`` must be safe to repeat: it is repeated while the service answers 500. Lets
        ``hvac`` and ``requests`` exceptions of the request itself through, for the caller to
        translate; a failing login raises the ``Identity…`` errors.
        """
        client = self._logged_in(None)
        try:
            return _patiently(lambda: request(client))
        except vault.Forbidden:
            # Either the policy says no, or the token died early (a restart, a revocation).
            if self._token_works(client):
                raise
        return request(self._logged_in(client))

    def _token_works(self, client: hvac.Client) -> bool:
        try:
            client.auth.token.lookup_self()
        except vault.VaultError:
            return False
        return True

    def _logged_in(self, refused: hvac.Client | None) -> hvac.Client:
        with self._lock:
            current = self._client
            if current is not None and current is not refused and time.monotonic() < self._renew_at:
                return current
            client, lifetime_s = self._login()
            self._client = client
            self._renew_at = time.monotonic() + lifetime_s * (1 - _RENEW_SHARE)
            return client

    def _login(self) -> tuple[hvac.Client, float]:
        identity = AppRoleFile.read(self._file)
        if identity.addr != self.addr:
            raise IdentityElsewhere(place=str(self._file), expected=self.addr, actual=identity.addr)
        client = new_client(self.addr)
        try:
            answer = _patiently(
                lambda: client.auth.approle.login(identity.role_id, identity.secret_id)
            )
            return client, float(answer["auth"]["lease_duration"])
        except vault.VaultDown:
            raise IdentitySealed(place=self.addr) from None
        except (vault.Forbidden, vault.InvalidRequest, vault.Unauthorized):
            raise IdentityRefused(place=self.addr, actual="login refused") from None
        except (requests.RequestException, vault.VaultError) as error:
            raise IdentityUnreachable(place=self.addr, actual=type(error).__name__) from None


def _patiently(request: Callable[[], T]) -> T:
    for pause_s in _PAUSES_S:
        try:
            return request()
        except (vault.InternalServerError, vault.BadGateway):
            time.sleep(pause_s)
    return request()


def new_client(addr: str, token: str | None = None) -> hvac.Client:
    """A client that reads nothing from the environment: no token, no proxy, no certificate."""
    session = requests.Session()
    session.trust_env = False
    client = hvac.Client(
        url=addr,
        token=token or "",
        cert=(),
        verify=True,
        timeout=REQUEST_TIMEOUT_S,
        session=session,
        allow_redirects=False,
    )
    if not token:
        client.token = None
    return client


class OpenBaoTokens:
    """Called, returns an OIDC token (JWT) that OpenBao issued for ``oidc_role``.

    The token is cached until a fifth of its life remains. Thread safe. Raises the ``Identity…``
    errors.
    """

    def __init__(self, addr: str | None, credentials_file: Path, oidc_role: str) -> None:
        self._session = VaultSession(credentials_file, addr)
        self._path = f"identity/oidc/token/{oidc_role}"
        self._lock = threading.Lock()
        self._token = ""
        self._renew_at = 0.0

    def __call__(self) -> str:
        with self._lock:
            if time.time() >= self._renew_at:
                self._token = self._fetch()
                issued_at, expires_at = _lifetime(self._token)
                self._renew_at = expires_at - (expires_at - issued_at) * _RENEW_SHARE
            return self._token

    def _fetch(self) -> str:
        addr = self._session.addr
        try:
            answer: Any = self._session.call(lambda client: client.read(self._path))
        except vault.VaultDown:
            raise IdentitySealed(place=addr) from None
        except (vault.Forbidden, vault.InvalidRequest):
            raise IdentityRefused(place=addr, actual=f"no token at {self._path}") from None
        except (requests.RequestException, vault.VaultError) as error:
            raise IdentityUnreachable(place=addr, actual=type(error).__name__) from None
        if answer is None:
            raise IdentityRefused(place=addr, actual=f"no OIDC role at {self._path}")
        return str(answer["data"]["token"])


def _lifetime(token: str) -> tuple[float, float]:
    """``iat`` and ``exp`` of a JWT, unverified: only the token service must trust it."""
    try:
        body = token.split(".")[1]
        claims = bounded_json.decode(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return float(claims["iat"]), float(claims["exp"])
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error, msgspec.DecodeError):
        raise IdentityRefused(place="identity token", actual="not a JWT with iat and exp") from None
