"""Which runs were started from here: run id → run file, so that a command needs only the id.

A convenience of this machine's state folder; the bucket and the log are the truth.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from strongroom.connectors.host.folders import private_folder, write_private
from strongroom.enclave.plan.objects import check_run_id
from strongroom.pipeline.background.errors import RunFileOutdated
from strongroom.pipeline.planning.errors import RunUnknown
from strongroom.pipeline.planning.intent import intent
from strongroom.pipeline.runfile.fields import written_socket
from strongroom.pipeline.runfile.load import LoadedRun
from strongroom.pipeline.runfile.spec import RunSpec
from strongroom.pipeline.runfile.yaml_reader import read


def remember(state: Path, run: str, spec: RunSpec, run_file: Path) -> bytes | None:
    """Keep a run's resolved file (references only, no secrets); returns what was kept before."""
    folder = private_folder(private_folder(state) / "runs")
    path = folder / f"{check_run_id(run)}.json"
    before = path.read_bytes() if path.exists() else None
    socket = spec.spec.keys.releaser
    data = {
        "run_file": str(run_file.absolute()),
        "intent": intent(spec),
        "spec": spec.normalised(),
        "paths": {
            "evaluator": str(spec.spec.evaluator.source or ""),
            "policy": str(spec.spec.policy.bundle),
            "credentials": str(spec.spec.identity.credentials) if spec.spec.identity else "",
            "releaser": written_socket(socket) if socket else "",
        },
    }
    write_private(path, json.dumps(data, indent=2).encode())
    return before


def put_back(state: Path, run: str, before: bytes | None) -> None:
    """Undo ``remember`` for an id that turned out to be another run's."""
    path = state / "runs" / f"{check_run_id(run)}.json"
    if before is None:
        path.unlink()
    else:
        write_private(path, before)


def recall(state: Path, run: str) -> RunSpec:
    """The run file of a run started from here. Raises ``RunUnknown``."""
    path = state / "runs" / f"{check_run_id(run)}.json"
    try:
        data: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise RunUnknown(place=run, expected=f"a run in {state}") from None
    spec = data["spec"]
    if data["paths"]["evaluator"]:
        spec["spec"]["evaluator"]["source"] = data["paths"]["evaluator"]
    spec["spec"]["policy"]["bundle"] = data["paths"]["policy"]
    if spec["spec"].get("identity"):
        spec["spec"]["identity"]["credentials"] = data["paths"]["credentials"]
    if data["paths"]["releaser"]:
        spec["spec"]["keys"]["releaser"] = data["paths"]["releaser"]
    try:
        return RunSpec.parse(json.dumps(spec))
    except ValidationError:
        raise RunFileOutdated(place=str(path)) from None


def reload(state: Path, run: str) -> LoadedRun:
    """The run file of a run started from here, with the positions of its fields as it stands now.

    For a supervisor's controller: variables were put in when the run was submitted. Raises
    ``RunUnknown``.
    """
    spec = recall(state, run)
    data: dict[str, Any] = json.loads((state / "runs" / f"{run}.json").read_bytes())
    path = Path(data["run_file"])
    return LoadedRun(spec, path, read(path))


def asked(state: Path, run: str) -> dict[str, str]:
    """The run file that a run was started from, and its intent then. The run is known here."""
    data = json.loads((state / "runs" / f"{check_run_id(run)}.json").read_bytes())
    return {"run_file": data["run_file"], "intent": data["intent"]}


def known_runs(state: Path) -> list[str]:
    """Ids of all runs started from here, oldest first."""
    folder = state / "runs"
    if not folder.is_dir():
        return []
    found = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
    return [path.stem for path in found]
