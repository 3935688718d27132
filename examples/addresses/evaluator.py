"""Score an answer such as ``{"city": "Santa Fe"}`` against the city that people marked.

Strongroom calls ``evaluate`` for every completion, inside the enclave: no network, no files. It
returns the ``score`` to train on and any other numbers to report beside it.
"""

import json


def evaluate(messages: list[dict[str, str]], ground_truth: str, **row: object) -> dict[str, float]:
    """1.0 for the right city, 0.4 for other words of the address, 0.2 for words that are not in it,
    0.1 for a start of the answer's form, else 0. Case does not count."""
    address, answer = (message["content"].casefold() for message in messages[-2:])
    city = only_city(answer)
    if city is None:
        return {"score": 0.1 if answer.strip().startswith('{"city') else 0.0, "accuracy": 0.0}
    if city == ground_truth.casefold():
        return {"score": 1.0, "accuracy": 1.0}
    return {"score": 0.4 if city and city in address else 0.2, "accuracy": 0.0}


def only_city(answer: str) -> str | None:
    """The city in an answer that is exactly one JSON object with that one field, else None."""
    try:
        match json.loads(answer):
            case {"city": str(city), **others} if not others:
                return city.strip()
    except (ValueError, RecursionError):
        pass
    return None
