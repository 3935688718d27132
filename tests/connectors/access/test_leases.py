"""Leases: renewal, refusals, secrecy. The services are real; outages are made with real ports."""

import json
import pickle
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from strongroom.connectors.access.credentials import S3Credentials
from strongroom.connectors.access.errors import (
    AccessError,
    IdentityFileUnusable,
    IdentityRefused,
    IdentityTokenRefused,
    IdentityUnreachable,
    LeaseRefused,
    LifetimeOutOfRange,
    TokenServiceUnreachable,
)
from strongroom.connectors.access.identity import AppRoleFile, OpenBaoTokens, VaultSession
from strongroom.connectors.access.leases import Lease, WebIdentityLeaser
from strongroom.connectors.access.scopes import Scope
from strongroom.connectors.buckets.open import open_bucket
from strongroom.connectors.buckets.uri import parse
from strongroom.connectors.host import processes
from strongroom.connectors.host.folders import write_private
from strongroom.connectors.stack import stack
from strongroom.connectors.stack.errors import StackNotFound

SCOPE = Scope(bucket="acme-data", read=("runs/r1/",), create=("runs/r1/",))
ROLE = "arn:aws:iam::000000000000:role/strongroom"
SHORT_S = 4


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    state = tmp_path_factory.mktemp("leases") / "state"
    try:
        stack.up(state, token_duration_s=SHORT_S)
        yield state
    finally:
        with suppress(StackNotFound):
            stack.down(state)


@pytest.fixture(scope="module")
def info(state):
    return stack.StackInfo.load(state)


@pytest.fixture(scope="module")
def broker(info):
    return OpenBaoTokens(None, Path(info.identities["broker"]), info.oidc_roles["broker"])


@pytest.fixture(scope="module")
def leaser(info, broker):
    return WebIdentityLeaser(broker, info.sts_endpoint, info.roles["broker"], "run-r1")


class Issuer:
    """Counts what it issues; fails while ``broken``. Stands in for the service's clock only."""

    def __init__(self, life_s: float) -> None:
        self.life_s = life_s
        self.issued = 0
        self.broken: AccessError | None = None

    def __call__(self) -> S3Credentials:
        if self.broken:
            raise self.broken
        self.issued += 1
        expires_at = datetime.now(UTC) + timedelta(seconds=self.life_s)
        return S3Credentials(f"AK{self.issued}", "secret-key", "session-token", expires_at)


def lease_of(issuer: Issuer) -> Lease:
    return Lease("train", SCOPE, 900, ROLE, issuer)


def test_a_lease_says_what_it_is_for(leaser, info):
    lease = leaser.lease(SCOPE, 900, "train")
    assert (lease.purpose, lease.scope, lease.ttl_s) == ("train", SCOPE, 900)
    assert lease.role == info.roles["broker"]
    assert 895 <= (lease.expires_at - lease.issued_at).total_seconds() <= 901
    assert lease.lease_id != leaser.lease(SCOPE, 900, "train").lease_id


def test_credentials_are_kept_while_they_live(leaser):
    lease = leaser.lease(SCOPE, 900, "train")
    assert lease.credentials() is lease.credentials()


def test_a_short_session_is_renewed_under_a_working_bucket(leaser, info):
    """Work for longer than a session lasts: no request fails."""
    lease = leaser.lease(SCOPE, None, "train")
    first = lease.credentials()
    location = parse("s3://acme-data/runs/r1/")
    bucket = open_bucket(location, credentials=lease.credentials, endpoint=info.s3_endpoint)
    written = 0
    while first.remaining_s() > -SHORT_S / 2:
        key = f"runs/r1/{lease.lease_id}-{written}"
        bucket.create(key, b"data")
        assert bucket.get(key)[0] == b"data"
        written += 1
        time.sleep(0.2)
    assert written
    assert lease.credentials() is not first


@pytest.mark.parametrize(
    ("life_s", "remaining_s", "renewed"),
    [
        (3600, 730, False),
        (3600, 710, True),
        (900, 190, False),
        (900, 170, True),
        (400, 125, False),
        (400, 115, True),
        (8, 4.5, False),
        (8, 3.5, True),
    ],
)
def test_renewal_starts_at_a_fifth_of_the_life_or_two_minutes(life_s, remaining_s, renewed):
    issuer = Issuer(life_s)
    lease = lease_of(issuer)
    passed = timedelta(seconds=life_s - remaining_s)
    lease.issued_at -= passed
    held = lease._held
    lease._held = S3Credentials(
        held.access_key, held.secret_key, held.session_token, held.expires_at - passed
    )
    lease.credentials()
    assert issuer.issued == (2 if renewed else 1)


def test_an_outage_is_ridden_out_while_credentials_live():
    issuer = Issuer(2.0)
    lease = lease_of(issuer)
    first = lease.credentials()
    issuer.broken = TokenServiceUnreachable()
    time.sleep(1.2)
    assert lease.credentials() is first
    time.sleep(1.0)
    with pytest.raises(TokenServiceUnreachable):
        lease.credentials()
    issuer.broken = None
    assert lease.credentials().remaining_s() > 0


def test_each_renewal_is_told_with_its_new_end():
    lease = lease_of(Issuer(900))
    told: list[datetime] = []
    lease.on_renewal = lambda renewed: told.append(renewed.expires_at)
    lease.credentials()
    assert told == []
    lease._renew()
    assert told == [lease.expires_at]


def test_many_threads_share_one_renewal():
    issuer = Issuer(900)
    lease = lease_of(issuer)
    told: list[Lease] = []
    lease.on_renewal = told.append
    lease.issued_at -= timedelta(seconds=900)
    lease._held = S3Credentials("AK0", "s", "t", datetime.now(UTC) - timedelta(seconds=1))
    got: list[S3Credentials] = []
    threads = [threading.Thread(target=lambda: got.append(lease.credentials())) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert issuer.issued == 2
    assert {held.access_key for held in got} == {"AK2"}
    assert told == [lease]


def test_leases_and_credentials_stay_in_their_process_and_out_of_text(leaser, broker, info):
    lease = leaser.lease(SCOPE, 900, "train")
    held = lease.credentials()
    file = AppRoleFile.read(Path(info.identities["broker"]))
    session = VaultSession(Path(info.identities["broker"]))
    shown = f"{lease!r} {held!r} {leaser!r} {broker!r} {file!r} {session!r} {lease!s}"
    for secret in (held.access_key, held.secret_key, held.session_token, file.secret_id, broker()):
        assert secret not in shown
    for thing in (lease, held, leaser, file, session):
        with pytest.raises(TypeError):
            pickle.dumps(thing)


@pytest.mark.parametrize("ttl_s", [0, 60, 899, 3601, -1])
def test_lifetimes_out_of_range_are_refused_before_any_request(ttl_s):
    asked = []
    leaser = WebIdentityLeaser(lambda: asked.append(1) or "x", "http://127.0.0.1:1", ROLE, "run")
    with pytest.raises(LifetimeOutOfRange):
        leaser.lease(SCOPE, ttl_s, "train")
    assert asked == []


def test_a_missing_role_is_refused(info, broker):
    leaser = WebIdentityLeaser(broker, info.sts_endpoint, ROLE + "-x", "run")
    with pytest.raises((LeaseRefused, IdentityTokenRefused)) as caught:
        leaser.lease(SCOPE, 900, "train")
    assert caught.value.place == ROLE + "-x"
    assert broker() not in str(caught.value)


def test_a_token_service_that_does_not_answer_says_so(broker):
    port = processes.free_ports(1, offset=0)[0]
    leaser = WebIdentityLeaser(broker, f"http://127.0.0.1:{port}", ROLE, "run")
    with pytest.raises(TokenServiceUnreachable) as caught:
        leaser.lease(SCOPE, 900, "train")
    assert "stack up" in caught.value.fix
    assert broker() not in str(caught.value)


def test_settings_from_outside_send_the_token_nowhere_else(info, broker, monkeypatch, tmp_path):
    elsewhere = "http://127.0.0.1:1"
    monkeypatch.setenv("AWS_ENDPOINT_URL", elsewhere)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", elsewhere)
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("http_proxy", elsewhere)
    monkeypatch.setenv("VAULT_ADDR", elsewhere)
    monkeypatch.setenv("VAULT_TOKEN", "stray")
    identity = OpenBaoTokens(None, Path(info.identities["broker"]), "broker")
    leaser = WebIdentityLeaser(identity, info.sts_endpoint, info.roles["broker"], "run")
    assert leaser.lease(SCOPE, 900, "train").credentials()


@pytest.mark.parametrize("name", ["", "a", "x" * 65, "run 1", "run/1", "run\n"])
def test_odd_session_names_are_refused(name):
    with pytest.raises(ValueError, match="session_name"):
        WebIdentityLeaser(lambda: "x", "http://127.0.0.1:1", ROLE, name)


def test_identity_tokens_are_kept_while_they_live(broker):
    assert broker() is broker()
    assert broker().count(".") == 2


def test_an_identity_gets_only_its_own_tokens(info):
    stranger = OpenBaoTokens(None, Path(info.identities["releaser"]), "broker")
    with pytest.raises(IdentityRefused):
        stranger()
    with pytest.raises(IdentityRefused):
        OpenBaoTokens(None, Path(info.identities["broker"]), "owner")()
    assert OpenBaoTokens(None, Path(info.identities["owner"]), "owner")()


def test_an_identity_provider_that_does_not_answer_says_so(info, tmp_path):
    addr = f"http://127.0.0.1:{processes.free_ports(1, offset=0)[0]}"
    found = json.loads(Path(info.identities["broker"]).read_bytes())
    write_private(tmp_path / "broker.json", json.dumps({**found, "addr": addr}).encode())
    identity = OpenBaoTokens(addr, tmp_path / "broker.json", "broker")
    with pytest.raises(IdentityUnreachable):
        identity()


def test_a_missing_credentials_file_says_so(tmp_path):
    with pytest.raises(IdentityFileUnusable) as caught:
        OpenBaoTokens(None, tmp_path / "none.json", "broker")
    assert "No such file" in caught.value.actual
