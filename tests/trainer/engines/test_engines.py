"""Choosing an engine, without vLLM at hand; with it, see ``tests/with_vllm``."""

import subprocess
import sys

import pytest

from strongroom.trainer.config import HfEngine, VllmEngine
from strongroom.trainer.engines import build_engine, reads_files, vllm
from strongroom.trainer.engines.scratch import (
    ADAPTER_WEIGHTS,
    FolderScratch,
    base_names,
    most_bytes,
)
from strongroom.trainer.errors import EngineMissing, EngineNotStarted
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


def test_the_table_of_engines_loads_no_engine():
    loaded = "import strongroom.trainer.engines, sys; print(*sys.modules)"
    found = subprocess.check_output([sys.executable, "-c", loaded], text=True).split()
    assert "strongroom.trainer.engines" in found
    assert not {"torch", "transformers", "vllm", "strongroom.trainer.engines.hf"} & set(found)


def test_an_engine_is_loaded_when_it_is_chosen():
    build_engine(HfEngine(), tiny.tiny_policy())
    assert "strongroom.trainer.engines.hf" in sys.modules
    assert [reads_files(HfEngine()), reads_files(VllmEngine())] == [False, True]


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
