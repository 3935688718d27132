"""What a run of ``examples/feedback/run.yaml`` and its releaser want, with the modules' roles.

Written to ``terraform/tests/planned_run.json``, so that the modules' tests, in an environment
without this project's dependencies, compare Terraform's policies with it. After a change:

    python tests/support/planned.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from strongroom.enclave.plan.leases import plan_leases
from strongroom.enclave.plan.objects import RunLayout, run_objects
from strongroom.enclave.plan.run_file import NormalisedRun
from strongroom.pipeline.cli.runs.plan_view import lease_policies
from strongroom.pipeline.releaser.config import LogSettings
from strongroom.pipeline.releaser.log_store import log_lease
from strongroom.pipeline.runfile.load import load_text
from strongroom.pipeline.runfile.spec import RunSpec

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "feedback" / "run.yaml"
WRITTEN = ROOT / "terraform" / "tests" / "planned_run.json"
RUN = "feedback-json-1"
ROLES = "arn:aws:iam::111122223333:role/strongroom-"

STACK = {
    "model_digest": "sha256:" + "0" * 64,
    "broker_role": f"{ROLES}inputs",
    "audit_role": f"{ROLES}audit",
    "s3_endpoint": "https://s3.example",
    "vault_addr": "https://bao.acme.example",
    "broker_credentials": "broker.json",
    "oidc_role": "broker",
    "releaser_socket": "/run/releaser.sock",
    "policy_bundle": str(ROOT / "policies"),
}
"""What the example takes from the embedded stack, as a customer would write it."""

ACCESS = (
    ("s3://acme-data/", f"{ROLES}inputs"),
    ("s3://acme-data/runs/", f"{ROLES}runs"),
    ("s3://acme-audit/strongroom/", f"{ROLES}audit"),
)
"""What ``modules/aws`` outputs as ``access``; the modules' tests hold it against the output."""
ENDPOINT = "https://s3.us-east-1.amazonaws.com"

LOG = LogSettings(
    uri="s3://acme-audit/strongroom/",
    key="vault://transit/audit-log",
    role=f"{ROLES}log",
    vault_addr=STACK["vault_addr"],
    credentials_file="/etc/strongroom/log.json",
    oidc_role="log",
    memory="/var/lib/strongroom/log",
    endpoint=ENDPOINT,
)
"""``log`` in ``releaser.json``: the two paths are the owner's, the modules output the rest."""


def planned_run() -> dict[str, Any]:
    """The run's access and keys, the releaser's settings, and all their leases, each with the
    session policy that narrows its role."""
    document = load_text(EXAMPLE.read_text(), EXAMPLE, stack=STACK).spec.normalised()
    document["spec"]["access"] = [
        {"uri": uri, "role": role, "via": "web-identity", "ttl": "15m", "endpoint": ENDPOINT}
        for uri, role in ACCESS
    ]
    run = RunSpec.parse(json.dumps(document)).spec
    layout = RunLayout(run.outputs, RUN)
    assert run.identity is not None
    return {
        "run": RUN,
        "inputs": [run.data.held_out, run.data.train, run.model.base],
        "outputs": run.outputs,
        "audit": run.audit,
        "access": document["spec"]["access"],
        "oidc_role": run.identity.oidc_role,
        "keys": {"data": run.keys.data, "outputs": run.keys.outputs, "audit": run.keys.audit},
        "releaser": {"keys": [run.keys.data, run.keys.outputs], "log": msgspec.to_builtins(LOG)},
        "writes": list(run_objects(layout, run.training)),
        "leases": lease_policies(
            [*plan_leases(NormalisedRun.of(document), layout), log_lease(LOG)]
        ),
    }


def as_text() -> str:
    """The document as it is committed."""
    return json.dumps(planned_run(), indent=2) + "\n"


if __name__ == "__main__":
    WRITTEN.write_text(as_text())
