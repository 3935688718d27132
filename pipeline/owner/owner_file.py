"""The owner file: who puts sealed inputs into a bucket, with an identity and rights of their own.

The embedded stack's owner is known. Elsewhere an owner file says who it is, in fields of a run
file. It holds no secret: the identity's credentials are named by path.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from strongroom.pipeline.runfile.fields import SignerKey, UnixSocket
from strongroom.pipeline.runfile.part import Part
from strongroom.pipeline.runfile.spec import Access, OpenBaoIdentity
from strongroom.pipeline.runfile.validate import validated
from strongroom.pipeline.runfile.yaml_reader import read


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
        return validated(read(path), cls, path.resolve().parent)
