"""The kinds of value that run file fields have: names, URIs, key references, durations, sizes.

Each kind is an annotated type: it checks one value, says in its message what it expects, and
serialises to the form that it reads (``900`` seconds become ``15m``), so that a normalised run
file is itself a run file. Messages never repeat the value; the reader adds it where that is safe.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError, core_schema

from strongroom.connectors.buckets.endpoint import is_loopback
from strongroom.connectors.buckets.errors import UriInvalid
from strongroom.connectors.buckets.uri import parse_prefix
from strongroom.connectors.keys.errors import KmsReferenceInvalid
from strongroom.connectors.keys.reference import parse as parse_key_reference
from strongroom.enclave.plan.run_file import DURATION, SIZE, Units, quantity
from strongroom.errors.visible import visible

NAME_PATTERN = r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?"
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


def refuse(message: str) -> PydanticCustomError:
    """An error whose message completes the sentence "expected …"."""
    return PydanticCustomError("run_field", "{expected}", {"expected": message})


def _matching(pattern: str, message: str) -> Callable[[str], str]:
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise refuse(message)
        return value

    return check


def _label(value: str) -> str:
    if not _LABEL_VALUE.fullmatch(value):
        raise refuse("1 to 63 letters, digits, '-', '_' or '.', starting and ending with a letter")
    return value


def _one_line(value: str) -> str:
    if not re.fullmatch(r"\S.{2,199}", value) or visible(value) != value:
        raise refuse("one line of 3 to 200 characters that can be seen")
    return value


def _prefix(value: str) -> str:
    try:
        return str(parse_prefix(value))
    except UriInvalid as error:
        raise refuse(error.expected) from None


def _inside_a_bucket(value: str) -> str:
    if not parse_prefix(value).key:
        raise refuse("a prefix inside the bucket, such as s3://bucket/folder/")
    return value


def _key_reference(value: str) -> str:
    try:
        return str(parse_key_reference(value))
    except KmsReferenceInvalid as error:
        raise refuse(error.expected) from None


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise refuse("a URL such as https://s3.example.com") from None
    written = value.isascii() and value.isprintable() and " " not in value
    if parts.scheme not in ("http", "https") or not host or not written:
        raise refuse("a URL such as https://s3.example.com")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise refuse("a URL without user, password, query or fragment")
    if parts.scheme == "http" and not is_loopback(value):
        raise refuse("https://, as http:// is accepted on loopback only")
    return value.rstrip("/")


@dataclass(frozen=True)
class Quantity:
    """Annotates an ``int`` that is written as a whole number with a unit, such as ``15m``.

    ``units`` goes from the largest to the smallest; the value counts smallest units times their
    factor (seconds, bytes). ``low`` and ``high`` are both allowed.
    """

    units: Units
    low: int
    high: int
    form: str

    def read(self, value: object) -> object:
        """From text to a number; numbers without a unit are refused."""
        number = quantity(value, self.units) if isinstance(value, str) else None
        if number is None:
            raise refuse(self.form)
        if not self.low <= number <= self.high:
            raise refuse(f"{self.write(self.low)} to {self.write(self.high)}")
        return number

    def write(self, value: int) -> str:
        """From a number to the shortest text with a unit."""
        for unit, factor in self.units:
            if value % factor == 0:
                return f"{value // factor}{unit}"
        raise ValueError("the quantity is no multiple of its smallest unit")

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(
            self.read,
            handler(source),
            serialization=core_schema.plain_serializer_function_ser_schema(
                self.write, return_schema=core_schema.str_schema()
            ),
        )

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, object]:
        return {"type": "string", "pattern": f"^[0-9]+({'|'.join(u for u, _ in self.units)})$"}


def _duration(low_s: int, high_s: int) -> Quantity:
    return Quantity(DURATION, low_s, high_s, "a duration such as 10s, 15m or 1h")


def _size(low: int, high: int) -> Quantity:
    return Quantity(SIZE, low, high, "a size such as 512MiB or 8GiB")


def _local_path(value: Path, info: ValidationInfo) -> Path:
    if "\0" in str(value) or str(value) in ("", "."):
        raise refuse("a path")
    folder = (info.context or {}).get("folder")
    return value if folder is None else Path(folder, value)


def _socket(value: object, info: ValidationInfo) -> Path:
    path = value.removeprefix("unix://") if isinstance(value, str) else ""
    if not path or path == value:
        raise refuse("unix:///path/of/the/socket")
    return Path((info.context or {}).get("folder", ""), path)


def written_socket(path: Path) -> str:
    """The address of a socket as a run file spells it."""
    return f"unix://{path}"


Name = Annotated[
    str,
    AfterValidator(
        _matching(
            NAME_PATTERN,
            "1 to 63 lower-case letters, digits and hyphens, starting with a letter",
        )
    ),
    WithJsonSchema({"type": "string", "pattern": f"^{NAME_PATTERN}$"}),
]
LabelValue = Annotated[str, AfterValidator(_label)]
Digest = Annotated[
    str,
    AfterValidator(_matching(r"sha256:[0-9a-f]{64}", "sha256: and 64 hexadecimal digits")),
    WithJsonSchema({"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}),
]
MetricName = Annotated[
    str,
    AfterValidator(
        _matching(r"[a-z][a-z0-9_]{0,31}", "1 to 32 lower-case letters, digits and underscores")
    ),
]
RuleId = Annotated[
    str,
    AfterValidator(_matching(r"[a-z][a-z0-9_]{0,63}", "a rule id such as data_bucket_versioned")),
]
OneLine = Annotated[str, AfterValidator(_one_line)]
Date = Annotated[
    str,
    AfterValidator(
        _matching(r"20\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])", "a date such as 2026-12-31")
    ),
    WithJsonSchema({"type": "string", "format": "date"}),
]
Role = Annotated[
    str,
    AfterValidator(
        _matching(
            r"arn:aws[a-z-]*:iam::([0-9]{12})?:role/[A-Za-z0-9+=,.@_/-]{1,512}"
            r"|[a-z][-a-z0-9]{4,28}[a-z0-9]@[-a-z0-9.]+\.iam\.gserviceaccount\.com",
            "a role such as arn:aws:iam::111122223333:role/name, or a GCP service account",
        )
    ),
]
BucketPrefix = Annotated[str, AfterValidator(_prefix)]
"""``s3://bucket/`` or a prefix inside it; always ends with ``/``."""
ObjectPrefix = Annotated[str, AfterValidator(_prefix), AfterValidator(_inside_a_bucket)]
"""A prefix inside a bucket, never the bucket's root."""
SignerKey = Annotated[
    str, AfterValidator(_matching(r"ed25519:[A-Za-z0-9+/]{43}=", "ed25519: and 32 bytes in base64"))
]
"""A public key that signs manifests."""
KeyReference = Annotated[str, AfterValidator(_key_reference)]
HttpUrl = Annotated[str, AfterValidator(_url)]
LocalPath = Annotated[
    Path,
    Field(strict=False),
    AfterValidator(_local_path),
    PlainSerializer(lambda path: path.name, return_type=str),
]
"""A path on the machine that runs; serialises to the file's name only."""
UnixSocket = Annotated[
    Path,
    PlainValidator(_socket),
    PlainSerializer(lambda path: written_socket(Path(path.name)), return_type=str),
    WithJsonSchema({"type": "string"}),
]
"""A socket on the machine that runs, written ``unix://path``; serialises to its name only."""
Timeout = Annotated[int, _duration(1, 600)]
"""Seconds, 1s to 10m."""
LeaseLifetime = Annotated[int, _duration(900, 12 * 3600)]
"""Seconds, 15m (the shortest that an STS gives) to 12h."""
Memory = Annotated[int, _size(1 << 30, 1 << 42)]
"""Bytes, 1GiB to 4TiB."""
