"""The embedded stack: a real S3 server and a real key service on loopback, from PyPI wheels.

``up`` starts OpenBao, sets it up once, starts SeaweedFS with trust in OpenBao's identities, and
makes the buckets. It may be called again at any time: it restarts what does not run and keeps
ports, secrets and data. All state is in one private folder::

    stack.json   what runs and where (no secrets)      identity/  one credentials file each
    openbao/     key service: data, audit.log           seaweedfs/ buckets: data, certificates
    logs/        what the servers print

For development, tests and single machines; it is one copy on one disk.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import requests
from botocore.exceptions import BotoCoreError, ClientError
from hvac.exceptions import VaultError

from strongroom.connectors.access.boto import Client
from strongroom.connectors.access.credentials import S3Credentials
from strongroom.connectors.buckets import aws
from strongroom.connectors.host import processes
from strongroom.connectors.host.folders import locked, private_folder
from strongroom.connectors.stack import openbao, provision, seaweed
from strongroom.connectors.stack.errors import StackNotFound, StackSetUpFailed
from strongroom.connectors.stack.info import ServiceStatus as ServiceStatus
from strongroom.connectors.stack.info import StackInfo as StackInfo
from strongroom.connectors.stack.info import identity_files, log_file, save

DEFAULT_TOKEN_DURATION_S = 900
_RECOVER_LIMIT_S = 2.0
_SET_UP_LIMIT_S = 30.0
_FAR_FUTURE = datetime(9999, 1, 1, tzinfo=UTC)


def up(state: Path, *, token_duration_s: int | None = None) -> StackInfo:
    """Start what does not run, set up what is missing, and say where everything is.

    ``token_duration_s``: the life of bucket credentials whose lease names no lifetime (900 unless
    told otherwise, kept between starts; tests of expiry set a few seconds). Calls at the same time
    wait for each other. Raises the ``SR-STACK`` errors.
    """
    state = private_folder(Path(state).absolute())
    with locked(state):
        private_folder(state / "logs")
        info = _known(state) or _planned(state)
        if token_duration_s is not None:
            info = msgspec.structs.replace(info, token_duration_s=token_duration_s)
        save(state, info)
        info = _start_vault(state, info)
        return _start_buckets(state, info)


def down(state: Path) -> None:
    """Stop the stack's servers; data and secrets stay. Nothing to stop is fine.

    Raises ``StackNotFound`` where there never was a stack, and ``StackStopFailed``.
    """
    state = Path(state).absolute()
    StackInfo.load(state)
    with locked(state):
        info = StackInfo.load(state)
        for name in ("seaweedfs", "openbao"):
            if name in info.processes:
                processes.stop(name, info.processes[name], log_file(state, name))
        for path in seaweed.sockets(info.ports):
            with suppress(OSError):
                path.unlink(missing_ok=True)
        save(state, msgspec.structs.replace(info, processes={}))


def status(state: Path) -> tuple[ServiceStatus, ...]:
    """What runs. Raises ``StackNotFound``."""
    info = StackInfo.load(state)
    endpoints = {"openbao": info.vault_addr, "seaweedfs": info.s3_endpoint}
    found = []
    for name, endpoint in endpoints.items():
        process = info.processes.get(name)
        running = process is not None and process.alive()
        pid = process.pid if process is not None and running else 0
        found.append(ServiceStatus(name, running, endpoint, pid, str(log_file(Path(state), name))))
    return tuple(found)


def admin_credentials(state: Path) -> S3Credentials:
    """The administrator's S3 key, which may do everything. For set-up and tests only."""
    access_key, secret_key = seaweed.admin_key(Path(state) / "seaweedfs")
    return S3Credentials(access_key, secret_key, None, _FAR_FUTURE)


def admin_client(state: Path) -> Client:
    """A boto3 S3 client with the administrator's key. For set-up and tests only."""
    info = StackInfo.load(state)
    return aws.s3_client(admin_credentials(state), info.s3_endpoint, info.region)


def _known(state: Path) -> StackInfo | None:
    try:
        return StackInfo.load(state)
    except StackNotFound:
        return None


def _planned(state: Path) -> StackInfo:
    names = ["admin", *openbao.PORTS, *seaweed.PORTS]
    names = [name for name in dict.fromkeys(names) if name != "admin_grpc"]
    offset = seaweed.ADMIN_GRPC_OFFSET
    found = processes.free_ports(len(names), offset=offset)
    ports = dict(zip(names, found, strict=True)) | {"admin_grpc": found[0] + offset}
    endpoint = f"http://127.0.0.1:{ports['s3']}"
    return StackInfo(
        s3_endpoint=endpoint,
        sts_endpoint=endpoint,
        vault_addr=openbao.address(ports),
        region=provision.REGION,
        data_bucket=provision.DATA_BUCKET,
        audit_bucket=provision.AUDIT_BUCKET,
        oidc_audience=provision.AUDIENCE,
        roles={use: seaweed.role_arn(role) for use, role in provision.ROLES.items()},
        oidc_roles=dict(provision.ROLE_ENTITIES),
        identities=identity_files(state),
        public_keys={},
        entities={},
        token_duration_s=DEFAULT_TOKEN_DURATION_S,
        ports=ports,
        processes={},
    )


def _start_vault(state: Path, info: StackInfo) -> StackInfo:
    folder = private_folder(state / "openbao")
    addr = info.vault_addr
    set_up = bool(info.entities)
    if not set_up and (folder / "data").exists():
        # Set-up was cut off. Nothing was ever wrapped with the keys made so far: begin again.
        info = _stop(state, info, "openbao", folder)
        shutil.rmtree(folder / "data")
    openbao.write_configuration(folder, info.ports)
    info = _ensure(
        state,
        info,
        "openbao",
        folder,
        command=openbao.command(),
        environment=openbao.environment(folder),
        ports=openbao.PORTS,
        ready=lambda: openbao.unsealed(addr) if set_up else openbao.answers(addr),
    )
    if set_up:
        return info
    log = log_file(state, "openbao")
    try:
        root = openbao.client(addr, openbao.initialise(addr, folder))
        try:
            process = info.processes["openbao"]
            processes.wait_ready("openbao", process, lambda: openbao.unsealed(addr), log)
            entities = provision.set_up_vault(root, addr, state / "identity")
            public_keys = provision.read_public_keys(root)
        finally:
            provision.revoke(root)
    except (VaultError, requests.RequestException, KeyError, TypeError) as error:
        raise StackSetUpFailed(place=str(log), actual=f"openbao: {type(error).__name__}") from None
    info = msgspec.structs.replace(info, entities=entities, public_keys=public_keys)
    save(state, info)
    return info


def _start_buckets(state: Path, info: StackInfo) -> StackInfo:
    folder = private_folder(state / "seaweedfs")
    private_folder(folder / "data")
    seaweed.make_secrets(folder)
    changed = seaweed.write_configuration(
        folder,
        issuer=info.vault_addr,
        audience=info.oidc_audience,
        subjects={
            provision.ROLES[use]: info.entities[entity]
            for use, entity in provision.ROLE_ENTITIES.items()
        },
        policies=provision.bucket_policies(),
        token_duration_s=info.token_duration_s,
    )
    if changed:
        # The server reads its roles only when it starts.
        info = _stop(state, info, "seaweedfs", folder)
    info = _ensure(
        state,
        info,
        "seaweedfs",
        folder,
        command=seaweed.command(info.ports),
        environment=seaweed.environment(folder),
        ports=seaweed.PORTS,
        ready=lambda: seaweed.healthy(info.ports["s3"]),
    )
    _set_up_buckets(state)
    return info


def _set_up_buckets(state: Path) -> None:
    """Make the buckets; a server that has just started may need a moment to accept that."""
    admin = admin_client(state)
    end = time.monotonic() + _SET_UP_LIMIT_S
    while True:
        try:
            provision.set_up_buckets(admin)
        except (ClientError, BotoCoreError) as error:
            if time.monotonic() > end:
                actual = f"seaweedfs: {type(error).__name__}"
                log = log_file(state, "seaweedfs")
                raise StackSetUpFailed(place=str(log), actual=actual) from None
            time.sleep(0.2)
        else:
            return


def _ensure(
    state: Path,
    info: StackInfo,
    name: str,
    folder: Path,
    *,
    command: Sequence[str],
    environment: Mapping[str, str],
    ports: Sequence[str],
    ready: Callable[[], bool],
) -> StackInfo:
    """Keep the server if it runs and is ready, else start it; record it at once."""
    log = log_file(state, name)
    process = info.processes.get(name)
    if process is not None and process.alive():
        end = time.monotonic() + _RECOVER_LIMIT_S
        while time.monotonic() < end and process.alive():
            if ready():
                return info
            time.sleep(0.1)
    info = _stop(state, info, name, folder)
    processes.check_free(name, [info.ports[port] for port in ports])
    process = processes.start(command, folder=folder, environment=environment, log=log)
    info = msgspec.structs.replace(info, processes={**info.processes, name: process})
    save(state, info)
    processes.wait_ready(name, process, ready, log)
    return info


def _stop(state: Path, info: StackInfo, name: str, folder: Path) -> StackInfo:
    """Stop the recorded server, and one that a killed ``up`` started but did not record."""
    for process in (info.processes.get(name), processes.working_in(folder)):
        if process is not None:
            processes.stop(name, process, log_file(state, name))
    others = {key: process for key, process in info.processes.items() if key != name}
    info = msgspec.structs.replace(info, processes=others)
    save(state, info)
    return info
