"""Score an answer such as ``{"sentiment": "positive"}`` against the human rating of a feedback.

Strongroom calls ``evaluate`` for every completion, inside the enclave: no network, no files. It
returns the ``score`` to train on and any other numbers to report beside it.
"""

import json

LABELS = ("positive", "negative")


def evaluate(messages: list[dict[str, str]], ground_truth: str, **row: object) -> dict[str, float]:
    """1.0 for the right label, 0.25 for the wrong one, 0.1 or 0.05 for a start in JSON, else 0."""
    answer = messages[-1]["content"].strip()
    label = sentiment(answer)
    if label is not None:
        correct = label == ground_truth
        return {"score": 1.0 if correct else 0.25, "accuracy": float(correct)}
    if answer.startswith('{"sentiment'):
        return {"score": 0.1, "accuracy": 0.0}
    return {"score": 0.05 if answer.startswith("{") else 0.0, "accuracy": 0.0}


def sentiment(answer: str) -> str | None:
    """The label in an answer that is exactly one JSON object with one known label, else None."""
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict) and list(value) == ["sentiment"]:
        return next((label for label in LABELS if label == value["sentiment"]), None)
    return None
