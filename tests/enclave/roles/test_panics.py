"""A library that panics behind the walls is heard of: its panic is no ``Exception``."""

from __future__ import annotations

import json

import pytest
import tokenizers

from support.tiny_model import tiny_files

PATTERN = r"^(?:(?:\w|[a-z])+)+$"
TEXT = "a" * 40 + "!"


def tokenizer() -> str:
    """One whose pattern gives up on ``TEXT``."""
    plain = json.loads(tiny_files()["tokenizer.json"])
    split = {
        "type": "Split",
        "pattern": {"Regex": PATTERN},
        "behavior": "Isolated",
        "invert": False,
    }
    return json.dumps({**plain, "pre_tokenizer": split})


def test_a_tokenizer_s_panic_behind_the_walls_is_told(inside, tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(tokenizer())
    code = f"""
    import tokenizers
    from strongroom.trainer.model.files import TokenizerGaveUp, token_ids
    backend = tokenizers.Tokenizer.from_file({str(path)!r})
    token_ids(backend, "warm")
    lock()
    try:
        token_ids(backend, {TEXT!r})
    except TokenizerGaveUp:
        report("told")
    """
    assert inside(code, "none") == "told"
    assert inside(code, "AB") == "told"


def test_control_it_is_no_exception():
    backend = tokenizers.Tokenizer.from_str(tokenizer())
    with pytest.raises(BaseException, match="retry-limit") as caught:
        backend.encode(TEXT)
    assert not isinstance(caught.value, Exception)
