"""A releaser on a socket, in a thread of this process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from strongroom.pipeline.releaser.server import listen, serve


@contextmanager
def serving(releaser: Any, path: Path, *allowed_uids: int) -> Iterator[None]:
    """Serve on ``path`` meanwhile."""
    with listen(path, allowed_uids) as server:
        thread = threading.Thread(target=serve, args=(releaser, server, allowed_uids))
        thread.start()
        try:
            yield
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
