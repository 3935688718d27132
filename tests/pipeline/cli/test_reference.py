"""The generated references, and the commands that texts of the product send people to."""

from __future__ import annotations

import re
from pathlib import Path

import typer

from strongroom.pipeline.cli.docs.reference import errors_reference, write_references
from strongroom.pipeline.cli.main import app

ROOT = Path(__file__).parents[3]
COMMAND = re.compile(r"`strongroom ([a-z]+)((?: [a-z]+)?)")


def _known() -> set[str]:
    tree = typer.main.get_command(app)
    found = set()
    for name, command in tree.commands.items():  # type: ignore[attr-defined]
        found.add(name)
        found |= {f"{name} {inner}" for inner in getattr(command, "commands", {})}
    return found


def test_references_in_docs_are_those_of_the_code(tmp_path: Path) -> None:
    write_references(tmp_path)
    for generated in tmp_path.iterdir():
        stored = ROOT / "docs" / "reference" / generated.name
        assert stored.read_text() == generated.read_text(), "run `make docs` and commit"


def test_every_error_has_a_remedy_and_is_listed_once() -> None:
    lines = [line for line in errors_reference().splitlines() if line.startswith("| `SR-")]
    codes = [line.split("`")[1] for line in lines]
    assert len(codes) == len(set(codes)) > 100
    assert "SR-MANY" not in codes, "a list of errors is no error of its own"
    for line in lines:
        # A denial carries the remedy of the rule that denied.
        assert line.split("|")[5].strip() or "denied by policy" in line, line


def test_texts_name_only_commands_that_exist() -> None:
    known = _known()
    pages = [ROOT / "README.md", ROOT / "docs" / "commands.md", ROOT / "docs" / "own-rows.md"]
    texts = [errors_reference(), *(page.read_text() for page in pages)]
    for text in texts:
        for name, inner in COMMAND.findall(text):
            assert name in known, name
            groups = {command.split()[0] for command in known if " " in command}
            if name in groups:
                assert name + inner in known, name + inner
