"""The base of every type that holds rows, completions, or weights that were trained on them.

It prevents accidents: a row in a pickle, a Beam coder, a log line or a traceback. Subclasses are
structs or plain classes, not dataclasses or named tuples, which Beam's deterministic coder encodes
without asking pickle. ``msgspec.json.encode`` still encodes a struct, for the evaluator's process
and for what is sealed.

``crypto.secrecy`` does the same for keys. There are two because of the layers: neither package may
import the other, and the package below both, ``errors``, is no place for either.
"""

from __future__ import annotations

from typing import NoReturn


class Plaintext:
    """Refuses to pickle, copy or print what it holds. Stands before ``Struct`` among the bases."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: hidden>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds plaintext and must not leave this process")

    def __getstate__(self) -> NoReturn:
        self.__reduce__()

    def __copy__(self) -> NoReturn:  # structs have one of their own
        self.__reduce__()
