"""Fixtures of the policy tests: a real plan, and a bundle for the customer who owns it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from strongroom.pipeline.planning.plan import build_plan
from strongroom.pipeline.runfile.load import load_text
from strongroom.policies.bundle import Bundle, Settings, read_bundle, write_bundle
from support import rules, sample


@pytest.fixture(scope="session", autouse=True)
def rules_process() -> Iterator[None]:
    """No process of the rules outlives the session."""
    yield
    rules.end()


@pytest.fixture(scope="session")
def settings() -> Settings:
    """The customer of the sample plan."""
    return Settings(
        signers=("ed25519:U0lHTkVS",),
        output_prefixes=("s3://acme-data/runs/",),
        audit_prefixes=("s3://acme-audit/",),
        kms_prefixes=("vault://transit/",),
    )


@pytest.fixture(scope="session")
def bundle_folder(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Path:
    """The shipped rules with the customer's settings, written as the stack does it."""
    folder = tmp_path_factory.mktemp("policy") / "bundle"
    write_bundle(folder, settings)
    return folder


@pytest.fixture(scope="session")
def bundle(bundle_folder: Path) -> Bundle:
    """The same, read."""
    return read_bundle(bundle_folder)


@pytest.fixture(scope="session")
def sample_plan(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A plan of the example run that every rule passes. Copy it before changing it."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "evaluator.py").write_text("def evaluate(): ...\n")
    text = sample.EXAMPLE.read_text()
    loaded = load_text(text, folder / "run.yaml", stack=sample.stack(folder))
    policy = sample.PolicyFacts(digest=bundle.digest, rules=bundle.rule_ids)
    facts = msgspec.structs.replace(sample.facts(), policy=policy)
    return build_plan(loaded.spec, facts, "feedback-1").to_dict()
