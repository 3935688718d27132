"""Which log checkpoints a releaser has signed, so that it signs no second history of any size.

In bounded memory: of each log the newest roots are kept, and of what is older only the size, below
which nothing is signed any more. Writers sign sizes in order, but one that is behind others, or
that carries a rolled-back checkpoint forward, asks for recent ones again.
"""

from __future__ import annotations

from strongroom.audit.log.note import Checkpoint
from strongroom.pipeline.releaser.errors import SignRefused

ROOTS_PER_LOG = 4096
MAX_LOGS = 1024


class SignedRoots:
    """Roots by log and size; not thread safe."""

    def __init__(self, roots_per_log: int = ROOTS_PER_LOG, max_logs: int = MAX_LOGS) -> None:
        self._roots_per_log = roots_per_log
        self._max_logs = max_logs
        self._roots: dict[str, dict[int, bytes]] = {}
        self._forgotten: dict[str, int] = {}
        """The largest size of each log whose root is no longer known."""

    def add(self, checkpoint: Checkpoint) -> None:
        """Remember a checkpoint that is about to be signed.

        Raises ``SignRefused`` if another root of that size was signed, if that cannot be known any
        more, or if it belongs to more logs than are kept.
        """
        origin, size, root = checkpoint.origin, checkpoint.size, checkpoint.root
        place = f"{origin} at size {size}"
        if origin not in self._roots and len(self._roots) >= self._max_logs:
            raise SignRefused(place=place, expected=f"at most {self._max_logs} logs")
        roots = self._roots.setdefault(origin, {})
        signed = roots.get(size)
        if signed is None:
            oldest = self._forgotten.get(origin, -1)
            if size <= oldest:
                raise SignRefused(place=place, expected=f"a size above {oldest}")
            roots[size] = root
            if len(roots) > self._roots_per_log:
                self._forgotten[origin] = min(roots)
                del roots[min(roots)]
        elif signed != root:
            raise SignRefused(place=place, expected=signed.hex(), actual=root.hex())
