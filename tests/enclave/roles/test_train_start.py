"""What an enclave that trains says of a model that it cannot start with: a code, and never nothing.

At A1 and through the broker's side, as in a run. The control is a model that it starts with.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from strongroom.crypto.digests import sha256
from strongroom.enclave.broker import EnclaveHandle
from strongroom.enclave.channel import frames
from strongroom.enclave.channel.errors import EnclaveFailed
from strongroom.enclave.plan.parts import ModelFile
from strongroom.errors import StrongroomError
from strongroom.pipeline.planning.facts import ModelFacts
from strongroom.pipeline.planning.plan import build_plan
from strongroom.pipeline.runfile.load import load_text
from strongroom.trainer.errors import ModelFileInvalid
from support import sample
from support.tiny_model import tiny_files

FILES = tiny_files()


class Served:
    """``enclave.broker.Objects`` over a model in memory."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self._files = [files[name] for name in sorted(files)]

    def fetch(self, request: frames.Fetch) -> Iterator[bytes]:
        assert request.kind == "model"
        yield self._files[request.index]

    def put(self, artifact: str, step: int, data: bytes) -> None:
        raise AssertionError

    put_manifest: Any = put


def start(folder: Path, files: dict[str, bytes], plan_of: Any = lambda plan: plan) -> EnclaveHandle:
    """An enclave on a plan with this model. Raises what it reports."""
    listed = tuple(
        ModelFile(name=name, size_bytes=len(data), sha256=sha256(data))
        for name, data in files.items()
    )
    facts = msgspec.structs.replace(sample.facts(), model=ModelFacts(files=listed))
    (folder / "evaluator.py").write_text("def evaluate(): ...\n")
    stack = {**sample.stack(folder), "model_digest": sample.model_digest(listed)}
    spec = load_text(sample.EXAMPLE.read_text(), folder / "run.yaml", stack=stack).spec
    plan = plan_of(build_plan(spec, facts, "r"))
    return EnclaveHandle(
        plan=plan.to_json(),
        nonce="nonce",
        assurance="A1",
        threads=1,
        run="r",
        limits=plan.limits,
        objects=Served(files),
        notify=lambda _report: None,
    )


def test_control_an_enclave_starts_with_a_good_model(tmp_path):
    handle = start(tmp_path, FILES)
    handle.kill()
    assert handle.evidence.role == "train"


def regex_tokenizer(pattern: str) -> bytes:
    """A tokenizer that splits by a pattern which gives up on long words."""
    plain = json.loads(FILES["tokenizer.json"])
    split = {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "Isolated",
        "invert": False,
    }
    plain["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, plain["pre_tokenizer"]]}
    return json.dumps(plain).encode()


PATTERN = r"^(?:(?:\w|[a-z])+)+$"


def config(**changes: Any) -> bytes:
    plain = {**json.loads(FILES["config.json"]), **changes}
    return json.dumps({name: value for name, value in plain.items() if value is not ...}).encode()


LONG = b"{% for m in messages %}{{ m.content }}" + b"a" * 40 + b"!{% endfor %}"
CASES: dict[str, tuple[dict[str, bytes], type[StrongroomError]]] = {
    "no length": ({"config.json": config(max_position_embeddings=...)}, ModelFileInvalid),
    "layers": ({"config.json": config(num_hidden_layers=10**8)}, ModelFileInvalid),
    "a pattern that gives up": (
        {"tokenizer.json": regex_tokenizer(PATTERN), "chat_template.jinja": LONG},
        ModelFileInvalid,
    ),
    "no adapter fits": ({"config.json": config(hidden_act="gelu_new_2")}, ModelFileInvalid),
}


@pytest.mark.parametrize("name", CASES)
def test_a_model_that_it_cannot_start_with_is_told_by_a_code(name, tmp_path):
    changed, kind = CASES[name]
    with pytest.raises(kind):
        start(tmp_path, {**FILES, **changed})


def test_what_nobody_foresaw_is_told_by_the_name_of_its_class(tmp_path):
    """A template that cannot write the second row of the warm-up: past every check of a file."""
    template = b"{% if 'Three' in messages[-1].content %}{{ [][5] + 1 }}{% endif %}x"
    with pytest.raises(EnclaveFailed) as caught:
        start(tmp_path, {**FILES, "chat_template.jinja": template})
    assert caught.value.actual in ("ValueError", "Exception")


def test_a_template_without_a_place_for_a_system_is_one_to_start_with(tmp_path):
    template = (
        b"{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}"
        + FILES["chat_template.jinja"]
    )
    start(tmp_path, {**FILES, "chat_template.jinja": template}).kill()
