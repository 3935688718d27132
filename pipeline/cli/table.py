"""Every command of ``strongroom``: its module, its function, and its line in ``--help``.

A command's module is loaded when the command is called or asked for its own help. To add a command,
write its module and add its row. At its top a command's module imports what its options and its
printing need; what the command does is imported when it does it, so that asking for help loads no
Beam, no torch and no network client.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Command(NamedTuple):
    """One command; ``summary`` is the first paragraph of the function's docstring."""

    module: str
    """Below ``strongroom.pipeline.cli``."""
    function: str
    summary: str
    hidden: bool = False


class Group(NamedTuple):
    """Commands under a name of their own, as ``strongroom stack up``."""

    summary: str
    commands: Mapping[str, Command]


COMMANDS: Mapping[str, Command | Group] = {
    "quickstart": Command(
        "machine.quickstart",
        "quickstart",
        "Do everything once: start the stack, seal real data, train on it, verify, report.",
    ),
    "init": Command("machine.init", "init", "Write a first run file and evaluator to start from."),
    "seal": Command(
        "owner.seal", "seal", "Seal rows into a dataset: encrypted shards and a signed manifest."
    ),
    "dataset": Command(
        "owner.dataset", "dataset", "Show a sealed dataset, from its signed manifest."
    ),
    "probe": Command("machine.probe", "probe", "Try every layer of the sandbox on this machine."),
    "docs": Command(
        "docs.docs",
        "docs",
        "Generate the references of run file, errors, events and controls.",
        hidden=True,
    ),
    "stack": Group(
        "The embedded stack on this machine.",
        {
            "up": Command(
                "machine.stack",
                "up",
                "Start what does not run: S3 server, key service, releaser.",
            ),
            "show": Command(
                "machine.stack",
                "show",
                "Show what a run file or a Terraform configuration needs to know of the stack.",
            ),
            "status": Command("machine.stack", "status", "Show what runs and where."),
            "down": Command(
                "machine.stack",
                "down",
                "Stop everything; data and secrets stay in the state folder.",
            ),
        },
    ),
    "releaser": Group(
        "The key owner's releaser.",
        {
            "serve": Command(
                "keys.releaser", "serve", "Answer on the releaser's socket until stopped."
            ),
            "adopt": Command(
                "keys.releaser",
                "adopt",
                "Take the log in the bucket for the releaser's memory of it, which was lost.",
            ),
            "measure": Command(
                "keys.releaser",
                "measure",
                "Print the measurement of the enclave's code as installed here, for the owner to "
                "approve.",
            ),
        },
    ),
    "model": Group(
        "Base models.",
        {
            "upload": Command(
                "owner.model",
                "upload",
                "Put a base model into the bucket, and print the digest that run files pin.",
            ),
        },
    ),
    "validate": Command(
        "runs.validate",
        "validate",
        "Check a run file: every error at once, with its line and column.",
    ),
    "plan": Command(
        "runs.plan",
        "plan",
        "Show exactly what a run would read, write, lease and hold, and what the policy says.",
    ),
    "run": Command("runs.run", "run", "Run a run file to its end, here or detached."),
    "resume": Command(
        "runs.resume",
        "resume",
        "Continue a run that was interrupted, from its last checkpoint.",
    ),
    "wait": Command("runs.wait", "wait", "Wait until a run has ended, and exit as it did."),
    "cancel": Command(
        "runs.cancel", "cancel", "End a run that is driven from here; what it wrote stays."
    ),
    "replay": Command(
        "runs.replay",
        "replay",
        "Do a finished run again from its plan, and prove that it comes out the same.",
    ),
    "status": Command(
        "runs.status",
        "status",
        "Where runs stand, from the audit log and from what runs on this machine.",
    ),
    "verify": Command(
        "inspect.verify", "verify", "Check a run from its objects and the log alone."
    ),
    "log": Group(
        "The audit log that a run is told in.",
        {
            "key": Command(
                "inspect.log",
                "key",
                "Print the verifier key of a run's log, as its releaser tells it.",
            ),
            "checkpoint": Command(
                "inspect.log",
                "checkpoint",
                "Print the log's newest checkpoint, for `verify --since` or a witness.",
            ),
            "entries": Command(
                "inspect.log",
                "entries",
                "Print a run's entries of the verified log, each with its place.",
            ),
            "copy": Command(
                "inspect.log",
                "copy",
                "Copy a run, its inputs and its log into a folder, for `verify --offline`.",
            ),
        },
    ),
    "report": Command(
        "inspect.report",
        "report",
        "Write the report of a run: one HTML file, checkable without trusting it.",
    ),
    "rollouts": Command(
        "keys.rollouts",
        "rollouts",
        "Show a run's sample rollouts; needs the output key, opens them without network.",
    ),
    "explain": Group(
        "Why: access that a run gets, denials.",
        {
            "access": Command(
                "runs.access",
                "access",
                "Print the session policy document of each lease that a run would take.",
            ),
            "denial": Command(
                "inspect.denial",
                "denial",
                "Print which rules or checks refused a run, from the audit log.",
            ),
        },
    ),
    "launch": Command(
        "runs.launch",
        "launch",
        "Write a run as a job for Kubernetes or AWS Batch; starts nothing.",
    ),
    "export": Command(
        "keys.export",
        "export",
        "Write a run's adapter in plain, for peft and vLLM; needs the output key, and is logged.",
    ),
    "evaluator": Group(
        "Evaluators: try one before a run, and seal one.",
        {
            "test": Command(
                "runs.evaluator_test",
                "try_out",
                "Score completions of the base model on sealed rows, in an enclave; writes no "
                "output.",
            ),
            "seal": Command(
                "owner.evaluator_seal",
                "seal_evaluator",
                "Seal an evaluator, so that only enclaves ever see the reward code.",
            ),
        },
    ),
    "policy": Group(
        "The policy bundle that admits runs.",
        {
            "write": Command(
                "keys.policy",
                "write",
                "Write a bundle: the rules of this version with the owner's settings.",
            ),
            "show": Command(
                "keys.policy", "show", "Show a bundle: its digest, rules and settings."
            ),
        },
    ),
}
