"""Who can see what: each cell of the README's table, looked up in a run that trains.

The memory, sockets and name spaces of the processes are read from outside, by whoever may trace
them (root). What must be absent in one process is present in another at the same moment, where it
belongs: that is each cell's control.
"""

from __future__ import annotations

import threading

import pytest

from strongroom.audit.events.types import EnclaveStarted
from strongroom.enclave.plan.parts import KeyRefs
from strongroom.enclave.sandbox.probe_names import ATTEMPTS, EVALUATOR, MAIN, closed, tolerated
from strongroom.pipeline.background import registry
from strongroom.pipeline.inspection.log import Logs
from strongroom.pipeline.releaser.client import ReleaserClient
from support import watched

BROKERS = ("data broker", "log broker")
INSIDE = ("enclave", "evaluator", "held-out evaluator")


def named(watched_run, beginning: str) -> set[str]:
    return {name for name in watched_run.needles if name.startswith(beginning)}


def credentials(watched_run) -> set[str]:
    """The broker's own secret, its identity tokens, and the sessions that it got for them."""
    return named(watched_run, "broker's secret id") | named(watched_run, "token of the broker")


def keys(watched_run) -> set[str]:
    return named(watched_run, "data key") | named(watched_run, "output key")


# ---- bucket credentials --------------------------------------------------------------------------


def test_the_broker_holds_session_tokens(watched_run):
    """The control: the search knows what a credential looks like in memory."""
    held = named(watched_run, "token of the broker") & watched_run.memory["data broker"]
    assert {name.split()[-1] for name in held} == {"identity", "session"}


@pytest.mark.parametrize("role", ["controller", "releaser", *INSIDE])
def test_no_other_role_holds_a_credential_of_the_broker(role, watched_run):
    assert watched_run.memory[role] & credentials(watched_run) == set()


# ---- data keys -----------------------------------------------------------------------------------


def test_the_enclave_holds_the_keys(watched_run):
    """The control: the search knows the keys, and finds them where they belong."""
    assert {"data key", "output key"} <= watched_run.memory["enclave"]


@pytest.mark.parametrize("role", ["controller", *BROKERS, "evaluator", "bucket server"])
def test_no_other_role_holds_a_key(role, watched_run):
    assert watched_run.memory[role] & keys(watched_run) == set()


# ---- ciphertext ----------------------------------------------------------------------------------


def test_the_broker_holds_sealed_bytes(watched_run):
    """The control: it is what a broker moves. Which of it was not yet written over is chance."""
    assert watched_run.memory["data broker"] & named(watched_run, "sealed")


@pytest.mark.parametrize("role", ["controller", "log broker", "releaser", "evaluator"])
def test_no_other_role_outside_holds_sealed_bytes(role, watched_run):
    assert watched_run.memory[role] & named(watched_run, "sealed") == set()


# ---- plaintext -----------------------------------------------------------------------------------


def test_the_enclave_and_its_evaluator_hold_rows(watched_run):
    """The control."""
    assert all("text" in watched_run.memory[role] for role in INSIDE)


@pytest.mark.parametrize("role", ["controller", *BROKERS, "releaser"])
def test_no_other_role_holds_rows(role, watched_run, secret_rows):
    assert watched_run.memory[role] & secret_rows.needles.keys() == set()


# ---- network -------------------------------------------------------------------------------------


def test_the_enclave_has_no_network(watched_run):
    ours, devices = watched_run.networks["data broker"]
    assert len(devices) > 0
    for role in INSIDE:
        space, devices = watched_run.networks[role]
        assert space != ours
        assert devices == ["lo"]
        assert watched_run.sockets[role] == set()


def test_the_broker_reaches_the_bucket_and_its_identity_only(watched_run, small_job):
    info = small_job.stack.info
    allowed = {port(info.s3_endpoint), port(info.sts_endpoint), port(info.vault_addr)}
    for role in BROKERS:
        assert watched_run.sockets[role] <= allowed
    assert port(info.s3_endpoint) in watched_run.sockets["data broker"]


def test_the_controller_reaches_nothing_by_itself(watched_run):
    assert watched_run.sockets["controller"] == set()


def test_the_releaser_reaches_the_key_service_only(watched_run, small_job):
    """Looked at again and again while it is asked for signatures; its connections are short."""
    stack = small_job.stack
    client = ReleaserClient(stack.releaser_socket)
    data, outputs, audit = (
        f"vault://transit/{name}" for name in ("feedback", "feedback-outputs", "audit-log")
    )
    keys = KeyRefs(data=data, outputs=outputs, audit=audit)
    stop = threading.Event()
    answers = []

    def ask() -> None:
        while not stop.is_set():
            answers.append(client.describe_keys(keys))

    asking = threading.Thread(target=ask)
    asking.start()
    seen: set[str] = set()
    while not seen or len(answers) < 50:
        seen |= watched.remotes(watched_run.pids["releaser"])
    stop.set()
    asking.join()
    assert seen == {port(stack.info.vault_addr)}


def port(url: str) -> str:
    """``http://127.0.0.1:8200`` as the kernel's table writes it, with the port in decimal."""
    return f"0100007F:{url.rpartition(':')[2].strip('/')}"


# ---- what the enclave itself found ---------------------------------------------------------------


@pytest.fixture(scope="module")
def started(watched_run, small_job) -> EnclaveStarted:
    """The run's ``enclave.started`` event, from the verified log."""
    name = watched_run.run.name
    spec = registry.recall(small_job.stack.state, name)
    events = Logs().of(spec, name).events
    (found,) = (event.data for event in events if isinstance(event.data, EnclaveStarted))
    return found


def test_the_log_holds_every_probe_and_no_open_door(started):
    assert started.assurance == "A1"
    assert started.probes.keys() == MAIN | EVALUATOR
    for name, value in started.probes.items():
        assert closed(name, value) or tolerated(name, value), name


@pytest.mark.parametrize("prefix", ["", "evaluator."])
def test_the_log_says_that_every_socket_was_refused(prefix, started):
    sockets = [name for name in ATTEMPTS if name.startswith("socket")]
    assert len(sockets) > 5
    assert {started.probes[prefix + name] for name in sockets} <= {"blocked", "absent"}
    assert "blocked" in {started.probes[prefix + name] for name in sockets}


def test_the_log_s_network_is_the_one_seen_from_outside(started, watched_run):
    assert started.probes["netns"] == "own"
    assert watched_run.networks["enclave"][1] == ["lo"]
