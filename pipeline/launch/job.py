"""What a run needs from a container on any service: its files, their places, and its size.

Pure but for reading the files that the run file names. Nothing here is a secret, and nothing goes
into an environment: identities come as files that the container's platform mounts.

What the enclave needs of a container was looked up in ``enclave.sandbox.lockdown`` and in the
default system-call profiles of Docker and containerd (1.6 and newer): they let a process without
any capability use Landlock, seccomp, ``memfd_secret`` and ``mlockall``, and refuse ``unshare``.
Without ``unshare`` the enclave has no network namespace of its own (a warning in its evidence; its
system-call filter still refuses every socket), and the engine ``vllm`` cannot start.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from strongroom.connectors.buckets.endpoint import is_loopback
from strongroom.enclave.plan.objects import check_run_id
from strongroom.errors import ErrorList, StrongroomError
from strongroom.errors.regular_files import read_beneath
from strongroom.pipeline.launch.errors import LaunchTooLarge, LoopbackEndpoint, NotText
from strongroom.pipeline.planning.errors import IdentityMissing, ReleaserMissing
from strongroom.pipeline.runfile.load import LoadedRun

USER = 65532
"""The image's user; see the Dockerfile."""
JOB, STATE, SOCKET = "/job", "/state", "/releaser"
"""Run file, evaluator and policy; notes of one attempt; the folder of the releaser's socket."""
IDENTITY = "/identity"
OWNER = "/owner"
"""The releaser's own files; only its container has them."""
MEMORY = "/memory"
"""A disk that outlives jobs, with what the releaser remembers of the log; its container's alone."""
RELEASER_STARTS_S = 120
"""How long a run waits for its releaser."""
IMAGE = f"REPLACE-REGISTRY/strongroom:{version('strongroom')}"
STOP_S = 60
"""From SIGTERM to the end of a controller that ends its processes in order."""
MAX_FILES_BYTES = 1_000_000
_GIB = 1 << 30
_OVERHEAD_BYTES = 2 * _GIB
"""Controller with Beam, two brokers, evaluator, page tables."""


@dataclass(frozen=True)
class Job:
    """One run as a container."""

    run: str
    image: str
    labels: dict[str, str]
    files: dict[str, str]
    """What lies under ``/job``, by path."""
    cpus: int
    memory_bytes: int
    own_namespaces: bool
    """Whether the run cannot do without ``unshare`` and ``mount``."""
    identity_addr: str

    @property
    def command(self) -> list[str]:
        """Begins the run, or goes on with it: the bucket knows."""
        run_file = f"{JOB}/run.yaml"
        return ["strongroom", "run", run_file, "--id", self.run, "--resume", "--json"]

    @property
    def releaser_command(self) -> list[str]:
        """The key owner's side."""
        return ["strongroom", "releaser", "serve", f"{OWNER}/releaser.json"]

    @property
    def environment(self) -> dict[str, str]:
        """All of it; the home folder is for libraries that look for one."""
        return {"HOME": STATE, "STRONGROOM_STATE": STATE}

    @property
    def memory_mib(self) -> int:
        """Memory in MiB."""
        return self.memory_bytes >> 20


def job_of(loaded: LoadedRun, run: str, image: str, *, allow_loopback: bool) -> Job:
    """A run file as a container. Raises ``LoopbackEndpoint`` and what its files are refused for."""
    spec = loaded.spec.spec
    if spec.identity is None:
        raise IdentityMissing(place="spec.identity")
    if spec.keys.releaser is None:
        raise ReleaserMissing(place="spec.keys.releaser")
    if not allow_loopback:
        _refuse_loopback(loaded, spec.identity.addr)
    return Job(
        run=check_run_id(run),
        image=image,
        labels=dict(loaded.spec.metadata.labels),
        files=_files(loaded),
        cpus=spec.enclave.threads + 1,
        memory_bytes=spec.enclave.memory_bytes + _OVERHEAD_BYTES,
        own_namespaces=spec.training.engine.type == "vllm",
        identity_addr=spec.identity.addr,
    )


def _refuse_loopback(loaded: LoadedRun, identity_addr: str) -> None:
    places = {
        f"spec.access.{i}.endpoint": a.endpoint for i, a in enumerate(loaded.spec.spec.access)
    }
    places["spec.identity.addr"] = identity_addr
    found: list[StrongroomError] = [
        LoopbackEndpoint(place=loaded.position(path), expected="no loopback address", actual=path)
        for path, endpoint in places.items()
        if endpoint is not None and is_loopback(endpoint)
    ]
    if found:
        raise ErrorList(found)


def _files(loaded: LoadedRun) -> dict[str, str]:
    spec = loaded.spec.spec
    files = {"run.yaml": _run_file(loaded)}
    if spec.evaluator.source is not None:
        files["evaluator.py"] = _text(spec.evaluator.source)
    for path in sorted(spec.policy.bundle.iterdir()):
        if path.suffix == ".rego" or path.name in ("manifest.json", "data.json"):
            files[f"policy/{path.name}"] = _text(path)
    size = sum(len(name) + len(text.encode()) for name, text in files.items())
    if size > MAX_FILES_BYTES:
        expected = f"at most {MAX_FILES_BYTES} bytes"
        raise LaunchTooLarge(place=str(loaded.source), expected=expected, actual=f"{size} bytes")
    return files


def _run_file(loaded: LoadedRun) -> str:
    """The run file with variables put in, and with the container's paths."""
    data: dict[str, Any] = loaded.spec.normalised()
    run = data["spec"]
    if run["evaluator"]["source"] is not None:
        run["evaluator"]["source"] = "evaluator.py"
    run["policy"]["bundle"] = "policy"
    run["identity"]["credentials"] = f"{IDENTITY}/broker.json"
    run["keys"]["releaser"] = f"unix://{SOCKET}/socket"
    return yaml_text(_without_none(data))


def _without_none(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _without_none(value) for key, value in data.items() if value is not None}
    return [_without_none(item) for item in data] if isinstance(data, list) else data


def yaml_text(*documents: Any) -> str:
    """Documents as YAML in ASCII, long texts as blocks where they are ASCII, too."""
    yaml = YAML()
    yaml.width = 4096
    yaml.allow_unicode = False
    stream = StringIO()
    for index, document in enumerate(documents):
        stream.write("---\n" if index else "")
        yaml.dump(document, stream)
    return stream.getvalue()


def _text(path: Path) -> str:
    try:
        return read_beneath(path.parent, path.name, MAX_FILES_BYTES).decode()
    except (OSError, UnicodeDecodeError):
        raise NotText(place=str(path)) from None
