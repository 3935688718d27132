"""``terraform/tests/planned_run.json`` is what the planner and the releaser say today."""

from __future__ import annotations

from support import planned


def test_the_modules_are_compared_with_what_is_planned_today():
    assert planned.WRITTEN.read_text() == planned.as_text(), (
        "leases have changed: run `python tests/support/planned.py`, then `make test-terraform`"
    )


def test_every_lease_has_a_role_of_the_modules():
    roles = {role for _, role in planned.ACCESS} | {planned.LOG.role}
    leases = planned.planned_run()["leases"]
    assert {lease["role"] for lease in leases} == roles


def test_only_the_releaser_s_lease_creates_in_the_log():
    creating = [
        (lease["role"], lease["purpose"])
        for lease in planned.planned_run()["leases"]
        for statement in lease["session_policy"]["Statement"]
        if "s3:PutObject" in statement["Action"] and "acme-audit" in str(statement["Resource"])
    ]
    assert creating == [(planned.LOG.role, "audit-append")]
