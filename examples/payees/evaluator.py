"""Score an answer of one word, ``person`` or ``company``, against the list a payee was taken from.

Strongroom calls ``evaluate`` for every completion, inside the enclave: no network, no files. It
returns the ``score`` to train on and any other numbers to report beside it.
"""


def evaluate(messages: list[dict[str, str]], ground_truth: str, **row: object) -> dict[str, float]:
    """1.0 for the right word, 0.2 for the wrong one of the two, else 0."""
    word = messages[-1]["content"].strip()
    if word not in ("person", "company"):
        return {"score": 0.0, "accuracy": 0.0}
    correct = word == ground_truth
    return {"score": 1.0 if correct else 0.2, "accuracy": float(correct)}
