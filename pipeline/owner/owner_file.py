"""The owner file: who puts sealed inputs into a bucket, with an identity and rights of their own.

The embedded stack's owner is known. Elsewhere an owner file says who it is, in the words of a run
file. It holds no secret: the identity's credentials are named by path.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from strongroom.errors import ErrorList, StrongroomError
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
