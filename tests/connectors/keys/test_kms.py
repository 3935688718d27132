"""Key services: a real OpenBao, and the keyring file."""

import base64
import json
import os
import pickle
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hvac.exceptions import Forbidden, VaultError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strongroom.connectors.access.errors import AccessError
from strongroom.connectors.access.identity import VaultSession, new_client
from strongroom.connectors.host import processes
from strongroom.connectors.keys import kms
from strongroom.connectors.keys.errors import (
    KeyringUnusable,
    KmsContextMismatch,
    KmsError,
    KmsIdentityUnusable,
    KmsKeyMissing,
    KmsKeyUnfit,
    KmsReferenceInvalid,
    KmsRefused,
    KmsSealed,
    KmsUnreachable,
    KmsWrappedInvalid,
)
from strongroom.connectors.keys.keyring import create_local_keyring
from strongroom.connectors.keys.open import open_kms
from strongroom.connectors.stack import provision, stack
from strongroom.connectors.stack.errors import StackNotFound

KEYSET = b"a keyset, 32 bytes or so, secret"
CONTEXT = {"dataset": "feedback", "purpose": "train"}


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    state = tmp_path_factory.mktemp("kms") / "state"
    try:
        stack.up(state)
        yield state
    finally:
        with suppress(StackNotFound):
            stack.down(state)


@pytest.fixture(scope="module")
def as_identity(state):
    def open_as(name: str, ref: str) -> kms.Kms:
        return open_kms(ref, credentials_file=Path(stack.StackInfo.load(state).identities[name]))

    return open_as


@pytest.fixture(scope="module")
def key_owner(state):
    return VaultSession(Path(stack.StackInfo.load(state).identities["admin"]))


@pytest.fixture
def keyring(tmp_path):
    path = tmp_path / "keys.json"
    create_local_keyring(path, ["data", "audit"])
    return path


@pytest.fixture(params=["vault", "local"])
def pair(request, tmp_path):
    """A wrapping key and a signing key of each kind of service."""
    if request.param == "local":
        path = tmp_path / "keys.json"
        create_local_keyring(path, ["data", "audit"])
        return open_kms(f"local://{path}#data"), open_kms(f"local://{path}#audit")
    as_identity = request.getfixturevalue("as_identity")
    return (
        as_identity("releaser", "vault://transit/feedback"),
        as_identity("releaser", "vault://transit/audit-log"),
    )


def test_a_wrapped_keyset_opens_in_its_context_only(pair):
    key, _ = pair
    wrapped = key.wrap(KEYSET, CONTEXT)
    assert KEYSET not in wrapped.encode()
    assert base64.b64encode(KEYSET) not in wrapped.encode()
    assert key.unwrap(wrapped, dict(reversed(CONTEXT.items()))) == KEYSET
    for other in ({**CONTEXT, "dataset": "other"}, {"dataset": "feedback"}, {**CONTEXT, "x": ""}):
        with pytest.raises(KmsContextMismatch) as caught:
            key.unwrap(wrapped, other)
        assert KEYSET.decode() not in str(caught.value)


def test_a_changed_wrapping_does_not_open(pair):
    key, _ = pair
    wrapped = key.wrap(KEYSET, CONTEXT)
    form, _, body = wrapped.rpartition(":")
    raw = bytearray(base64.b64decode(body))
    raw[-1] ^= 1
    with pytest.raises(KmsContextMismatch):
        key.unwrap(f"{form}:{base64.b64encode(raw).decode()}", CONTEXT)
    for junk in ("", "x", f"{form}:", f"{form}:AAAA", f"{form}:***", body, "other:v1:" + body):
        with pytest.raises((KmsWrappedInvalid, KmsContextMismatch)):
            key.unwrap(junk, CONTEXT)


def test_signatures_check_with_the_public_key(pair):
    _, signer = pair
    public = Ed25519PublicKey.from_public_bytes(signer.public_key())
    signature = signer.sign(b"checkpoint")
    assert len(signature) == 64
    public.verify(signature, b"checkpoint")
    with pytest.raises(InvalidSignature):
        public.verify(signature, b"another")


def test_services_do_not_pickle_or_show_keys(pair):
    for service in pair:
        with pytest.raises(TypeError):
            pickle.dumps(service)
        assert "object at" in repr(service)


def test_the_stack_s_public_keys_are_those_of_the_service(state, as_identity):
    info = stack.StackInfo.load(state)
    for name in provision.SIGNING_KEYS:
        raw = as_identity("releaser", f"vault://transit/{name}").public_key()
        assert info.public_keys[name] == "ed25519:" + base64.b64encode(raw).decode()


@pytest.mark.parametrize("name", ["broker", "owner"])
@pytest.mark.parametrize(
    "operation",
    [
        lambda key: key.wrap(KEYSET, CONTEXT),
        lambda key: key.unwrap("vault:v1:AAAA", CONTEXT),
        lambda key: key.sign(b"x"),
        lambda key: key.public_key(),
    ],
)
def test_other_identities_are_refused_every_key(as_identity, name, operation):
    for key in (*provision.WRAPPING_KEYS, *provision.SIGNING_KEYS):
        with pytest.raises(KmsRefused):
            operation(as_identity(name, f"vault://transit/{key}"))


def test_the_releaser_can_only_use_keys(as_identity, state, key_owner):
    releaser = VaultSession(Path(stack.StackInfo.load(state).identities["releaser"]))
    attempts = [
        lambda c: c.secrets.transit.rotate_key("feedback"),
        lambda c: c.secrets.transit.update_key_configuration("feedback", deletion_allowed=True),
        lambda c: c.secrets.transit.create_key("mine"),
        lambda c: c.secrets.transit.export_key("feedback", "encryption-key"),
        lambda c: c.read("identity/oidc/token/broker"),
        lambda c: c.sys.list_policies(),
        lambda c: c.auth.approle.generate_secret_id("broker"),
    ]
    for attempt in attempts:
        with pytest.raises(Forbidden):
            releaser.call(attempt)
    assert key_owner.call(lambda c: c.secrets.transit.rotate_key("feedback"))
    assert key_owner.call(lambda c: c.auth.approle.generate_secret_id("broker"))


def test_keys_rotate_without_losing_what_they_wrapped(as_identity, key_owner):
    key = as_identity("releaser", "vault://transit/feedback-outputs")
    before = key.wrap(KEYSET, CONTEXT)
    key_owner.call(lambda c: c.secrets.transit.rotate_key("feedback-outputs"))
    after = key.wrap(KEYSET, CONTEXT)
    assert before.split(":")[1] != after.split(":")[1]
    assert key.unwrap(before, CONTEXT) == key.unwrap(after, CONTEXT) == KEYSET


def test_a_key_of_the_wrong_kind_says_so(as_identity, key_owner):
    """The owner may do both operations on both kinds, so that the key itself must refuse."""
    policy = 'path "transit/*" { capabilities = ["update", "read"] }'
    kept = key_owner.call(lambda c: c.sys.read_acl_policy("releaser"))["data"]["policy"]
    key_owner.call(lambda c: c.sys.create_or_update_acl_policy("releaser", policy))
    try:
        for operation in (lambda key: key.sign(b"x"), lambda key: key.public_key()):
            with pytest.raises(KmsKeyUnfit):
                operation(as_identity("releaser", "vault://transit/feedback"))
        with pytest.raises(KmsKeyUnfit):
            as_identity("releaser", "vault://transit/audit-log").wrap(KEYSET, CONTEXT)
        for operation in (
            lambda key: key.unwrap("vault:v1:AAAA", CONTEXT),
            lambda key: key.sign(b"x"),
            lambda key: key.public_key(),
        ):
            with pytest.raises(KmsKeyMissing):
                operation(as_identity("releaser", "vault://transit/never-made"))
        with pytest.raises(KmsKeyMissing):
            as_identity("releaser", "vault://transit/never-made").public_key()
        with pytest.raises(KmsError):
            as_identity("releaser", "vault://nowhere/feedback").public_key()
    finally:
        key_owner.call(lambda c: c.sys.create_or_update_acl_policy("releaser", kept))


def test_a_key_is_there_for_whom_it_opens(as_identity, key_owner):
    as_identity("releaser", "vault://transit/feedback").check_unwraps()
    for identity, key in (("broker", "feedback"), ("releaser", "never-made"), ("releaser", "x/y")):
        with pytest.raises(KmsRefused):
            as_identity(identity, f"vault://transit/{key}").check_unwraps()
    policy = 'path "transit/*" { capabilities = ["update", "read"] }'
    kept = key_owner.call(lambda c: c.sys.read_acl_policy("releaser"))["data"]["policy"]
    key_owner.call(lambda c: c.sys.create_or_update_acl_policy("releaser", policy))
    try:
        as_identity("releaser", "vault://transit/feedback").check_unwraps()
        with pytest.raises(KmsKeyMissing):
            as_identity("releaser", "vault://transit/never-made").check_unwraps()
        with pytest.raises(KmsKeyUnfit):
            as_identity("releaser", "vault://transit/audit-log").check_unwraps()
    finally:
        key_owner.call(lambda c: c.sys.create_or_update_acl_policy("releaser", kept))


def test_a_shredded_key_is_missing(as_identity, key_owner):
    key_owner.call(lambda c: c.secrets.transit.create_key("short-lived", derived=True))
    policy = 'path "transit/+/short-lived" { capabilities = ["update"] }'
    kept = key_owner.call(lambda c: c.sys.read_acl_policy("releaser"))["data"]["policy"]
    key_owner.call(lambda c: c.sys.create_or_update_acl_policy("releaser", kept + "\n" + policy))
    try:
        key = as_identity("releaser", "vault://transit/short-lived")
        wrapped = key.wrap(KEYSET, CONTEXT)
        assert key.unwrap(wrapped, CONTEXT) == KEYSET
        key_owner.call(
            lambda c: c.secrets.transit.update_key_configuration(
                "short-lived", deletion_allowed=True
            )
        )
        key_owner.call(lambda c: c.secrets.transit.delete_key("short-lived"))
        with pytest.raises(KmsKeyMissing):
            key.unwrap(wrapped, CONTEXT)
    finally:
        key_owner.call(lambda c: c.sys.create_or_update_acl_policy("releaser", kept))


def test_a_revoked_login_is_renewed(as_identity):
    key = as_identity("releaser", "vault://transit/feedback")
    wrapped = key.wrap(KEYSET, CONTEXT)
    key._session._client.auth.token.revoke_self()
    assert key.unwrap(wrapped, CONTEXT) == KEYSET


def test_a_wrong_secret_is_refused_without_being_shown(state, tmp_path):
    info = stack.StackInfo.load(state)
    good = json.loads(Path(info.identities["releaser"]).read_bytes())
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps({**good, "secret_id": "not-the-secret"}))
    path.chmod(0o600)
    with pytest.raises(KmsRefused) as caught:
        open_kms("vault://transit/feedback", credentials_file=path).wrap(KEYSET, CONTEXT)
    for secret in ("not-the-secret", good["role_id"], KEYSET.decode()):
        assert secret not in str(caught.value)
        assert secret not in repr(caught.value.__cause__)


@pytest.mark.parametrize(
    "make",
    [
        lambda path: None,
        lambda path: path.mkdir(),
        lambda path: path.write_text("{"),
        lambda path: path.write_text('{"addr": "http://127.0.0.1:1"}'),
        lambda path: path.symlink_to("/dev/null"),
    ],
)
def test_a_credentials_file_must_be_usable(tmp_path, make):
    path = tmp_path / "who.json"
    make(path)
    if path.is_file() and not path.is_symlink():
        path.chmod(0o600)
    with pytest.raises(KmsIdentityUnusable):
        open_kms("vault://transit/feedback", credentials_file=path)
    with pytest.raises(KmsIdentityUnusable):
        open_kms("vault://transit/feedback")


def test_a_credentials_file_that_others_can_read_is_refused(state, tmp_path):
    path = tmp_path / "who.json"
    path.write_bytes(Path(stack.StackInfo.load(state).identities["releaser"]).read_bytes())
    path.chmod(0o644)
    with pytest.raises(KmsIdentityUnusable) as caught:
        open_kms("vault://transit/feedback", credentials_file=path)
    assert "0644" in caught.value.actual
    path.chmod(0o600)
    assert open_kms("vault://transit/feedback", credentials_file=path).wrap(KEYSET, CONTEXT)


def test_an_unreachable_service_says_so(tmp_path):
    port = processes.free_ports(1, offset=0)[0]
    path = tmp_path / "who.json"
    path.write_text(f'{{"addr": "http://127.0.0.1:{port}", "role_id": "r", "secret_id": "s"}}')
    path.chmod(0o600)
    key = open_kms("vault://transit/feedback", credentials_file=path)
    with pytest.raises(KmsUnreachable) as caught:
        key.wrap(KEYSET, CONTEXT)
    assert "stack up" in caught.value.fix


@pytest.mark.parametrize(
    "ref",
    ["", "feedback", "vault://", "vault://transit", "vault://transit/", "vault://../sys/seal",
     "vault://transit/a?b", "vault://transit/../x", "local://keys.json#a", "local:///keys.json",
     "local:///keys.json#", "local:///keys.json#a/b", "awskms://x/y", "vault://transit/a\n"],
)  # fmt: skip
def test_odd_references_are_refused(ref):
    with pytest.raises(KmsReferenceInvalid):
        open_kms(ref)


def test_a_keyring_is_made_once_and_kept_private(keyring):
    assert keyring.stat().st_mode & 0o777 == 0o600
    before = keyring.read_bytes()
    with pytest.raises(KeyringUnusable):
        create_local_keyring(keyring, ["data"])
    assert keyring.read_bytes() == before
    with pytest.raises(KmsKeyMissing):
        open_kms(f"local://{keyring}#other")
    keyring.chmod(0o640)
    with pytest.raises(KeyringUnusable):
        open_kms(f"local://{keyring}#data")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b'{"version":2,"keys":{}}',
        b"\xff",
        b'{"version":1,"keys":{"data":{"wrap":"AA==","sign":""}}}',
    ],
)
def test_a_damaged_keyring_is_refused(tmp_path, content):
    path = tmp_path / "keys.json"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyringUnusable) as caught:
        open_kms(f"local://{path}#data")
    assert caught.value.__cause__ is None


def test_two_names_of_a_keyring_do_not_open_each_other(keyring):
    wrapped = open_kms(f"local://{keyring}#data").wrap(KEYSET, CONTEXT)
    with pytest.raises(KmsContextMismatch):
        open_kms(f"local://{keyring}#audit").unwrap(wrapped, CONTEXT)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    plaintext=st.binary(max_size=300),
    context=st.dictionaries(st.text(), st.text(), max_size=4),
)
def test_any_secret_and_context_come_back(keyring, plaintext, context):
    key = open_kms(f"local://{keyring}#data")
    assert key.unwrap(key.wrap(plaintext, context), context) == plaintext


def seal(owner):
    """Seal the server. OpenBao 2.7 at times answers 204 and then stands for election instead."""
    while not new_client(owner.addr).sys.is_sealed():
        with suppress(VaultError, AccessError):
            owner.call(lambda client: client.sys.seal())
        time.sleep(0.2)


def test_a_sealed_service_says_so_and_a_restart_opens_it(state, as_identity):
    """Last in this file: seals the server, then stops it."""
    key = as_identity("releaser", "vault://transit/feedback")
    wrapped = key.wrap(KEYSET, CONTEXT)
    policy = 'path "sys/seal" { capabilities = ["update", "sudo"] }'
    owner = VaultSession(Path(stack.StackInfo.load(state).identities["admin"]))
    kept = owner.call(lambda c: c.sys.read_acl_policy("admin"))["data"]["policy"]
    owner.call(lambda c: c.sys.create_or_update_acl_policy("admin", kept + "\n" + policy))
    seal(owner)
    with pytest.raises(KmsSealed):
        key.unwrap(wrapped, CONTEXT)
    with pytest.raises(KmsSealed):
        as_identity("releaser", "vault://transit/feedback").unwrap(wrapped, CONTEXT)
    stack.up(state)
    assert key.unwrap(wrapped, CONTEXT) == KEYSET
    server = stack.StackInfo.load(state).processes["openbao"]
    os.kill(server.pid, signal.SIGKILL)
    with pytest.raises(KmsUnreachable):
        key.unwrap(wrapped, CONTEXT)
    stack.up(state)
    assert key.unwrap(wrapped, CONTEXT) == KEYSET
