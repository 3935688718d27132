"""A run as an AWS Batch job: its definition, and the request that submits it.

Two containers in one task: the run, and the key owner's releaser, which listens on a Unix socket.
Files come from EFS access points, since Batch hands secrets over in environments only.
"""

from __future__ import annotations

import json
from typing import Any

from strongroom.pipeline.launch.job import (
    IDENTITY,
    JOB,
    MEMORY,
    OWNER,
    RELEASER_STARTS_S,
    SOCKET,
    STATE,
    USER,
    Job,
)

ABOUT = (
    "A Strongroom run as an AWS Batch job. Rendered by `strongroom launch`; its form was checked "
    "against botocore's model of the service, and it was started on no AWS account yet.",
    "Replace what says REPLACE. One EFS file system with four access points, each owned by user "
    f"{USER}, files of mode 0600: job (run.yaml, evaluator.py, policy/), broker (broker.json), "
    "owner (the releaser's releaser.json, approle.json, log.json, policy/) and memory (empty at "
    "first). `files` below is what job holds. In releaser.json, of `log`: `credentials_file` "
    f"{OWNER}/log.json, `memory` {MEMORY}/log.",
    "What the releaser remembers of the log lies in memory: one access point for all jobs of this "
    "log. One job at a time has it, so let each job of this log depend on the one before it. A "
    "second one's releaser says SR-RELEASE-008, and a job whose releaser has not started after "
    f"{RELEASER_STARTS_S} s is tried again, a few times. With another folder, or an empty one, the "
    "releaser refuses a log that it does not remember (SR-AUDIT-022): mount the right one. Where "
    "that is lost, its owner takes the log over with `strongroom releaser adopt` "
    "(docs/own-bucket.md).",
    "Compute environment: EC2, x86-64, an image with Linux 6.2 or newer and Landlock, Docker 23 "
    "or newer, no swap. Fargate's kernel cannot be chosen. `strongroom probe` in this container "
    "tells what an instance offers.",
    "No job role: all that runs in a task can use its role. Brokers take their own leases.",
    "strongroom launch … --print aws-batch > job.json; then jq .registerJobDefinition job.json | "
    "aws batch register-job-definition --cli-input-json file:///dev/stdin; likewise submitJob.",
)
_PATIENTLY = (
    f"left={RELEASER_STARTS_S}; until test -S {SOCKET}/socket; do "
    'if test "$left" -eq 0; then '
    "echo 'the releaser has not started: its container'\\''s log says why' >&2; exit 1; fi; "
    'left=$((left - 1)); sleep 1; done; exec "$@"'
)
VLLM = (
    "The engine vllm needs unshare and mount, which Docker's default profile refuses and Batch "
    "cannot change for one container: use the engine hf here."
)


def aws_batch(job: Job) -> str:
    """Both requests and the job's files as one JSON document."""
    document = {
        "//": [*ABOUT, VLLM] if job.own_namespaces else list(ABOUT),
        "registerJobDefinition": job_definition(job),
        "submitJob": submission(job),
        "files": job.files,
    }
    return json.dumps(document, indent=2) + "\n"


def job_definition(job: Job) -> dict[str, Any]:
    """The request ``RegisterJobDefinition``."""
    exits = [{"onExitCode": code, "action": "EXIT"} for code in "2345"]
    return {
        "jobDefinitionName": job.run,
        "type": "container",
        "platformCapabilities": ["EC2"],
        "retryStrategy": {
            "attempts": 5,
            "evaluateOnExit": [*exits, {"onExitCode": "*", "action": "RETRY"}],
        },
        "tags": job.labels,
        "ecsProperties": {
            "taskProperties": [
                {
                    "containers": [_run(job), _releaser(job)],
                    "volumes": [
                        *(_shared(name) for name in ("job", "broker", "owner", "memory")),
                        {"name": "socket", "host": {}},
                        {"name": "state", "host": {}},
                    ],
                }
            ]
        },
    }


def submission(job: Job) -> dict[str, Any]:
    """The request ``SubmitJob``."""
    return {
        "jobName": job.run,
        "jobQueue": "REPLACE-QUEUE",
        "jobDefinition": job.run,
        "tags": job.labels,
    }


def _run(job: Job) -> dict[str, Any]:
    # A run that finds no releaser has been refused its keys, and is not tried again. So it begins
    # only with one; without, the job ends with a code that has it tried again.
    command = ["sh", "-c", _PATIENTLY, "sh", *job.command]
    return {
        **_container(job, "strongroom", command, job.cpus, job.memory_mib),
        "essential": True,
        "dependsOn": [{"containerName": "releaser", "condition": "START"}],
        # Unlimited, the enclave keeps its memory out of swap; it lowers its other limits itself.
        "ulimits": [{"name": "memlock", "softLimit": -1, "hardLimit": -1}],
        "mountPoints": [
            _mount("job", JOB),
            _mount("broker", IDENTITY),
            _mount("socket", SOCKET),
            _mount("state", STATE, writable=True),
        ],
    }


def _releaser(job: Job) -> dict[str, Any]:
    return {
        **_container(job, "releaser", job.releaser_command, 1, 512),
        "essential": False,
        "mountPoints": [
            _mount("owner", OWNER),
            _mount("memory", MEMORY, writable=True),
            _mount("socket", SOCKET, writable=True),
        ],
    }


def _container(
    job: Job, name: str, command: list[str], cpus: int, memory_mib: int
) -> dict[str, Any]:
    return {
        "name": name,
        "image": job.image,
        "command": command,
        "user": f"{USER}:{USER}",
        "privileged": False,
        "readonlyRootFilesystem": True,
        "environment": [{"name": key, "value": value} for key, value in job.environment.items()],
        "resourceRequirements": [
            {"type": "VCPU", "value": str(cpus)},
            {"type": "MEMORY", "value": str(memory_mib)},
        ],
        "linuxParameters": {
            "maxSwap": 0,
            "tmpfs": [{"containerPath": "/tmp", "size": 256}],  # noqa: S108 - the container's own
        },
    }


def _mount(volume: str, path: str, *, writable: bool = False) -> dict[str, Any]:
    return {"sourceVolume": volume, "containerPath": path, "readOnly": not writable}


def _shared(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "efsVolumeConfiguration": {
            "fileSystemId": "fs-REPLACE",
            "transitEncryption": "ENABLED",
            "authorizationConfig": {"accessPointId": f"fsap-REPLACE-{name.upper()}"},
        },
    }
