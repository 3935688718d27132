"""Which tests stay together in one worker, and which of them come first.

Tests of one file stay together, and so do all files that use something of which there is one.
Workers begin with what takes longest, as recorded, so that no long one is left for the end.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest

TOGETHER = ("lone_job", "whole", "watching")
"""Fixtures whose files stay together."""
TESTS = Path(__file__).parents[1]
TIMES = TESTS / "times.json"
"""Seconds by file, of those that take more than a second; ``--record-times`` writes it."""


def group(items: list[pytest.Item]) -> None:
    """Put every test into a group: that of its file, or of what some test of its file uses.

    A file is never parted, since its fixtures would be made twice, in one stack.
    """
    used: dict[str, set[str]] = defaultdict(set)
    for item in items:
        used[_file(item.nodeid)].update(getattr(item, "fixturenames", ()))
    for item in items:
        file = _file(item.nodeid)
        name = next((name for name in TOGETHER if name in used[file]), file)
        item.add_marker(pytest.mark.xdist_group(name))


def longest_first(items: list[pytest.Item]) -> None:
    """Order groups by the time that all their files take, and keep the order within each."""
    times: dict[str, float] = json.loads(TIMES.read_text())
    files: dict[str, set[str]] = defaultdict(set)
    for item in items:
        files[_group(item)].add(_file(item.nodeid))
    took = {name: sum(times.get(file, 0.0) for file in held) for name, held in files.items()}
    items.sort(key=lambda item: (-took[_group(item)], _group(item)))


class Times:
    """A plugin that writes down how long each file took."""

    def __init__(self) -> None:
        self._took: dict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count one phase of one test."""
        self._took[_file(report.nodeid)] += report.duration

    def pytest_sessionfinish(self) -> None:
        """Of files that did not run, what was known remains."""
        known = json.loads(TIMES.read_text())
        kept = {file: time for file, time in known.items() if (TESTS / file).exists()}
        took = {file: round(time) for file, time in self._took.items()}
        found = {file: time for file, time in sorted((kept | took).items()) if time > 1}
        TIMES.write_text(json.dumps(found, indent=2) + "\n")


def _group(item: pytest.Item) -> str:
    marker = item.get_closest_marker("xdist_group")
    assert marker is not None
    return str(marker.args[0])


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0].removeprefix("tests/")
