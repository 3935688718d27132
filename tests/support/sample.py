"""A run and its facts, as small as they come; shared by the tests of plans and of policies."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from strongroom.crypto import segments
from strongroom.crypto.digests import sha256
from strongroom.crypto.manifest import (
    DatasetManifest,
    Shard,
    WrappedKeyset,
    encode_header,
    shard_name,
)
from strongroom.enclave.plan.derived import model_digest
from strongroom.enclave.plan.document import Plan
from strongroom.enclave.plan.parts import (
    BucketFacts,
    CodeFacts,
    DatasetFacts,
    KeyFacts,
    KmsFacts,
    ModelFile,
    PolicyFacts,
    Source,
)
from strongroom.pipeline.planning.facts import Facts, ModelFacts
from strongroom.pipeline.planning.plan import build_plan
from strongroom.pipeline.runfile.load import load_text
from strongroom.pipeline.runfile.spec import RunSpec

HELD = KeyFacts(owner="http://127.0.0.1:8200", state="held")
MEASUREMENT = "sha256:" + "a" * 64
EVALUATORS = "s3://acme-data/evaluators/feedback/"
EXAMPLE = Path(__file__).parents[2] / "examples" / "feedback" / "run.yaml"
FILES = (
    ModelFile(name="config.json", size_bytes=700, sha256=sha256(b"config")),
    ModelFile(name="model.safetensors", size_bytes=269_060_552, sha256=sha256(b"model")),
)


def stack(folder: Path) -> dict[str, str]:
    """What ``${stack.…}`` holds; ``folder`` becomes the policy bundle."""
    return {
        "model_digest": model_digest(FILES),
        "broker_role": "arn:aws:iam::000000000000:role/strongroom",
        "audit_role": "arn:aws:iam::000000000000:role/strongroom-audit",
        "s3_endpoint": "http://127.0.0.1:8333",
        "vault_addr": "http://127.0.0.1:8200",
        "broker_credentials": str(folder / "broker.json"),
        "oidc_role": "strongroom",
        "releaser_socket": str(folder / "releaser.sock"),
        "policy_bundle": str(folder),
    }


def dataset(name: str, shards: int) -> DatasetFacts:
    """A dataset of ``shards`` shards with ten records each."""
    manifest = DatasetManifest(
        name=name,
        records=10 * shards,
        keyset=WrappedKeyset(
            kms="vault://transit/feedback",
            context={"dataset": name},
            wrapped="vault:v1:c2VhbGVk",
            key_id=7,
            commitment=sha256(name.encode()),
        ),
        shards=tuple(
            Shard(
                index=index,
                object=shard_name(index),
                header=encode_header(bytes([40, index, shards]) + bytes(37)),
                size_bytes=segments.ciphertext_bytes(1000 + index),
                sha256=sha256(f"{name}{index}".encode()),
                records=10,
                plaintext_bytes=1000 + index,
            )
            for index in range(shards)
        ),
    )
    return DatasetFacts(
        manifest=manifest,
        manifest_sha256=sha256(f"manifest of {name}".encode()),
        manifest_bytes=900,
        signer="ed25519:U0lHTkVS",
    )


def sealed_evaluator() -> DatasetFacts:
    """An evaluator that was sealed at ``EVALUATORS``."""
    found = dataset("evaluators.feedback", 1)
    shard = msgspec.structs.replace(found.manifest.shards[0], records=1)
    manifest = msgspec.structs.replace(found.manifest, format="python", records=1, shards=(shard,))
    return msgspec.structs.replace(found, manifest=manifest)


def facts() -> Facts:
    """Facts that agree with the example's run file."""
    bucket = BucketFacts(versioned=True, object_lock=False, region="eu-central-1")
    return Facts(
        train=dataset("feedback-train", 3),
        held_out=dataset("feedback-held-out", 1),
        model=ModelFacts(files=FILES),
        evaluator=Source(sha256=sha256(b"evaluator"), size_bytes=900),
        code=CodeFacts(measurement=MEASUREMENT, python="3.11.9", packages={"torch": "2.13.0"}),
        policy=PolicyFacts(digest=sha256(b"bundle"), rules=("b_rule", "a_rule")),
        data_bucket=bucket,
        outputs_bucket=bucket,
        audit_bucket=BucketFacts(
            versioned=True,
            object_lock=True,
            lock_mode="COMPLIANCE",
            lock_days=1,
            region="eu-central-1",
        ),
        kms=KmsFacts(data=HELD, outputs=HELD, audit=HELD),
        bfloat16=True,
    )


def spec(folder: Path, *, sealed: bool = False) -> RunSpec:
    """The example's run file in ``folder``, with an evaluator beside it or a sealed one."""
    text = EXAMPLE.read_text()
    (folder / "evaluator.py").write_text("def evaluate(): ...\n")
    if sealed:
        text = re.sub(r"source: evaluator.py[^\n]*", f"sealed: {EVALUATORS}", text)
    return load_text(text, folder / "run.yaml", stack=stack(folder)).spec


def plan(folder: Path, *, sealed: bool = False) -> Plan:
    """A plan of it."""
    found = facts()
    if sealed:
        found = msgspec.structs.replace(found, evaluator=sealed_evaluator())
    return build_plan(spec(folder, sealed=sealed), found, "feedback-1")
