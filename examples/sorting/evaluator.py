"""Score an answer such as ``9, 33, 52`` against the same numbers in order.

Strongroom calls ``evaluate`` for every completion, inside the enclave: no network, no files. It
returns the ``score`` to train on and any other numbers to report beside it.
"""


def evaluate(messages: list[dict[str, str]], ground_truth: str, **row: object) -> dict[str, float]:
    """1.0 when all numbers stand in their places; half of the share that does when they are the
    right numbers; else 0."""
    found = messages[-1]["content"].strip().split(", ")
    right = ground_truth.split(", ")
    if found == right:
        return {"score": 1.0, "accuracy": 1.0}
    if sorted(found) != sorted(right):
        return {"score": 0.0, "accuracy": 0.0}
    placed = sum(one == other for one, other in zip(found, right, strict=True))
    return {"score": 0.2 + 0.5 * placed / len(right), "accuracy": 0.0}
