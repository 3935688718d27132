"""The run file's schema: closed at every level, documented field by field."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from strongroom.connectors.keys.errors import KmsError, KmsReferenceInvalid
from strongroom.connectors.keys.open import open_kms
from strongroom.pipeline.cli.docs.spec_reference import json_schema, reference_markdown
from strongroom.pipeline.runfile.fields import Quantity
from strongroom.pipeline.runfile.load import LoadedRun
from strongroom.pipeline.runfile.spec import RunSpec

Load = Callable[..., LoadedRun]


@pytest.fixture
def document(load_example: Load, example: str) -> dict[str, Any]:
    return load_example(example).spec.normalised()


def objects(value: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, dict):
        yield path, value
        for key, item in value.items():
            yield from objects(item, f"{path}.{key}")
    elif isinstance(value, list):
        for item in value:
            yield from objects(item, path)


def test_unknown_fields_are_refused_at_every_level(document: dict[str, Any]) -> None:
    paths = [path for path, _ in objects(document) if not path.endswith(".labels")]
    assert len(paths) >= 15
    for wanted in paths:
        changed = copy.deepcopy(document)
        next(value for path, value in objects(changed) if path == wanted)["surprise"] = 1
        with pytest.raises(ValidationError):
            RunSpec.parse(json.dumps(changed))


def test_it_is_frozen(load_example: Load, example: str) -> None:
    spec = load_example(example).spec
    with pytest.raises(ValidationError):
        spec.spec.outputs = "s3://evil/x/"


def definitions() -> dict[str, dict[str, Any]]:
    schema = json_schema()
    return {"RunSpec": schema, **schema["$defs"]}


def test_every_field_is_described() -> None:
    bare = [
        f"{name}.{field}"
        for name, part in definitions().items()
        for field, found in part.get("properties", {}).items()
        if not found.get("description") and "$ref" not in found
    ]
    assert bare == []
    assert "|  |" not in reference_markdown()


def test_the_json_schema_is_closed_too() -> None:
    for name, part in definitions().items():
        if "properties" in part:
            assert part["additionalProperties"] is False, name


def test_the_reference_names_every_field() -> None:
    page = reference_markdown()
    for part in definitions().values():
        for field in part.get("properties", {}):
            assert f"`{field}`" in page
    for heading in (
        "## `spec.access[]`",
        "## `spec.training.method`",
        "## `spec.policy.waivers[]`",
    ):
        assert heading in page
    assert "`15m`" in page
    assert "`8GiB`" in page
    assert reference_markdown() == page


DURATION = Quantity((("h", 3600), ("m", 60), ("s", 1)), 1, 43200, "a duration")


@pytest.mark.parametrize(
    ("text", "seconds"), [("1s", 1), ("90s", 90), ("15m", 900), ("12h", 43200), ("0060m", 3600)]
)
def test_durations(text: str, seconds: int) -> None:
    assert DURATION.read(text) == seconds
    assert DURATION.read(DURATION.write(seconds)) == seconds


@pytest.mark.parametrize(
    "text", ["", "15", "15 m", "m", "-1s", "1.5h", "15M", "15m ", "१५m", "1h30m", 900, None, "0s"]
)
def test_durations_that_are_refused(text: object) -> None:
    with pytest.raises(ValueError):
        DURATION.read(text)


URIS = ["s3://b/x/", "s3://UPPER/x/", "s3:///x/", "s3://acme//x/", "s3://acme/x/?y=1/"]
URIS += ["s3://acme/%2e%2e/", "s3://acme/.hidden/", "s3://acme/a b/", "s3://acme/a\nb/"]


@pytest.mark.parametrize("uri", URIS)
def test_uris_that_are_refused(document: dict[str, Any], uri: str) -> None:
    document["spec"]["outputs"] = uri
    with pytest.raises(ValidationError):
        RunSpec.parse(json.dumps(document))


KEYS = [
    "vault://transit/feedback",
    "vault://my.mount/key",
    "vault://team/transit/feedback_2",
    "local:///home/ada/keyring#feedback",
    "local://ring/name",
    "local:///keyring",
    "vault://transit",
    "vault://transit/../x",
    "vault:///a/b",
    "vault://transit/a.",
    "awskms://arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab",
    "gcpkms://projects/p/locations/eu/keyRings/r/cryptoKeys/k",
]


def is_named(document: dict[str, Any], key: str) -> bool:
    document["spec"]["keys"]["data"] = key
    try:
        return RunSpec.parse(json.dumps(document)).spec.keys.data == key
    except ValidationError:
        return False


def is_opened(key: str) -> bool:
    """Whether a key service looks for this key, be it there or not."""
    try:
        open_kms(key)
    except KmsReferenceInvalid:
        return False
    except KmsError:
        return True
    return True


@pytest.mark.parametrize("key", KEYS)
def test_a_run_may_name_what_a_key_service_opens(document: dict[str, Any], key: str) -> None:
    assert is_named(document, key) == is_opened(key) == (key in KEYS[:4])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["vault://", "local:///", "local://"]),
    st.text("aZ9._-/#? ", max_size=12),
)
def test_a_run_may_name_nothing_else(document: dict[str, Any], scheme: str, rest: str) -> None:
    assert is_named(document, scheme + rest) == is_opened(scheme + rest)
