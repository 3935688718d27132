"""A run as a Dataflow Flex Template: its specification, and the request that launches it.

A form to start from, not a way to run: the stages of this version run in the process that starts
them, so all of a run would take place in the template's launcher, and Dataflow counts a launch that
creates no job as failed.
"""

from __future__ import annotations

import json
from typing import Any

from strongroom.pipeline.launch.job import Job

ABOUT = (
    "A Strongroom run as a Dataflow Flex Template. Rendered by `strongroom launch`; its form was "
    "checked against the service's published description, and it was started on no Google Cloud "
    "project by whoever wrote the renderer.",
    "It is a form to start from. spec.runner is embedded, the only one: the stages would run in "
    "the template's launcher, and Dataflow counts a launch that creates no Dataflow job as failed. "
    "Use kubernetes (GKE) until there is a runner for Dataflow.",
    "The image needs Google's template launcher as its entry point, and FLEX_TEMPLATE_PYTHON_PY_"
    "FILE naming a program that fetches `run_file` with the files beside it, and runs it.",
    "Replace what says REPLACE. Store `template` under containerSpecGcsPath; post `launch` to "
    "https://dataflow.googleapis.com/v1b3/projects/PROJECT/locations/REGION/flexTemplates:launch.",
)
_CORES = (2, 4, 8, 16, 32, 48, 64, 80, 96, 128)
_MIB_PER_CORE = 8192  # of the n2-highmem machines


def dataflow(job: Job) -> str:
    """The template, the request and the job's files as one JSON document."""
    document = {
        "//": list(ABOUT),
        "template": template(job),
        "launch": launch_request(job),
        "files": job.files,
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def template(job: Job) -> dict[str, Any]:
    """The template's specification (``ContainerSpec``)."""
    return {
        "image": job.image,
        "sdkInfo": {"language": "PYTHON"},
        "metadata": {
            "name": "strongroom",
            "description": "One Strongroom run: begun, or gone on with where the bucket holds it.",
            "parameters": [
                _parameter("run_file", "Run file", "gs:// address of run.yaml.", "GCS_READ_FILE"),
                _parameter("run_id", "Run id", "The same id again goes on with the run.", "TEXT"),
            ],
        },
    }


def launch_request(job: Job) -> dict[str, Any]:
    """The request ``LaunchFlexTemplate``."""
    machine = machine_type(job)
    return {
        "launchParameter": {
            "jobName": job.run,
            "containerSpecGcsPath": "gs://REPLACE-BUCKET/strongroom/template.json",
            "parameters": {
                "run_file": f"gs://REPLACE-BUCKET/strongroom/{job.run}/run.yaml",
                "run_id": job.run,
            },
            "environment": {
                "serviceAccountEmail": "REPLACE@REPLACE.iam.gserviceaccount.com",
                "subnetwork": "regions/REPLACE/subnetworks/REPLACE",
                "ipConfiguration": "WORKER_IP_PRIVATE",
                "stagingLocation": "gs://REPLACE-BUCKET/strongroom/staging",
                "tempLocation": "gs://REPLACE-BUCKET/strongroom/temp",
                "launcherMachineType": machine,
                "machineType": machine,
                "numWorkers": 1,
                "maxWorkers": 1,
                "additionalUserLabels": job.labels,
            },
        }
    }


def machine_type(job: Job) -> str:
    """The smallest machine of its family that holds the run; the largest where none does."""
    fits = (
        cores
        for cores in _CORES
        if cores >= job.cpus and cores * _MIB_PER_CORE * 0.9 >= job.memory_mib
    )
    return f"n2-highmem-{next(fits, _CORES[-1])}"


def _parameter(name: str, label: str, text: str, kind: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "helpText": text,
        "isOptional": False,
        "paramType": kind,
    }
