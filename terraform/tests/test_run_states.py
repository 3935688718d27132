"""What a refresh says of a run, by the state that the command tells. No stack is needed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from strongroom_terraform.run import COMPUTED, Run
from tf.iface import ReadContext
from tf.utils import Diagnostics

ROW = {
    "run": "r-1",
    "code": None,
    "reason": None,
    "step": 3,
    "metrics": {},
    "adapter_sha256": None,
    "outputs": "s3://acme-data/runs/r-1/",
    "plan": None,
    "log": None,
}


def refreshed(**row: Any) -> tuple[dict[str, Any] | None, list[str]]:
    """The attributes after a refresh of a run that went on, and the warnings."""

    def strongroom(command: str, run: str) -> Any:
        return {"status": [{**ROW, **row}], "report": {"report": "r.html"}}[command]

    found = Diagnostics()
    current = dict.fromkeys(COMPUTED) | {"id": "r-1", "status": "running", "intent": "i"}
    read = Run(SimpleNamespace(strongroom=strongroom)).read(
        ReadContext(found, "strongroom_run"), current
    )
    return read, [f"{each.summary}\n{each.detail}" for each in found.diagnostics]


@pytest.mark.parametrize("state", ["failed", "denied", "interrupted", "cancelled"])
def test_an_end_without_a_result_is_a_warning(state):
    read, [warning] = refreshed(state=state, code="SR-RUN-219", reason="after step 3")
    assert read is not None
    assert (read["status"], read["step"], read["intent"]) == (state, 3, "i")
    assert warning.startswith(f"the run is {state}\nr-1: SR-RUN-219 after step 3\n")
    assert "-replace=" in warning


def test_an_interruption_of_unknown_cause_says_so():
    _, [warning] = refreshed(state="interrupted")
    assert "None" not in warning
    assert "r-1: no process of this machine drives it" in warning


@pytest.mark.parametrize("state", ["submitted", "running", "completed", "unknown"])
def test_control_no_other_state_is_a_warning(state):
    read, warnings = refreshed(state=state)
    assert read is not None
    assert read["status"] == state
    assert not warnings
