"""The data's owner on an embedded stack."""

from __future__ import annotations

from strongroom.connectors.buckets.bucket import Bucket
from strongroom.connectors.buckets.uri import parse
from strongroom.pipeline.embedded.places import Places
from strongroom.pipeline.owner.owner import Owner
from strongroom.pipeline.owner.owner_file import OwnerFile
from strongroom.pipeline.runfile.spec import API_VERSION


class Embedded(Places):
    """A stack whose data this process may put in, as their owner."""

    def owner(self) -> Owner:
        """The data's owner on this stack."""
        info = self.info
        document = {
            "apiVersion": API_VERSION,
            "kind": "DataOwner",
            "access": [
                {
                    "uri": f"s3://{info.data_bucket}/",
                    "role": info.roles["owner"],
                    "endpoint": info.s3_endpoint,
                }
            ],
            "identity": {
                "type": "openbao",
                "addr": info.vault_addr,
                "credentials": info.identities["owner"],
                "oidc_role": info.oidc_roles["owner"],
            },
            "releaser": f"unix://{self.releaser_socket}",
            "signers": [info.public_keys["feedback-signer"]],
        }
        return Owner(OwnerFile.model_validate(document))

    def owner_bucket(self, prefix: str) -> Bucket:
        """The data bucket with the data owner's rights under ``prefix``: read and create."""
        return self.owner().bucket(parse(f"s3://{self.info.data_bucket}/{prefix}"))
