"""Calls the ``strongroom`` command and reads its JSON; turns its errors into diagnostics."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tf.utils import Diagnostics

Path = list[Any]
"""Of an attribute; a map's key is a tuple of one string."""

PASSED_ON = (
    "HOME", "LANG", "PATH", "TMPDIR", "XDG_RUNTIME_DIR", "STRONGROOM_STATE", "STRONGROOM_OWNER",
)  # fmt: skip
"""Environment of the command; a run file's ``${env.…}`` has no place in Terraform."""


class CommandFailed(Exception):
    """The command's errors, as it printed them."""

    def __init__(self, errors: Sequence[dict[str, str]], exit_code: int) -> None:
        self.errors = tuple(errors)
        self.exit_code = exit_code
        super().__init__("; ".join(error["code"] for error in errors))

    def has(self, code: str) -> bool:
        """Whether an error with this code is among them."""
        return any(error["code"] == code for error in self.errors)


@dataclass(frozen=True)
class Strongroom:
    """The installed command, the state folder it works on, and the owner file for sealing."""

    command: str
    state: str | None
    owner: str | None = None

    def __call__(self, *arguments: str) -> Any:
        """The JSON document that a command prints last. Raises :class:`CommandFailed`."""
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        if self.state is not None:
            environment["STRONGROOM_STATE"] = self.state
        if self.owner is not None:
            environment["STRONGROOM_OWNER"] = self.owner
        try:
            # In a session of its own: Ctrl-C is for Terraform, which asks the provider to stop.
            done = subprocess.run(
                [self.command, *arguments, "--json"],
                check=False,
                capture_output=True,
                text=True,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise CommandFailed(
                [
                    {
                        "code": "SR-TERRAFORM-001",
                        "title": "the strongroom command cannot be started",
                        "place": self.command,
                        "expected": "an executable file",
                        "actual": error.strerror or type(error).__name__,
                        "remedy": "Install strongroom; give its path as the provider's `command`.",
                    }
                ],
                1,
            ) from None
        try:
            document = json.loads(done.stdout.splitlines()[-1])
        except (IndexError, ValueError):
            document = None
        if isinstance(document, dict) and "errors" in document:
            raise CommandFailed(document["errors"], done.returncode)
        if document is None:
            raise CommandFailed(
                [
                    {
                        "code": "SR-TERRAFORM-002",
                        "title": "the strongroom command gave no answer",
                        "place": f"strongroom {arguments[0]}",
                        "expected": "one JSON document",
                        "actual": f"exit status {done.returncode}",
                        "remedy": "Call the command by hand; provider and command may be of "
                        "different versions.",
                    }
                ],
                done.returncode,
            )
        return document


class Configured(Protocol):
    """The provider as its resources see it: all that they need is the command."""

    strongroom: Strongroom


def params_options(params: dict[str, str] | None) -> list[str]:
    """``--param name=value`` for each, by name."""
    return [
        part
        for name, value in sorted((params or {}).items())
        for part in ("--param", f"{name}={value}")
    ]


def visible(text: str) -> str:
    """``text`` with escapes for what cannot be seen: Terraform prints it as it is."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def report(
    diagnostics: Diagnostics, failed: CommandFailed, where: Callable[[str], Path | None]
) -> None:
    """Each error as a diagnostic on the attribute that ``where`` finds for its place."""
    for error in failed.errors:
        head = f"{error['code']} {error['title']}"
        lines = [
            f"{label} {visible(error[key])}"
            for label, key in (
                ("place:    ", "place"),
                ("expected: ", "expected"),
                ("found:    ", "actual"),
                ("fix:      ", "remedy"),
            )
            if error.get(key)
        ]
        diagnostics.add_error(head, "\n".join(lines), path=where(error.get("place", "")))
