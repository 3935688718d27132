"""Score an answer that should be a surname against the one that people marked.

Strongroom calls ``evaluate`` for every completion, inside the enclave: no network, no files. It
returns the ``score`` to train on and any other numbers to report beside it.
"""


def evaluate(messages: list[dict[str, str]], ground_truth: str, **row: object) -> dict[str, float]:
    """1.0 for the surname alone, 0.2 for another single word of the name, else 0."""
    name, answer = (message["content"].strip() for message in messages[-2:])
    if answer == ground_truth:
        return {"score": 1.0, "accuracy": 1.0}
    other = answer in (word.strip(" ,.") for word in name.split())
    return {"score": 0.2 if answer and other else 0.0, "accuracy": 0.0}
