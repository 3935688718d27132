"""One embedded stack for all attacks on it, and clients with real sessions."""

import json
import secrets
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from tokenizers import Tokenizer

from strongroom.connectors.access.credentials import S3Credentials
from strongroom.connectors.access.identity import OpenBaoTokens
from strongroom.connectors.access.leases import WebIdentityLeaser
from strongroom.connectors.stack import stack
from support import leak_search, live_run, watched
from support.shared import STATE

SHORT_SESSION_S = 6
SESSION = boto3.session.Session()  # one, because each reads the service models again


@dataclass(frozen=True)
class Embedded:
    state: Path
    info: stack.StackInfo

    def token(self, role: str):
        name = self.info.oidc_roles[role]
        return OpenBaoTokens(None, Path(self.info.identities[name]), name)

    def leaser(self, role: str) -> WebIdentityLeaser:
        return WebIdentityLeaser(
            self.token(role), self.info.sts_endpoint, self.info.roles[role], "attack"
        )

    def s3(self, held: S3Credentials):
        return s3_client(self.info.s3_endpoint, held)


def s3_client(endpoint: str, held: S3Credentials):
    return SESSION.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=held.access_key,
        aws_secret_access_key=held.secret_key,
        aws_session_token=held.session_token,
        config=Config(
            s3={"addressing_style": "path"},
            parameter_validation=False,
            retries={"mode": "standard", "max_attempts": 1},
        ),
    )


@pytest.fixture(scope="session")
def embedded_stack(shared):
    def start(folder):
        stack.up(folder / STATE, token_duration_s=SHORT_SESSION_S)

    shared.once("attacked-stack", start)
    state = shared.folder / "attacked-stack" / STATE
    return Embedded(state, stack.StackInfo.load(state))


# ---- a run that is looked into while it trains ---------------------------------------------------


@pytest.fixture(scope="session")
def memory_is_readable() -> None:
    """Skips where this user may not read the memory of another process of its own."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with Path(f"/proc/{child.pid}/mem").open("rb"):
            pass
    except PermissionError:
        pytest.skip("this user may not read the memory of another process (not root, or ptrace)")
    finally:
        child.kill()
        child.wait()


@pytest.fixture(scope="session")
def secret_rows(small_job, tiny_model, tmp_path_factory):
    """Two sealed datasets whose every row holds a canary; nothing else of it is left."""
    stamp = tmp_path_factory.mktemp("stamp") / "stamp"
    stamp.touch()
    canary = secrets.token_hex(20)
    tokenizer = Tokenizer.from_file(str(tiny_model / "tokenizer.json"))
    needles = leak_search.text_needles(canary)
    needles |= leak_search.token_needles(canary, tokenizer)
    row = {
        "messages": [{"role": "user", "content": f"My password is {canary} and no other."}],
        "ground_truth": canary,
        "note": f"customer {canary} called",
    }
    uris = []
    for name, count in (("secret/train", 12), ("secret/held-out", live_run.HELD_OUT_ROWS)):
        lines = [json.dumps({**row, "id": index}) for index in range(count)]
        uris.append(small_job.seal_rows(name, lines))
        # The rows' source is the customer's; with it gone every copy is a leak.
        (small_job.folder / f"{name.replace('/', '.')}.jsonl").unlink()
    return watched.SecretRows(canary, needles, *uris, stamp)


@pytest.fixture(scope="session")
def watching(small_job, secret_rows, memory_is_readable):
    """Starts runs on the secret rows and looks into them."""
    return watched.Watching(small_job, secret_rows)


@pytest.fixture(scope="session")
def watched_run(watching, tmp_path_factory):
    """A run as it should be: sandboxed, sealed; its evaluator tries everything, then raises."""
    return watching.watch(tmp_path_factory.mktemp("runs") / "leak-a1")
