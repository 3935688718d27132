"""One file of the index that pip is configured with, as ``examples.packages`` fetches it.

``pip download`` would run a source archive's ``setup.py``, in processes of pip's own, before
anybody has compared its digest. So only pip's finder and its session are used, which know its
configuration; nothing of the archive runs.
"""

from __future__ import annotations

import sys
from typing import Any


def main(name: str, version: str, sha256: str, source: str) -> None:
    """Write the file of this version to standard output: the one with this digest, if it is named.

    ``source`` is 1 for the source archive, 0 for a wheel.
    """
    from pip._internal.commands import create_command

    form = "--no-binary" if int(source) else "--only-binary"
    command: Any = create_command("download")
    options, _ = command.parse_args(["--quiet", "--disable-pip-version-check", form, name, name])
    with command.main_context():
        session = command.get_default_session(options)
        finder = command._build_package_finder(options=options, session=session)
        found = [each for each in finder.find_all_candidates(name) if str(each.version) == version]
        if not found:
            raise SystemExit(f"{name} {version} is not in the index")
        best = max(found, key=lambda each: bool(each.link.hash == sha256))
        answer = session.get(
            best.link.url_without_fragment, headers={"Accept-Encoding": "identity"}
        )
        answer.raise_for_status()
        sys.stdout.buffer.write(answer.content)
