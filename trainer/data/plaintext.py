"""The base of every type that holds rows, what a model said of them, or what it learned from them.

It stops accidents, as ``crypto.secrecy`` does for keys (which this package cannot import): a row in
a pickle, a Beam coder, a log line or a traceback. Subclasses are structs or plain classes and not
dataclasses or named tuples, which Beam's deterministic coder encodes without asking pickle. What is
to leave, leaves by name: ``msgspec.json.encode`` still encodes a struct, for the evaluator's
process and for what is sealed.
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
