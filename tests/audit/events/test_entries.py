"""Events: nothing but narrow values, one canonical form, and a strict way back."""

from __future__ import annotations

import json
import types as builtin
import typing

import msgspec
import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.audit.events import fields, types
from strongroom.audit.events.entries import (
    Event,
    canonical,
    from_entry,
    new_event,
    to_entry,
    to_ocsf,
)
from strongroom.audit.events.errors import EventInvalid, EventMalformed
from strongroom.audit.events.reference import events_reference
from strongroom.audit.log.errors import EntryTooLarge

ALLOWED = [
    value for name, value in vars(fields).items() if typing.get_origin(value) is typing.Annotated
]


def kinds(annotation):
    """The leaf annotations of a field, with constraints."""
    if annotation in ALLOWED:
        return
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        assert all(isinstance(value, str) for value in typing.get_args(annotation))
    elif origin in (tuple, dict):
        for inner in typing.get_args(annotation):
            if inner is not Ellipsis:
                kinds(inner)
    else:
        assert issubclass(annotation, msgspec.Struct), f"{annotation} may hold anything"
        struct_kinds(annotation)


def struct_kinds(struct):
    for hint in typing.get_type_hints(struct, include_extras=True).values():
        if typing.get_origin(hint) is not typing.ClassVar:
            kinds(hint)


def test_no_event_has_a_field_for_free_text():
    assert ALLOWED
    members = typing.get_args(types.EventData)
    assert isinstance(types.EventData, builtin.UnionType)
    assert set(types.TYPES.values()) == set(members)
    assert all(kind.ocsf.class_name for kind in members)
    for struct in members:
        struct_kinds(struct)


def test_the_check_itself_refuses_free_text():
    with pytest.raises((AssertionError, TypeError)):
        kinds(str)


@pytest.mark.parametrize("text", ["a sentence of words", "x\n", "", "é", "a" * 5000])
def test_no_text_kind_takes_a_sentence(text):
    for kind in ALLOWED:
        if typing.get_args(kind)[0] is str and (text or kind is not fields.RunOrNone):
            with pytest.raises(msgspec.ValidationError):
                msgspec.convert(text, kind)


def test_events_round_trip_as_canonical_json(run_events):
    for event in run_events:
        entry = to_entry(event)
        assert from_entry(entry) == event
        assert rfc8785.dumps(json.loads(entry)) == entry
    assert len({event.id for event in run_events}) == len(run_events)


BASE = {
    "activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid",
}  # fmt: skip
BY_CLASS = {
    2003: {"compliance", "finding_info"},
    6002: {"app"},
    6003: {"actor", "api", "src_endpoint"},
    6005: {"actor", "databucket", "src_endpoint"},
}


def test_entries_have_what_ocsf_requires(run_events):
    """Required fields of OCSF 1.8.0; all events were also validated by its own JSON schemas."""
    classes = set()
    for event in run_events:
        ocsf = to_ocsf(event)
        classes.add(ocsf["class_uid"])
        assert set(ocsf) >= BASE | BY_CLASS[ocsf["class_uid"]]
        assert ocsf["type_uid"] == ocsf["class_uid"] * 100 + ocsf["activity_id"]
        assert ocsf["category_uid"] == ocsf["class_uid"] // 1000
        assert ocsf["metadata"]["version"] == "1.8.0"
        assert ocsf["metadata"]["product"]["vendor_name"]
    assert classes == {2003, 6002, 6003, 6005}


def test_a_byte_less_is_refused_or_another_event(run_events):
    entry = to_entry(run_events[1])
    refused = 0
    for at in range(len(entry)):
        try:
            assert from_entry(entry[:at] + entry[at + 1 :]) != run_events[1]
        except EventMalformed:
            refused += 1
    assert refused > len(entry) * 0.7


@pytest.mark.parametrize(
    "change",
    [
        lambda ocsf: ocsf.update(message="free text"),
        lambda ocsf: ocsf.update(severity_id=6),
        lambda ocsf: ocsf["unmapped"].update(note="free text"),
        lambda ocsf: ocsf["unmapped"].update(type="run.denied"),
        lambda ocsf: ocsf["metadata"].update(event_code="run.unknown"),
        lambda ocsf: ocsf["metadata"].pop("uid"),
        lambda ocsf: ocsf["metadata"]["product"].update(feature={"name": "somebody"}),
        lambda ocsf: ocsf.update(time=10**30),
        lambda ocsf: ocsf.update(time="yesterday"),
        lambda ocsf: ocsf.update(unmapped=[]),
    ],
)
def test_entries_with_anything_else_in_them_are_refused(run_events, change):
    ocsf = json.loads(to_entry(run_events[0]))
    change(ocsf)
    with pytest.raises(EventMalformed) as caught:
        from_entry(rfc8785.dumps(ocsf) if ocsf["time"] != 10**30 else json.dumps(ocsf).encode())
    assert "free text" not in str(caught.value)


DEEP = b'{"unmapped":' + b"[" * 50_000


@pytest.mark.parametrize(
    "entry", [b"", b"[]", b"null", b"{}", b"\xff", b'{"metadata":null}', b"[" * 50_000, DEEP]
)
def test_what_is_no_event_is_refused(entry):
    with pytest.raises(EventMalformed):
        from_entry(entry)


def test_values_that_may_not_be_logged_are_refused_without_telling_them(digest_of):
    secret = "the customer wrote: call me"
    for data in (
        types.RunFailed(code=secret, stage="train", step=1),
        types.TrainingStep(step=1, values={secret: 1.0}),
        types.TrainingStep(step=1, values={"reward": float("nan")}),
        types.TrainingStep(step=-1, values={}),
        types.RunResumed(plan=digest_of("plan") + "\n", step=1),
    ):
        with pytest.raises(EventInvalid) as caught:
            to_entry(Event("0" * 32, "2026-01-01T00:00:00.000Z", "r", "broker", data))
        assert secret not in str(caught.value)
    with pytest.raises(EventInvalid):
        new_event("a run", "broker", types.RunCancelled(step=1))


@pytest.mark.parametrize("time", ["2026-02-30T00:00:00.000Z", "2026-01-01T25:00:00.000Z"])
def test_a_time_that_there_is_not_is_refused(time):
    with pytest.raises(EventInvalid, match=r"run\.cancelled time"):
        to_entry(Event("0" * 32, time, "r", "owner", types.RunCancelled(step=1)))


def test_an_event_too_large_for_an_entry_is_refused():
    values = {f"metric_{i}": 0.123 for i in range(6000)}
    with pytest.raises(EntryTooLarge):
        to_entry(new_event("r", "enclave", types.TrainingStep(step=1, values=values)))


def test_the_reference_names_every_type_and_field():
    text = events_reference()
    for name, kind in types.TYPES.items():
        assert f"## `{name}`" in text
        for field in msgspec.structs.fields(kind):
            assert f"| `{field.name}` |" in text
    assert events_reference() == text


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats()
    | st.floats(1e-7, 1e-3)
    | st.floats(1e14, 1e23)
    | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("aZ_.0\x7f", min_size=1), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(st.text("abcXYZ_09", min_size=1), VALUES, max_size=5))
def test_entries_are_written_as_another_implementation_writes_them(value):
    try:
        wanted = rfc8785.dumps(value)
    except rfc8785.CanonicalizationError:
        with pytest.raises(rfc8785.CanonicalizationError):
            canonical(value)
    else:
        assert canonical(value) == wanted


@pytest.mark.parametrize(
    "number", [0.0, -0.0, 1.0, 0.1, 1e-4, 9e-5, 1e-7, 2.0**53, 1e16, 1e21, -5e15]
)
def test_numbers_are_written_as_another_implementation_writes_them(number):
    assert canonical({"n": number}) == rfc8785.dumps({"n": number})


def test_a_number_that_no_entry_can_have_is_no_event():
    """It was once an error of another kind, which a reader of the log did not expect."""
    entry = to_entry(
        new_event("run-1", "enclave", types.TrainingStep(step=1, values={"loss": 0.5}))
    )
    with pytest.raises(EventMalformed):
        from_entry(entry.replace(b'"step":1', b'"step":%d' % 2**60))
