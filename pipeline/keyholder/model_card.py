"""What an export says of itself, beside the weights: PEFT's configuration and a model card.

Both are made from the plan and the log alone, so they hold no more than those do.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from strongroom.audit.events import types as events
from strongroom.audit.events.entries import Event
from strongroom.enclave.plan.document import Plan
from strongroom.trainer.config import LoraConfig

_CARD = """\
---
library_name: {library}
base_model: {base}
tags: [strongroom{tag}]
---

# {run}, step {step}

{what}

| | |
|---|---|
| run | `{run}` |
| step | {step} |
| plan | `{plan}` |
| adapter | `{adapter}` |
| base model | `{base}` `{base_digest}` |
| evaluator | `{evaluator}` |
| audit log | `{audit}` |
{evaluations}
{check}

These files are plaintext: what the model has learnt from its rows can be asked of it. The log holds
that they were exported, and nothing of what became of them.
"""

_ADAPTER = "A LoRA adapter, as plain `peft` and vLLM load it."
_MERGED = (
    "The whole base model with the adapter added to its weights, as `transformers` loads it. The "
    "sums are rounded to the base model's type, so answers may differ a little from those of base "
    "and adapter apart."
)
_CHECK_ADAPTER = (
    "`sha256sum adapter_model.safetensors` gives the adapter's digest, which stands in the log."
)
_CHECK_MERGED = "The adapter's digest is that of the adapter before it was merged."


def adapter_config(lora: LoraConfig, base: str) -> bytes:
    """PEFT's ``adapter_config.json``; ``base`` is what it calls the base model."""
    settings = {**lora.peft(), "base_model_name_or_path": base, "inference_mode": True}
    return (json.dumps(settings, indent=2, sort_keys=True) + "\n").encode()


def model_card(
    plan: Plan, written: events.CheckpointWritten, history: Iterable[Event], form: str
) -> str:
    """``README.md`` of an export: which run, which adapter, how it was scored."""
    merged = form == "merged"
    return _CARD.format(
        library="transformers" if merged else "peft",
        tag="" if merged else ", lora",
        what=_MERGED if merged else _ADAPTER,
        run=plan.run,
        step=written.step,
        plan=plan.digest,
        adapter=written.adapter,
        base=plan.model.uri,
        base_digest=plan.model.digest,
        evaluator=plan.evaluator.sha256,
        audit=plan.audit,
        evaluations=_evaluations(history, written.step),
        check=_CHECK_MERGED if merged else _CHECK_ADAPTER,
    )


def _evaluations(history: Iterable[Event], step: int) -> str:
    """Means at the held-out evaluations of the base model and of this step, where there are any."""
    found: dict[str, str] = {}
    for event in history:
        data = event.data
        if isinstance(data, events.EvaluationFinished) and data.step in (0, step):
            which = "base model" if data.step == 0 else "this step"
            found["held-out rows"] = str(data.records)
            found |= {f"{name}, {which}": f"{v:g}" for name, v in sorted(data.values.items())}
    return "".join(f"| {name} | {value} |\n" for name, value in found.items())
