"""A policy bundle: a folder with rules (``*.rego``), their manifest and the customer's settings.

``manifest.json`` lists every rule that must pass; ``data.json`` holds the settings. Both are read
strictly, so that a misspelt setting is an error and never an open door. The digest is over the
canonical contents, and over nothing else in the folder.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from strongroom.crypto.digests import Sha256, canonical, digest_of, sha256
from strongroom.errors import bounded_json
from strongroom.errors.regular_files import read_beneath
from strongroom.policies.errors import (
    BundleInUse,
    BundleMalformed,
    BundleMissing,
    BundleNotWritten,
    SettingsInvalid,
    SettingsMalformed,
)

MAX_FILE_BYTES = 1 << 20
MAX_FILES = 256
SHIPPED = Path(__file__).parent / "rules"
"""The rules of this release with their cases, as a bundle with default settings."""
_JSON = ("manifest.json", "data.json")
_MODULE = re.compile(r"[a-z][a-z0-9_]{0,63}\.rego")

T = TypeVar("T")
RuleId = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,63}\Z")]
Folder = Annotated[str, Meta(pattern=r"/\Z")]
Digest = Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One rule of the manifest: its id, what it holds, which control it serves."""

    id: RuleId
    title: str
    control: str
    path: str
    """Where in the run file a denial points when the rule names no place itself."""
    waivable: bool
    early: bool = False
    """Whether it looks at the run file alone and at what follows from it: then it is asked before
    anything is connected, and again with all others."""


class _Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    version: Literal[1]
    rules: Annotated[tuple[Rule, ...], Meta(min_length=1)]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a customer decides. The defaults admit nothing: signers, keys and buckets are theirs."""

    signers: tuple[Annotated[str, Meta(pattern=r"^ed25519:")], ...] = ()
    """Public keys that may sign datasets: ``ed25519:<base64>``."""
    output_prefixes: tuple[Folder, ...] = ()
    """Where runs may write, such as ``s3://acme-data/runs/``."""
    audit_prefixes: tuple[Folder, ...] = ()
    """Where audit logs may lie."""
    kms_prefixes: tuple[Folder, ...] = ()
    """Key references that are the customer's, such as ``vault://transit/``."""
    kms_owners: tuple[str, ...] = ()
    """Key services that are the customer's; empty: any service that holds the prefixes."""
    model_digests: tuple[Digest, ...] = ()
    """Base models that may be trained; empty: any pinned one."""
    measurements: tuple[str, ...] = ()
    """Code that may run in the enclave; empty: any measured one."""
    regions: tuple[str, ...] = ()
    """Regions in which buckets may lie; empty: any."""
    max_ttl_s: Annotated[int, Meta(ge=60, le=43200)] = 3600
    """Longest lifetime of a lease in seconds."""
    min_assurance: Literal["A0", "A1", "A2", "A3"] = "A1"
    """Least isolation of the enclave."""
    audit_lock_modes: tuple[Literal["COMPLIANCE", "GOVERNANCE"], ...] = ("COMPLIANCE",)
    """Object Lock modes that count for the audit bucket."""
    min_lock_days: Annotated[int, Meta(ge=1)] = 1
    """Shortest default retention of the audit bucket in days."""
    max_capacity_bits: Annotated[int, Meta(ge=0)] = 1 << 20
    """Most bits that numbers may carry out of one enclave."""


class _Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    settings: Settings


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that was read: modules by name, rules, settings, digest."""

    modules: dict[str, str]
    rules: tuple[Rule, ...]
    settings: Settings
    digest: Sha256

    @property
    def rule_ids(self) -> tuple[str, ...]:
        """The ids of all rules, sorted; what a plan records as ``policy.rules``."""
        return tuple(sorted(rule.id for rule in self.rules))


def read_settings(file: Path) -> Settings:
    """A customer's settings from a JSON file. Raises ``SettingsInvalid``."""
    try:
        return bounded_json.decode(_bytes(file), shape=Settings)
    except (BundleMissing, BundleMalformed) as error:
        raise SettingsInvalid(
            place=error.place, expected=error.expected, actual=error.actual
        ) from None
    except msgspec.DecodeError as error:
        raise SettingsInvalid(place=str(file), actual=str(error)) from None


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle. Raises ``BundleMissing``, ``BundleMalformed`` and ``SettingsMalformed``."""
    try:
        names = sorted(entry.name for entry in folder.iterdir() if entry.suffix == ".rego")
    except OSError as error:
        raise BundleMissing(place=str(folder), actual=error.strerror or "no folder") from None
    if not 0 < len(names) <= MAX_FILES:
        expected = f"1 to {MAX_FILES} rule files"
        raise BundleMalformed(place=str(folder), expected=expected, actual=str(len(names)))
    wrong = [name for name in names if not _MODULE.fullmatch(name)]
    if wrong:
        raise BundleMalformed(
            place=str(folder), expected="file names such as lease_lifetime.rego", actual=wrong[0]
        )
    modules = {name: _text(folder / name) for name in names}
    manifest = _decode(folder / "manifest.json", _Manifest, BundleMalformed)
    settings = _decode(folder / "data.json", _Data, SettingsMalformed).settings
    ids = [rule.id for rule in manifest.rules]
    if len(set(ids)) != len(ids):
        raise BundleMalformed(place=str(folder / "manifest.json"), expected="each rule once")
    return Bundle(
        modules=modules,
        rules=manifest.rules,
        settings=settings,
        digest=_digest(modules, manifest, settings),
    )


def _digest(modules: dict[str, str], manifest: _Manifest, settings: Settings) -> Sha256:
    return digest_of(
        {
            "kind": "policy-bundle",
            "version": 1,
            "modules": {name: sha256(text.encode()) for name, text in modules.items()},
            "manifest": msgspec.to_builtins(manifest),
            "settings": msgspec.to_builtins(settings),
        }
    )


def shipped_digest(settings: Settings) -> Sha256:
    """The digest of a bundle of this version's rules with these settings."""
    modules = {path.name: _text(path) for path in SHIPPED.glob("*.rego")}
    manifest = _decode(SHIPPED / "manifest.json", _Manifest, BundleMalformed)
    return _digest(modules, manifest, settings)


def write_bundle(folder: Path, settings: Settings | dict[str, Any]) -> Bundle:
    """Write a customer's bundle: the shipped rules with their settings. Returns it as read back.

    The folder must be new, empty or an earlier bundle, whose rules are then replaced. Raises
    ``SettingsMalformed``, ``BundleInUse`` and ``BundleNotWritten``.
    """
    try:
        checked = msgspec.convert(msgspec.to_builtins(settings), Settings)
    except msgspec.ValidationError as error:
        raise SettingsMalformed(place=str(folder), actual=str(error)) from None
    try:
        _write(folder, checked)
    except OSError as error:
        actual = error.strerror or type(error).__name__
        raise BundleNotWritten(place=str(folder), actual=actual) from None
    return read_bundle(folder)


def _write(folder: Path, settings: Settings) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    present = list(folder.iterdir())
    foreign = [path for path in present if path.suffix != ".rego" and path.name not in _JSON]
    if foreign:
        raise BundleInUse(place=str(folder), actual=foreign[0].name)
    shipped = {path.name: path.read_bytes() for path in SHIPPED.glob("*.rego")}
    shipped["manifest.json"] = (SHIPPED / "manifest.json").read_bytes()
    shipped["data.json"] = canonical({"settings": msgspec.to_builtins(settings)}) + b"\n"
    for path in present:
        if path.name not in shipped:
            path.unlink()
    for name, content in shipped.items():
        (folder / name).write_bytes(content)


def _bytes(path: Path) -> bytes:
    try:
        data = read_beneath(path.parent, path.name, MAX_FILE_BYTES)
    except OSError as error:
        raise BundleMissing(place=str(path), actual=error.strerror or "unreadable") from None
    if len(data) > MAX_FILE_BYTES:
        raise BundleMalformed(place=str(path), expected=f"at most {MAX_FILE_BYTES} bytes")
    return data


def _text(path: Path) -> str:
    try:
        return _bytes(path).decode()
    except UnicodeDecodeError:
        raise BundleMalformed(place=str(path), expected="UTF-8 text") from None


def _decode(path: Path, shape: type[T], error: type[BundleMalformed | SettingsMalformed]) -> T:
    try:
        return bounded_json.decode(_bytes(path), shape=shape)
    except msgspec.DecodeError as cause:
        raise error(place=str(path), actual=str(cause)) from None
