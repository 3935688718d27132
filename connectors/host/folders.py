"""The state folder of the embedded stack: private, and written so that a crash leaves no half file.

The folder and its sub-folders are 0700, files are 0600. Secrets are made here once and read back
afterwards; they never go through a command line or an environment.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import ipaddress
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from strongroom.connectors.host.errors import StackFolderUnusable

_CERTIFICATE_DAYS = 3650


def private_folder(path: Path) -> Path:
    """Make ``path`` a folder that only this user can enter, or check that it is one.

    Raises ``StackFolderUnusable`` when it cannot be made, is not a folder, or is another user's.
    """
    place = str(path)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
        if found.st_uid != os.geteuid():
            raise StackFolderUnusable(
                place=place, expected="a folder of this user", actual=f"owner {found.st_uid}"
            )
        if stat.S_IMODE(found.st_mode) & 0o077:
            path.chmod(0o700)
        if not os.access(path, os.W_OK | os.X_OK):
            raise StackFolderUnusable(place=place, actual="not writable")
    except OSError as error:
        raise StackFolderUnusable(place=place, actual=os.strerror(error.errno or 0)) from None
    return path


def write_private(path: Path, content: bytes) -> None:
    """Write a 0600 file in one step: readers see the old content or the new, never a part."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(fresh, flags, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        raise StackFolderUnusable(place=str(path), actual=os.strerror(error.errno or 0)) from None


def made_once(path: Path, make: Callable[[], bytes]) -> bytes:
    """The content of ``path``, made by ``make`` the first time."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        content = make()
        write_private(path, content)
        return content


@contextmanager
def locked(state: Path) -> Iterator[None]:
    """Hold the stack's lock: one ``up`` or ``down`` at a time, others wait."""
    try:
        descriptor = os.open(state / "stack.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StackFolderUnusable(place=str(state), actual=os.strerror(error.errno or 0)) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def private_ca(folder: Path) -> None:
    """Write ``ca.pem``, ``cert.pem`` and ``key.pem``: one certificate that both ends show.

    The authority's key is dropped, so no second certificate can be issued: a client must hold
    ``key.pem``.
    """
    now = dt.datetime.now(dt.UTC)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority_name = _name("strongroom embedded stack")
    lasts_until = now + dt.timedelta(days=_CERTIFICATE_DAYS)
    authority = (
        x509.CertificateBuilder()
        .subject_name(authority_name)
        .issuer_name(authority_name)
        .public_key(authority_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(lasts_until)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    both_ends = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_name("seaweedfs"))
        .issuer_name(authority_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(lasts_until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(both_ends), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    write_private(folder / "ca.pem", authority.public_bytes(pem))
    write_private(folder / "cert.pem", certificate.public_bytes(pem))
    write_private(
        folder / "key.pem",
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
