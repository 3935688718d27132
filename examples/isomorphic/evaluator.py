"""Score an answer of one word, ``True`` or ``False``.

Strongroom calls ``evaluate`` for every completion, inside the enclave: no network, no files. It
returns the ``score`` to train on and any other numbers to report beside it.
"""


def evaluate(messages: list[dict[str, str]], ground_truth: str, **row: object) -> dict[str, float]:
    """1.0 for the right word, 0.2 for the other one, else 0."""
    answer = messages[-1]["content"].strip()
    correct = answer == ground_truth
    known = answer in ("True", "False")
    return {"score": 1.0 if correct else 0.2 if known else 0.0, "accuracy": float(correct)}
