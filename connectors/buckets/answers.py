"""Turn what a store, its client library or the network says into errors of our own.

The text of a foreign exception is read for a status and a short code, and then dropped: it may
hold a token, a signed URL or a secret of the credential source. Callers raise the translated
error outside their ``except`` block, so that no traceback carries the foreign one along.
"""

from __future__ import annotations

import re

from strongroom.connectors.buckets.errors import (
    AccessDenied,
    BucketError,
    BucketMissing,
    BucketUnreachable,
    CredentialsExpired,
    CredentialsRefused,
    ObjectChanged,
    ObjectMissing,
    RangeOutside,
    StoreBusy,
    StoreFault,
    StoreFull,
    StoreReadOnly,
    TransferIncomplete,
    UriInvalid,
    WrongRegion,
)

_BY_CODE: dict[str, type[BucketError]] = {
    "NoSuchKey": ObjectMissing,
    "NoSuchVersion": ObjectMissing,
    "NoSuchBucket": BucketMissing,
    "InvalidBucketName": UriInvalid,
    "NoSuchUpload": TransferIncomplete,
    "BadDigest": TransferIncomplete,
    "IncompleteBody": TransferIncomplete,
    "XAmzContentSHA256Mismatch": TransferIncomplete,
    "PreconditionFailed": ObjectChanged,
    "InvalidRange": RangeOutside,
    "ExpiredToken": CredentialsExpired,
    "ExpiredTokenException": CredentialsExpired,
    "TokenRefreshRequired": CredentialsExpired,
    "RequestExpired": CredentialsExpired,
    "InvalidAccessKeyId": CredentialsRefused,
    "InvalidClientTokenId": CredentialsRefused,
    "InvalidToken": CredentialsRefused,
    "RequestTimeTooSkewed": CredentialsRefused,
    "SignatureDoesNotMatch": CredentialsRefused,
    "UnrecognizedClientException": CredentialsRefused,
    "AuthorizationHeaderMalformed": WrongRegion,
    "IllegalLocationConstraintException": WrongRegion,
    "PermanentRedirect": WrongRegion,
    "ConditionalRequestConflict": StoreBusy,
    "OperationAborted": StoreBusy,
    "RequestTimeout": StoreBusy,
    "ServiceUnavailable": StoreBusy,
    "SlowDown": StoreBusy,
    "InsufficientStorage": StoreFull,
    "NotEnoughSpace": StoreFull,
    "QuotaExceeded": StoreFull,
    "XMinioAdminBucketQuotaExceeded": StoreFull,
    "XMinioStorageFull": StoreFull,
    "ReadOnly": StoreReadOnly,
    "ReadOnlyFileSystem": StoreReadOnly,
}
_BY_STATUS: dict[int, type[BucketError]] = {
    301: WrongRegion,
    307: WrongRegion,
    401: CredentialsRefused,
    403: AccessDenied,
    404: ObjectMissing,
    409: StoreBusy,
    412: ObjectChanged,
    416: RangeOutside,
    429: StoreBusy,
    503: StoreBusy,
    507: StoreFull,
}
_EXPECTED: dict[type[BucketError], str] = {
    AccessDenied: "access",
    BucketMissing: "a bucket",
    CredentialsExpired: "credentials that are still valid",
    CredentialsRefused: "credentials that the store knows",
    ObjectMissing: "an object",
    RangeOutside: "a range inside the object",
    StoreFull: "room to write",
    StoreReadOnly: "a store that takes writes",
}
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([A-Za-z][A-Za-z0-9.]{0,63})</Code>")
_UNREACHABLE = re.compile(
    r"error sending request|kind: Connect|dns error|TimedOut|timed out|connection (?:closed|reset)"
    r"|error decoding response body|IncompleteMessage",
    re.IGNORECASE,
)


def from_answer(status: int | None, code: str, place: str) -> BucketError:
    """The error for an HTTP status and the store's short error code (either may be unknown)."""
    cls = _BY_CODE.get(code) or _BY_STATUS.get(status or 0) or StoreFault
    said = f"HTTP {status}" if status else "no status"
    return cls(place=place, expected=_EXPECTED.get(cls, ""), actual=f"{said} {code}".rstrip())


def from_obstore(error: Exception, place: str, endpoint: str) -> BucketError:
    """The error for an exception of ``obstore`` (whose text is the only structure it has)."""
    text = str(error)
    status = _STATUS.search(text)
    code = _CODE.search(text)
    if status or code:
        return from_answer(int(status[1]) if status else None, code[1] if code else "", place)
    if "incorrectly configured region" in text:
        return WrongRegion(place=place, actual="a redirect to another region")
    if _UNREACHABLE.search(text):
        return unreachable(place, endpoint)
    return StoreFault(place=place, actual=type(error).__name__)


def from_boto(error: Exception, place: str, endpoint: str) -> BucketError:
    """The error for an exception of ``botocore``."""
    from botocore import exceptions as boto

    if isinstance(error, boto.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        code = str(error.response.get("Error", {}).get("Code", ""))
        known = _CODE.fullmatch(f"<Code>{code}</Code>")
        return from_answer(status, known[1] if known else "", place)
    if isinstance(error, (boto.ConnectionError, boto.HTTPClientError)):
        return unreachable(place, endpoint)
    return StoreFault(place=place, actual=type(error).__name__)


def unreachable(place: str, endpoint: str) -> BucketUnreachable:
    """The error for a store that does not answer at ``endpoint``."""
    return BucketUnreachable(
        place=place, expected=f"an answer from {endpoint}", actual="no connection"
    )
