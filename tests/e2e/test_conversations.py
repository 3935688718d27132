"""A run on sealed Parquet whose conversations have several turns, through the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from strongroom.audit.events import types as events
from strongroom.pipeline.owner.model_upload import upload

RUN = "conversations"
TINY_URI = "s3://acme-data/models/tiny/"
ENDING_URI = "s3://acme-data/models/ending/"
CANARY = "vermilion-isthmus-2093"
ENVIRONMENT = f"""
class Environment:
    def reset(self, messages, ground_truth, **row):
        assert row["note"] == "{CANARY}"
        self.replies = []

    def step(self, completion):
        self.replies.append(completion)
        if len(self.replies) < 2:
            told = {{"role": "tool", "content": "{CANARY} " + str(len(completion))}}
            return {{"done": False, "messages": [told]}}
        vowels = sum(map(completion.count, "aeiou"))
        return {{"done": True, "reward": vowels / (len(completion) + 1.0), "accuracy": 1.0}}
"""


@pytest.fixture(scope="module")
def datasets(strongroom: Any, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two datasets from Parquet, sealed by the command."""
    found = []
    for name, count in (("talk-train", 12), ("talk-held-out", 5)):
        chats = [[{"role": "user", "content": f"{CANARY} number {n}"}] for n in range(count)]
        rows = pa.table(
            {"messages": chats, "ground_truth": ["a"] * count, "note": [CANARY] * count}
        )
        source = tmp_path_factory.mktemp("parquet") / "rows.parquet"
        pq.write_table(rows, source)
        uri = f"s3://acme-data/datasets/{name}/"
        sealed = strongroom("seal", source, uri, "--key", "vault://transit/feedback")
        assert (sealed.code, sealed.data["records"]) == (0, count), sealed.out + sealed.err
        found.append(uri)
    return found


@pytest.fixture(scope="module")
def ending_model(small_job: Any, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The random model, which would never come to an end, with most of its tokens as ends."""
    folder = tmp_path_factory.mktemp("ending")
    for path in tiny_model.iterdir():
        shutil.copy(path, folder)
    config = json.loads((folder / "config.json").read_text())
    config["eos_token_id"] = [2, *range(1000, 30_000)]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").unlink(missing_ok=True)
    return upload(small_job.stack.owner(), folder, ENDING_URI)


@pytest.fixture(scope="module")
def run_file(small_job: Any, datasets: list[str], ending_model: str) -> Path:
    train, held_out = datasets
    path: Path = small_job.run_file(RUN, train=train, held_out=held_out, evaluator=ENVIRONMENT)
    text = path.read_text()
    for old, new in (
        ("max_tokens: 6}", "max_tokens: 6, max_turns: 2}"),
        (TINY_URI, ENDING_URI),
        ("${stack.model_digest}", ending_model),
    ):
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def finished(strongroom: Any, run_file: Path) -> Any:
    result = strongroom("run", run_file, "--id", RUN)
    assert result.code == 0, result.out + result.err
    return result


def test_it_trains_on_conversations(finished: Any, auditor: Any) -> None:
    steps = [e.data.values for e in auditor.events(RUN) if isinstance(e.data, events.TrainingStep)]
    assert len(steps) == 4
    assert all(step["sampler_gap_max"] < 0.1 for step in steps if "sampler_gap_max" in step)
    # Only who heard the environment can have been told that it is over.
    assert all(step["evaluator_accuracy"] == 1.0 for step in steps)
    assert any(step["reward_std"] > 0 for step in steps)


@pytest.mark.full
def test_it_is_verified_and_comes_out_the_same_again(
    finished: Any, strongroom: Any, auditor: Any
) -> None:
    assert strongroom("verify", RUN).code == 0
    again = strongroom("replay", RUN)
    assert again.code == 0, again.out + again.err
    shown = finished.out + finished.err + again.out + json.dumps(auditor.types(RUN))
    assert CANARY not in shown


def test_columns_that_json_does_not_have_are_named_by_number(
    strongroom: Any, tmp_path: Path
) -> None:
    source = tmp_path / "rows.parquet"
    columns = {"messages": [[{"role": "user", "content": CANARY}]], "x": [b"1"], "y": [b"2"]}
    pq.write_table(pa.table(columns), source)
    target = "s3://acme-data/datasets/bytes/"
    result = strongroom("seal", source, target, "--key", "vault://transit/feedback")
    assert result.code == 2
    assert [error["place"] for error in result.errors[:-1]] == [
        f"{source} column 2",
        f"{source} column 3",
    ]
    assert "as the text you mean" in result.errors[0]["remedy"]
    assert CANARY not in result.out + result.err


def test_an_environment_and_the_run_file_must_agree(
    strongroom: Any, run_file: Path, datasets: list[str]
) -> None:
    alone = run_file.with_name("one-turn.yaml")
    alone.write_text(run_file.read_text().replace(", max_turns: 2", ""))
    result = strongroom("run", alone, "--id", "one-turn")
    assert result.codes == ["SR-EVAL-021"]
    assert result.code == 2
