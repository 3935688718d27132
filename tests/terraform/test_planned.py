"""``terraform/tests/planned_run.json`` is what the planner says today."""

from __future__ import annotations

from support import planned


def test_the_modules_are_compared_with_what_is_planned_today():
    assert planned.WRITTEN.read_text() == planned.as_text(), (
        "leases have changed: run `python tests/support/planned.py`, then `make test-terraform`"
    )


def test_every_lease_has_a_role_of_the_modules():
    roles = {role for _, role in planned.ACCESS}
    assert {lease["role"] for lease in planned.planned_run()["leases"]} == roles
