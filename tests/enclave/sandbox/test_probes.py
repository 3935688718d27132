from __future__ import annotations

from strongroom.enclave.sandbox import probe_names, probes

CODE = """
from strongroom.enclave.evaluator.pair import Evaluators
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
evaluators = Evaluators.start(locked=STAGE != "none")
known = probes.facts()
if STAGE == "AB":
    known["mapped_files"] = lockdown.keep_files()
    lockdown.lock_system_calls()
seen = probes.probe(known, evaluators, expected_fds={FD}, secret_memory=window.kind)
report([seen.probes, seen.warnings])
"""


def test_every_probe_has_a_name_and_every_name_a_probe():
    assert probes._ATTEMPTS.keys() == probe_names.ATTEMPTS
    assert probes._LAST.keys() == probe_names.LAST
    assert probe_names.FILE_ATTEMPTS <= probe_names.ATTEMPTS


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
    assert {found[name] for name in probe_names.LAST} <= {"open", "absent"}
    assert found["executable_memory"] == "allowed"
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
    tolerable |= {"mounts"}
    tolerable |= {"landlock_abi", "evaluator.landlock_abi", "mapped_files"}
    assert not_closed <= tolerable
    assert sorted(not_closed) == warnings
    assert found["parent_death"] == "killed"
    assert found["stdio"] == "null"
    assert found["inherited_fds"] == "0"


def test_files_stay_closed_where_only_the_filter_is_missing(inside):
    """Landlock by itself, which the filter hides as soon as it is there."""
    found, _ = inside(CODE, "A")
    tried = {found[f"files.{name}"] for name in probe_names.FILE_ATTEMPTS}
    assert tried <= {"blocked", "absent"}  # absent from a root of its own
    assert found["files.read.root"] == found["files.write.here"] == "blocked"
    assert {found[name] for name in ("look_up.stat", "look_up.path", "thread")} == {"open"}


LAYER = "lockdown.landlock.restrict((lockdown.own_root.PRIVATE_FOLDER,), scoped=False)"
ENGINE = CODE.replace(
    "lockdown.lock_system_calls()",
    f"{LAYER}\n    lockdown.lock_system_calls(lockdown.filters.trainer(engine=True))",
)


def test_what_an_engine_needs_is_told_as_such(inside):
    told = ENGINE.replace("expected_fds={FD}", "engine=True, expected_fds={FD}")
    found, warnings = inside(told, "AB")
    engine = {name for name, value in found.items() if value == "engine"}
    assert {"look_up.open", "look_up.stat", "thread"} <= engine <= probe_names.ENGINE
    assert engine <= set(warnings)
    assert not any(found[name] == "open" for name in probe_names.LAST)
    assert found["inherited_fds"] == "0", "the probes leave none"
    found, _ = inside(ENGINE, "AB")  # the control: not told, it is an open wall
    assert {found[name] for name in engine} == {"open"}


def test_an_engine_reads_its_own_folder_and_no_library(inside):
    assert inside(ENGINE, "AB")[0]["look_up.library"] == "blocked"
    assert inside(ENGINE.replace(LAYER, "pass"), "AB")[0]["look_up.library"] == "open"


def test_each_layer_missing_alone_is_seen(inside):
    """One layer off at a time: the probes must tell which."""
    expected = {
        "syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)": ("dumpable", "1"),
        "os.dup2(FD, 2)": ("stdio", "open"),
        "os.dup2(FD, 77)": ("inherited_fds", "some"),
        "syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 0)": ("parent_death", "survives"),
    }
    for weaken, (name, value) in expected.items():
        marker = "known = probes.facts()"
        found, _ = inside(CODE.replace(marker, f"{weaken}\n{marker}"), "AB")
        assert found[name] == value, weaken
        assert not probe_names.closed(name, value)
        assert not probe_names.tolerated(name, value)


def test_evidence_can_hold_no_other_words():
    assert not probe_names.known("write.tmp", "row 17 says hello")
    assert not probe_names.known("note", "blocked")
    assert not probe_names.known("evaluator.netns", "own")
    assert not probe_names.known("dumpable", "blocked")
    assert not probe_names.known("evaluator.thread", "engine")
    assert not probe_names.known("socket.inet", "engine")
