"""The words that may leave an enclave beside numbers; all are known before it starts."""

from __future__ import annotations

import builtins

from strongroom.trainer.data.chat import FaultCode

#: Names of built-in exceptions, for unforeseen failures.
EXCEPTIONS = frozenset(
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
)
DETAILS = EXCEPTIONS | frozenset(str(code) for code in FaultCode)
