"""What all tests share: a session's stacks, the order of its work, and what it must not leave."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import tqdm

from support import order
from support.counts import counts_by_folder
from support.leftovers import Leftovers
from support.shared import Guardian, Shared

if TYPE_CHECKING:
    from support.small_job import SmallJob

# Arrow's own allocator keeps a gigabyte mapped, which each fork that locks its memory would fill.
os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"
# TRL and transformers would start a thread that tells their makers, and tqdm one that watches.
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
tqdm.tqdm.monitor_interval = 0

# A busy machine takes its time.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

_SHARED = pytest.StashKey[Shared]()
_GUARDIAN = pytest.StashKey[Guardian]()
_LEFTOVERS = pytest.StashKey[Leftovers]()
_LEFT = pytest.StashKey[list[str]]()
_LEFT_OUT = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--record-times", action="store_true", help=f"write {order.TIMES.name}, which orders tests"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the session's folder and its guardian; xdist tells its workers where the folder is."""
    worker = getattr(config, "workerinput", None)
    if worker is None:
        guardian = config.stash[_GUARDIAN] = Guardian()
        config.stash[_SHARED] = Shared(guardian.folder)
        if config.getoption("record_times"):
            config.pluginmanager.register(order.Times())
    else:
        config.stash[_SHARED] = Shared(Path(worker["shared"]))
    config.stash[_LEFTOVERS] = Leftovers(config.stash[_SHARED].folder)
    config.stash[_LEFT], config.stash[_LEFT_OUT] = [], 0


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["shared"] = str(node.config.stash[_SHARED].folder)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    order.group(items)
    if hasattr(config, "workerinput"):
        order.longest_first(items)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """A version of xdist that groups nothing would make what a file makes once in both workers."""
    if session.config.getoption("loadgroup", False) and not all(
        "@" in item.nodeid for item in session.items
    ):
        raise pytest.UsageError("this pytest-xdist does not group the tests of this pytest")


def pytest_deselected(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("full"):
            item.config.stash[_LEFT_OUT] += 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Look for what tests have left; a worker tells the session's first process."""
    config = session.config
    left = config.stash[_LEFTOVERS].found()
    output = getattr(config, "workeroutput", None)
    if output is not None:
        output["left"], output["left_out"] = left, config.stash[_LEFT_OUT]
        return
    config.stash[_LEFT] += left
    if config.stash[_LEFT]:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    output = getattr(node, "workeroutput", {})
    node.config.stash[_LEFT] += output.get("left", [])
    node.config.stash[_LEFT_OUT] = output.get("left_out", 0)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say how many tests of which folder there were, beside pytest's own counts."""
    line = counts_by_folder(terminalreporter.stats)
    if line:
        terminalreporter.write_line(f"of these: {line}")
    if left_out := config.stash[_LEFT_OUT]:
        terminalreporter.write_line(f"left out: {left_out}, which `make test-full` runs")
    for name in config.stash[_LEFT]:
        terminalreporter.write_line(f"left behind: {name}", red=True)


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_SHARED].close()
    if guardian := config.stash.get(_GUARDIAN, None):
        guardian.wait()


@pytest.fixture(scope="session")
def shared(pytestconfig: pytest.Config) -> Shared:
    """What is made once a session, whichever worker asks first."""
    return pytestconfig.stash[_SHARED]


@pytest.fixture(scope="session")
def tiny_model(shared: Shared) -> Path:
    """A model folder for whole runs."""

    from support.tiny_folder import save_tiny_model

    def save(folder: Path) -> str:
        save_tiny_model(folder / "tiny")
        return str(folder / "tiny")

    return Path(shared.once("tiny-model", save))


@pytest.fixture(scope="session")
def job_on(
    shared: Shared, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], SmallJob]:
    """A small sealed job on the stack of a name."""
    from support.small_job import SmallJob

    return lambda name: SmallJob.shared(shared, name, tiny_model, tmp_path_factory.mktemp(name))


@pytest.fixture(scope="session")
def small_job(job_on: Callable[[str], SmallJob]) -> SmallJob:
    """A job on the stack that tests of all workers use at once, and leave as it is."""
    return job_on("stack")


@pytest.fixture(scope="session")
def lone_job(job_on: Callable[[str], SmallJob]) -> SmallJob:
    """A job on a stack for one test at a time.

    They may stop its servers, and change its buckets and its log, for as long as a test takes.
    """
    return job_on("lone-stack")
