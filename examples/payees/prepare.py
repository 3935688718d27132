"""Names of payees as rows: half of them people, half companies.

From the ``probablepeople`` source archive (MIT, © 2014 The Atlanta Journal Constitution; DataMade):
names labelled word by word to train its parser. All are written small here: in the files most
companies are and no person is, which would give the answer away.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from strongroom.examples.packages import CACHE, Package, source_files
from strongroom.examples.rows import Prompt, Question, Rows, distinct, split

PACKAGE = Package(
    name="probablepeople",
    version="0.5.6",
    sha256="sha256:4ae95e77f9fa7dceb116538500ab48c81a91bf68eb652d45207b794b450f4392",
    source=True,
)
KINDS = ("person", "company")
TEXT_CHARACTERS = range(8, 61)

PROMPT = Prompt(
    system="Is this the name of a person or a company? Answer with one word.",
    turns=(
        ("maria lopez", "person"),
        ("harbor tools inc.", "company"),
        ("smith, john a", "person"),
        ("city of springfield", "company"),
    ),
)


def rows(cache: Path = CACHE) -> Rows:
    """400 rows to train on and 150 held out; raises ``SR-INPUT-001``, ``-002`` and ``-004``."""
    names = tuple(f"{kind}_labeled.xml" for kind in KINDS)
    files = source_files(PACKAGE, "name_data/labeled", names, cache)
    found = distinct(
        name for kind, data in zip(KINDS, files, strict=True) for name in read(kind, data)
    )
    kinds = [[name for name in found if name.answer == kind] for kind in KINDS]
    return split(PROMPT, kinds, train=400, held_out=150)


def read(kind: str, xml: bytes) -> list[Question]:
    """Names of at least two words, in small letters."""
    questions = []
    # The archive's digest is pinned: no stranger's entities are expanded here.
    for number, name in enumerate(ElementTree.fromstring(xml)):
        text = " ".join("".join(name.itertext()).lower().split())
        if " " in text and len(text) in TEXT_CHARACTERS:
            questions.append(Question(f"{kind}-{number}", text, kind))
    return questions
