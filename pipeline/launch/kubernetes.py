"""A run as a Kubernetes Job, with its files in a ConfigMap.

The pod asks for what Pod Security's level *restricted* allows. The releaser is a sidecar, since it
listens on a Unix socket; its files are its container's alone.
"""

from __future__ import annotations

from typing import Any

from ruamel.yaml.scalarstring import LiteralScalarString

from strongroom.pipeline.launch.job import (
    IDENTITY,
    JOB,
    MEMORY,
    OWNER,
    RELEASER_STARTS_S,
    SOCKET,
    STATE,
    STOP_S,
    USER,
    Job,
    yaml_text,
)

OWNER_POLICY = "/owner-policy"
TOKEN = "/var/run/secrets/strongroom"  # noqa: S105 - a folder
ORDINARY_EXITS = [2, 3, 4, 5]
"""Bad input, denied, keys refused, integrity: trying again gives the same."""
_HEAD = """\
# A Strongroom run as a Kubernetes Job. Rendered by `strongroom launch`; its form was checked
# against the Kubernetes schema, and it was started on no cluster yet.
#
# Replace what says REPLACE, and make in the same namespace:
#   secret strongroom-broker          broker.json: the broker's AppRole file
#   secret strongroom-releaser        releaser.json, approle.json, log.json: the key owner's, with
#                                     "socket": "{socket}/socket", "policy": "{policy}",
#                                     "credentials_file": "{owner}/approle.json", and in "log"
#                                     "credentials_file": "{owner}/log.json",
#                                     "memory": "{memory}/log"
#   persistentvolumeclaim strongroom-log   what the releaser remembers of the log: one claim for
#                                     all jobs of this log, accessModes ReadWriteOncePod, on a
#                                     class that keeps the disk (reclaimPolicy: Retain)
#   configmap strongroom-releaser-policy   the owner's policy bundle (--from-file=FOLDER)
#   serviceaccount strongroom         it needs no permission
#
# One job at a time has the log: a second pod waits until the claim is free, and where the claim
# lets it start all the same its releaser says SR-RELEASE-008. With another claim, or an empty one,
# the releaser refuses a log that it does not remember (SR-AUDIT-022): mount the right one. Where
# that is lost, its owner takes the log over with `strongroom releaser adopt` (docs/own-bucket.md).
#
# To exec into this pod, or to read these secrets, is to act for the key's owner.
# The volume web-identity holds a service account token for {audience}.
# This version's brokers log in with broker.json and do not read it: remove it where nobody does.
#
# Nodes: x86-64, Linux 6.2 or newer with Landlock, containerd 1.6 or newer, no swap; Kubernetes
# 1.29 or newer (sidecars). {namespaces}
# To find out what a node offers, run `strongroom probe` in this pod's place.
"""
_SHARED = """\
RuntimeDefault refuses unshare: the enclave's evidence says
# `netns: shared`, a warning; its system-call filter still refuses every socket."""
_OWN = """\
The engine vllm needs unshare and mount: put a profile that
# allows them (RuntimeDefault's, and these two) on each node as profiles/strongroom.json, allow
# unprivileged user namespaces there, and see that AppArmor lets a container mount."""


def kubernetes(job: Job) -> str:
    """The ConfigMap and the Job as YAML."""
    head = _HEAD.format(
        socket=SOCKET,
        owner=OWNER,
        memory=MEMORY,
        policy=OWNER_POLICY,
        audience=job.identity_addr,
        namespaces=_OWN if job.own_namespaces else _SHARED,
    )
    return head + yaml_text(config_map(job), manifest(job))


def config_map(job: Job) -> dict[str, Any]:
    """Run file, evaluator and policy: nothing secret."""
    files = {_key(path): _block(text) for path, text in job.files.items()}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": job.run, "labels": _labels(job)},
        "immutable": True,
        "data": files,
    }


def manifest(job: Job) -> dict[str, Any]:
    """The Job. A pod that is lost or killed gets a successor, which goes on from the bucket."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": job.run, "labels": _labels(job)},
        "spec": {
            "backoffLimit": 4,
            # One pod at a time: two would write the same objects.
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "Ignore",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    },
                    {
                        "action": "FailJob",
                        "onExitCodes": {
                            "containerName": "strongroom",
                            "operator": "In",
                            "values": ORDINARY_EXITS,
                        },
                    },
                ]
            },
            "template": {"metadata": {"labels": _labels(job)}, "spec": _pod(job)},
        },
    }


def _pod(job: Job) -> dict[str, Any]:
    profile = {"type": "RuntimeDefault"}
    if job.own_namespaces:
        profile = {"type": "Localhost", "localhostProfile": "profiles/strongroom.json"}
    return {
        "restartPolicy": "Never",
        "serviceAccountName": "strongroom",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": STOP_S,
        "nodeSelector": {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": profile,
        },
        "initContainers": [
            _copy(job, "broker-identity", "broker-secret", "identity"),
            _copy(job, "releaser-identity", "releaser-secret", "owner"),
            {
                **_container(job, "releaser", job.releaser_command, ("500m", "512Mi")),
                "restartPolicy": "Always",
                # A run that finds no releaser has been refused its keys, and is not tried again.
                "startupProbe": {
                    "exec": {"command": ["test", "-S", f"{SOCKET}/socket"]},
                    "periodSeconds": 2,
                    "failureThreshold": RELEASER_STARTS_S // 2,
                },
                "volumeMounts": [
                    _mount("owner", OWNER),
                    _mount("owner-policy", OWNER_POLICY),
                    _mount("memory", MEMORY, writable=True),
                    _mount("socket", SOCKET, writable=True),
                ],
            },
        ],
        "containers": [
            {
                **_container(job, "strongroom", job.command, (job.cpus, f"{job.memory_mib}Mi")),
                "volumeMounts": [
                    _mount("job", JOB),
                    _mount("identity", IDENTITY),
                    _mount("web-identity", TOKEN),
                    _mount("socket", SOCKET),
                    _mount("state", STATE, writable=True),
                    _mount("tmp", "/tmp", writable=True),  # noqa: S108 - the container's own
                ],
            }
        ],
        "volumes": _volumes(job),
    }


def _container(
    job: Job, name: str, command: list[str], size: tuple[int | str, str]
) -> dict[str, Any]:
    resources = {"cpu": str(size[0]), "memory": size[1]}
    return {
        "name": name,
        "image": job.image,
        "command": command,
        "env": [{"name": key, "value": value} for key, value in job.environment.items()],
        "resources": {"requests": resources, "limits": dict(resources)},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _copy(job: Job, name: str, secret: str, into: str) -> dict[str, Any]:
    """Mounted secrets are links that a group can read; ours must be plain files of one user."""
    script = 'set -eu; umask 077; for file in /from/*; do cat "$file" > "/to/${file##*/}"; done'
    return {
        **_container(job, name, ["sh", "-c", script], ("100m", "64Mi")),
        "volumeMounts": [_mount(secret, "/from"), _mount(into, "/to", writable=True)],
    }


def _mount(name: str, path: str, *, writable: bool = False) -> dict[str, Any]:
    return {"name": name, "mountPath": path, "readOnly": not writable}


def _volumes(job: Job) -> list[dict[str, Any]]:
    in_memory = {"medium": "Memory", "sizeLimit": "1Mi"}
    items = [{"key": _key(path), "path": path} for path in job.files]
    token = {"audience": job.identity_addr, "expirationSeconds": 900, "path": "token"}
    return [
        {"name": "job", "configMap": {"name": job.run, "items": items}},
        {"name": "state", "emptyDir": {"sizeLimit": "1Gi"}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
        {"name": "socket", "emptyDir": {"sizeLimit": "1Mi"}},
        {"name": "identity", "emptyDir": in_memory},
        {"name": "owner", "emptyDir": in_memory},
        {"name": "broker-secret", "secret": {"secretName": "strongroom-broker"}},
        {"name": "releaser-secret", "secret": {"secretName": "strongroom-releaser"}},
        {"name": "memory", "persistentVolumeClaim": {"claimName": "strongroom-log"}},
        {"name": "owner-policy", "configMap": {"name": "strongroom-releaser-policy"}},
        {
            "name": "web-identity",
            "projected": {"sources": [{"serviceAccountToken": token}]},
        },
    ]


def _labels(job: Job) -> dict[str, str]:
    return {**job.labels, "app.kubernetes.io/name": "strongroom"}


def _block(text: str) -> str:
    """A text on lines of its own where all of it can be seen, else in YAML's escapes."""
    lines = text.replace("\n", "").replace("\t", "")
    return LiteralScalarString(text) if lines.isascii() and lines.isprintable() else text


def _key(path: str) -> str:
    return path.replace("/", ".")
