"""One embedded stack for all attacks on it, and clients with real sessions."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from connectors import stack
from connectors.access_errors import StackNotFound
from connectors.credentials import S3Credentials
from connectors.identity import OpenBaoIdentity
from connectors.leases import WebIdentityLeaser

SHORT_SESSION_S = 6
SESSION = boto3.session.Session()  # one, because each reads the service models again


@dataclass(frozen=True)
class Embedded:
    state: Path
    info: stack.StackInfo

    def token(self, role: str):
        name = self.info.oidc_roles[role]
        return OpenBaoIdentity(None, Path(self.info.identities[name]), name)

    def leaser(self, role: str) -> WebIdentityLeaser:
        return WebIdentityLeaser(
            self.token(role), self.info.sts_endpoint, self.info.roles[role], "attack"
        )

    def s3(self, held: S3Credentials):
        return s3_client(self.info.s3_endpoint, held)


def s3_client(endpoint: str, held: S3Credentials):
    return SESSION.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=held.access_key,
        aws_secret_access_key=held.secret_key,
        aws_session_token=held.session_token,
        config=Config(
            s3={"addressing_style": "path"},
            parameter_validation=False,
            retries={"mode": "standard", "max_attempts": 1},
        ),
    )


@pytest.fixture(scope="session")
def embedded_stack(tmp_path_factory):
    state = tmp_path_factory.mktemp("attacks") / "state"
    try:
        info = stack.up(state, token_duration_s=SHORT_SESSION_S)
        yield Embedded(state, info)
    finally:
        with suppress(StackNotFound):
            stack.down(state)
