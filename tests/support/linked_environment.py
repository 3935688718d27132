"""A copy of this Python environment that a test may spoil: links, but for one package."""

import json
import os
import shutil
import site
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_NOT_LOADED = ("torch", "transformers", "sympy", "pandas", "networkx", "matplotlib", "apache_beam")
"""Large packages that no process here imports: a link to the folder does."""


@dataclass(frozen=True)
class Environment:
    """Where it lies. ``package`` is a copy of the installed ``msgspec``, all else are links."""

    python: Path
    packages: Path

    @property
    def package(self) -> Path:
        """The one whose files are copies."""
        return self.packages / "msgspec"

    def run(self, code: str, *, cwd: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
        """An ordinary Python program in this environment."""
        return subprocess.run(
            [self.python, "-c", code],
            cwd=cwd,
            env={"HOME": os.environ.get("HOME", "/"), **variables},
            capture_output=True,
            text=True,
            check=False,
        )


def linked(folder: Path) -> Environment:
    """Make one in ``folder``, which is not there yet."""
    real = Path(site.getsitepackages()[0])
    packages = folder / real.relative_to(sys.prefix)
    packages.mkdir(parents=True)
    for entry in real.iterdir():
        copy = packages / entry.name
        if entry.name.partition("-")[0] == "msgspec":
            shutil.copytree(entry, copy)
        elif entry.name in _NOT_LOADED:
            copy.symlink_to(entry)
        elif entry.is_dir():
            shutil.copytree(entry, copy, copy_function=_link)
        else:
            _link(entry, copy)
    (folder / "bin").mkdir()
    python = folder / "bin" / "python"
    python.symlink_to(Path(sys.executable).resolve())
    for name in ("share", "pyvenv.cfg"):
        if (Path(sys.prefix) / name).exists():
            (folder / name).symlink_to(Path(sys.prefix) / name)
    return Environment(python, packages)


def _link(source: str | Path, target: str | Path) -> None:
    """The same file; an enclave sees no folder but the environment's own, so no symbolic link."""
    try:
        os.link(source, target)
    except OSError:  # on another device
        shutil.copy2(source, target)


STARTS = {
    "enclave": """
from strongroom.enclave.parent import TaskEnclave
with TaskEnclave("prober", "strongroom.enclave.roles.probe") as prober:
    prober.evidence()
""",
    "policy interpreter": """
from strongroom.policies.asking import Request, ask
answer = ask(Request(modules={}, data="{}", input="{}"))
assert "status" not in answer.error, answer.error
""",
    "broker": """
from strongroom.pipeline.broker.client import BrokerClient
from strongroom.pipeline.broker.errors import PurposeRefused
broker = BrokerClient(print, print)
try:
    broker.stop_enclave()
except PurposeRefused:  # it is up, and is not configured
    pass
broker.close()
""",
    "child of the quickstart": """
import os
from strongroom.examples.errors import PackageUnavailable
from strongroom.examples.packages import Package, download
os.environ["PIP_NO_INDEX"] = "1"
try:
    download(Package(name="no-such-package", version="1", sha256="sha256:0"))
except PackageUnavailable as error:
    assert "not in the index" in error.actual, error.actual
""",
}
"""By process of ours: a program that starts one, and raises if that does not come up."""

_TOLD = """
import json
from strongroom.errors import StrongroomError
found = {{}}
for kind, code in {starts!r}.items():
    try:
        exec(code)
    except StrongroomError as error:
        found[kind] = [error.code, error.place]
    else:
        found[kind] = None
print(json.dumps(found))
"""


def started(
    environment: Environment, *, cwd: Path, before: str = "", **variables: str
) -> dict[str, list[str] | None]:
    """Start each process of ours from an ordinary one: code and place of its error, if any."""
    done = environment.run(before + _TOLD.format(starts=STARTS), cwd=cwd, **variables)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str] | None] = json.loads(done.stdout)
    return found
