from collections import Counter

import pytest

from strongroom.examples.feedback import evaluator as feedback
from strongroom.examples.feedback.prepare import CLEAR_RATING, split_ratings


@pytest.mark.parametrize(
    ("answer", "score", "accuracy"),
    [
        ('{"sentiment": "positive"}', 1.0, 1.0),
        (' {"sentiment":"positive"}\n', 1.0, 1.0),
        ('{"sentiment": "negative"}', 0.25, 0.0),
        ('{"sentiment": "neutral"}', 0.1, 0.0),
        ('{"sentiment": "positive", "why": 1}', 0.1, 0.0),
        ('{"sentiment": ["positive"]}', 0.1, 0.0),
        ('{"sentiment', 0.1, 0.0),
        ('{"label": "positive"}', 0.05, 0.0),
        ("{", 0.05, 0.0),
        ("{" * 5000, 0.05, 0.0),
        ("[" * 100_000, 0.0, 0.0),
        ('"positive"', 0.0, 0.0),
        ("positive", 0.0, 0.0),
        ("", 0.0, 0.0),
    ],
)
def test_reward(answer, score, accuracy):
    messages = [{"role": "user", "content": "…"}, {"role": "assistant", "content": answer}]
    result = feedback.evaluate(messages, "positive", id="amazon-1")
    assert result == {"score": score, "accuracy": accuracy}


def rating_files(count):
    """As in the published files: id, mean rating, text."""
    lines = [
        f"{i}\t{(-1) ** i * (1 + i % 3)}\tsentence number {i} about a product I bought"
        for i in range(count)
    ]
    lines += [line.replace("sentence", "Sentence  ") for line in lines[:50]]
    lines += ["no tabs here", f"x\t{CLEAR_RATING - 0.01}\tneither clearly good nor clearly bad"]
    return {
        "amazonReviewSnippets_GroundTruth.txt": "\n".join(lines).encode(),
        "tweets_GroundTruth.txt": b"1\t2.0\ttoo short\n2\t3.1\ta tweet \xff that is long enough",
    }


def test_split_is_balanced_repeatable_and_without_overlap():
    train, held_out = split_ratings(rating_files(1200))
    assert (len(train), len(held_out)) == (400, 100)
    assert (train, held_out) == split_ratings(rating_files(1200))
    texts = [row["messages"][-1]["content"].casefold().split() for row in train + held_out]
    assert len({tuple(text) for text in texts}) == 500
    assert len({row["id"] for row in train + held_out}) == 500
    assert Counter(row["ground_truth"] for row in train + held_out) == {
        "positive": 250,
        "negative": 250,
    }


def test_rows_are_what_the_trainer_reads():
    import msgspec

    from strongroom.trainer.data.rows import decode_row

    for row in split_ratings(rating_files(1200))[0]:
        decoded = decode_row(msgspec.json.encode(row))
        assert decoded.extra == {"id": row["id"]}
        assert decoded.messages[-1].content.startswith("Feedback: ")
