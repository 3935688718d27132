"""Choosing an engine, without vLLM at hand; with it, see ``tests/with_vllm``."""

import sys

import pytest

from strongroom.trainer.config import VllmEngine
from strongroom.trainer.engines import build_engine, vllm
from strongroom.trainer.errors import EngineMissing, EngineNotStarted
from strongroom.trainer.scratch import (
    ADAPTER_WEIGHTS,
    FolderScratch,
    base_names,
    most_bytes,
)
from support import tiny_model as tiny


def test_an_engine_without_its_package_is_told_by_name(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "vllm", None)  # as if it were not installed
    monkeypatch.setattr(vllm, "_SETTINGS", {})
    config = tiny.tiny_config(engine=VllmEngine())
    scratch = FolderScratch(tmp_path)
    with pytest.raises(EngineMissing):
        vllm.start(config, tiny.tiny_policy(), tiny.tiny_files(), scratch)
    assert not list(tmp_path.iterdir())


def test_an_engine_that_was_not_started_does_not_answer():
    with pytest.raises(EngineNotStarted):
        build_engine(VllmEngine(), tiny.tiny_policy())


def test_importing_the_trainer_does_not_import_vllm():
    assert "vllm" not in sys.modules


def test_a_policy_says_whether_its_adapter_takes_part():
    policy = tiny.tiny_policy()
    with policy.reference():
        assert not policy.adapted
    assert policy.adapted


def test_the_scratch_has_names_of_its_own():
    """A model's file names come from a bucket and could lead out of the folder."""
    sizes = {
        "../../etc/x.safetensors": 5,
        "b.safetensors": 7,
        "config.json": 3,
        "tokenizer.json": 9,
    }
    assert base_names(sizes) == {
        "config.json": "base/config.json",
        "../../etc/x.safetensors": "base/00000.safetensors",
        "b.safetensors": "base/00001.safetensors",
    }
    most = most_bytes(sizes)
    assert [most[name] for name in base_names(sizes).values()] == [3, 5, 7]
    assert most[ADAPTER_WEIGHTS] > 1 << 30
