from __future__ import annotations

from strongroom.enclave.sandbox import probe_names, probes

CODE = """
from strongroom.enclave.evaluator.process import EvaluatorProcess
from strongroom.enclave.sandbox.secret_memory import SecretMemory
null = os.open("/dev/null", os.O_RDWR)
for standard in (0, 1, 2):
    os.dup2(null, standard)
os.close(null)
os.closerange(FD + 1, 100)
window = SecretMemory(1 << 16)
syscalls.die_with_parent(os.getppid())
if STAGE != "none":
    lockdown.lock_files_and_network()
evaluator = EvaluatorProcess.start(locked=STAGE != "none")
if STAGE == "AB":
    lockdown.lock_system_calls()
seen = probes.probe(evaluator, expected_fds={FD}, secret_memory=window.kind)
report([seen.probes, seen.warnings])
"""


def test_every_probe_has_a_name_and_every_name_a_probe():
    assert probes._ATTEMPTS.keys() == probe_names.ATTEMPTS


def test_in_an_unlocked_process_the_doors_are_open(inside):
    """The positive control: each probe can tell an open door."""
    found, warnings = inside(CODE, "none")
    tried = {name: found[name] for name in probe_names.ATTEMPTS}
    # What an unprivileged or confined test runner is refused anyway tells nothing.
    privileged = {"socket.packet", "bpf", "perf_event", "userfaultfd", "write.here", "signal"}
    privileged |= {"mount", "chroot", "unshare", "io_uring", "keyring", "ptrace"}
    shut = {name for name, value in tried.items() if value == "blocked"}
    assert shut <= privileged
    for name in ("no_new_privs", "seccomp", "landlock_abi"):
        assert found[name] == "0"
    assert found["dumpable"] == "1"
    assert found["title"] == "open"
    assert "mlock" in warnings
    assert not any(name.startswith("evaluator.") for name in found)


def test_in_a_locked_process_every_layer_holds(inside_as):
    found, warnings = inside_as(CODE, "AB")
    assert found.keys() == probe_names.MAIN | probe_names.EVALUATOR
    assert all(probe_names.known(name, value) for name, value in found.items())
    not_closed = {name for name in found if not probe_names.closed(name, found[name])}
    tolerable = {"host_root", "mlock", "evaluator.mlock", "swap", "secret_memory", "netns", "title"}
    tolerable |= {"landlock_abi", "evaluator.landlock_abi"}
    assert not_closed <= tolerable
    assert sorted(not_closed) == warnings
    assert found["parent_death"] == "killed"
    assert found["stdio"] == "null"
    assert found["inherited_fds"] == "0"


def test_each_layer_missing_alone_is_seen(inside):
    """One layer off at a time: the probes must tell which."""
    expected = {
        "syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)": ("dumpable", "1"),
        "os.dup2(FD, 2)": ("stdio", "open"),
        "os.dup2(FD, 77)": ("inherited_fds", "some"),
        "syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 0)": ("parent_death", "survives"),
    }
    for weaken, (name, value) in expected.items():
        marker = 'if STAGE == "AB":'
        found, _ = inside(CODE.replace(marker, f"{weaken}\n{marker}"), "AB")
        assert found[name] == value, weaken
        assert not probe_names.closed(name, value)
        assert not probe_names.tolerated(name, value)


def test_evidence_can_hold_no_other_words():
    assert not probe_names.known("write.tmp", "row 17 says hello")
    assert not probe_names.known("note", "blocked")
    assert not probe_names.known("evaluator.netns", "own")
    assert not probe_names.known("dumpable", "blocked")
