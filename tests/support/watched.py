"""What is seen of a run from outside, while it trains and after it has ended.

Memory, titles, sockets and name spaces of its processes; packets on loopback; files, buckets.
"""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from strongroom.connectors.buckets.uri import parse
from strongroom.connectors.keys.open import open_kms
from strongroom.connectors.stack.stack import admin_client
from strongroom.crypto.dsse import open_self_signed
from strongroom.crypto.keyset import Keyset
from strongroom.crypto.manifest import DATASET_TYPE, WrappedKeyset, decode_dataset
from strongroom.pipeline.embedded import stack as embedded
from support import leak_search, live_run
from support.packets import Packets

TOKEN = re.compile(rb"eyJ[\w-]{10,2000}\.[\w-]{20,4000}\.[\w-]{20,700}")
"""A JSON web token: OpenBao's, which says who the broker is, or the store's, which lets it in."""


@dataclass
class SecretRows:
    """Two sealed datasets whose every row holds the canary in each of its columns."""

    canary: str = field(repr=False)
    needles: dict[str, bytes] = field(repr=False)
    train: str
    held_out: str
    stamp: Path
    """A file made before the rows were: whatever is newer may hold them."""


@dataclass
class Watched:
    """What was seen of one run while it trained, and after it had ended."""

    run: Any
    pids: dict[str, int]
    status: int
    needles: dict[str, bytes] = field(repr=False)
    memory: dict[str, set[str]]
    """Needles in the memory of each process while the run trained."""
    passing: set[str]
    """Needles of the rows in controller or brokers at any look from the start on, if asked for."""
    titles: dict[str, set[str]]
    """Needles that ``ps`` would have shown then."""
    sockets: dict[str, set[str]]
    """Remote TCP addresses of each process then."""
    networks: dict[str, tuple[str, list[str]]]
    """Network name space and devices of each process then."""
    packets: Packets
    """What went over the ports of stack and listener, from start to end."""
    received: bytes
    """What reached the listener."""
    files: dict[str, set[str]]
    """Needles in files changed since the rows were made, and in the whole state folder."""
    objects: dict[str, set[str]]
    """Needles in any version of any object of both buckets."""


@dataclass(frozen=True)
class Watching:
    """All that it takes to watch a run."""

    job: Any
    rows: SecretRows

    def watch(
        self,
        folder: Path,
        *,
        end: Callable[[Any], None] | None = None,
        memory: bool = True,
        from_start: bool = False,
        **options,
    ) -> Watched:
        """Start a run, look into it while it trains, let it end (by ``end``), look around.

        ``from_start`` looks for what passes through controller and brokers before training: freed
        memory is soon written over, so one look later may miss it.
        """
        passing: set[str] = set()
        ports = self.job.stack.info.ports.values()
        with (
            Listener() as listener,
            Packets(self.rows.needles, (*ports, listener.port)) as packets,
        ):
            run = live_run.start_run(
                folder.name,
                self.job,
                folder,
                train=self.rows.train,
                held_out=self.rows.held_out,
                port=listener.port,
                **options,
            )
            try:

                def look() -> None:
                    for role, pid in run.roles().items():
                        if role not in ("enclave", "evaluator", "held-out evaluator"):
                            with suppress(OSError):  # it has just gone
                                passing.update(leak_search.in_memory(pid, self.rows.needles))

                run.wait_for_training(meanwhile=look if from_start else lambda: None)
                pids = run.pids | _servers(self.job.stack)
                needles = self.rows.needles | role_needles(self.job, self.rows, run)
                found = {
                    role: leak_search.in_memory(pid, needles)
                    for role, pid in pids.items()
                    if memory
                }
                titles = leak_search.in_titles(self.rows.needles, os.getpid())
                sockets = {role: remotes(pid) for role, pid in pids.items()}
                networks = {role: _network(pid) for role, pid in pids.items()}
                assert run.process.poll() is None
                if end is not None:
                    end(run)
            finally:
                status = run.finish()
        return Watched(
            run=run,
            pids=pids,
            status=status,
            needles=needles,
            memory=found,
            passing=passing,
            titles=titles,
            sockets=sockets,
            networks=networks,
            packets=packets,
            received=listener.received,
            files=self.files(),
            objects=self.objects(),
        )

    def files(self) -> dict[str, set[str]]:
        state = leak_search.files_below(self.job.stack.state)
        changed = leak_search.files_changed_since(self.rows.stamp)
        return leak_search.in_files({*state, *changed}, self.rows.needles)

    def objects(self) -> dict[str, set[str]]:
        info = self.job.stack.info
        s3 = admin_client(self.job.stack.state)
        buckets = (info.data_bucket, info.audit_bucket)
        return leak_search.in_buckets(s3, buckets, self.rows.needles)


class Listener:
    """A server on loopback that keeps whatever anybody sends to it."""

    def __init__(self) -> None:
        self.received = b""
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Listener:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._server.close()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._server.accept()
            except OSError:  # it was shut down
                return
            with peer:
                while piece := peer.recv(4096):
                    self.received += piece


def _servers(stack) -> dict[str, int]:
    names = {"releaser": "releaser", "seaweedfs": "bucket server", "openbao": "key service"}
    return {names[service.name]: service.pid for service in embedded.status(stack.state)}


def remotes(pid: int) -> set[str]:
    """The remote ends of a process's TCP connections, as ``address:port``."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            target = str(link.readlink())
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] in inodes and fields[3] != "0A":  # listening
                address, port = fields[2].split(":")
                found.add(f"{address}:{int(port, 16)}")
    return found


def _network(pid: int) -> tuple[str, list[str]]:
    lines = Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]
    space = str(Path(f"/proc/{pid}/ns/net").readlink())
    return space, sorted(line.split(":")[0].strip() for line in lines)


def role_needles(job, rows, run) -> dict[str, bytes]:
    """What each role may or may not hold: keys, credentials, sealed bytes."""
    stack, s3 = job.stack, admin_client(job.stack.state)

    def stored(uri: str) -> bytes:
        location = parse(uri)
        return s3.get_object(Bucket=location.bucket, Key=location.key)["Body"].read()

    def key(wrapped: WrappedKeyset) -> bytes:
        kms = open_kms(
            wrapped.kms,
            vault_addr=stack.info.vault_addr,
            credentials_file=Path(stack.info.identities["releaser"]),
        )
        return Keyset.from_tink(kms.unwrap(wrapped.wrapped, wrapped.context), place="test").key

    folder = f"s3://acme-data/runs/{run.name}/"
    envelope = stored(f"{rows.train}manifest.json")
    manifest = decode_dataset(open_self_signed(envelope, DATASET_TYPE, place="test")[0], "test")
    outputs = msgspec.json.decode(stored(f"{folder}keys.json"), type=WrappedKeyset)
    needles = {}
    for name, value in (("data key", key(manifest.keyset)), ("output key", key(outputs))):
        needles |= {name: value, f"{name} in hex": value.hex().encode()}
        needles |= leak_search.base64_needles(f"{name} in base64", value)
    for name, uri in (
        ("sealed rows", f"{rows.train}{manifest.shards[0].object}"),
        ("sealed rollouts", f"{folder}checkpoints/000002/rollouts.sealed"),
        ("sealed adapter", f"{folder}checkpoints/000002/adapter.sealed"),
    ):
        needles[name] = stored(uri)[100:164]  # beyond the header, which the manifest repeats
    identity = json.loads(Path(stack.info.identities["broker"]).read_bytes())
    needles["broker's secret id"] = identity["secret_id"].encode()
    for index, token in enumerate(leak_search.matches_in_memory(run.pids["data broker"], TOKEN)):
        kind = "identity" if _algorithm(token) == "RS256" else "session"
        needles[f"token of the broker {index} {kind}"] = token
    return needles


def _algorithm(token: bytes) -> str:
    head = token.split(b".")[0]
    return str(json.loads(base64.urlsafe_b64decode(head + b"=" * (-len(head) % 4)))["alg"])
