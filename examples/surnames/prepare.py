"""Names of people as rows: the answer is the surname, wherever it stands.

From the ``probablepeople`` source archive (MIT, © 2014 The Atlanta Journal Constitution; DataMade):
names labelled word by word to train its parser. Names of two words whose second is the surname
are left out: they would teach to take the last word.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from strongroom.examples.packages import CACHE, source_files
from strongroom.examples.payees.prepare import PACKAGE
from strongroom.examples.rows import Prompt, Question, Rows, split_by_answer

FILE = "person_labeled.xml"
TEXT_CHARACTERS = range(8, 41)
PARTS = {
    *("GivenName", "FirstInitial", "MiddleName", "MiddleInitial", "Surname"),
    *("PrefixMarital", "PrefixOther", "SuffixGenerational", "SuffixOther"),
}

PROMPT = Prompt(
    system="Find the surname. Answer with the surname only.",
    turns=(("dr. maria k. lopez", "lopez"), ("smith, john a", "smith")),
)


def rows(cache: Path = CACHE) -> Rows:
    """About 300 rows to train on, and 100 with 100 other surnames held out.

    Raises ``SR-INPUT-001``, ``-002`` and ``-004``.
    """
    [data] = source_files(PACKAGE, "name_data/labeled", (FILE,), cache)
    return split_by_answer(PROMPT, read(data), of_each=2, held_out=100)


def read(xml: bytes) -> list[Question]:
    """Names with a given name and one surname, in small letters."""
    questions = []
    # The archive's digest is pinned: no stranger's entities are expanded here.
    for number, name in enumerate(ElementTree.fromstring(xml)):
        text = " ".join("".join(name.itertext()).lower().split())
        parts = [part.tag for part in name]
        surnames = [part.text or "" for part in name if part.tag == "Surname"]
        if parts == ["GivenName", "Surname"] or not PARTS.issuperset(parts):
            continue
        if len(surnames) == 1 and len(parts) > 1 and len(text) in TEXT_CHARACTERS:
            answer = surnames[0].lower().strip(" ,.")
            questions.append(Question(f"person-{number}", text, answer))
    return questions
