"""A releaser signs one history of each size, in bounded memory."""

from __future__ import annotations

import pytest

from strongroom.audit.log.note import Checkpoint
from strongroom.pipeline.releaser.errors import SignRefused
from strongroom.pipeline.releaser.signed_roots import SignedRoots

LOG = "acme-audit/strongroom"


def at(size: int, root: int = 0, origin: str = LOG) -> Checkpoint:
    return Checkpoint(origin, size, bytes([root]) * 32)


def test_a_root_is_signed_again_and_another_of_its_size_never() -> None:
    roots = SignedRoots()
    roots.add(at(5))
    roots.add(at(9))
    roots.add(at(5))
    roots.add(at(5, 1, "acme-audit/other"))
    with pytest.raises(SignRefused, match="at size 5"):
        roots.add(at(5, 1))


def test_a_size_whose_root_is_forgotten_is_never_signed_again() -> None:
    """Neither with another root nor with the same: which it was cannot be known any more."""
    roots = SignedRoots(roots_per_log=3)
    for size in range(10):
        roots.add(at(size))
    for root in (0, 1):
        with pytest.raises(SignRefused, match="expected a size above 6"):
            roots.add(at(6, root))
        with pytest.raises(SignRefused):
            roots.add(at(0, root))
    roots.add(at(7))
    with pytest.raises(SignRefused, match="at size 7"):
        roots.add(at(7, 1))


def test_a_size_that_was_left_out_may_follow() -> None:
    roots = SignedRoots(roots_per_log=3)
    for size in (1, 5, 1_000_000, 3):
        roots.add(at(size))
    with pytest.raises(SignRefused, match="at size 3"):
        roots.add(at(3, 1))
    with pytest.raises(SignRefused, match="expected a size above 1"):
        roots.add(at(1))


def test_what_it_holds_is_bounded() -> None:
    roots = SignedRoots(roots_per_log=10, max_logs=4)
    for log in range(4):
        for size in range(100):
            roots.add(at(size, origin=f"log-{log}"))
    assert sum(len(kept) for kept in roots._roots.values()) == 40
    with pytest.raises(SignRefused, match="at most 4 logs"):
        roots.add(at(0, origin="log-4"))
