"""The embedded stack as a customer's side: servers, policy bundle, releaser.

``connectors.stack.stack`` runs the servers. This module adds what a key owner has beside them: a
policy bundle with the owner's settings, and a releaser of the owner's own. For one machine: all
three parties share a user here, so the separation between them is by process and not by person.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from strongroom.connectors.buckets.bucket import Bucket
from strongroom.connectors.buckets.uri import parse
from strongroom.connectors.host.folders import private_folder, write_private
from strongroom.connectors.host.processes import Process, start
from strongroom.connectors.stack import stack
from strongroom.connectors.stack.stack import ServiceStatus, StackInfo
from strongroom.crypto.digests import Sha256
from strongroom.enclave.measurement import measure
from strongroom.pipeline.owner.model_upload import upload
from strongroom.pipeline.owner.owner_file import Owner, OwnerFile
from strongroom.pipeline.releaser.client import ReleaserClient
from strongroom.pipeline.releaser.errors import ReleaserUnreachable
from strongroom.pipeline.releaser.releaser import ReleaserConfig
from strongroom.pipeline.runfile.spec import API_VERSION
from strongroom.policies.bundle import Settings, read_bundle, write_bundle

MODEL_URI = "s3://acme-data/models/smollm2-135m-instruct/"
DATA_KEY = "vault://transit/feedback"
_READY_S = 20.0


@dataclass(frozen=True)
class Embedded:
    """A running embedded stack and where its parts are."""

    state: Path
    info: StackInfo

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


def up(state: Path, *, token_duration_s: int | None = None) -> Embedded:
    """Start what does not run: servers, then the releaser. Safe to call again."""
    state = state.expanduser().absolute()
    info = stack.up(state, token_duration_s=token_duration_s)
    embedded = Embedded(state, info)
    settings = Settings(
        signers=(info.public_keys["feedback-signer"],),
        output_prefixes=(f"s3://{info.data_bucket}/runs/",),
        audit_prefixes=(f"s3://{info.audit_bucket}/strongroom/",),
        kms_prefixes=("vault://transit/",),
        kms_owners=(info.vault_addr,),
    )
    if (embedded.policy / "data.json").exists():
        settings = read_bundle(embedded.policy).settings
    # The settings are the owner's to change; the rules follow the installed version.
    write_bundle(private_folder(embedded.policy), settings)
    _start_releaser(embedded)
    return embedded


def load(state: Path) -> Embedded:
    """The stack in ``state``, running or not. Raises ``StackNotFound``."""
    state = state.expanduser().absolute()
    return Embedded(state, StackInfo.load(state))


def down(state: Path) -> None:
    """Stop the releaser and the servers; everything stored stays."""
    state = state.expanduser().absolute()
    _stop_releaser(state)
    stack.down(state)


def status(state: Path) -> tuple[ServiceStatus, ...]:
    """What runs."""
    state = state.expanduser().absolute()
    found = stack.status(state)
    process = _releaser_process(state)
    alive = process is not None and process.alive()
    releaser = ServiceStatus(
        "releaser",
        alive,
        f"unix://{state}/releaser/socket",
        process.pid if process is not None and alive else 0,
        str(state / "logs" / "releaser.log"),
    )
    return (*found, releaser)


def upload_model(embedded: Embedded, folder: Path, uri: str = MODEL_URI) -> Sha256:
    """As ``pipeline.owner.model_upload.upload``; the digest becomes ``${stack.model_digest}``."""
    digest = upload(embedded.owner(), folder, uri)
    write_private(embedded.state / "model.sha256", digest.encode())
    return digest


def _start_releaser(embedded: Embedded) -> None:
    folder = private_folder(embedded.state / "releaser")
    config = ReleaserConfig(
        socket=str(embedded.releaser_socket),
        credentials_file=embedded.info.identities["releaser"],
        vault_addr=embedded.info.vault_addr,
        policy=str(embedded.policy),
        min_assurance="A1",
        measurements=(measure(),),
        signers=(embedded.info.public_keys["feedback-signer"],),
        manifest_signer="vault://transit/feedback-signer",
    )
    path = folder / "releaser.json"
    encoded = msgspec.json.format(msgspec.json.encode(config), indent=2)
    process = _releaser_process(embedded.state)
    running = process is not None and process.alive()
    if running and path.exists() and path.read_bytes() == encoded:
        return
    _stop_releaser(embedded.state)
    write_private(path, encoded)
    log = embedded.state / "logs" / "releaser.log"
    process = start(
        [sys.executable, "-I", "-m", "strongroom.pipeline.releaser.process", str(path)],
        folder=folder,
        environment={"LANG": "C.UTF-8"},
        log=log,
    )
    write_private(folder / "process.json", msgspec.json.encode(process))
    client = ReleaserClient(embedded.releaser_socket)

    def answers() -> bool:
        try:
            client.challenge()
        except ReleaserUnreachable:
            return False
        return True

    if not _wait(answers):
        raise ReleaserUnreachable(place=str(log), expected="a releaser that answers")


def _stop_releaser(state: Path) -> None:
    process = _releaser_process(state)
    if process is not None and process.alive():
        os.kill(process.pid, signal.SIGTERM)
        _wait(lambda: not process.alive())


def _releaser_process(state: Path) -> Process | None:
    try:
        return msgspec.json.decode((state / "releaser" / "process.json").read_bytes(), type=Process)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _wait(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + _READY_S
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False
