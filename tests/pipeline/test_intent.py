"""The intent is what a run file asks for: spelling does not count, and anything asked for does."""

import pytest

from pipeline.intent import intent, stable_run_id
from pipeline.run_objects import check_run_id
from pipeline.runfile import load


@pytest.fixture
def written(tmp_path, sample):
    """Write the example's run file, changed, and load it."""

    def write(old="", new="", evaluator=""):
        code = sample.EXAMPLE.with_name("evaluator.py").read_text() + evaluator
        (tmp_path / "evaluator.py").write_text(code)
        text = sample.EXAMPLE.read_text()
        assert old in text
        (tmp_path / "run.yaml").write_text(text.replace(old, new) if old else text)
        return load(tmp_path / "run.yaml", stack=sample.stack(tmp_path)).spec

    return write


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("learning_rate: 5.0e-4", "learning_rate: 0.0005"),
        ("temperature: 1.0  ", "temperature: 1    # as it is"),
        ("    seed: 0  ", "    # nothing  "),
    ],
)
def test_another_spelling_is_the_same_intent(written, old, new):
    assert intent(written(old, new)) == intent(written())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("steps: 60", "steps: 61"),
        ("seed: 0", "seed: 1"),
        ("ttl: 15m", "ttl: 30m"),
        ("datasets/feedback/train/", "datasets/feedback/other/"),
    ],
)
def test_whatever_is_asked_for_counts(written, old, new):
    assert intent(written(old, new)) != intent(written())


def test_the_evaluator_s_code_counts(written):
    assert intent(written(evaluator="# changed\n")) != intent(written())


def test_a_stable_id_is_an_id(written):
    found = stable_run_id(written("name: feedback-json", "name: " + "n" * 60))
    assert check_run_id(found) == found
    assert len(found) <= 63
