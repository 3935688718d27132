"""``strongroom explain access``."""

from __future__ import annotations

from strongroom.pipeline.cli.console import document, json_text, print_json
from strongroom.pipeline.cli.options import STATE, Json, Params, RunFile, State
from strongroom.pipeline.cli.reporting import reporting
from strongroom.pipeline.cli.run_file import read_run_file


def access(
    run_file: RunFile, params: Params = None, state: State = STATE, as_json: Json = False
) -> None:
    """Print the session policy document of each lease that a run would take."""
    from strongroom.enclave.plan.leases import plan_leases
    from strongroom.enclave.plan.objects import RunLayout
    from strongroom.enclave.plan.run_file import NormalisedRun
    from strongroom.pipeline.cli.runs.plan_view import lease_policies

    with reporting(as_json):
        loaded = read_run_file(run_file, params, state)
        asked = NormalisedRun.of(loaded.spec.normalised())
        leases = plan_leases(asked, RunLayout(asked.outputs, "RUN"))
        documents = lease_policies(leases)
        if as_json:
            print_json(documents)
        else:
            for lease in documents:
                document(json_text(lease, indent=2) + "\n")
