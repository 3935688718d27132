"""The releaser's open challenges, each of one caller: nobody can use up or push out another's."""

from __future__ import annotations

import secrets
import threading
from collections import defaultdict
from collections.abc import Callable

from strongroom.pipeline.releaser.errors import NonceUnknown

LIFETIME_S = 600.0
MOST_PER_CALLER = 256
"""Of a caller who asks for more, the oldest is forgotten."""


class Nonces:
    """Thread safe. There are as many callers as users who may ask."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ends: dict[str, dict[str, float]] = defaultdict(dict)
        self._lock = threading.Lock()

    def new(self, caller: str) -> str:
        """A fresh nonce for this caller."""
        nonce = secrets.token_urlsafe(32)
        now = self._clock()
        with self._lock:
            ends = {each: end for each, end in self._ends[caller].items() if end > now}
            while len(ends) >= MOST_PER_CALLER:
                del ends[next(iter(ends))]
            ends[nonce] = now + LIFETIME_S
            self._ends[caller] = ends
        return nonce

    def use(self, caller: str, nonce: str) -> None:
        """Take a nonce of this caller, once. Raises ``NonceUnknown``."""
        with self._lock:
            end = self._ends[caller].pop(nonce, None)
        if end is None or end < self._clock():
            raise NonceUnknown(place="evidence.nonce")
