"""The owner file: read strictly, every mistake at its line, and no way around its access."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from strongroom.connectors.access.scopes import Scope
from strongroom.connectors.buckets.errors import UriInvalid
from strongroom.errors import ErrorList
from strongroom.pipeline.owner.errors import OwnerHasNoAccess
from strongroom.pipeline.owner.owner import Owner
from strongroom.pipeline.owner.owner_file import OwnerFile
from strongroom.pipeline.runfile.fields import ObjectPrefix

SIGNER = "ed25519:" + "A" * 43 + "="
FILE = f"""apiVersion: strongroom/v1
kind: DataOwner
access:
  - uri: s3://acme-data/
    role: arn:aws:iam::111122223333:role/strongroom-owner
    endpoint: https://s3.eu-central-1.amazonaws.com
  - uri: s3://acme-data/models/
    role: arn:aws:iam::111122223333:role/strongroom-models
identity:
  type: openbao
  addr: https://bao.acme.example
  oidc_role: strongroom-owner
  credentials: owner.json
releaser: unix://releaser.sock
signers: ["{SIGNER}"]
"""


def errors_of(folder: Path, text: str) -> list[str]:
    """``line:column code`` of every error."""
    path = folder / "owner.yaml"
    path.write_text(text)
    with pytest.raises(ErrorList) as caught:
        OwnerFile.load(path)
    return [f"{error.place.partition(':')[2]} {error.code}" for error in caught.value.errors]


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    path = tmp_path / "owner.yaml"
    path.write_text(FILE)
    return Owner(OwnerFile.load(path))


def test_paths_start_at_the_file_s_folder(owner: Owner, tmp_path: Path) -> None:
    assert owner.file.identity.credentials == tmp_path / "owner.json"
    assert owner.file.releaser == tmp_path / "releaser.sock"
    assert owner.signers == [SIGNER]


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("kind: DataOwner", "kind: TrainingRun", "2:7 SR-RUN-017"),
        ("    endpoint", "    endpiont", "6:5 SR-RUN-012"),
        ("https://bao", "http://bao", "11:9 SR-RUN-015"),
        ("unix://releaser.sock", "releaser.sock", "14:11 SR-RUN-015"),
        (SIGNER, SIGNER[:-2], "15:11 SR-RUN-015"),
        ("kind: DataOwner", "kind: DataOwner\nkind: DataOwner", "3:1 SR-RUN-006"),
        ("oidc_role: strongroom-owner", "oidc_role: [", "14:9 SR-RUN-004"),
        ("oidc_role: strongroom-owner", "oidc_role: AKIAIOSFODNN7EXAMPLE", "12:14 SR-RUN-020"),
    ],
)
def test_a_mistake_is_reported_where_it_stands(
    tmp_path: Path, old: str, new: str, error: str
) -> None:
    assert FILE.count(old) == 1
    assert errors_of(tmp_path, FILE.replace(old, new)) == [error]


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    text = FILE.replace("https://bao", "http://bao").replace("unix://", "").replace("kind", "kid")
    assert len(errors_of(tmp_path, text)) == 3


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ErrorList):
        OwnerFile.load(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("uri", "error"),
    [
        ("s3://other/datasets/a/", OwnerHasNoAccess),
        ("s3://acme-data-2/datasets/a/", OwnerHasNoAccess),
        ("s3://acme-data/", UriInvalid),
        ("s3://acme-data/datasets/a", UriInvalid),
        ("s3://acme-data/datasets/*/", UriInvalid),
        ("s3://acme-data/my datasets/a/", UriInvalid),
        ("gs://acme-data/datasets/a/", UriInvalid),
        ("local:///datasets/a/", UriInvalid),
    ],
)
def test_inputs_go_where_the_owner_has_access(
    owner: Owner, uri: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        owner.locate(uri)
    assert str(owner.locate("s3://acme-data/datasets/a/")) == "s3://acme-data/datasets/a/"


def named_by_a_run(uri: str) -> bool:
    try:
        return TypeAdapter(ObjectPrefix).validate_python(uri) == uri
    except ValidationError:
        return False


def sealed_by(owner: Owner, uri: str) -> bool:
    try:
        return str(owner.locate(uri)) == uri
    except UriInvalid:
        return False


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(st.text("aZ9._=+@-/ *%é\n", max_size=12))
@example("datasets/feedback/train/")
@example("my datasets/a/")
@example("données/")
@example(".hidden/")
@example("a" * 895 + "/")
@example("a" * 896 + "/")
def test_what_can_be_sealed_can_be_named_by_a_run_and_the_reverse(owner: Owner, key: str) -> None:
    """And leased: a scope takes every prefix that either does."""
    uri = f"s3://acme-data/{key}"
    assert sealed_by(owner, uri) == named_by_a_run(uri)
    if named_by_a_run(uri):
        run = key + "r" * 63 + "/"
        assert Scope(bucket="acme-data", read=(key,), create=(run,)).read == (key,)
