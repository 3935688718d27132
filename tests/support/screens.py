"""Streams that pass for terminals, and what a person reads on them."""

from __future__ import annotations

import io
import re


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def plain(shown: str) -> str:
    """``shown`` without the colours and the moves that a command makes itself."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
