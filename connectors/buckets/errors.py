"""What can go wrong with a bucket, its address or the credentials for it: codes ``SR-BUCKET-NNN``.

Every place is a URI. ``actual`` holds a status and the store's short error code at most, never
the store's own text: that may repeat a token, a signature or a signed URL.
"""

from __future__ import annotations

from strongroom.errors import Exit, Fault, StrongroomError


class BucketError(StrongroomError):
    """The branch of everything that a bucket, its address or its credentials can raise."""


class UriInvalid(BucketError):
    """An address or a key that is not in the one strict form."""

    code = "SR-BUCKET-001"
    title = "not a valid bucket address"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Write s3://bucket/key, gs://bucket/key or local:///absolute/path"


class ObjectMissing(BucketError):
    """No object under this key."""

    code = "SR-BUCKET-002"
    title = "the object does not exist"
    fault = Fault.INPUT
    remedy = "Check the key, and that the upload before it was finished"


class ObjectExists(BucketError):
    """A create found an object under its key; nothing was written."""

    code = "SR-BUCKET-003"
    title = "the object exists already"
    fault = Fault.INPUT
    remedy = "Choose a new name; objects are never overwritten"


class ObjectChanged(BucketError):
    """The object is not the version that was named; nothing was written."""

    code = "SR-BUCKET-004"
    title = "the object changed meanwhile"
    fault = Fault.INPUT
    remedy = "Read the object again and repeat; make sure that one writer owns the key"


class ObjectTooLarge(BucketError):
    """The object is larger than the caller allows, or than the store can take."""

    code = "SR-BUCKET-005"
    title = "the object is too large"
    fault = Fault.INPUT
    remedy = "Check that the address names the object that was meant"


class RangeOutside(BucketError):
    """A byte range reaches beyond the end of the object."""

    code = "SR-BUCKET-006"
    title = "the byte range reaches beyond the object"
    fault = Fault.INPUT
    remedy = "The object is shorter than its manifest says: restore the object that was sealed"


class AccessDenied(BucketError):
    """The credentials are good, but do not cover this operation on this key."""

    code = "SR-BUCKET-007"
    title = "the store denied access"
    fault = Fault.ACCESS
    remedy = (
        "Check the role, the prefixes of the lease and the bucket policy; "
        "a store may answer the same for an object that does not exist"
    )


class BucketMissing(BucketError):
    """There is no such bucket (or, for ``local``, no such directory)."""

    code = "SR-BUCKET-008"
    title = "the bucket does not exist"
    fault = Fault.INPUT
    remedy = "Check the name of the bucket, or make it first"


class BucketUnreachable(BucketError):
    """No connection to the store: name not resolved, refused, timed out or cut."""

    code = "SR-BUCKET-009"
    title = "the store cannot be reached"
    fault = Fault.PLATFORM
    remedy = "Check the endpoint and the network path to it, and that the store is up"


class CredentialsExpired(BucketError):
    """The credentials are past their expiry and were not renewed."""

    code = "SR-BUCKET-010"
    title = "the bucket credentials have expired"
    fault = Fault.ACCESS
    remedy = "Check that the lease can be renewed, and that the clocks agree"


class CredentialsRefused(BucketError):
    """The store does not know the credentials, or their signature is wrong."""

    code = "SR-BUCKET-011"
    title = "the store refused the bucket credentials"
    fault = Fault.ACCESS
    remedy = "Check the role and the identity that the credentials were leased with"


class CredentialsMissing(BucketError):
    """No usable credentials: none were given, or their source failed."""

    code = "SR-BUCKET-012"
    title = "there are no credentials for the bucket"
    fault = Fault.ACCESS
    remedy = "Name the role for this bucket under 'access' in the run file"


class StoreFull(BucketError):
    """The store has no room, or a quota is used up; nothing was written."""

    code = "SR-BUCKET-013"
    title = "the store is full"
    fault = Fault.PLATFORM
    remedy = "Free space or raise the quota, then resume the run"


class StoreReadOnly(BucketError):
    """The store takes no writes at all; nothing was written."""

    code = "SR-BUCKET-014"
    title = "the store is read-only"
    fault = Fault.PLATFORM
    remedy = "Make the store writable, or name another place for the outputs"


class StoreBusy(BucketError):
    """The store asks to come back later, or another write to the key was under way."""

    code = "SR-BUCKET-015"
    title = "the store is busy"
    fault = Fault.PLATFORM
    remedy = "Resume the run later"


class StoreFault(BucketError):
    """An answer that the store should not give."""

    code = "SR-BUCKET-016"
    title = "the store failed"
    fault = Fault.PLATFORM
    remedy = "Look into the log of the store at this time"


class TransferIncomplete(BucketError):
    """Fewer or more bytes moved than the store announced."""

    code = "SR-BUCKET-017"
    title = "the transfer is incomplete"
    fault = Fault.PLATFORM
    remedy = "Resume the run; if it happens again, check proxies between here and the store"


class EndpointRefused(BucketError):
    """An endpoint that credentials must not be sent to, or that is not supported."""

    code = "SR-BUCKET-018"
    title = "the endpoint cannot be used"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = "Use an https endpoint; plain http is for loopback addresses"


class WrongRegion(BucketError):
    """The bucket lives in another region than the one it was opened with."""

    code = "SR-BUCKET-019"
    title = "the bucket is in another region"
    fault = Fault.INPUT
    exit_code = Exit.BAD_INPUT
    remedy = (
        "In the run file, give the bucket's entry under 'access' the endpoint "
        "https://s3.<region>.amazonaws.com with the bucket's region"
    )
