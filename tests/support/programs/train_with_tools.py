"""Training on conversations with a customer's environment, which runs in its confined process.

Arguments: the descriptor for the result (JSON), and what the environment's reward is multiplied by.
"""

import json
import os
import sys

from strongroom.enclave.evaluator.process import EvaluatorProcess

ENVIRONMENT = """
class Environment:
    # A tool gives a number; the answer to it is worth its share of letters.
    def reset(self, messages, ground_truth, **row):
        self.number = ground_truth
        self.asked = False

    def step(self, completion):
        if not self.asked:
            self.asked = True
            told = {"role": "tool", "content": f"The number is {self.number}."}
            return {"messages": [told], "done": False}
        letters = sum(c.isascii() and c.isalpha() for c in completion)
        return {"done": True, "reward": SIGN * letters / max(1, len(completion)), "answered": 1.0}
"""


def main(fd: int, sign: str) -> None:
    evaluator = EvaluatorProcess.start()
    from strongroom.trainer.config import Sampling
    from strongroom.trainer.loop import train
    from strongroom.trainer.steps.state import new_state
    from support import tiny_model as tiny

    source = ENVIRONMENT.replace("SIGN", sign).encode()
    evaluator.load(source, ["answered"], environment=True)
    config = tiny.tiny_config(
        steps=30,
        samples_per_prompt=8,
        learning_rate=2e-2,
        checkpoint_every=30,
        sampling=Sampling(max_tokens=6, max_turns=2),
    )
    policy = tiny.tiny_policy(awake=False)
    steps, rollouts = [], []
    state = new_state(policy, config)
    train(
        policy,
        tiny.tiny_rows(),
        evaluator,
        config,
        state,
        on_step=lambda step: steps.append(step.values),
        on_rollouts=lambda found: rollouts.extend(found),
    )
    told = [rollout for rollout in rollouts if len(rollout.messages) > 2]
    result = {
        "rewards": [float(sign) * values["reward_mean"] for values in steps],
        "gap": max(values.get("sampler_gap_max", 0.0) for values in steps),
        "told": len(told) / len(rollouts),
        "roles": [message["role"] for message in told[0].messages],
        "numbers": all(
            rollout.messages[-1]["content"] == f"The number is {rollout.row}." for rollout in told
        ),
    }
    os.write(fd, json.dumps(result).encode())
    os._exit(0)


main(int(sys.argv[1]), sys.argv[2])
