"""Every field of every type of event in a story, changed one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from strongroom.audit.events.entries import Event
from support.invented import digest


def altered(story: list[Event]) -> Iterator[tuple[str, list[Event]]]:
    """The story with one field of the first event of a type changed; and which field that is."""
    done: set[str] = set()
    for at, event in enumerate(story):
        if event.type in done:
            continue
        done.add(event.type)
        for field in event.data.__struct_fields__:
            for path, value in _others(getattr(event.data, field)):
                data = msgspec.structs.replace(event.data, **{field: value})
                changed = msgspec.structs.replace(event, data=data)
                yield f"{event.type} {field}{path}", [*story[:at], changed, *story[at + 1 :]]


def _others(value: Any) -> Iterator[tuple[str, Any]]:
    """Other values of the same kind, and where in the value they differ."""
    match value:
        case int():
            yield "", value + 1
        case float():
            yield "", 0.25 if value == 0.5 else 0.5  # no more digits than may leave
        case str():
            yield "", _other_text(value)
        case dict():
            name = next(iter(value))
            (_, other), *_ = _others(value[name])
            yield "", {**value, name: other}
            yield ".names", {**value, "another": value[name]}
        case tuple() if value:
            yield ".length", value[1:]
            for path, other in _others(value[0]):
                yield path, (other, *value[1:])
        case msgspec.Struct():
            for field in value.__struct_fields__:
                for path, other in _others(getattr(value, field)):
                    changed = msgspec.structs.replace(value, **{field: other})
                    yield f".{field}{path}", changed


def _other_text(text: str) -> str:
    if text.startswith("sha256:"):
        return digest("another")
    if text.startswith("ed25519:"):
        return "ed25519:" + "C" * 43 + "="
    if text.endswith("Z") and "T" in text:
        return "2030-01-01T00:00:00.000Z"
    return f"{text}x/" if text.endswith("/") else f"{text}x"
