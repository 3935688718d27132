"""The command that writes a run as a job for somebody else's scheduler."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from strongroom.pipeline.cli.console import document, print_json
from strongroom.pipeline.cli.options import STATE, Json, Params, RunFile, State
from strongroom.pipeline.cli.reporting import reporting
from strongroom.pipeline.cli.run_file import read_run_file
from strongroom.pipeline.launch.job import IMAGE


class Target(StrEnum):
    """Where a run can be written for."""

    KUBERNETES = "kubernetes"
    AWS_BATCH = "aws-batch"


def launch(
    run_file: RunFile,
    target: Annotated[Target, typer.Option("--print", help="Whose form to write.")],
    params: Params = None,
    run_id: Annotated[str, typer.Option("--id", help="The run's id; default: a new one.")] = "",
    image: Annotated[str, typer.Option(help="Image that the Dockerfile made.")] = IMAGE,
    allow_loopback: Annotated[
        bool, typer.Option("--allow-loopback", help="Write addresses that only this machine has.")
    ] = False,
    state: State = STATE,
    as_json: Json = False,
) -> None:
    """Write a run as a job for Kubernetes or AWS Batch; starts nothing.

    The forms were checked against each service's schema. None of them has been started on a real
    service yet; see docs/launching.md.
    """
    from strongroom.pipeline.launch.aws_batch import aws_batch
    from strongroom.pipeline.launch.job import job_of
    from strongroom.pipeline.launch.kubernetes import kubernetes
    from strongroom.pipeline.planning.intent import new_run_id

    with reporting(as_json):
        loaded = read_run_file(run_file, params, state)
        run = run_id or new_run_id(loaded.spec.metadata.name)
        job = job_of(loaded, run, image, allow_loopback=allow_loopback)
        writers = {Target.KUBERNETES: kubernetes, Target.AWS_BATCH: aws_batch}
        text = writers[target](job)
        if as_json:
            print_json({"run": run, "print": target.value, "text": text})
        else:
            document(text)
