"""Every field of every type of event in a story, changed one at a time, to what a log may say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from strongroom.audit.events.entries import Event, to_entry
from strongroom.audit.events.errors import EventInvalid
from support.invented import digest

WORDS = ("A0", "after", "alarm", "different", "adapter")
"""For fields that hold one of a few words."""


def altered(story: list[Event]) -> Iterator[tuple[str, list[Event]]]:
    """The story with one field of the first event of a type changed; and which field that is."""
    done: set[str] = set()
    for at, event in enumerate(story):
        if event.type in done:
            continue
        done.add(event.type)
        for field in event.data.__struct_fields__:
            changed: dict[str, Event] = {}
            for path, value in _others(getattr(event.data, field)):
                data = msgspec.structs.replace(event.data, **{field: value})
                other = msgspec.structs.replace(event, data=data)
                if path not in changed and _may_be_logged(other):
                    changed[path] = other
            for path, other in changed.items():
                yield f"{event.type} {field}{path}", [*story[:at], other, *story[at + 1 :]]


def _may_be_logged(event: Event) -> bool:
    try:
        to_entry(event)
    except EventInvalid:
        return False
    return True


def _others(value: Any) -> Iterator[tuple[str, Any]]:
    """Other values of the same kind, and where in the value they differ."""
    match value:
        case int():
            yield "", value + 1
        case float():
            yield "", 0.25 if value == 0.5 else 0.5  # no more digits than may leave
        case str():
            yield from (("", other) for other in _other_texts(value))
        case dict():
            name = next(iter(value))
            yield from (("", {**value, name: other}) for _, other in _others(value[name]))
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


def _other_texts(text: str) -> Iterator[str]:
    if text.startswith("sha256:"):
        yield digest("another")
    yield f"{text}x/" if text.endswith("/") else f"{text}x"
    yield from (f"ed25519:{'C' * 43}=", "2030-01-01T00:00:00.000Z")
    yield from (word for word in WORDS if word != text)
