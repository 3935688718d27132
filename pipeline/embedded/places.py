"""Where the parts of an embedded stack are: what run files and other tools may name. No secret."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from strongroom.connectors.stack.info import StackInfo

MODEL_URI = "s3://acme-data/models/smollm2-135m-instruct/"
DATA_KEY = "vault://transit/feedback"


@dataclass(frozen=True)
class Places:
    """An embedded stack, running or not: what it consists of, and where."""

    state: Path
    info: StackInfo

    @classmethod
    def load(cls, state: Path) -> Self:
        """The stack in ``state``. Raises ``StackNotFound`` and ``StackStateDamaged``."""
        state = state.expanduser().absolute()
        return cls(state, StackInfo.load(state))

    @property
    def policy(self) -> Path:
        """The owner's policy bundle."""
        return self.state / "policy"

    @property
    def releaser_socket(self) -> Path:
        """Where the owner's releaser listens."""
        return self.state / "releaser" / "socket"

    def variables(self) -> dict[str, str]:
        """What ``${stack.…}`` may name in a run file. No secrets."""
        info = self.info
        model = self.state / "model.sha256"
        return {
            "s3_endpoint": info.s3_endpoint,
            "vault_addr": info.vault_addr,
            "broker_role": info.roles["broker"],
            "audit_role": info.roles["audit"],
            "broker_credentials": info.identities["broker"],
            "oidc_role": info.oidc_roles["broker"],
            "releaser_socket": str(self.releaser_socket),
            "policy_bundle": str(self.policy),
            "model_digest": model.read_text() if model.exists() else "sha256:" + "0" * 64,
        }

    def references(self) -> dict[str, str]:
        """Buckets, keys, model and policy, by the names of the Terraform modules' outputs."""
        info = self.info
        return {
            "state": str(self.state),
            "data_uri": f"s3://{info.data_bucket}/",
            "audit_uri": f"s3://{info.audit_bucket}/strongroom/",
            "data_key": DATA_KEY,
            "outputs_key": "vault://transit/feedback-outputs",
            "audit_key": "vault://transit/audit-log",
            "model_uri": MODEL_URI,
            "model_digest": self.variables()["model_digest"],
            "policy_bundle": str(self.policy),
        }
