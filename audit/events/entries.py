"""What may enter the log: the event types, and their form as OCSF entries.

Every field is a number, a digest, an id, an enumerated code, a time or the address of one of the
customer's objects; there is no field for free text, so that neither rows nor credentials nor
personal data can end in a log that nobody can delete from. An entry's bytes are the RFC 8785
form of an OCSF 1.8.0 object (https://schema.ocsf.io/1.8.0); reading one back is strict: the event
is rebuilt, written again, and has to give the same bytes.
"""

from __future__ import annotations

import json
import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec
import rfc8785

from strongroom.audit.events.errors import EventInvalid, EventMalformed
from strongroom.audit.events.fields import Code, EventId, RunOrNone, Time
from strongroom.audit.events.ocsf import VERSION
from strongroom.audit.events.types import EventData
from strongroom.audit.log.errors import EntryTooLarge
from strongroom.audit.log.tlog import ENTRY_BYTES_MAX
from strongroom.errors import bounded_json

NOBODY = "nobody"
"""The caller of an event that no releaser has taken in."""
RELEASER = "releaser"
"""The caller of what the releaser says of itself."""

Actor = Literal["controller", "broker", "enclave", "releaser", "owner"]

_SMALL, _WHOLE = 1e-4, 2**53
"""Between these Python and RFC 8785 both write a number without an exponent."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One event: a random 128-bit ``id`` in hex, its UTC ``time`` to the millisecond, its run.

    ``run`` is empty for what belongs to none. ``actor`` is the role that saw it happen; ``data`` is
    one of the types in ``audit.events.types``, whose tag is the event's ``type``. ``caller`` is who
    said so, as the releaser knows them: the user that its socket's other end ran as.
    """

    id: EventId
    time: Time
    run: RunOrNone
    actor: Actor
    data: EventData
    caller: Code = NOBODY

    @property
    def type(self) -> str:
        """The event's type, such as ``run.admitted``."""
        return str(type(self.data).__struct_config__.tag)


def new_event(run: str, actor: Actor, data: EventData, *, at: datetime | None = None) -> Event:
    """An event with a fresh id, said by nobody yet; ``at`` (time-zone aware) defaults to now.

    Raises ``EventInvalid`` when a field of ``data`` has a value that may not be logged.
    """
    moment = datetime.now(UTC) if at is None else at.astimezone(UTC)
    event = Event(
        id=secrets.token_hex(16),
        time=moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        run=run,
        actor=actor,
        data=data,
    )
    _check(event)
    return event


class _Feature(msgspec.Struct):
    name: str
    uid: str


class _Product(msgspec.Struct):
    feature: _Feature


class _Metadata(msgspec.Struct):
    uid: str
    correlation_uid: str
    event_code: str
    product: _Product


class _Read(msgspec.Struct):
    """The fields of an entry that an event is rebuilt from; all others follow from them."""

    time: int
    metadata: _Metadata
    unmapped: dict[str, Any]


def to_ocsf(event: Event) -> dict[str, Any]:
    """The event as an OCSF object; the event's own fields stand under ``unmapped``."""
    ocsf = event.data.ocsf
    data = _builtins(event)["data"]
    own = {
        "metadata": {
            "correlation_uid": event.run,
            "event_code": event.type,
            "product": {
                "feature": {"name": event.actor, "uid": event.caller},
                "name": "Strongroom",
                "vendor_name": "Strongroom",
            },
            "uid": event.id,
            "version": VERSION,
        },
        "time": _milliseconds(event.time),
        "unmapped": {name: value for name, value in data.items() if name != "type"},
    }
    of_class = ocsf.class_fields(event.type, event=event.id, run=event.run, actor=event.actor)
    return ocsf.fields() | own | of_class


def to_entry(event: Event) -> bytes:
    """The event as log entry bytes: RFC 8785 JSON, at most 65,534 bytes.

    Raises ``EventInvalid`` or ``EntryTooLarge``.
    """
    _check(event)
    return _written(event)


def _written(event: Event) -> bytes:
    """The entry of an event whose fields were checked."""
    try:
        entry = canonical(to_ocsf(event))
    except rfc8785.CanonicalizationError as error:
        raise EventInvalid(place=event.type, expected="finite numbers below 2**53") from error
    if len(entry) > ENTRY_BYTES_MAX:
        raise EntryTooLarge(
            place=event.type,
            expected=f"at most {ENTRY_BYTES_MAX} bytes",
            actual=f"{len(entry)} bytes",
        )
    return entry


def from_entry(entry: bytes, *, place: str = "log entry") -> Event:
    """The event in an entry.

    Raises ``EventMalformed`` unless the bytes are exactly those that ``to_entry`` writes for it.
    """
    try:
        read = bounded_json.decode(entry, shape=_Read)
        event = msgspec.convert(
            {
                "id": read.metadata.uid,
                "time": _iso(read.time),
                "run": read.metadata.correlation_uid,
                "actor": read.metadata.product.feature.name,
                "caller": read.metadata.product.feature.uid,
                "data": {**read.unmapped, "type": read.metadata.event_code},
            },
            Event,
        )
        again = _written(event)
    except (EventInvalid, EntryTooLarge) as error:
        raise EventMalformed(place=place, actual=error.title) from error
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        raise EventMalformed(place=place, actual=type(error).__name__) from error
    if again != entry:
        raise EventMalformed(place=place, expected="the canonical form of its event")
    return event


def canonical(value: dict[str, Any]) -> bytes:
    """RFC 8785 JSON of an object whose keys are ASCII; raises ``CanonicalizationError``.

    Python writes the same wherever both write a number in the same way, and many times faster.
    """
    try:
        plain = _plain(value)
    except _WrittenOtherwise:
        found: bytes = rfc8785.dumps(value)
        return found
    text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return text.encode()


class _WrittenOtherwise(Exception):
    """Python does not write this as RFC 8785 does."""


def _plain(value: Any) -> Any:
    """The value with whole numbers as such. Raises ``_WrittenOtherwise``."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind is dict:
        return {key: item if type(item) is str else _plain(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [_plain(item) for item in value]
    if kind is int and abs(value) < _WHOLE:
        return value
    if kind is float and abs(value) < _WHOLE:
        if value.is_integer():
            return int(value)
        if abs(value) >= _SMALL:
            return value
    raise _WrittenOtherwise


def _builtins(event: Event) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(event)
    return found


def _check(event: Event) -> None:
    """Constructing a Struct checks nothing; converting its plain form does."""
    try:
        msgspec.convert(_builtins(event), Event)
    except msgspec.ValidationError as error:
        # msgspec names the field and the rule, and of the value at most its type.
        found = re.search(r"at `\$\.?([^`]*)`", str(error))
        raise EventInvalid(place=f"{event.type} {found[1] if found else ''}".strip()) from None
    try:
        _milliseconds(event.time)
    except ValueError:  # well formed, and no day or hour that there is
        raise EventInvalid(place=f"{event.type} time") from None


def _milliseconds(time: str) -> int:
    moment = datetime.fromisoformat(time)
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _iso(milliseconds: int) -> str:
    moment = _EPOCH + timedelta(milliseconds=milliseconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
