"""The embedded stack as a customer's side: servers, policy bundle, releaser.

``connectors.stack.stack`` runs the servers. This module adds what a key owner has beside them: a
policy bundle with the owner's settings, and a releaser of the owner's own. For one machine: all
three parties share a user here, so the separation between them is by process and not by person.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from strongroom.connectors.host.folders import private_folder, write_private
from strongroom.connectors.host.processes import Process, start_module
from strongroom.connectors.stack import stack
from strongroom.connectors.stack.provision import WRAPPING_KEYS
from strongroom.connectors.stack.stack import ServiceStatus
from strongroom.crypto.digests import Sha256
from strongroom.enclave.measurement import measure
from strongroom.pipeline.embedded.owner import Embedded
from strongroom.pipeline.embedded.places import MODEL_URI
from strongroom.pipeline.owner.model_upload import upload
from strongroom.pipeline.releaser.client import ReleaserClient
from strongroom.pipeline.releaser.config import LogSettings, ReleaserConfig
from strongroom.pipeline.releaser.errors import ReleaserUnreachable
from strongroom.policies.bundle import Settings, read_bundle, write_bundle

_READY_S = 60.0


def up(state: Path, *, token_duration_s: int | None = None) -> Embedded:
    """Start what does not run: servers, then the releaser. Safe to call again."""
    state = state.expanduser().absolute()
    # Compiling what is measured takes as long as the servers do.
    with ThreadPoolExecutor(1) as beside:
        measured = beside.submit(_measured, state / "releaser" / "releaser.json")
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
    _start_releaser(embedded, measured.result())
    return embedded


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


def _start_releaser(embedded: Embedded, measured: Sha256) -> None:
    folder = private_folder(embedded.state / "releaser")
    path = folder / "releaser.json"
    config = ReleaserConfig(
        socket=str(embedded.releaser_socket),
        credentials_file=embedded.info.identities["releaser"],
        vault_addr=embedded.info.vault_addr,
        policy=str(embedded.policy),
        min_assurance="A1",
        measurements=(measured,),
        signers=(embedded.info.public_keys["feedback-signer"],),
        manifest_signer="vault://transit/feedback-signer",
        keys=tuple(f"vault://transit/{key}" for key in WRAPPING_KEYS),
        log=LogSettings(
            uri=embedded.references()["audit_uri"],
            key=embedded.references()["audit_key"],
            role=embedded.info.roles["log"],
            vault_addr=embedded.info.vault_addr,
            credentials_file=embedded.info.identities["log"],
            oidc_role=embedded.info.oidc_roles["log"],
            memory=str(folder / "log"),
            endpoint=embedded.info.s3_endpoint,
        ),
    )
    encoded = msgspec.json.format(msgspec.json.encode(config), indent=2)
    process = _releaser_process(embedded.state)
    running = process is not None and process.alive()
    if running and path.exists() and path.read_bytes() == encoded:
        return
    _stop_releaser(embedded.state)
    write_private(path, encoded)
    log = embedded.state / "logs" / "releaser.log"
    process = start_module(
        "strongroom.pipeline.releaser.process", (str(path),), environment={}, log=log
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


def _measured(settings: Path) -> Sha256:
    """The measurement to approve: one that is approved already is not taken anew."""
    with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
        known = msgspec.json.decode(settings.read_bytes(), type=ReleaserConfig).measurements
        if measure() in known:
            return measure()
    return measure(anew=True)


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
