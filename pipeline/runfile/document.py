"""A YAML document while it is read: its text, its tree, what was put in, and what is wrong.

``yaml_reader`` makes one, ``variables`` puts values in, ``explain`` and ``validate`` say what is
wrong and where. Each adds to ``errors``, so that a reader gets all of them at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from strongroom.errors import StrongroomError
from strongroom.pipeline.runfile.yaml_tree import MappingNode, Mark, Node, Path, find, to_data


@dataclass
class Document:
    """One document. ``root`` is an empty mapping until ``is_read``, when the whole tree is there.

    ``written`` maps the path of each value that variables were put into to its text in the file;
    ``whole`` holds the paths whose text is one expression, and ``failed`` those without a value.
    ``secrets`` are errors, too: of text that looks like a credential.
    """

    name: str
    text: str = ""
    root: Node = field(default_factory=lambda: MappingNode(Mark(1, 1)))
    is_read: bool = False
    written: dict[Path, str] = field(default_factory=dict)
    whole: set[Path] = field(default_factory=set)
    failed: set[Path] = field(default_factory=set)
    errors: list[StrongroomError] = field(default_factory=list)
    secrets: list[StrongroomError] = field(default_factory=list)

    def at(self, mark: Mark) -> str:
        """A position as errors show it: ``run.yaml:9:3``."""
        return f"{self.name}:{mark.line}:{mark.column}"

    def place(self, path: Path) -> str:
        """Where ``path`` stands, or the part of the document that would hold it."""
        return self.at(find(self.root, path)[1])

    def data(self) -> Any:
        """The tree as dicts, lists and scalars."""
        return to_data(self.root)
