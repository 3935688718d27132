"""The last lines of a session: what ran, by folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

_FOLDERS = {"e2e": "end-to-end", "attacks": "attacks", "invariants": "invariants"}


def counts_by_folder(stats: Mapping[str, Sequence[Any]]) -> str:
    """Tests by folder, such as ``52 end-to-end (51 passed, 1 skipped), 555 attacks (…)``.

    A test that passed and then failed in its teardown counts once, as failed.
    """
    outcomes: dict[str, str] = {}
    for category in ("passed", "skipped", "failed", "error"):
        outcome = "failed" if category == "error" else category
        outcomes |= dict.fromkeys((report.nodeid for report in stats.get(category, ())), outcome)
    found: dict[str, Counter[str]] = {}
    for test, outcome in outcomes.items():
        folder = test.split("/")[1] if test.count("/") > 1 else "other"
        found.setdefault(_FOLDERS.get(folder, folder), Counter())[outcome] += 1
    order = [*_FOLDERS.values(), *sorted(found.keys() - set(_FOLDERS.values()))]
    words = {
        name: ", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items()))
        for name, counts in found.items()
    }
    return ", ".join(
        f"{found[name].total()} {name} ({words[name]})" for name in order if name in found
    )
