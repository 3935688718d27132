"""The releaser's memory of the log: one process has it, and it is on a disk when it counts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from strongroom.audit.log.copy import LogCopy
from strongroom.audit.log.tlog import Edge
from strongroom.pipeline.releaser.config import LogSettings, ReleaserConfig
from strongroom.pipeline.releaser.errors import ReleaserRuns
from strongroom.pipeline.releaser.process import MEMORY, open_memory

ANOTHER = """
import sys
from pathlib import Path
import msgspec
from strongroom.pipeline.releaser.config import ReleaserConfig
from strongroom.pipeline.releaser.process import open_memory
memory = open_memory(msgspec.json.decode(sys.argv[1], type=ReleaserConfig))
print(memory.size, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def config(tmp_path: Path) -> ReleaserConfig:
    return ReleaserConfig(
        socket="socket",
        credentials_file="releaser.json",
        vault_addr="https://vault.example",
        policy="policy",
        min_assurance="A1",
        measurements=(),
        signers=(),
        manifest_signer="vault://transit/signer",
        keys=("vault://transit/feedback",),
        log=LogSettings(
            uri="s3://acme-audit/strongroom/",
            key="vault://transit/audit-log",
            role="role",
            vault_addr="https://vault.example",
            credentials_file="log.json",
            oidc_role="log",
            memory=str(tmp_path / "log"),
        ),
    )


def another(config: ReleaserConfig) -> subprocess.Popen[str]:
    """Another process that opens the same memory, and has it while it runs."""
    command = [sys.executable, "-c", ANOTHER, msgspec.json.encode(config).decode()]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_one_process_at_a_time_has_it_and_the_next_finds_what_it_kept(config: ReleaserConfig):
    first = another(config)
    assert first.stdout is not None
    assert first.stdout.readline() == "0\n"
    with pytest.raises(ReleaserRuns) as refused:
        open_memory(config)
    assert refused.value.place == config.log.memory
    first.kill()
    first.communicate()
    memory = open_memory(config)
    after, _ = Edge().extend([b"{}"])
    assert memory.add([b"{}"], after)
    refused_process = another(config)
    assert "SR-RELEASE-008" in refused_process.communicate()[1]
    memory.close()
    assert LogCopy(Path(config.log.memory) / MEMORY).size == 1


def test_it_needs_nothing_that_a_network_file_system_lacks(config: ReleaserConfig, tmp_path: Path):
    """A lock counts on other machines only where the file is open for writing, and SQLite's
    processes share memory by a file ``-shm``, which machines cannot."""
    memory = open_memory(config)
    left = {path.name for path in Path(config.log.memory).iterdir()}
    assert left == {"lock", MEMORY, f"{MEMORY}-wal"}
    held = [path for path in Path("/proc/self/fd").iterdir() if is_lock(path, config)]
    assert [mode_of(path) for path in held] == [os.O_RDWR]
    memory.close()
    shared = LogCopy(tmp_path / MEMORY)
    assert (tmp_path / f"{MEMORY}-shm").exists(), "the control"
    shared.close()


def is_lock(descriptor: Path, config: ReleaserConfig) -> bool:
    try:
        return descriptor.readlink() == Path(config.log.memory) / "lock"
    except FileNotFoundError:
        return False


def mode_of(descriptor: Path) -> int:
    text = Path(f"/proc/self/fdinfo/{descriptor.name}").read_text()
    (flags,) = [line.split()[1] for line in text.splitlines() if line.startswith("flags:")]
    return int(flags, 8) & os.O_ACCMODE
