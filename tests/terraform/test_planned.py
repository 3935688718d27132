"""``terraform/tests/planned_run.json`` is what the planner says today."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_SPEC = importlib.util.spec_from_file_location("planned", Path(__file__).with_name("planned.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
planned = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(planned)


def test_the_modules_are_compared_with_what_is_planned_today():
    assert planned.WRITTEN.read_text() == planned.as_text(), (
        "leases have changed: run `python tests/terraform/planned.py`, then `make test-terraform`"
    )


def test_every_lease_has_a_role_of_the_modules():
    roles = {role for _, role in planned.ACCESS}
    assert {lease["role"] for lease in planned.planned_run()["leases"]} == roles
