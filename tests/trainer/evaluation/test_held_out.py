import pytest

from strongroom.trainer.errors import RowsMissing
from strongroom.trainer.evaluation.held_out import evaluate
from support import tiny_model as tiny


def test_evaluation_is_greedy_whole_and_independent_of_batches():
    policy, rows, config = tiny.tiny_policy(), tiny.tiny_rows(7), tiny.tiny_config()
    heard = []
    whole = evaluate(policy, rows, tiny.letter_evaluator(), config, 50, heard.extend)
    parts = evaluate(policy, rows, tiny.letter_evaluator(), config, batch=2)
    assert whole == parts
    assert whole.rows == 7
    assert whole.metrics == {"answered": 1.0}
    assert [rollout.row for rollout in heard] == list(range(7))
    assert whole.score_mean == pytest.approx(sum(rollout.score for rollout in heard) / 7)


def test_no_rows():
    with pytest.raises(RowsMissing):
        evaluate(tiny.tiny_policy(), [], tiny.letter_evaluator(), tiny.tiny_config())
