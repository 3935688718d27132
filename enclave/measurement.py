"""The digest of the code that may run in an enclave.

It covers the interpreter, the standard library and the system's libraries, every source of ours
that runs inside, the file list of every distribution that is installed in the environment
(``RECORD``, which pins each file), and the byte code that is used in place of sources. An enclave
executes nothing else (:mod:`isolated.boot`), so this is what ran, as far as the code that takes it
is honest: it is a statement and not a proof, and at A1 a host that lies about its files lies here
too.
"""

from __future__ import annotations

import hashlib
import marshal
import platform
from collections.abc import Iterable
from functools import cache

from strongroom.crypto.digests import Sha256, digest_of
from strongroom.isolated.compiled import compiled_set


@cache
def components(*, anew: bool = False) -> tuple[dict[str, str], ...]:
    """What is measured, in order: ``kind``, ``name``, ``version`` (if any) and ``digest``.

    Kinds are ``python`` (the standard library), ``source`` (a file of ours), ``library`` (an
    installed distribution), ``system`` (the interpreter, or a library of the system's) and
    ``compiled`` (all byte code). For ``anew`` see :func:`measure`.
    """
    found = compiled_set(anew=anew).inside()
    python = [(name, digest) for name, digest in found.files.items() if _is_of("python", name)]
    code = [(name, digest) for name, (_, _, digest) in found.code.items()]
    return (
        {
            "kind": "python",
            "name": platform.python_implementation(),
            "version": platform.python_version(),
            "digest": _digest_over(python),
        },
        *(
            {"kind": kind, "name": name.partition("/")[2], "digest": "sha256:" + digest.hex()}
            for label, kind in (("own", "source"), ("system", "system"))
            for name, digest in found.files.items()
            if _is_of(label, name)
        ),
        *(
            {"kind": "library", "name": name, "version": version, "digest": f"sha256:{pins.hex()}"}
            for name, (version, pins) in found.distributions.items()
        ),
        {"kind": "compiled", "name": "byte code", "digest": _digest_over(code)},
    )


@cache
def measure(*, anew: bool = False) -> Sha256:
    """The digest over :func:`components`. The same in an enclave and outside.

    Whoever approves it asks for it ``anew``: the byte code is then compiled from the sources, and
    not what lay in the environment. That takes some seconds.
    """
    return digest_of(components(anew=anew))


def _is_of(label: str, name: str) -> bool:
    return name.startswith(f"{label}/")


def _digest_over(pairs: Iterable[tuple[str, bytes]]) -> str:
    return "sha256:" + hashlib.sha256(marshal.dumps(list(pairs), 2)).hexdigest()
