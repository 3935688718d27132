"""A real ``export`` enclave: sealed adapter in, plain weights out of its pipes and nowhere else."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass, field

import pytest
import safetensors.torch
import torch

from strongroom.crypto.digests import sha256
from strongroom.crypto.errors import CommitmentMismatch, ObjectDigestMismatch
from strongroom.crypto.keyset import Keyset
from strongroom.crypto.manifest import object_ad
from strongroom.crypto.release import seal_keys
from strongroom.enclave.attest import export_subject
from strongroom.enclave.channel import frames
from strongroom.enclave.evidence import (
    Expectation,
    check_evidence,
    decode_evidence,
    evidence_digest,
)
from strongroom.enclave.measurement import measure
from strongroom.enclave.parent import TaskEnclave
from strongroom.errors import StrongroomError
from strongroom.trainer.errors import CheckpointMismatch

NONCE = "n" * 22
RUN, STEP = "feedback-1", 20


@dataclass
class Exporting:
    """What there is to export, with one thing in it changed if a test says so."""

    adapter: bytes
    keyset: Keyset = field(default_factory=Keyset.generate)
    command_run: str = RUN
    sealed_step: int = STEP
    commitment: str = ""
    digest: str = ""

    def sealed(self) -> bytes:
        ad = object_ad(RUN, self.sealed_step, "adapter")
        return bytes(self.keyset.streaming().seal_deterministic(self.adapter, ad))

    def run(self, weights: tuple[bytes, ...] = ()) -> list[bytes]:
        """All that comes out of the pipes; raises what the exporter reports."""
        pipes = [os.pipe() for _ in weights or (b"",)]
        form = "merged" if weights else "adapter"
        module, arguments = "strongroom.enclave.roles.export", [NONCE, RUN, form]
        try:
            with TaskEnclave("exporter", module, arguments, [w for _, w in pipes]) as enclave:
                for _, writer in pipes:
                    os.close(writer)
                self.hand_in(enclave)
                found = []
                for (reader, _), data in zip(pipes, weights or (None,), strict=True):
                    if data is not None:
                        enclave.channel.send_object([data])
                    found.append(b"".join(iter(lambda r=reader: os.read(r, 1 << 16), b"")))
                    enclave.done("here")
                return found
        finally:
            for reader, _ in pipes:
                os.close(reader)

    def hand_in(self, enclave: TaskEnclave) -> None:
        evidence = decode_evidence(enclave.evidence())
        check_evidence(
            evidence,
            Expectation(
                role="export",
                min_assurance="A1",
                measurements=frozenset({measure()}),
                plan_digest=export_subject(RUN),
                nonce=NONCE,
            ),
        )
        public = base64.b64decode(evidence.hpke_key)
        keys = seal_keys({"outputs": self.keyset}, public, evidence_digest(evidence))
        command = frames.Export(
            run=self.command_run,
            step=STEP,
            commitment=self.commitment or self.keyset.commitment(),
            adapter=self.digest or sha256(self.adapter),
        )
        enclave.send(frames.Keys(sealed=keys), command)
        enclave.channel.send_object([self.sealed()])


def test_the_adapter_comes_out_as_it_was_sealed():
    """More than a pipe holds, so that it is written while it is read."""
    adapter = os.urandom(3 << 20)
    assert Exporting(adapter).run() == [adapter]


CHANGES = {
    "another step's object": ({"sealed_step": STEP + 1}, "SR-CRYPTO"),
    "another key than the manifest's": ({"commitment": "sha256:" + "0" * 64}, CommitmentMismatch),
    "another adapter than the log's": ({"digest": "sha256:" + "0" * 64}, ObjectDigestMismatch),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_is_not_the_logged_adapter_does_not_come_out(what):
    changes, expected = CHANGES[what]
    with pytest.raises(StrongroomError) as caught:
        Exporting(b"weights" * 100, **changes).run()
    code = expected if isinstance(expected, str) else expected.code
    assert caught.value.code.startswith(code)


def test_an_exporter_serves_the_run_that_it_attested_to_and_no_other():
    """It says so and ends, however much more it would be sent."""
    for adapter in (b"weights", bytes(4 << 20)):
        with pytest.raises(StrongroomError) as caught:
            Exporting(adapter, command_run="salaries-1").run()
        assert caught.value.code == "SR-CHANNEL-002"


RANK, ALPHA = 2, 6.0
TARGET = "model.layers.0.self_attn.q_proj"
OTHER = "model.embed_tokens.weight"


def trained_adapter(low_in: torch.Tensor, low_out: torch.Tensor) -> bytes:
    """An adapter of one layer, as a checkpoint holds it."""
    name = f"base_model.model.{TARGET}"
    return safetensors.torch.save(
        {f"{name}.lora_A.weight": low_in, f"{name}.lora_B.weight": low_out},
        metadata={"strongroom": json.dumps({"r": RANK, "lora_alpha": ALPHA})},
    )


def test_a_model_of_two_files_is_merged_behind_the_lock_down():
    low_in, low_out = torch.randn(RANK, 512), torch.randn(512, RANK)
    weight, other = torch.randn(512, 512).bfloat16(), torch.randn(300, 512).bfloat16()
    files = [{OTHER: other}, {f"{TARGET}.weight": weight}]
    data = Exporting(trained_adapter(low_in, low_out)).run(
        tuple(safetensors.torch.save(file) for file in files)
    )
    first, second = (safetensors.torch.load(part) for part in data)
    assert torch.equal(first[OTHER], other)
    expected = (weight.float() + ALPHA / RANK * (low_out @ low_in)).bfloat16()
    torch.testing.assert_close(second[f"{TARGET}.weight"], expected, rtol=2**-7, atol=0)
    assert not torch.equal(expected, weight)


def test_a_model_without_a_place_for_the_adapter_does_not_come_out():
    adapter = trained_adapter(torch.randn(RANK, 8), torch.randn(8, RANK))
    with pytest.raises(CheckpointMismatch):
        Exporting(adapter).run((safetensors.torch.save({OTHER: torch.zeros(4, 4)}),))
