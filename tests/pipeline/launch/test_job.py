"""Jobs for other schedulers: what their own schemas say of them, and what must not be in them."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import botocore.session
import kubernetes_validate
import pytest
from botocore.validate import ParamValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML
from typer.testing import CliRunner

from strongroom.audit.log.errors import LogMemoryLost
from strongroom.enclave.sandbox import syscalls
from strongroom.errors import ErrorList
from strongroom.pipeline.cli.main import app
from strongroom.pipeline.launch.aws_batch import aws_batch
from strongroom.pipeline.launch.errors import LaunchTooLarge, LoopbackEndpoint, NotText
from strongroom.pipeline.launch.job import Job, job_of
from strongroom.pipeline.launch.kubernetes import kubernetes
from strongroom.pipeline.planning.errors import ReleaserMissing
from strongroom.pipeline.releaser.errors import ReleaserRuns
from strongroom.pipeline.runfile.load import LoadedRun, load
from strongroom.policies.gate import Settings, write_bundle

ROOT = Path(__file__).parents[3]
RUN = "feedback-1"
IMAGE = "registry.example.com/strongroom@sha256:" + "a" * 64
Load = Callable[..., LoadedRun]


@pytest.fixture
def remote(example: str, stack: dict[str, str]) -> str:
    """The example with addresses that any machine can reach."""
    write_bundle(Path(stack["policy_bundle"]), Settings())
    stack["s3_endpoint"] = "https://s3.example.com"
    stack["vault_addr"] = "https://vault.example.com"
    return example


def made(loaded: LoadedRun, **options: Any) -> Job:
    return job_of(loaded, RUN, IMAGE, **{"allow_loopback": False, **options})


@pytest.fixture
def job(remote: str, load_example: Load) -> Job:
    return made(load_example(remote))


def pod_of(job: Job) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """ConfigMap, Job and pod, as read back from the text."""
    files, manifest = YAML(typ="safe", pure=True).load_all(kubernetes(job))
    return files, manifest, manifest["spec"]["template"]["spec"]


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod["initContainers"], *pod["containers"]]


# ---- Kubernetes ----------------------------------------------------------------------------------


def check(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_kubernetes_knows_every_field(job):
    files, manifest, _ = pod_of(job)
    check(files)
    check(manifest)


@pytest.mark.parametrize(
    "break_it",
    [
        lambda pod: pod.update(restartPolice="Never"),
        lambda pod: pod["containers"][0]["resources"].update(limits=["3"]),
        lambda pod: pod["securityContext"].update(runAsUser="nobody"),
    ],
)
def test_the_control_a_wrong_field_is_refused(job, break_it):
    _, manifest, pod = pod_of(job)
    break_it(pod)
    with pytest.raises(kubernetes_validate.ValidationError):
        check(manifest)


def test_the_pod_keeps_to_pod_securitys_restricted_level(job):
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/, field by field."""
    _, _, pod = pod_of(job)
    allowed = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image"}
    allowed |= {"persistentVolumeClaim", "projected", "secret"}
    for volume in pod["volumes"]:
        assert set(volume) - {"name"} <= allowed
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"]["type"] in ("RuntimeDefault", "Localhost")
    for container in containers(pod):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert not {"privileged", "procMount"} & set(context)
        assert "hostPort" not in str(container)


def test_no_secret_is_in_an_environment(job):
    _, _, pod = pod_of(job)
    for container in containers(pod):
        assert "envFrom" not in container
        for variable in container["env"]:
            assert set(variable) == {"name", "value"}
        assert {item["name"] for item in container["env"]} == {"HOME", "STRONGROOM_STATE"}


def test_secrets_are_files_of_the_container_that_needs_them(job):
    _, _, pod = pod_of(job)
    mounts = {
        container["name"]: {mount["name"] for mount in container["volumeMounts"]}
        for container in containers(pod)
    }
    assert not mounts["strongroom"] & {"owner", "releaser-secret", "broker-secret", "memory"}
    assert not mounts["releaser"] & {"identity", "broker-secret", "releaser-secret", "job"}
    assert pod["automountServiceAccountToken"] is False
    [token] = [v["projected"]["sources"][0] for v in pod["volumes"] if "projected" in v]
    assert token["serviceAccountToken"]["audience"] == "https://vault.example.com"


def test_the_releaser_alone_has_its_memory_which_outlives_the_pod(job):
    _, _, pod = pod_of(job)
    [volume] = [volume for volume in pod["volumes"] if volume["name"] == "memory"]
    assert set(volume) == {"name", "persistentVolumeClaim"}
    having = {
        container["name"]: [m for m in container["volumeMounts"] if m["name"] == "memory"]
        for container in containers(pod)
    }
    [mount] = having.pop("releaser")
    assert (mount["mountPath"], mount["readOnly"]) == ("/memory", False)
    assert not any(having.values())
    assert pod["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"


def test_secret_files_become_private(job, tmp_path):
    """The init container's script, run on links such as a mounted secret consists of."""
    _, _, pod = pod_of(job)
    source, target = tmp_path / "from", tmp_path / "to"
    (source / "..data").mkdir(parents=True)
    target.mkdir()
    (source / "..data" / "broker.json").write_text("{}")
    (source / "broker.json").symlink_to("..data/broker.json")
    script = pod["initContainers"][0]["command"][-1]
    script = script.replace("/from/", f"{source}/").replace("/to/", f"{target}/")
    subprocess.run(["sh", "-c", script], check=True)
    [copied] = target.iterdir()
    assert not copied.is_symlink()
    assert copied.stat().st_mode & 0o777 == 0o600
    assert copied.read_text() == "{}"


def test_the_pods_files_are_the_run(job, remote, load_example, tmp_path):
    files, _, pod = pod_of(job)
    folder = tmp_path / "job"
    [volume] = [v["configMap"] for v in pod["volumes"] if v["name"] == "job"]
    assert len(volume["items"]) == len(files["data"]) == len(job.files)
    for item in volume["items"]:
        path = folder / item["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files["data"][item["key"]])
    again, first = load(folder / "run.yaml").spec, load_example(remote).spec
    assert again.spec.training == first.spec.training
    assert again.spec.access == first.spec.access
    assert again.spec.evaluator.source.read_bytes() == first.spec.evaluator.source.read_bytes()
    assert again.spec.policy.bundle == folder / "policy"
    assert str(again.spec.identity.credentials) == "/identity/broker.json"
    assert again.spec.keys.releaser == Path("/releaser/socket")
    assert made(load(folder / "run.yaml")) == job, "rendered again it is the same"


def test_a_lost_pods_successor_goes_on(job):
    _, manifest, pod = pod_of(job)
    [container] = pod["containers"]
    assert container["command"][:2] == ["strongroom", "run"]
    assert container["command"][3:6] == ["--id", RUN, "--resume"]
    assert pod["restartPolicy"] == "Never"
    assert manifest["spec"]["backoffLimit"] > 0
    assert manifest["spec"]["podReplacementPolicy"] == "Failed"
    values = manifest["spec"]["podFailurePolicy"]["rules"][1]["onExitCodes"]["values"]
    assert values == [2, 3, 4, 5]


def test_what_a_run_asks_for_is_requested(remote, load_example):
    changed = remote.replace("memory: 8GiB", "memory: 24GiB").replace("threads: 2", "threads: 6")
    _, _, pod = pod_of(made(load_example(changed)))
    resources = pod["containers"][0]["resources"]
    assert resources["requests"] == resources["limits"] == {"cpu": "7", "memory": "26624Mi"}


def test_vllm_needs_a_profile_of_its_own(job, remote, load_example):
    _, _, pod = pod_of(job)
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    vllm = made(load_example(remote.replace("type: hf ", "type: vllm ")))
    _, manifest, pod = pod_of(vllm)
    assert pod["securityContext"]["seccompProfile"]["type"] == "Localhost"
    assert "profiles/strongroom.json" in kubernetes(vllm)
    check(manifest)
    assert "Docker's default profile refuses" in aws_batch(vllm)


# ---- AWS Batch -----------------------------------------------------------------------------------


def errors_in(operation: str, parameters: dict[str, Any]) -> str:
    """What botocore's own model of the service says of a request."""
    model = botocore.session.get_session().get_service_model("batch").operation_model(operation)
    report = ParamValidator().validate(parameters, model.input_shape)
    return str(report.generate_report())


def test_botocore_knows_every_field(job):
    document = json.loads(aws_batch(job))
    assert errors_in("RegisterJobDefinition", document["registerJobDefinition"]) == ""
    assert errors_in("SubmitJob", document["submitJob"]) == ""
    wrong = copy.deepcopy(document["registerJobDefinition"])
    task = wrong["ecsProperties"]["taskProperties"][0]
    task["containers"][0]["memory"] = 1
    assert "memory" in errors_in("RegisterJobDefinition", wrong), "the control"


def test_batch_containers_hold_no_privilege_and_no_secret(job):
    definition = json.loads(aws_batch(job))["registerJobDefinition"]
    assert definition["platformCapabilities"] == ["EC2"]
    [task] = definition["ecsProperties"]["taskProperties"]
    assert not {"taskRoleArn", "pidMode", "ipcMode"} & set(task)
    for container in task["containers"]:
        assert container["privileged"] is False
        assert container["readonlyRootFilesystem"] is True
        assert container["user"] == "65532:65532"
        assert "secrets" not in container
        assert {e["name"] for e in container["environment"]} == {"HOME", "STRONGROOM_STATE"}
    volumes = {volume["name"] for volume in task["volumes"]}
    mounted = {m["sourceVolume"] for c in task["containers"] for m in c["mountPoints"]}
    assert mounted == volumes
    assert len(definition["retryStrategy"]["evaluateOnExit"]) <= 5


def test_a_batch_run_waits_for_its_releaser(job, tmp_path):
    definition = json.loads(aws_batch(job))["registerJobDefinition"]
    command = definition["ecsProperties"]["taskProperties"][0]["containers"][0]["command"]
    assert command[-len(job.command) :] == job.command
    script = command[2].replace("test -S /releaser/socket", f"test -e {tmp_path}/socket")
    process = subprocess.Popen(
        ["sh", "-c", script, "sh", "echo", "two words"], stdout=subprocess.PIPE, text=True
    )
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    (tmp_path / "socket").touch()
    assert process.communicate()[0] == "two words\n"


def test_a_batch_run_whose_releaser_does_not_start_is_tried_again(job, tmp_path):
    definition = json.loads(aws_batch(job))["registerJobDefinition"]
    command = definition["ecsProperties"]["taskProperties"][0]["containers"][0]["command"]
    script = command[2].replace("left=120", "left=1").replace("/releaser/", f"{tmp_path}/")
    ended = subprocess.run(
        ["sh", "-c", script, "sh", "echo", "run"], capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "the releaser has not started: its container's log says why\n"
    exits = {
        each["onExitCode"]: each["action"] for each in definition["retryStrategy"]["evaluateOnExit"]
    }
    assert exits.get("1", exits["*"]) == "RETRY"


def test_the_batch_releaser_alone_has_its_memory_which_outlives_the_job(job):
    definition = json.loads(aws_batch(job))["registerJobDefinition"]
    [task] = definition["ecsProperties"]["taskProperties"]
    [volume] = [volume for volume in task["volumes"] if volume["name"] == "memory"]
    assert set(volume) == {"name", "efsVolumeConfiguration"}
    mounts = [
        (container["name"], mount["readOnly"])
        for container in task["containers"]
        for mount in container["mountPoints"]
        if mount["sourceVolume"] == "memory"
    ]
    assert mounts == [("releaser", False)]


# ---- all of them ---------------------------------------------------------------------------------

WRITERS = [kubernetes, aws_batch]


@pytest.mark.parametrize("write", WRITERS)
def test_each_says_that_nobody_started_it(write, job):
    text = " ".join(write(job).replace("#", "").split())
    assert re.search(r"started on no (cluster|AWS account)", text)


@pytest.mark.parametrize("write", WRITERS)
def test_each_is_the_same_again(write, job):
    assert write(job) == write(job)


@pytest.mark.parametrize("write", WRITERS)
def test_each_says_what_to_do_about_the_releasers_memory(write, job):
    text = " ".join(write(job).replace("#", "").split())
    for said in (
        "/owner/log.json",
        "/memory/log",
        "One job at a time has",
        ReleaserRuns.code,
        LogMemoryLost.code,
        "`strongroom releaser adopt`",
    ):
        assert said in text


def test_addresses_of_this_machine_are_refused(example, load_example):
    with pytest.raises(ErrorList) as caught:
        made(load_example(example))
    found = caught.value.errors
    assert {type(error) for error in found} == {LoopbackEndpoint}
    assert [error.actual for error in found] == [
        "spec.access.0.endpoint",
        "spec.access.1.endpoint",
        "spec.identity.addr",
    ]
    assert all(re.fullmatch(r"run\.yaml:\d+:\d+", error.place) for error in found)


def test_they_can_be_looked_at_all_the_same(example, stack, load_example):
    write_bundle(Path(stack["policy_bundle"]), Settings())
    check(pod_of(made(load_example(example), allow_loopback=True))[1])


def test_a_run_cannot_do_without_a_releaser(remote, load_example):
    with pytest.raises(ReleaserMissing):
        made(load_example(re.sub(r"    releaser: .*\n", "", remote)))


@pytest.mark.parametrize(
    ("content", "error"), [(b"# \xff\n", NotText), (b"#" * 1_000_000, LaunchTooLarge)]
)
def test_files_that_do_not_fit(content, error, remote, load_example, tmp_path):
    loaded = load_example(remote)
    (tmp_path / "evaluator.py").write_bytes(content)
    with pytest.raises(error):
        made(loaded)


def test_the_command_prints_text_and_nothing_else(remote, stack, load_example, tmp_path):
    load_example(remote)
    for name, value in stack.items():
        remote = remote.replace(f"${{stack.{name}}}", value)
    (tmp_path / "run.yaml").write_text(remote)
    command = ["launch", str(tmp_path / "run.yaml"), "--id", RUN, "--print"]
    done = CliRunner().invoke(app, [*command, "kubernetes", "--image", IMAGE])
    assert done.exit_code == 0, done.output
    assert done.stdout == kubernetes(made(load(tmp_path / "run.yaml")))
    document = json.loads(CliRunner().invoke(app, [*command, "aws-batch", "--json"]).stdout)
    assert (document["run"], document["print"]) == (RUN, "aws-batch")
    assert CliRunner().invoke(app, [*command, "nomad"]).exit_code == 2


# ---- the image -----------------------------------------------------------------------------------


def test_the_image_runs_as_nobody_in_particular():
    text = (ROOT / "Dockerfile").read_text()
    assert "USER 65532:65532" in text
    assert "ENTRYPOINT" not in text, "Batch appends its command to an entry point"
    assert re.search(r"^ARG PYTHON=python:3\.11\.\d+-slim-\w+$", text, re.MULTILINE)


def test_constraints_pin_every_dependency_within_its_range():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for text in project["dependencies"]:
        wanted = Requirement(text)
        pinned = pins[canonicalize_name(wanted.name)]
        assert wanted.specifier.contains(pinned), text
    assert pins["torch"] == version("torch").partition("+")[0]


def test_the_build_gets_all_packages_and_little_else():
    kept = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    packages = {link.name for link in (ROOT / "src" / "strongroom").iterdir() if link.is_symlink()}
    files = {"pyproject.toml", "README.md", "LICENSE", "constraints.txt", "src"}
    assert kept == packages | files


AS_IN_A_CONTAINER = """
import ctypes, os, resource, struct, sys
from strongroom.audit.log.errors import LogMemoryLost
from strongroom.enclave.sandbox import syscalls
PR_CAPBSET_DROP, PR_SET_SECCOMP, UNSHARE = 24, 22, {unshare}
for capability in range(64):
    try:
        syscalls.prctl(PR_CAPBSET_DROP, capability)
    except OSError:
        break
resource.setrlimit(resource.RLIMIT_MEMLOCK, (8 << 20, 8 << 20))
syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
program = b"".join(struct.pack("HBBI", *step) for step in (
    (0x20, 0, 0, 0), (0x15, 0, 1, UNSHARE), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000)))
steps = ctypes.create_string_buffer(program, len(program))
header = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 4, ctypes.addressof(steps)), 16)
syscalls.prctl(PR_SET_SECCOMP, 2, ctypes.addressof(header))
os.execv(sys.executable, [sys.executable, "-m", "strongroom", "probe", "--json"])
"""


@pytest.fixture(scope="module")
def probes() -> dict[str, Any]:
    """What an enclave finds under what Docker and containerd impose by default: no capability, no
    new privileges, 8 MiB of locked memory, and ``unshare`` refused."""
    unshare = {"x86_64": 272, "aarch64": 97}[syscalls.MACHINE]
    code = AS_IN_A_CONTAINER.format(unshare=unshare)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_no_wall_is_open_in_a_container(probes):
    found = {name: each["verdict"] for name, each in probes["probes"].items()}
    assert probes["ok"], [name for name, verdict in found.items() if verdict == "open"]


def test_what_a_container_costs_is_said(probes, job):
    assert probes["probes"]["netns"] == {"value": "shared", "verdict": "tolerated"}
    assert probes["probes"]["mlock"]["value"] == "unlocked"
    text = kubernetes(job)
    assert "netns: shared" in text
    assert "no swap" in text
