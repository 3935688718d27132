"""`strongroom policy`: settings from a file, bundles written and shown, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from strongroom.pipeline.cli.main import app
from strongroom.policies.bundle import Settings, read_bundle, read_settings
from strongroom.policies.errors import SettingsInvalid

GOOD = {"signers": ["ed25519:U0lHTkVS"], "output_prefixes": ["s3://acme-data/runs/"]}


def command(*arguments: str | Path) -> tuple[int, dict]:
    done = CliRunner().invoke(app, ["policy", *map(str, arguments), "--json"])
    assert "Traceback" not in done.output
    return done.exit_code, json.loads(done.output)


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(GOOD))
    return path


def test_a_bundle_is_written_and_shown(settings_file, tmp_path):
    folder = tmp_path / "new" / "policy"
    code, written = command("write", folder, "--settings", settings_file)
    assert code == 0
    bundle = read_bundle(folder)
    assert written["digest"] == bundle.digest
    assert written["settings"]["output_prefixes"] == GOOD["output_prefixes"]
    assert written["settings"]["max_ttl_s"] == Settings().max_ttl_s
    assert command("show", folder) == (0, written)
    assert command("write", folder, "--settings", settings_file) == (0, written)


def test_rules_of_another_version_are_not_current(settings_file, tmp_path):
    assert command("write", tmp_path / "a", "--settings", settings_file)[1]["current"] is True
    rule = sorted((tmp_path / "a").glob("*.rego"))[0]
    rule.write_text(rule.read_text() + "# as it was\n")
    assert command("show", tmp_path / "a")[1]["current"] is False
    assert command("write", tmp_path / "a", "--settings", settings_file)[1]["current"] is True


def test_settings_are_in_the_digest(settings_file, tmp_path):
    first = command("write", tmp_path / "a", "--settings", settings_file)[1]["digest"]
    settings_file.write_text(json.dumps({**GOOD, "max_ttl_s": 900}))
    assert command("write", tmp_path / "a", "--settings", settings_file)[1]["digest"] != first


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "truncated"),
        ("[]", "object"),
        ('{"settings": {}}', "settings"),
        ('{"max_ttl": 900}', "max_ttl"),
        ('{"max_ttl_s": 59}', "max_ttl_s"),
        ('{"max_ttl_s": "900"}', "max_ttl_s"),
        ('{"signers": ["minisign:x"]}', "signers"),
        ('{"output_prefixes": ["s3://acme-data/runs"]}', "output_prefixes"),
        ('{"min_assurance": "A9"}', "min_assurance"),
    ],
)
def test_bad_settings_are_named_and_nothing_is_written(text, found, settings_file, tmp_path):
    settings_file.write_text(text)
    code, document = command("write", tmp_path / "policy", "--settings", settings_file)
    [error] = document["errors"]
    assert (code, error["code"], error["fault"]) == (2, "SR-POLICY-006", "input")
    assert error["place"] == str(settings_file)
    assert found in error["actual"].lower()
    assert not (tmp_path / "policy").exists()


def test_bytes_that_are_no_text(settings_file):
    settings_file.write_bytes(b'{"signers": ["\xff"]}')
    with pytest.raises(SettingsInvalid):
        read_settings(settings_file)


def test_a_missing_file(tmp_path):
    code, document = command("write", tmp_path / "p", "--settings", tmp_path / "none.json")
    assert (code, document["errors"][0]["code"]) == (2, "SR-POLICY-006")


def test_a_folder_that_cannot_be_one(settings_file, tmp_path):
    code, document = command("write", settings_file, "--settings", settings_file)
    assert (code, document["errors"][0]["code"]) == (2, "SR-POLICY-007")
    (tmp_path / "mine.txt").write_text("mine")
    code, document = command("write", tmp_path, "--settings", settings_file)
    assert (code, document["errors"][0]["code"]) == (2, "SR-POLICY-005")


def test_showing_what_is_no_bundle(tmp_path):
    code, document = command("show", tmp_path / "none")
    assert (code, document["errors"][0]["code"]) == (3, "SR-POLICY-002")
