"""The data's owner: puts sealed inputs into a bucket, with an identity and rights of their own.

The embedded stack's owner is known. Elsewhere an owner file says who it is, in the words of a run
file. It holds no secret: the identity's credentials are named by path.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from strongroom.connectors.access.identity import OpenBaoIdentity as TokenIssuer
from strongroom.connectors.access.scopes import Scope
from strongroom.connectors.buckets.bucket import Bucket
from strongroom.connectors.buckets.errors import UriInvalid
from strongroom.connectors.buckets.leased import open_leased
from strongroom.connectors.buckets.uri import Location, parse, parse_prefix
from strongroom.crypto.dsse import KeyRef
from strongroom.errors import ErrorList, StrongroomError
from strongroom.pipeline.owner.errors import OwnerHasNoAccess
from strongroom.pipeline.planning.leases import access_for
from strongroom.pipeline.releaser.client import ReleaserClient
from strongroom.pipeline.runfile.explain import Explainer
from strongroom.pipeline.runfile.fields import SignerKey, UnixSocket
from strongroom.pipeline.runfile.spec import Access, OpenBaoIdentity, Part
from strongroom.pipeline.runfile.variables import secrets_in
from strongroom.pipeline.runfile.yaml_reader import read
from strongroom.pipeline.runfile.yaml_tree import to_data


class OwnerFile(Part):
    """An owner file."""

    api_version: Literal["strongroom/v1"] = Field(
        alias="apiVersion", description="Version of the file's form: strongroom/v1. Required."
    )
    kind: Literal["DataOwner"] = Field(description="What the file describes: DataOwner. Required.")
    access: tuple[Access, ...] = Field(
        max_length=32,
        description="Where the owner may read and create, and as which role. Required.",
    )
    identity: OpenBaoIdentity = Field(
        description="Who issues the owner's web identity tokens. Required."
    )
    releaser: UnixSocket = Field(
        description="unix:// path of the releaser that wraps keysets and signs manifests. Required."
    )
    signers: tuple[SignerKey, ...] = Field(
        max_length=32,
        description="Public keys whose manifests count: ed25519: and base64. Required.",
    )

    @classmethod
    def load(cls, path: Path) -> OwnerFile:
        """From YAML; relative paths start at its folder. Raises ``ErrorList`` with every error."""
        source = read(path)
        errors: list[StrongroomError] = [*secrets_in(source)] or [*source.errors]
        if source.root is None or errors:
            raise ErrorList(errors)
        text, context = json.dumps(to_data(source.root)), {"folder": path.resolve().parent}
        try:
            return cls.model_validate_json(text, strict=True, context=context)
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False)
        explainer = Explainer(source, source.root, {}, cls.model_json_schema(by_alias=True))
        raise ErrorList([found for _, found in explainer.explain(details)])


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
            TokenIssuer(identity.addr, identity.credentials, identity.oidc_role),
            Scope(bucket=target.bucket, read=(target.key,), create=(target.key,)),
            role=entry.role,
            endpoint=entry.endpoint,
            ttl_s=entry.ttl_s,
            purpose="owner",
            session_name="strongroom-owner",
        )[0]
