"""What the package offers to programs: little, typed, and light."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import strongroom


def loaded(code: str) -> set[str]:
    """The modules that a fresh interpreter loads for ``code`` beyond what it begins with."""
    program = f"import sys; before = set(sys.modules); {code}; print(*(set(sys.modules) - before))"
    arguments = [sys.executable, "-I", "-c", program]
    return set(subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.split())


def test_importing_the_package_imports_nothing_else():
    assert loaded("import strongroom") == {"strongroom"}


def test_errors_can_be_caught_without_a_network_client_or_torch():
    modules = loaded("from strongroom.errors import StrongroomError")
    assert {name for name in modules if name.startswith("strongroom")} == {
        "strongroom",
        "strongroom.errors",
        "strongroom.errors.visible",  # of texts, and of the standard library only
    }
    assert not modules & {"apache_beam", "boto3", "hvac", "obstore", "torch"}


def test_the_version_is_that_of_the_installed_package():
    assert strongroom.__version__ == version("strongroom")
    assert strongroom.__all__ == ["__version__"]


def test_the_package_says_that_it_is_typed():
    assert (Path(strongroom.__file__).parent / "py.typed").is_file()
