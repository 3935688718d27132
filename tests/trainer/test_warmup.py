import os
import subprocess
import sys

import pytest
import torch

from strongroom.trainer.checkpoints.checkpoint import save
from strongroom.trainer.config import Sampling
from strongroom.trainer.methods import GrpoMethod
from strongroom.trainer.steps.state import new_state
from strongroom.trainer.warmup import warm_up
from support import PYTHONPATH
from support import tiny_model as tiny


@pytest.mark.parametrize("max_turns", [1, 3])
def test_warm_up_leaves_no_trace(max_turns):
    policy = tiny.tiny_policy()
    config = tiny.tiny_config(sampling=Sampling(max_tokens=8, max_turns=max_turns))
    state = new_state(policy, config)
    before, generator = save(policy, state, config), torch.get_rng_state()
    weights = {n: t.clone() for n, t in policy.base.model.state_dict().items()}
    warm_up(policy, config)
    assert save(policy, state, config) == before
    assert torch.equal(torch.get_rng_state(), generator)
    assert not policy.flat_grad.any()
    for name, tensor in policy.base.model.state_dict().items():
        assert torch.equal(tensor, weights[name]), name


CLOSED = """
import sys
from support import tiny_model as tiny
from strongroom.trainer.checkpoints.checkpoint import resumed_state
from strongroom.trainer.methods import GrpoMethod
from strongroom.trainer.evaluation.held_out import evaluate
from strongroom.trainer.loop import train
from strongroom.trainer.steps.state import new_state
from strongroom.trainer.warmup import warm_up

policy, config = tiny.tiny_policy(), tiny.tiny_config(method=GrpoMethod(kl=0.1))
rows, evaluator = tiny.tiny_rows(), tiny.letter_evaluator()
if sys.argv[1] == "warm":
    warm_up(policy, config)
opened = []
watched = ("open", "import", "os.mkdir", "socket.connect", "subprocess.Popen", "tempfile.mkstemp")
sys.addaudithook(lambda event, args: opened.append((event, args[0])) if event in watched else None)
checkpoints = []
train(policy, rows, evaluator, config, new_state(policy, config), on_checkpoint=checkpoints.append)
evaluate(policy, rows, evaluator, config)
resumed_state(policy, config, checkpoints[0])
print(len(opened), opened[:5])
"""


def opened_by(state):
    result = subprocess.run(
        [sys.executable, "-c", CLOSED, state],
        env=os.environ | PYTHONPATH,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(result.stdout.split()[0]), result.stdout


def test_after_the_warm_up_nothing_is_opened_or_imported():
    count, listing = opened_by("warm")
    assert count == 0, listing


def test_without_the_warm_up_something_is():
    """The control: the hook does see lazy imports and opened files."""
    assert opened_by("cold")[0] > 0


def test_warm_up_of_a_method_with_a_reference():
    policy, config = tiny.tiny_policy(), tiny.tiny_config(method=GrpoMethod(kl=0.5))
    before = policy.flat.clone()
    warm_up(policy, config)
    assert torch.equal(policy.flat, before)
