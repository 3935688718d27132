"""The data's owner at work: the bucket and the releaser that an owner file names."""

from __future__ import annotations

from dataclasses import dataclass

from strongroom.connectors.access.identity import OpenBaoTokens
from strongroom.connectors.access.scopes import Scope
from strongroom.connectors.buckets.bucket import Bucket
from strongroom.connectors.buckets.errors import UriInvalid
from strongroom.connectors.buckets.leased import open_leased
from strongroom.connectors.buckets.uri import Location, parse, parse_prefix
from strongroom.crypto.dsse import KeyRef
from strongroom.enclave.plan.leases import access_for
from strongroom.pipeline.owner.errors import OwnerHasNoAccess
from strongroom.pipeline.owner.owner_file import OwnerFile
from strongroom.pipeline.releaser.client import ReleaserClient


@dataclass(frozen=True)
class Owner:
    """Reaches the bucket, and the releaser that seals for it, as an owner file says."""

    file: OwnerFile

    @property
    def releaser(self) -> ReleaserClient:
        """The owner's releaser."""
        return ReleaserClient(self.file.releaser)

    @property
    def signers(self) -> list[KeyRef]:
        """Keys whose manifests count."""
        return [KeyRef(signer) for signer in self.file.signers]

    def locate(self, uri: str) -> Location:
        """A new input's prefix. Raises ``OwnerHasNoAccess`` and ``UriInvalid``."""
        location = parse_prefix(uri)
        if location.scheme != "s3" or not location.key:
            raise UriInvalid(place=uri, expected="s3://bucket/folder/, which ends with '/'")
        if access_for(self.file.access, uri) is None:
            places = " or ".join(f"{entry.uri}…" for entry in self.file.access)
            raise OwnerHasNoAccess(place=uri, expected=places)
        return location

    def bucket(self, target: Location) -> Bucket:
        """The bucket of ``target``, with a lease that reads and creates below its key only."""
        entry = access_for(self.file.access, str(target))
        assert entry is not None  # noqa: S101 - ``locate`` has looked
        identity = self.file.identity
        return open_leased(
            parse(f"s3://{target.bucket}/"),
            OpenBaoTokens(identity.addr, identity.credentials, identity.oidc_role),
            Scope(bucket=target.bucket, read=(target.key,), create=(target.key,)),
            role=entry.role,
            endpoint=entry.endpoint,
            ttl_s=entry.ttl_s,
            purpose="owner",
            session_name="strongroom-owner",
        )[0]
