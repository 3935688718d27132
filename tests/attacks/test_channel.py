"""A hostile enclave on the channel to its broker: each rule of the gate, broken by a real process.

The enclave is ``hostile_enclave.py``; the broker's side is the product's: the handle, the
gate, the run's objects. Every attack must end as ``ChannelViolation`` with the process killed and
nothing of it outside. The controls: an honest enclave says one of everything, and with the gate
taken out the same attacks bring the row out.
"""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.connectors.buckets.open import open_bucket
from strongroom.connectors.buckets.uri import parse
from strongroom.enclave import broker
from strongroom.enclave.broker import EnclaveHandle
from strongroom.enclave.channel import capacity, frames
from strongroom.enclave.channel.errors import ChannelViolation
from strongroom.enclave.channel.gate import Gate
from strongroom.enclave.channel.outgoing_words import DETAILS
from strongroom.enclave.errors import EvaluatorError, EvidenceMalformed
from strongroom.enclave.plan.document import Plan
from strongroom.errors import ErrorList
from strongroom.errors.registry import all_codes
from strongroom.pipeline.broker.objects import RunObjects
from strongroom.pipeline.planning.plan import build_plan
from strongroom.pipeline.run import edges
from strongroom.pipeline.run.enclave import RunEnclave
from strongroom.pipeline.run.manifests import Manifests, SignedManifest
from strongroom.pipeline.run.session import RunSession
from strongroom.pipeline.run.watcher import Silent
from strongroom.pipeline.runfile.load import load_text
from support import PROGRAMS, sample
from support.programs import hostile_enclave as hostile

PROGRAM = PROGRAMS / "hostile_enclave.py"
LIMITS = capacity.Limits(
    steps=60,
    checkpoints=3,
    evaluations=0,
    shards=4,
    records=30,
    fetches=20,
    step_metrics=("loss", "reward_mean"),
    evaluation_metrics=("score_mean",),
    output_bytes=1 << 20,
    memory_bytes=1 << 30,
)


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> Plan:
    """The example's plan: 60 steps, checkpoints at 20, 40 and 60, three and one shards."""
    folder = tmp_path_factory.mktemp("plan")
    (folder / "evaluator.py").write_text("def evaluate(): ...\n")
    loaded = load_text(sample.EXAMPLE.read_text(), folder / "run.yaml", stack=sample.stack(folder))
    made = build_plan(loaded.spec, sample.facts(), "feedback-1")
    return msgspec.structs.replace(made, limits=LIMITS)


class Folder:
    """A broker's reach into a folder in place of a bucket; the keys are those of the plan."""

    def __init__(self, path: Path) -> None:
        self._bucket = open_bucket(parse(f"local://{path}/"), credentials=None, endpoint=None)
        self._prefix = parse(f"local://{path}/").key

    def bucket(self, _purpose: str, uri: str):
        return self._bucket, self._prefix + parse(uri).key


@dataclass
class Outside:
    """What got out: records for the controller and objects in the bucket; and the process."""

    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    records: list[dict] = field(default_factory=list)

    def hear(self, report: frames.Report) -> None:
        self.records.append(msgspec.to_builtins(report))

    def objects(self) -> dict[str, bytes]:
        files = sorted(path for path in (self.folder / "runs").rglob("*") if path.is_file())
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in files}

    def holds(self, secret: bytes) -> bool:
        told = json.dumps(self.records).encode() + b"".join(self.objects().values())
        names = "".join(self.objects()).encode()
        number = str(int.from_bytes(secret, "big")).encode()
        return any(form in told + names for form in (secret, secret.hex().encode(), number))


@pytest.fixture
def outside(tmp_path, monkeypatch, plan):
    """The world around one hostile enclave; its process is killed at the end."""
    seen = Outside(tmp_path / "bucket")
    run = seen.folder / "runs" / plan.run
    run.mkdir(parents=True)
    (run / "evaluator.py").write_bytes(b"evaluator")
    for name in plan.model.files:
        target = seen.folder / parse(plan.model.uri).key / name.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"model" if name.name.startswith("model") else b"config")
    yield seen
    for process in seen.processes:
        process.kill()
        process.wait()


def started(attack: str, plan: Plan, outside: Outside, monkeypatch, notify) -> EnclaveHandle:
    """The hostile enclave, started through the product's handle."""

    def start(_module: str, fd: int, _assurance: str, **_options: object):
        command = [sys.executable, "-I", "-B", str(PROGRAM), str(fd), attack]
        null = subprocess.DEVNULL
        process = subprocess.Popen(command, pass_fds=[fd], stdin=null, stdout=null, stderr=null)
        outside.processes.append(process)
        return process

    monkeypatch.setattr(broker.launch, "start", start)
    return EnclaveHandle(
        plan=plan.to_json(),
        nonce="n" * 22,
        assurance="A1",
        threads=1,
        run=plan.run,
        limits=LIMITS,
        objects=RunObjects(Folder(outside.folder), plan),
        notify=notify,
    )


def serve(attack: str, plan: Plan, outside: Outside, monkeypatch) -> None:
    """Start the hostile enclave and give it keys and a command."""
    handle = started(attack, plan, outside, monkeypatch, outside.hear)
    try:
        handle.give_keys(b"keys")
        handle.run(frames.Train(from_step=0, to_step=1))
    finally:
        assert outside.processes[0].poll() in (None, -signal.SIGKILL)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("attack", sorted([*hostile.ATTACKS, *hostile.EARLY]))
def test_a_hostile_enclave_is_refused_and_killed(attack, plan, outside, monkeypatch):
    refusal = EvidenceMalformed if attack == "text_for_evidence" else ChannelViolation
    with pytest.raises(refusal) as caught:
        serve(attack, plan, outside, monkeypatch)
    assert outside.processes[0].poll() == -signal.SIGKILL
    assert not outside.holds(hostile.SECRET)
    assert hostile.SECRET.decode() not in str(caught.value)
    assert str(hostile.NUMBER) not in str(caught.value)


def test_an_honest_enclave_passes(plan, outside, monkeypatch):
    serve("honest", plan, outside, monkeypatch)
    assert outside.processes[0].poll() is None
    said = [record["frame"] for record in outside.records]
    assert said.count("step_done") == 2
    assert said.count("checkpoint_written") == 2
    assert said.count("bad_record") == capacity.BAD_RECORD_LIMIT
    written = [name for name in outside.objects() if "checkpoints/" in name]
    names = ("adapter.sealed", "manifest.json", "rollouts.sealed", "state.sealed")
    folder = f"runs/{plan.run}/checkpoints"
    assert written == [f"{folder}/{step:06d}/{name}" for step in (20, 40) for name in names]


def test_an_honest_failure_passes_as_what_it_is(plan, outside, monkeypatch):
    with pytest.raises(EvaluatorError, match="ValueError"):
        serve("honest_failure", plan, outside, monkeypatch)
    assert outside.processes[0].poll() == -signal.SIGKILL


WITHOUT_GATE = [
    "undeclared_metric",
    "free_text_as_fault",
    "line_of_any_length",
    "verified_size_of_any_length",
    "progress_of_any_length",
    "fault_row_of_any_length",
    "histogram_of_any_numbers",
    "trial_with_undeclared_metric",
    "unsealed_object",
]


@pytest.mark.parametrize("attack", WITHOUT_GATE)
def test_without_the_gate_the_row_gets_out(attack, plan, outside, monkeypatch):
    """The control: the same attacks, with the broker's gate taken out."""
    monkeypatch.setattr(Gate, "admit", lambda *_: None)
    monkeypatch.setattr(Gate, "admit_sealed", lambda *_: None)
    serve(attack, plan, outside, monkeypatch)
    assert outside.holds(hostile.SECRET) or "hunter2" in json.dumps(outside.records)


def test_without_the_plan_s_list_an_object_s_name_brings_the_row_out(plan, outside, monkeypatch):
    monkeypatch.setattr(Gate, "admit", lambda *_: None)
    monkeypatch.setattr(RunObjects, "_planned", lambda _self, uri: uri)
    serve("object_of_no_step", plan, outside, monkeypatch)
    assert outside.holds(hostile.SECRET)


@pytest.mark.parametrize("code", sorted(all_codes()))
def test_every_code_of_a_failure_becomes_that_error_or_a_violation(code):
    record = frames.Failure(code=code, detail="ValueError", row=1)
    try:
        Gate(LIMITS, DETAILS).admit(record)
    except ChannelViolation:
        assert issubclass(all_codes()[code], ErrorList)
    else:
        assert broker._failure(record).code == code


# ---- answers, held against their commands ------------------------------------------------------


def verified(attack: str, plan: Plan, outside: Outside, monkeypatch) -> edges.ShardReceipt:
    """What a session believes of a second shard, with the hostile enclave behind its broker."""
    world = SimpleNamespace(
        releaser=None,
        watcher=Silent(),
        journal=SimpleNamespace(record=lambda *_: None, note=lambda *_: None),
    )
    handle = started(attack, plan, outside, monkeypatch, lambda report: world.on_report(report))
    world.data = SimpleNamespace(command=handle.run)
    facts = sample.facts()
    manifests = Manifests(
        SignedManifest(b"", facts.train.manifest), SignedManifest(b"", facts.held_out.manifest)
    )
    session = RunSession(plan, manifests, world)
    handle.give_keys(b"keys")
    first, second, *_ = session.open_datasets()
    assert session.verify_shard(first).records == 10
    return session.verify_shard(second)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("attack", sorted(hostile.RECEIPTS))
def test_a_shard_is_not_verified_by_another_answer(attack, plan, outside, monkeypatch):
    """Least of all by the receipt of the shard before."""
    with pytest.raises(ChannelViolation):
        verified(attack, plan, outside, monkeypatch)


@pytest.mark.parametrize(("attack", "bad"), [("of_all_records", 0), ("with_bad_records", 3)])
def test_a_shard_is_verified_by_its_own_answer(attack, bad, plan, outside, monkeypatch):
    """The control, with the same enclave up to the second receipt."""
    receipt = verified(attack, plan, outside, monkeypatch)
    assert (receipt.shard, receipt.records, receipt.bad_records) == (1, 10 - bad, bad)


@pytest.mark.parametrize("attack", sorted(set(hostile.RECEIPTS) - {"left_out"}))
def test_without_the_comparison_any_answer_verifies_a_shard(attack, plan, outside, monkeypatch):
    monkeypatch.setattr(RunEnclave, "_require", lambda *_: None)
    assert verified(attack, plan, outside, monkeypatch).shard == 1


# ---- the capacity that the plan states -----------------------------------------------------------


def admitted(*records: frames.Outgoing, limits: capacity.Limits = LIMITS) -> bool:
    gate = Gate(limits, DETAILS)
    try:
        for record in records:
            gate.admit(record)
    except ChannelViolation:
        return False
    return True


def all_numbers() -> set[float]:
    """Every number that may leave: zero, and ±d.ddd·10^e."""
    return {0.0} | {
        float(f"{sign}{mantissa}e{exponent - 3}")
        for sign in "+-"
        for mantissa in range(1000, 10_000)
        for exponent in capacity.EXPONENTS
    }


NUMBERS = all_numbers()


def test_every_number_that_counts_may_leave():
    gate = Gate(LIMITS, DETAILS)
    for number in sorted(NUMBERS)[::37]:
        gate._values({"loss": number}, ("loss",))
    # With -0.0, which JSON spells apart, and with no number at all.
    assert math.log2(len(NUMBERS) + 2) <= capacity.NUMBER_BITS


@given(st.floats(allow_nan=True) | st.sampled_from(sorted(NUMBERS)[::9973]))
def test_no_other_number_may_leave(value):
    assert admitted(frames.StepDone(step=1, values={"loss": value})) == (value in NUMBERS)


@given(
    st.floats(min_value=-1e12, max_value=1e12),
    st.integers(min_value=0, max_value=2**52 - 1),
)
def test_bits_hidden_in_a_rounded_number_are_refused(value, hidden):
    """A float near an admissible one, with data in its last bits."""
    rounded = capacity.rounded(value)
    forged = math.ldexp(math.frexp(rounded)[0] + hidden * 2.0**-53, math.frexp(rounded)[1])
    assert admitted(frames.StepDone(step=1, values={"loss": forged})) == (forged in NUMBERS)


@given(
    steps=st.integers(1, 4),
    names=st.sampled_from([(), ("a",), ("a", "b"), ("a", "b", "c")]),
    digits=st.integers(1, 3),
)
def test_no_more_step_records_than_the_capacity_says(steps, names, digits):
    """Counts the admissible sequences of step records; numbers from a small alphabet.

    The alphabet stands for all ``len(NUMBERS) + 1`` values: what matters is that each record adds
    no more than its names to the power of the values, and that no order or repetition adds any.
    """
    limits = msgspec.structs.replace(LIMITS, steps=steps, step_metrics=names)
    alphabet = [1.0, 2.0, -0.001][:digits]
    choices: list[dict[str, float]] = [{}]
    for name in names:
        choices = [*choices, *({**chosen, name: n} for chosen in choices for n in alphabet)]
    singles = [
        frames.StepDone(step=step, values=dict(order))
        for step in range(0, steps + 2)
        for values in choices
        for order in {tuple(values.items()), tuple(reversed(values.items()))}
    ]
    found = sum(admitted(record, limits=limits) for record in singles)
    assert found == steps * (digits + 1) ** len(names)
    for first in singles[:: max(1, len(singles) // 12)]:
        for second in singles[:: max(1, len(singles) // 12)]:
            in_order = first.step < second.step
            assert not admitted(first, second, limits=limits) or in_order
    # So a run has at most (1 + (values + 1)^names)^steps of them, each value being any number.
    sequences = steps * math.log2(1 + (len(NUMBERS) + 2) ** len(names))
    silent = msgspec.structs.replace(limits, steps=0, step_metrics=())
    assert sequences <= capacity.capacity_bits(limits) - capacity.capacity_bits(silent) + 1


def test_words_and_codes_fit_the_bits_that_they_are_counted_with():
    assert len(DETAILS) <= 1 << capacity.WORD_BITS
    assert len(all_codes()) <= 1 << capacity.CODE_BITS


@given(
    st.builds(
        capacity.Limits,
        steps=st.integers(0, 2000),
        checkpoints=st.integers(0, 200),
        evaluations=st.integers(0, 200),
        shards=st.integers(0, 10_000),
        records=st.integers(0, 10_000_000),
        fetches=st.integers(0, 100_000),
        step_metrics=st.sampled_from([(), ("a",), tuple("abcdefghij")]),
        evaluation_metrics=st.sampled_from([(), ("a",)]),
        output_bytes=st.just(1),
        memory_bytes=st.just(1),
    ),
    st.sampled_from(["steps", "checkpoints", "shards", "records", "fetches"]),
)
def test_a_larger_limit_never_states_a_smaller_capacity(limits, name):
    more = msgspec.structs.replace(limits, **{name: getattr(limits, name) + 1})
    assert capacity.capacity_bits(limits) <= capacity.capacity_bits(more)
