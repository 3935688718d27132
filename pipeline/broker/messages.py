"""What the controller asks of a broker, and what it hears back.

One request at a time over a socket pair; a reply is zero or more ``Notice``s and then one
``Reply`` or ``Refused``. Secrets have no field here: a broker reads its own credentials file.
"""

from __future__ import annotations

from typing import Any

import msgspec

from strongroom.enclave.channel import frames
from strongroom.enclave.evidence import Assurance
from strongroom.errors import ErrorDocument
from strongroom.pipeline.planning.parts import LeaseRef


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
    """First request: who the broker is, and the leases that it may take, as in the plan."""

    run: str
    identity: Identity
    leases: tuple[LeaseRef, ...]


class BucketFacts(_Message, frozen=True, tag="bucket_facts"):
    """Region, versioning, lock and encryption of the bucket that holds ``uri``."""

    uri: str
    purpose: str


class Head(_Message, frozen=True, tag="head"):
    """Sizes of all objects under ``uri``."""

    uri: str
    purpose: str


class Read(_Message, frozen=True, tag="read"):
    """One control object (manifest, plan, log): never a sealed one."""

    uri: str
    purpose: str


class Create(_Message, frozen=True, tag="create"):
    """Create a control object; the reply says whether it was new."""

    uri: str
    purpose: str
    data: bytes


class Replace(_Message, frozen=True, tag="replace"):
    """Compare and swap a control object; the reply says whether it happened."""

    uri: str
    purpose: str
    data: bytes
    etag: str


class StartEnclave(_Message, frozen=True, tag="start_enclave"):
    """Start an enclave on a plan; the reply holds its evidence.

    ``evaluator`` is the evaluator's source where it does not lie in the run's folder.
    """

    plan: bytes
    nonce: str
    assurance: Assurance
    evaluator: bytes = b""


class GiveKeys(_Message, frozen=True, tag="give_keys"):
    """Hand the releaser's sealed keys to the enclave."""

    sealed: bytes


class Run(_Message, frozen=True, tag="run"):
    """Give the enclave one command."""

    command: frames.Command


class StopEnclave(_Message, frozen=True, tag="stop_enclave"):
    """End the enclave in good order."""


Request = (
    Configure
    | BucketFacts
    | Head
    | Read
    | Create
    | Replace
    | StartEnclave
    | GiveKeys
    | Run
    | StopEnclave
)

# ---- replies -----------------------------------------------------------------------------------


class Notice(_Message, frozen=True, tag="notice"):
    """Something happened: a record of the enclave, or a lease that was taken or renewed."""

    kind: str
    data: dict[str, Any]


class Reply(_Message, frozen=True, tag="reply"):
    """The request is done."""

    value: Any = None
    data: bytes = b""


class Refused(_Message, frozen=True, tag="refused"):
    """The request failed with these errors."""

    errors: tuple[ErrorDocument, ...]


Answer = Notice | Reply | Refused
