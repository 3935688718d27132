"""Reward code is as private as the data: a secret in a sealed evaluator's source is searched for.

The same search as for rows (``test_leaks``), with a secret that stands in the evaluator instead.
The control is the same run with the source in the run file, which controller and broker handle.
"""

from __future__ import annotations

import dataclasses
import secrets

import pytest

from support import leak_search

OUTSIDE = ("controller", "data broker", "log broker", "releaser", "bucket server", "key service")


def looking_for(secret: str, watching, secret_rows):
    """Watches runs on the same rows, for another secret than theirs."""
    rows = dataclasses.replace(secret_rows, canary=secret, needles=leak_search.text_needles(secret))
    return dataclasses.replace(watching, rows=rows)


@pytest.fixture(scope="module")
def sealed_run(watching, secret_rows, tmp_path_factory):
    """A run whose evaluator is sealed; it runs until it raises, as planned."""
    secret = secrets.token_hex(20)
    watcher = looking_for(secret, watching, secret_rows)
    folder = tmp_path_factory.mktemp("runs") / "leak-sealed"
    run = watcher.watch(folder, evaluator_secret=secret, seal_evaluator=True, from_start=True)
    return run, secret


def test_the_sealed_evaluator_ran_in_its_process(sealed_run):
    """Else the searches below search nothing: there, and only there, the secret is."""
    run, _secret = sealed_run
    assert b"SR-EVAL-003" in run.run.printed
    assert "text" in run.memory["evaluator"]


@pytest.mark.parametrize("role", OUTSIDE)
def test_no_process_outside_the_enclave_holds_it(role, sealed_run):
    run, secret = sealed_run
    assert run.memory[role] & leak_search.text_needles(secret).keys() == set()


def test_nothing_else_holds_it(sealed_run):
    run, secret = sealed_run
    assert run.passing == set()
    assert run.files == {}
    assert run.objects == {}
    assert run.titles == {}
    assert run.packets.found == set()
    assert run.packets.lost == 0
    assert run.received == b""
    assert leak_search.in_bytes(run.run.printed, leak_search.text_needles(secret)) == set()


def test_with_its_source_in_the_run_file_the_same_search_finds_it(
    sealed_run, watching, secret_rows, tmp_path_factory
):
    """The control, after the searches above are over."""
    secret = secrets.token_hex(20)
    watcher = looking_for(secret, watching, secret_rows)
    folder = tmp_path_factory.mktemp("runs") / "leak-source"
    run = watcher.watch(folder, evaluator_secret=secret, from_start=True)
    assert "text" in run.objects["acme-data/runs/leak-source/evaluator.py"]
    assert "text" in run.files[str(watching.job.folder / "leak-source_evaluator.py")]
    assert "text" in run.passing
    if run.packets.reason:
        pytest.skip(run.packets.reason)
    assert "text" in run.packets.found
