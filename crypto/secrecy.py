"""The base of every type that holds key material (``trainer.data.plaintext`` is the same for rows).

Python has no way to keep a secret from code in its own process, and this class does not try. It
prevents accidents: a secret in a pickle, a Beam coder, a log line, an f-string or a traceback.
Subclasses are plain classes and not dataclasses or named tuples: Beam's deterministic coder encodes
frozen dataclasses and named tuples field by field, without asking pickle.
"""

from __future__ import annotations

from typing import NoReturn


class Secret:
    """Refuses to pickle, copy or print what it holds."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: hidden>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds secrets and must not leave this process")

    def __getstate__(self) -> NoReturn:
        self.__reduce__()
