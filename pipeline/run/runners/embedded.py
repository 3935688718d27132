"""Beam's ``FnApiRunner``, in the controller's own process.

It is named explicitly: Beam's default would try to download a binary.
"""

from __future__ import annotations

from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from strongroom.pipeline.runfile.runners import EmbeddedRunner


def build(_config: EmbeddedRunner) -> FnApiRunner:
    """A runner without settings of its own."""
    return FnApiRunner()
