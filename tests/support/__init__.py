"""What tests share: samples, searches, and the programs that they run.

Tests find it by pytest's ``pythonpath``, processes that they start by ``PYTHONPATH``.
"""

from pathlib import Path

PYTHONPATH = {"PYTHONPATH": str(Path(__file__).parents[1])}
"""For the environment of a process that imports ``support``."""
PROGRAMS = Path(__file__).with_name("programs")
