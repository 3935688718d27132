"""What a session policy grants, read back the way AWS reads it."""

import json
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from strongroom.connectors.access.errors import PolicyTooLong, ScopeTooBroad
from strongroom.connectors.access.scopes import POLICY_LIMIT_CHARS, Scope, escape, session_policy

PIECES = st.sampled_from(
    ["a", "runs", "r1", "/", "*", "?", "$", "{", "}", "${*}", "${aws:username}", "..", ".", "\\",
     '"', '"],"Action":"s3:*', "')||true||('", "%2e%2e", " ", "é", "\u202e", "\n", "\x00", "arn:"]
)  # fmt: skip
NAMES = st.lists(PIECES, max_size=6).map("".join)
PREFIXES = NAMES | NAMES.map(lambda name: name + "/")


def as_regex(pattern: str) -> re.Pattern[str]:
    """AWS's reading: ``${x}`` for x in ``$*?`` is that character, ``*`` and ``?`` are wildcards."""
    parts = re.findall(r"\$\{[$*?]\}|\$\{[^}]*\}|.", pattern, re.DOTALL)
    out = []
    for part in parts:
        if re.fullmatch(r"\$\{[$*?]\}", part):
            out.append(re.escape(part[2]))
        elif part.startswith("${"):
            out.append(".*")  # a policy variable: it could become anything
        else:
            out.append({"*": ".*", "?": "."}.get(part, re.escape(part)))
    return re.compile("".join(out), re.DOTALL)


def statements(policy: str) -> list[dict]:
    return json.loads(policy)["Statement"]


def allows(policy: str, action: str, resource: str, listed: str | None = None) -> bool:
    for statement in statements(policy):
        if statement["Effect"] != "Allow" or action not in statement["Action"]:
            continue
        if not any(as_regex(pattern).fullmatch(resource) for pattern in statement["Resource"]):
            continue
        condition = statement.get("Condition", {}).get("StringLike", {}).get("s3:prefix")
        if condition is None or any(as_regex(p).fullmatch(listed or "") for p in condition):
            return True
    return False


def naive_policy(bucket: str, prefix: str) -> str:
    """What a careless vendor writes: the defence is off."""
    arn = f"arn:aws:s3:::{bucket}/{prefix}*"
    statement = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [arn]}
    return json.dumps({"Statement": [statement]})


@given(prefix=PREFIXES, key=PREFIXES)
def test_a_prefix_grants_its_own_objects_and_no_other(prefix, key):
    try:
        policy = session_policy(Scope(bucket="acme-data", read=(prefix,), create=(prefix,)))
    except ScopeTooBroad:
        return
    for action in ("s3:GetObject", "s3:PutObject"):
        assert allows(policy, action, f"arn:aws:s3:::acme-data/{prefix}{key}")
        inside = key.startswith(prefix)
        assert allows(policy, action, f"arn:aws:s3:::acme-data/{key}") == inside
        assert not allows(policy, action, f"arn:aws:s3:::other/{prefix}{key}")
    assert allows(policy, "s3:ListBucket", "arn:aws:s3:::acme-data", listed=prefix)
    assert allows(policy, "s3:ListBucket", "arn:aws:s3:::acme-data", listed=key) == key.startswith(
        prefix
    )


@given(read=st.lists(PREFIXES, max_size=3), create=st.lists(PREFIXES, max_size=3))
def test_no_input_adds_a_statement_an_action_or_an_effect(read, create):
    try:
        policy = session_policy(Scope(bucket="acme-data", read=tuple(read), create=tuple(create)))
    except (ScopeTooBroad, PolicyTooLong):
        return
    found = statements(policy)
    actions = {action for statement in found for action in statement["Action"]}
    if not read and not create:
        assert found == [{"Effect": "Deny", "Action": "*", "Resource": "*"}]
        return
    assert len(found) == 2 * bool(read) + bool(create)
    assert actions <= {
        "s3:GetObject",
        "s3:ListBucket",
        "s3:PutObject",
        "s3:AbortMultipartUpload",
        "s3:ListMultipartUploadParts",
    }
    assert policy.isascii()
    assert len(policy) <= POLICY_LIMIT_CHARS


@given(prefix=PREFIXES, key=PREFIXES)
def test_history_is_read_where_objects_are_and_only_when_asked_for(prefix, key):
    """Earlier versions, and a list of them, of the same prefixes; it gives no further right."""
    try:
        scopes = [Scope(bucket="acme-audit", read=(prefix,), history=past) for past in (0, 1)]
        now, past = (session_policy(scope) for scope in scopes)
    except ScopeTooBroad:
        return
    arn, inside = "arn:aws:s3:::acme-audit", key.startswith(prefix)
    assert not allows(now, "s3:GetObjectVersion", f"{arn}/{prefix}")
    assert not allows(now, "s3:ListBucketVersions", arn, listed=prefix)
    assert allows(past, "s3:GetObjectVersion", f"{arn}/{prefix}{key}")
    assert allows(past, "s3:GetObjectVersion", f"{arn}/{key}") == inside
    assert allows(past, "s3:ListBucketVersions", arn, listed=key) == inside
    added = {action for each in statements(past) for action in each["Action"]}
    added -= {action for each in statements(now) for action in each["Action"]}
    assert added == {"s3:GetObjectVersion", "s3:ListBucketVersions"}


def test_history_of_nothing_is_nothing():
    policy = session_policy(Scope(bucket="acme-audit", create=("log/",), history=True))
    assert not allows(policy, "s3:GetObjectVersion", "arn:aws:s3:::acme-audit/log/x")
    assert not allows(policy, "s3:ListBucketVersions", "arn:aws:s3:::acme-audit", listed="log/")


@given(
    text=st.text(alphabet="$*?{}ab", max_size=12), other=st.text(alphabet="$*?{}ab", max_size=12)
)
def test_escaped_text_matches_itself_only(text, other):
    assert as_regex(escape(text)).fullmatch(text)
    assume(text != other)
    assert not as_regex(escape(text)).fullmatch(other)


@pytest.mark.parametrize(
    ("prefix", "victim"),
    [
        ("*/", "runs/r2/x"),
        ("runs/*/", "runs/r2/x"),
        ("runs/r?/", "runs/r2/x"),
        ("runs/r1", "runs/r10/x"),
        ("runs/${aws:username}/", "runs/r2/x"),
        ("", "datasets/x"),
    ],
)
def test_known_ways_to_widen_a_prefix(prefix, victim):
    resource = f"arn:aws:s3:::acme-data/{victim}"
    assert allows(naive_policy("acme-data", prefix), "s3:GetObject", resource)
    try:
        policy = session_policy(Scope(bucket="acme-data", read=(prefix,)))
    except ScopeTooBroad:
        return
    assert not allows(policy, "s3:GetObject", resource)


@pytest.mark.parametrize(
    "prefix",
    ["", "/", "runs", "runs/r1", "/runs/", "runs//r1/", "runs/../", "../", "./", "a/./", "*/",
     "run?/", "a\\b/", "a\n/", "a\x00/", "\u202e/", "x" * 1001 + "/"],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["read", "create"])
def test_broad_or_odd_prefixes_are_refused(prefix, kind):
    with pytest.raises(ScopeTooBroad) as caught:
        Scope(bucket="acme-data", **{kind: (prefix,)})
    assert caught.value.place == f"scope.{kind}"
    assert caught.value.code == "SR-ACCESS-001"


@pytest.mark.parametrize("bucket", ["", "*", "a", "a/b", "acme-*", "Acme", "a..b", "acme-data/x"])
def test_odd_buckets_are_refused(bucket):
    with pytest.raises(ScopeTooBroad):
        Scope(bucket=bucket, read=("x/",))


def test_an_empty_scope_denies_everything():
    assert statements(session_policy(Scope(bucket="acme-data"))) == [
        {"Effect": "Deny", "Action": "*", "Resource": "*"}
    ]


def test_nothing_ever_grants_delete():
    scope = Scope(bucket="acme-data", read=("a/",), create=("b/",), facts=True)
    assert "Delete" not in session_policy(scope)


def test_the_limit_is_aws_s_and_its_error_says_what_to_do():
    prefixes = tuple(f"datasets/claims-2026/part-{index:04d}/" for index in range(40))
    with pytest.raises(PolicyTooLong) as caught:
        session_policy(Scope(bucket="acme-data", read=prefixes))
    assert "40 + 0 prefixes" in caught.value.actual
    assert len(session_policy(Scope(bucket="acme-data", read=prefixes[:8]))) <= POLICY_LIMIT_CHARS
