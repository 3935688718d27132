"""What the controller asks of a broker, and what it gets to know.

One request at a time over a socket pair; the answer is zero or more notices and then one reply, of
the type that the request says, or ``Refused``. No message has a field for a credential: a broker
reads its own credentials file.
"""

from __future__ import annotations

import msgspec

from strongroom.audit.events import types as events
from strongroom.enclave.assurance import Assurance
from strongroom.enclave.channel import frames
from strongroom.enclave.evidence import Evidence
from strongroom.enclave.plan import parts
from strongroom.enclave.plan.parts import LeaseRef, Purpose
from strongroom.errors import ErrorDocument


class _Message(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="message", kw_only=True
):
    pass


class Identity(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the broker gets its web identity token."""

    addr: str
    credentials_file: str
    oidc_role: str


# ---- requests ----------------------------------------------------------------------------------


class Configure(_Message, frozen=True, tag="configure"):
    """First request: who the broker is, and the leases that it may take, as in the plan.

    The reply is ``Done``.
    """

    run: str
    identity: Identity
    leases: tuple[LeaseRef, ...]


class BucketFacts(_Message, frozen=True, tag="bucket_facts"):
    """What is true of the bucket that holds ``uri``. The reply is ``Facts``."""

    uri: str
    purpose: Purpose


class Sizes(_Message, frozen=True, tag="sizes"):
    """All objects under ``uri``. The reply is ``Listing``."""

    uri: str
    purpose: Purpose


class Read(_Message, frozen=True, tag="read"):
    """One control object (manifest, plan, log): never a sealed one. The reply is ``Contents``."""

    uri: str
    purpose: Purpose


class ReadMany(_Message, frozen=True, tag="read_many"):
    """Control objects, at once. Each is a ``Piece`` or several; the reply is ``Done``."""

    uris: tuple[str, ...]
    purpose: Purpose


class ReadVersion(_Message, frozen=True, tag="read_version"):
    """One control object as it was. The reply is ``Contents``, without a tag."""

    uri: str
    purpose: Purpose
    version: str


class Versions(_Message, frozen=True, tag="versions"):
    """Every version of all objects under ``uri``, in ``Page`` s. The reply is ``Done``."""

    uri: str
    purpose: Purpose


class Create(_Message, frozen=True, tag="create"):
    """Create a control object. The reply is ``Written``: not where it exists."""

    uri: str
    purpose: Purpose
    data: bytes


class Replace(_Message, frozen=True, tag="replace"):
    """Compare and swap a control object. The reply is ``Written``: not where it has changed."""

    uri: str
    purpose: Purpose
    data: bytes
    etag: str


class StartEnclave(_Message, frozen=True, tag="start_enclave"):
    """Start an enclave on a plan. The reply is ``Started``.

    ``evaluator`` is the evaluator's source where it does not lie in the run's folder.
    """

    plan: bytes
    nonce: str
    assurance: Assurance
    evaluator: bytes = b""


class GiveKeys(_Message, frozen=True, tag="give_keys"):
    """Hand the releaser's sealed keys to the enclave. The reply is ``Done``."""

    sealed: bytes


class Run(_Message, frozen=True, tag="run"):
    """Give the enclave one command. The reply is ``Done``."""

    command: frames.Command


class StopEnclave(_Message, frozen=True, tag="stop_enclave"):
    """End the enclave in good order. The reply is ``Done``."""


Request = (
    Configure
    | BucketFacts
    | Sizes
    | Read
    | ReadMany
    | ReadVersion
    | Versions
    | Create
    | Replace
    | StartEnclave
    | GiveKeys
    | Run
    | StopEnclave
)

# ---- notices -----------------------------------------------------------------------------------


class Reported(_Message, frozen=True, tag="reported"):
    """The enclave reported something."""

    report: frames.Report


class Leased(_Message, frozen=True, tag="leased"):
    """A lease was taken or renewed; it is logged as it is."""

    lease: events.LeaseIssued


class Piece(_Message, frozen=True, tag="piece"):
    """The next bytes of one of many objects, by its place among them; None where there is none."""

    index: int
    data: bytes | None


class StoredVersion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One version of an object, by its name below the prefix, or a mark that it was deleted."""

    name: str
    version: str
    current: bool
    deleted: bool
    etag: str
    size_bytes: int


class Page(_Message, frozen=True, tag="page"):
    """Some of the versions that were asked for."""

    versions: tuple[StoredVersion, ...]


# ---- replies -----------------------------------------------------------------------------------


class Done(_Message, frozen=True, tag="done"):
    """The request is done; there is nothing to say."""


class Facts(_Message, frozen=True, tag="facts"):
    """What the store says about a bucket."""

    facts: parts.BucketFacts


class Listing(_Message, frozen=True, tag="listing"):
    """Sizes of objects in bytes, by name below the prefix."""

    sizes: dict[str, int]


class Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An object as it lies in the bucket."""

    data: bytes
    etag: str


class Contents(_Message, frozen=True, tag="contents"):
    """An object; None where there is none."""

    stored: Stored | None


class Written(_Message, frozen=True, tag="written"):
    """Whether the object was written."""

    written: bool


class Started(_Message, frozen=True, tag="started"):
    """The enclave runs, and gave this evidence."""

    evidence: Evidence


class Refused(_Message, frozen=True, tag="refused"):
    """The request failed with these errors."""

    errors: tuple[ErrorDocument, ...]


Reply = Done | Facts | Listing | Contents | Written | Started
Answer = Reported | Leased | Piece | Page | Reply | Refused
