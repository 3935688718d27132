"""US addresses as rows: the question is the address as it was written, the answer its city.

From the ``usaddress`` source archive (MIT, © 2014 The Atlanta Journal Constitution; DataMade): real
addresses, labelled word by word to train its parser. Files of generated addresses are left out.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from strongroom.examples.packages import CACHE, Package, source_files
from strongroom.examples.rows import Prompt, Question, Rows, split_by_answer

PACKAGE = Package(
    name="usaddress",
    version="0.5.16",
    sha256="sha256:f7e614e2489c159cf85be1b6f86edbfaf329dbeedef4d002a025757afd1ec6c6",
    source=True,
)
FILES = (
    "labeled.xml",
    "us50_messiest_manual_label.xml",
    "us50_train_tagged.xml",
    "multi_word_state_addresses.xml",
)
TEXT_CHARACTERS = range(20, 81)
OF_ONE_CITY = 3
"""More addresses of a city are left out, or the answer would too often be Chicago."""

PROMPT = Prompt(
    system="Find the city in the address. Answer as JSON.",
    turns=(
        ("12 Oak Street, Springfield, IL 62701", '{"city": "Springfield"}'),
        ("PO Box 88 Santa Fe NM 87501", '{"city": "Santa Fe"}'),
    ),
    before="Address: ",
)


def rows(cache: Path = CACHE) -> Rows:
    """About 500 rows to train on, and 150 of 150 other cities held out.

    Raises ``SR-INPUT-001``, ``-002`` and ``-004``.
    """
    files = source_files(PACKAGE, "training", FILES, cache)
    found = [each for name, data in zip(FILES, files, strict=True) for each in read(name, data)]
    return split_by_answer(PROMPT, found, of_each=OF_ONE_CITY, held_out=150)


def read(name: str, xml: bytes) -> list[Question]:
    """Addresses of fit length whose city stands in them in one piece."""
    questions = []
    # The archive's digest is pinned: no stranger's entities are expanded here.
    for number, address in enumerate(ElementTree.fromstring(xml)):
        text = " ".join("".join(address.itertext()).split())
        words = [(part.text or "").strip(" ,;") for part in address if part.tag == "PlaceName"]
        city = " ".join(words)
        if city and city in text.replace(",", "") and len(text) in TEXT_CHARACTERS:
            questions.append(Question(f"{Path(name).stem}-{number}", text, city))
    return questions
