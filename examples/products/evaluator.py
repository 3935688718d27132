"""Score a product: right, or not.

Strongroom calls ``evaluate`` for every completion, inside the enclave: no network, no files. It
returns the ``score`` to train on and any other numbers to report beside it.
"""


def evaluate(messages: list[dict[str, str]], ground_truth: str, **row: object) -> dict[str, float]:
    """1.0 for the right number, else 0: nothing rewards being close."""
    correct = messages[-1]["content"].strip() == ground_truth
    return {"score": float(correct), "accuracy": float(correct)}
