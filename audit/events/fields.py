"""The kinds of values that may enter the log; each is too narrow to hold a sentence.

Every text form is a pattern without spaces. Widening one widens what the log may say: a test
walks all event types and refuses a field of any other kind.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

EventId = Annotated[
    str, Meta(pattern=r"^[0-9a-f]{32}\Z", description="128 random bits in hexadecimal")
]
RunId = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z",
        description="a run's id",
    ),
]
RunOrNone = Annotated[
    str,
    Meta(
        pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,127})?\Z",
        description="a run's id, or nothing",
    ),
]
Time = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z\Z",
        description="a UTC time, ISO 8601 with milliseconds",
    ),
]
Digest = Annotated[
    str,
    Meta(pattern=r"^sha256:[0-9a-f]{64}\Z", description="a digest, `sha256:` and 64 hex digits"),
]
Name = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+/-]{0,127}\Z",
        description="the name of a dataset, an object, a rule or a control",
    ),
]
Code = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/=,+-]{0,63}\Z",
        description="an enumerated code, such as `SR-ENCLAVE-003` or `refused`",
    ),
]
Metric = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z][A-Za-z0-9_./-]{0,63}\Z",
        description="metric name that the plan declares",
    ),
]
Bucket = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,254}\Z", description="a bucket's name")
]
Prefix = Annotated[
    str, Meta(pattern=r"^[!-~]{1,1024}\Z", description="a key prefix, ending in `/`, or a key")
]
Uri = Annotated[
    str,
    Meta(
        pattern=r"^(s3|gs|local|vault|awskms|gcpkms)://[!-~]{1,1024}\Z",
        description="the address of one of the customer's objects or keys",
    ),
]
Role = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9:/@._=,+-]{0,2047}\Z",
        description="the role that was assumed (an ARN or an account)",
    ),
]
PublicKey = Annotated[
    str,
    Meta(
        pattern=r"^ed25519:[A-Za-z0-9+/]{43}=\Z",
        description="an Ed25519 public key, `ed25519:` and base64",
    ),
]
Count = Annotated[int, Meta(ge=0, description="a whole number")]
Bytes = Annotated[int, Meta(ge=0, description="a number of bytes")]
Seconds = Annotated[float, Meta(ge=0, description="a number of seconds")]
Number = Annotated[float, Meta(description="a number, four significant digits")]
