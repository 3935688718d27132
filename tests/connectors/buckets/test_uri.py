"""Addresses have one spelling, and nothing that could be read in a second way gets through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.connectors.buckets.errors import UriInvalid
from strongroom.connectors.buckets.uri import (
    MAX_KEY_BYTES,
    MAX_PREFIX_BYTES,
    Location,
    parse,
    parse_prefix,
)


@pytest.mark.parametrize(
    ("uri", "scheme", "bucket", "key"),
    [
        ("s3://acme-data/", "s3", "acme-data", ""),
        ("s3://acme-data", "s3", "acme-data", ""),
        ("s3://acme.data/runs/r1/plan.json", "s3", "acme.data", "runs/r1/plan.json"),
        ("s3://acme-data/runs/", "s3", "acme-data", "runs/"),
        ("gs://acme_data/a b/c", "gs", "acme_data", "a b/c"),
        ("local:///srv/bucket/", "local", "", "srv/bucket/"),
        ("s3://acme-data/données/ü", "s3", "acme-data", "données/ü"),
        ("s3://acme-data/a=1/b+c,d;e@f(g)!h&i:j", "s3", "acme-data", "a=1/b+c,d;e@f(g)!h&i:j"),
    ],
)
def test_good_addresses_are_read(uri, scheme, bucket, key):
    location = parse(uri)
    assert (location.scheme, location.bucket, location.key) == (scheme, bucket, key)
    assert parse(str(location)) == location


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "acme-data/x",
        "http://acme-data/x",
        "S3://acme-data/x",
        "file:///etc/passwd",
        "s3:/acme-data/x",
        "s3:///x",
        "s3://Acme/x",
        "s3://ab/x",
        "s3://acme..data/x",
        "s3://127.0.0.1/x",
        "s3://user:secret@acme-data/x",
        "s3://acme-data:9000/x",
        "s3://acme-*/x",
        "local://acme/x",
        "local://",
        "local:///",
        "s3://acme-data//x",
        "s3://acme-data/a//b",
        "s3://acme-data/../x",
        "s3://acme-data/a/../b",
        "s3://acme-data/a/..",
        "s3://acme-data/./a",
        "s3://acme-data/a/.",
        "s3://acme-data/a?versionId=1",
        "s3://acme-data/a#b",
        "s3://acme-data/a*",
        "s3://acme-data/${aws:username}/",
        "s3://acme-data/[a]",
        "s3://acme-data/%2e%2e/a",
        "s3://acme-data/a\\b",
        "s3://acme-data/a'b",
        's3://acme-data/a"b',
        "s3://acme-data/a\nb",
        "s3://acme-data/a\x00b",
        "s3://acme-data/a\x7fb",
        "s3://acme-data/ a",
        "s3://acme-data/a ",
        "s3://acme-data/a\u202eb",
        "s3://acme-data/a\u200bb",
        "s3://acme-data/a\u2028b",
        "s3://acme-data/a\ud800b",
        "s3://acme-data/e\u0301",
        "s3://acme-data/" + "a" * (MAX_KEY_BYTES + 1),
        "s3://acme-data/" + "é" * (MAX_KEY_BYTES // 2 + 1),
    ],
)
def test_bad_addresses_are_refused(uri):
    with pytest.raises(UriInvalid) as caught:
        parse(uri)
    assert str(caught.value).isprintable()
    assert "secret" not in str(caught.value)


def test_a_child_stays_below():
    base = parse("s3://acme-data/runs/")
    assert str(base.child("r1/")) == "s3://acme-data/runs/r1/"
    assert str(base.child("r1/").child("plan.json")) == "s3://acme-data/runs/r1/plan.json"
    assert str(parse("s3://acme-data").child("x")) == "s3://acme-data/x"
    for name in ("", "/x", "../x", "a/../../x", "a//b", "*", "a?b"):
        with pytest.raises(UriInvalid):
            base.child(name)


def test_an_object_has_no_children():
    with pytest.raises(UriInvalid):
        parse("s3://acme-data/plan.json").child("x")


def test_a_location_checks_itself():
    with pytest.raises(UriInvalid):
        Location("s3", "acme-data", "../x")


@given(st.text(max_size=40))
def test_whatever_is_read_is_spelled_the_same(text):
    try:
        location = parse("s3://acme-data/" + text)
    except UriInvalid:
        return
    assert str(location) == "s3://acme-data/" + text
    segments = location.key.split("/")
    assert not {".", ".."} & set(segments)
    assert "" not in segments[:-1]
    assert not set("*?$%\\\x00") & set(text)


@pytest.mark.parametrize(
    "uri",
    [
        "s3://acme-data/",
        "s3://acme-data/datasets/feedback.train/",
        "gs://acme_data/a=1/b+c@d/",
        "local:///srv/bucket/",
        "s3://acme-data/" + "a" * (MAX_PREFIX_BYTES - 1) + "/",
    ],
)
def test_prefixes_that_can_be_named(uri):
    assert parse_prefix(uri) == parse(uri)
    assert str(parse_prefix(uri)) == uri


@pytest.mark.parametrize(
    "uri",
    [
        "s3://acme-data",
        "s3://acme-data/a",
        "s3://acme-data/a b/",
        "s3://acme-data/données/",
        "s3://acme-data/.hidden/",
        "s3://acme-data/-a/",
        "s3://acme-data/a:b/",
        "local:///",
        "s3://acme-data/" + "a" * MAX_PREFIX_BYTES + "/",
    ],
)
def test_prefixes_that_cannot_be_named(uri):
    with pytest.raises(UriInvalid):
        parse_prefix(uri)
