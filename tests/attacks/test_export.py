"""Weights in plain, and the process with the network that has them written.

Its memory is searched by whoever may read it, while the weights pass through the pipe that it
holds. The control is the same process with one line changed: it reads the pipe and writes the file,
as a program does that knows no ``splice(2)``.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from support import leak_search

RUN = "weights"
PAUSE = """
import os, sys
from strongroom.pipeline.cli import main as cli

splice = os.splice

def spliced(pipe, file, count):
    moved = splice(pipe, file, count)
    hold(moved)
    return moved

def copied(pipe, file, count):
    global held
    held = os.read(pipe, count)
    os.write(file, held)
    hold(len(held))
    return len(held)

def hold(moved):
    if moved:
        print("moved", flush=True)
        sys.stdin.readline()

os.splice = {"splice": spliced, "copy": copied}[sys.argv.pop(1)]
sys.argv[0] = "strongroom"
cli.main()
"""


@pytest.fixture(scope="module")
def weights(small_job, tmp_path_factory):
    """A finished run, and the adapter that it published, in plain."""
    from strongroom.pipeline.background import registry
    from strongroom.pipeline.keyholder.export import export

    file = small_job.run_file(RUN, steps=2)
    state = small_job.stack.state
    command = [sys.executable, "-m", "strongroom", "run", str(file), "--id", RUN]
    subprocess.run([*command, "--state", str(state), "--json"], check=True, capture_output=True)
    spec = registry.recall(state, RUN)
    made = export(spec, RUN, tmp_path_factory.mktemp("weights") / "plain")
    return spec, (made.folder / "adapter_model.safetensors").read_bytes()


def searched(weights, state: Path, to: Path, how: str) -> set[str]:
    """What the exporting process's memory holds after the first weights have passed."""
    spec, plain = weights
    from strongroom.pipeline.broker.reading import ReadAccess

    access = ReadAccess(spec, RUN)
    sealed = access.get(access.layout.checkpoint(2) + "adapter.sealed")
    # Past the names of the tensors, which are no secret, and among the first to be moved.
    start = 8 + int.from_bytes(plain[:8], "little")
    needles = {"plain": plain[start + 256 : start + 320], "sealed": sealed[256:320]}
    command = [sys.executable, "-c", PAUSE, how, "export", RUN, "--to", str(to)]
    process = subprocess.Popen(
        [*command, "--state", str(state)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout.readline() == b"moved\n"
        return leak_search.in_memory(process.pid, needles)
    finally:
        process.kill()
        process.communicate()


def test_the_process_with_the_network_never_holds_the_weights(
    memory_is_readable, weights, small_job, tmp_path
):
    state = small_job.stack.state
    found = searched(weights, state, tmp_path / "spliced", "splice")
    assert found == {"sealed"}


def test_control_a_process_that_reads_the_pipe_holds_them(
    memory_is_readable, weights, small_job, tmp_path
):
    state = small_job.stack.state
    found = searched(weights, state, tmp_path / "copied", "copy")
    assert found == {"plain", "sealed"}
