"""Writes each module's table of inputs and outputs between the markers of its README.

python terraform/docs.py            write
python terraform/docs.py --check    exit with 1 where a README is not what the code says
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import hcl2

MODULES = Path(__file__).parent / "modules"
BEGIN, END = "<!-- generated: inputs and outputs -->", "<!-- end of generated -->"


def tables(module: Path) -> str:
    """The module's inputs and outputs, and the versions that it takes."""
    inputs = _blocks(module / "variables.tf", "variable")
    outputs = _blocks(module / "outputs.tf", "output")
    (terraform,) = hcl2.loads((module / "versions.tf").read_text())["terraform"]
    (providers,) = terraform["required_providers"]
    versions = [f"Terraform or OpenTofu `{terraform['required_version'][0]}`"]
    for (provider,) in providers.values():
        versions.append(f"`{provider['source']}` `{provider['version']}`")
    lines = [f"Needs {', '.join(versions)}.", ""]
    lines += ["| input | type | default | what it is |", "|---|---|---|---|"]
    for name, body in inputs.items():
        default = f"`{_value(body['default'][0])}`" if "default" in body else "required"
        lines.append(f"| `{name}` | {_type(body['type'][0])} | {default} | {_cell(body)} |")
    lines += ["", "| output | what it is |", "|---|---|"]
    lines += [f"| `{name}` | {_cell(body)} |" for name, body in outputs.items()]
    return "\n".join(lines)


def with_tables(readme: str, made: str) -> str:
    """The README with what stands between its markers replaced."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"a module's README needs the markers {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{made}\n{END}{after}"


def stale() -> list[Path]:
    """READMEs that are not what the code says. A module without inputs writes its own."""
    found = []
    for inputs in sorted(MODULES.glob("*/variables.tf")):
        readme = inputs.with_name("README.md")
        text = readme.read_text()
        if text != with_tables(text, tables(readme.parent)):
            found.append(readme)
    return found


def _blocks(path: Path, kind: str) -> dict[str, dict[str, Any]]:
    """Blocks by their label. This parser puts each attribute's value into a list of one."""
    return {
        name: body for block in hcl2.loads(path.read_text())[kind] for name, body in block.items()
    }


def _cell(body: dict[str, Any]) -> str:
    return str(body["description"][0]).replace("|", "\\|")


def _type(value: object) -> str:
    text = str(value).removeprefix("${").removesuffix("}")
    return "object" if text.startswith("object") else f"`{text}`"


def _value(value: object) -> str:
    if value is None or value == "null":
        return "null"
    return json.dumps(value)


def main() -> None:
    found = stale()
    if "--check" in sys.argv[1:]:
        if found:
            names = ", ".join(str(path.parent.name) for path in found)
            raise SystemExit(f"out of date: {names}; run `python terraform/docs.py` and commit")
        return
    for readme in found:
        readme.write_text(with_tables(readme.read_text(), tables(readme.parent)))


if __name__ == "__main__":
    main()
