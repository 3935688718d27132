"""The same scores as under the real eval-protocol package, for files that it runs unmodified.

Needs an environment of its own, which ``make test-eval-protocol`` builds. The package contacts the
network when it is imported and can upload rows: here it gets a network namespace without any.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path

import pytest

from strongroom.enclave.evaluator.process import EvaluatorProcess
from strongroom.trainer.rollouts.evaluators import Job
from support import PROGRAMS

EXAMPLES = Path(__file__).parents[3] / "examples" / "eval_protocol"
PROGRAM = PROGRAMS / "eval_protocol_package.py"
METRICS = {
    "pointwise.py": ["format", "length"],
    "pointwise_async.py": ["brief", "right", "topic"],
    "groupwise_async.py": ["rank"],
}
ROWS, SAMPLES = 25, 8


@pytest.fixture(scope="module")
def package_python() -> str:
    """The interpreter that has the real package."""
    found = os.environ.get("EVAL_PROTOCOL_PYTHON")
    if not found:
        pytest.skip("the real eval-protocol package is only for `make test-eval-protocol`")
    return found


def without_network(command: list[str], home: Path, given: str) -> subprocess.CompletedProcess[str]:
    """Run in a new network namespace, whose one device is down, with nothing to send with."""
    environment = {
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "EP_DISABLE_AUTO_BROWSER": "1",
        "DO_NOT_TRACK": "1",
    }
    return subprocess.run(
        ["unshare", "--map-root-user", "--net", *command],
        env=environment,
        cwd=home,
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )


def rows(seed: int) -> list[list[dict[str, object]]]:
    """Groups of completions: right, wrong, without tags, with two answers, empty, not ASCII."""
    choose = random.Random(seed).choice
    groups = []
    for index in range(ROWS):
        a, b = index * 7, 100 - index * 3
        truth: object = choose([a + b, str(a + b)])
        forms = [
            f"<answer>{a + b}</answer>",
            f"<answer> {a + b}\n</answer>",
            f"<answer>{a - b}</answer>",
            f"What is {a}? It is {a + b} {'indeed ' * index}",
            f"<answer>{a}</answer> no, <answer>{a + b}</answer>",
            f"<answer>{a + b}",
            "",
            f"é {a + b}.0 ∑ <answer>½</answer>",
        ]
        question = {"role": "user", "content": f"What is {a} + {b} ?"}
        groups.append(
            [
                {
                    "messages": [question, {"role": "assistant", "content": choose(forms)}],
                    "ground_truth": truth,
                    "id": f"row-{index}",
                }
                for _ in range(SAMPLES)
            ]
        )
    return groups


def theirs(python: str, file: Path, groups: object, home: Path) -> list[dict[str, object]]:
    order = json.dumps({"file": str(file), "groups": groups})
    done = without_network([python, "-I", str(PROGRAM)], home, order)
    assert done.returncode == 0, done.stderr[-2000:]
    return list(json.loads(done.stdout))


def ours(file: Path, groups: list[list[dict[str, object]]]) -> list[dict[str, object]]:
    jobs = [
        Job(
            messages=row["messages"],
            ground_truth=row["ground_truth"],
            extra={"id": row["id"]},
            group=group,
        )
        for group, rows in enumerate(groups)
        for row in rows
    ]
    with EvaluatorProcess.start() as process:
        process.load(file.read_bytes(), METRICS[file.name])
        scores = process.score(jobs)
    return [{"score": score.score, "metrics": score.metrics} for score in scores]


@pytest.mark.parametrize("name", METRICS)
def test_every_score_is_that_of_the_real_package(name, package_python, tmp_path):
    groups = rows(7)
    found = ours(EXAMPLES / name, groups)
    assert len(found) == ROWS * SAMPLES
    assert len({result["score"] for result in found}) > 10
    assert found == theirs(package_python, EXAMPLES / name, groups, tmp_path)


def test_the_comparison_sees_another_score(package_python, tmp_path):
    """The control: a file that differs by one weight comes out differently."""
    other = tmp_path / "pointwise_async.py"
    text = (EXAMPLES / "pointwise_async.py").read_text()
    other.write_text(text.replace('"topic": 0.1', '"topic": 0.1000001'))
    groups = rows(7)
    assert ours(EXAMPLES / other.name, groups) != theirs(package_python, other, groups, tmp_path)


def test_the_package_has_no_network(tmp_path):
    """Its namespace reaches nothing, not even a server on this machine's loopback."""
    program = "import socket; socket.create_connection(('127.0.0.1', 1), 2)"
    done = without_network(["python3", "-c", program], tmp_path, "")
    assert "Network is unreachable" in done.stderr
