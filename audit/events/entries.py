"""What may enter the log: the event types, and their form as OCSF entries.

Every field is a number, a digest, an id, an enumerated code, a time or the address of one of the
customer's objects; there is no field for free text, so that neither rows nor credentials nor
personal data can end in a log that nobody can delete from. An entry's bytes are the RFC 8785
form of an OCSF 1.8.0 object (https://schema.ocsf.io/1.8.0); reading one back is strict: the event
is rebuilt, written again, and has to give the same bytes.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec
import rfc8785

from strongroom.audit.errors import EntryTooLarge, EventInvalid, EventMalformed
from strongroom.audit.events.fields import EventId, RunId, Time
from strongroom.audit.events.types import TYPES, EventData
from strongroom.audit.log.tlog import ENTRY_BYTES_MAX

OCSF_VERSION = "1.8.0"
Actor = Literal["controller", "broker", "enclave", "releaser", "owner"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CATEGORIES = {2: "Findings", 6: "Application Activity"}


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One event: a random 128-bit ``id`` in hex, its UTC ``time`` to the millisecond, its run.

    ``actor`` is the role that saw it happen; ``data`` is one of the types in
    ``audit.events.types``, whose tag is the event's ``type``.
    """

    id: EventId
    time: Time
    run: RunId
    actor: Actor
    data: EventData

    @property
    def type(self) -> str:
        """The event's type, such as ``run.admitted``."""
        return str(type(self.data).__struct_config__.tag)


def new_event(run: str, actor: Actor, data: EventData, *, at: datetime | None = None) -> Event:
    """An event with a fresh id; ``at`` (time-zone aware) defaults to now.

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


def to_ocsf(event: Event) -> dict[str, Any]:
    """The event as an OCSF object; the event's own fields stand under ``unmapped``."""
    shape = TYPES[event.type].ocsf
    data = _builtins(event)["data"]
    entry: dict[str, Any] = {
        "activity_id": shape.activity_id,
        "activity_name": shape.activity_name,
        "category_name": _CATEGORIES[shape.class_uid // 1000],
        "category_uid": shape.class_uid // 1000,
        "class_name": shape.class_name,
        "class_uid": shape.class_uid,
        "metadata": {
            "correlation_uid": event.run,
            "event_code": event.type,
            "product": {
                "feature": {"name": event.actor},
                "name": "Strongroom",
                "vendor_name": "Strongroom",
            },
            "uid": event.id,
            "version": OCSF_VERSION,
        },
        "severity_id": shape.severity_id,
        "status_id": shape.status_id,
        "time": _milliseconds(event.time),
        "type_uid": shape.class_uid * 100 + shape.activity_id,
        "unmapped": {name: value for name, value in data.items() if name != "type"},
    }
    return entry | _class_fields(event, shape.class_uid)


def to_entry(event: Event) -> bytes:
    """The event as log entry bytes: RFC 8785 JSON, at most 65,534 bytes.

    Raises ``EventInvalid`` or ``EntryTooLarge``.
    """
    _check(event)
    try:
        entry: bytes = rfc8785.dumps(to_ocsf(event))
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
        ocsf = msgspec.json.decode(entry)
        metadata = ocsf["metadata"]
        event = msgspec.convert(
            {
                "id": metadata["uid"],
                "time": _iso(ocsf["time"]),
                "run": metadata["correlation_uid"],
                "actor": metadata["product"]["feature"]["name"],
                "data": {**ocsf["unmapped"], "type": metadata["event_code"]},
            },
            Event,
        )
        again = to_entry(event)
    except (msgspec.MsgspecError, LookupError, TypeError, ValueError, OverflowError) as error:
        raise EventMalformed(place=place, actual=type(error).__name__) from error
    if again != entry:
        raise EventMalformed(place=place, expected="the canonical form of its event")
    return event


def _class_fields(event: Event, class_uid: int) -> dict[str, Any]:
    """The fields that each OCSF class asks for beside the base ones."""
    who = {"actor": {"app_name": event.actor}, "src_endpoint": {"name": event.actor}}
    if class_uid == 6003:
        return who | {"api": {"operation": event.type}}
    if class_uid == 6005:
        objects = {"name": event.run, "type_id": 99, "type": "Strongroom run"}
        return who | {"databucket": objects}
    if class_uid == 6002:
        return {"app": {"name": "Strongroom", "vendor_name": "Strongroom"}}
    return {
        "compliance": {"control": event.type, "standards": ["strongroom-policy"]},
        "finding_info": {"title": event.type, "uid": event.id},
    }


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


def _milliseconds(time: str) -> int:
    moment = datetime.fromisoformat(time)
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _iso(milliseconds: int) -> str:
    moment = _EPOCH + timedelta(milliseconds=milliseconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def reference() -> str:
    """The event reference as Markdown, made from the classes themselves."""
    lines = [
        "# Events",
        "",
        "Every event is one entry of the audit log: canonical JSON (RFC 8785) of an OCSF "
        f"{OCSF_VERSION} object. The event's own fields stand under `unmapped`, its type under "
        "`metadata.event_code`, its run under `metadata.correlation_uid`, its id under "
        "`metadata.uid`, and the role that saw it under `metadata.product.feature.name`. No field "
        "holds free text.",
    ]
    for name, kind in sorted(TYPES.items()):
        shape = kind.ocsf
        lines += [
            "",
            f"## `{name}`",
            "",
            " ".join((kind.data.__doc__ or "").split()),
            "",
            f"OCSF: {shape.class_name} ({shape.class_uid}), {shape.activity_name}.",
        ]
        if fields := msgspec.structs.fields(kind.data):
            schema = msgspec.json.schema(kind.data)["$defs"]
            rows = _rows(schema[kind.data.__name__], schema)
            lines += ["", "| field | what it holds |", "|---|---|"]
            lines += [f"| `{field.name}` | {rows[field.name]} |" for field in fields]
    return "\n".join(lines) + "\n"


def _rows(struct: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, str]:
    properties: dict[str, Any] = struct["properties"]
    return {name: _describe(value, schema) for name, value in properties.items()}


def _describe(value: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """A field's JSON schema in words."""
    if "$ref" in value:
        inner = schema[value["$ref"].rpartition("/")[2]]
        text = "; ".join(f"`{key}`: {row}" for key, row in _rows(inner, schema).items())
    elif value.get("type") == "array":
        text = f"a list of {_describe(value['items'], schema)}"
    elif value.get("type") == "object":
        names = _describe(value.get("propertyNames", {"description": "name"}), schema)
        text = f"for each {names}: {_describe(value['additionalProperties'], schema)}"
    elif "enum" in value:
        text = "one of " + ", ".join(f"`{item}`" for item in value["enum"])
    else:
        text = str(value.get("description", value.get("type", "")))
    return text.replace("|", "\\|")
