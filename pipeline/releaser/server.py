"""The releaser's side of a Unix socket; ``client`` is the other one.

Each peer's user id is checked (``SO_PEERCRED``): only the owner's own user, root and those whom the
owner names may ask; unless some are named, the socket's mode is 0600. Keys still need evidence.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
from collections.abc import Collection
from pathlib import Path

import msgspec

from strongroom.enclave.channel.errors import ChannelError
from strongroom.enclave.channel.framing import Channel
from strongroom.errors.defect import defect
from strongroom.errors.listing import documents_of
from strongroom.pipeline.releaser import messages
from strongroom.pipeline.releaser.errors import RequestMalformed
from strongroom.pipeline.releaser.releaser import Releaser

REQUESTS: msgspec.json.Decoder[messages.Request] = msgspec.json.Decoder(messages.Request)


def listen(path: Path, allowed_uids: Collection[int] = ()) -> socket.socket:
    """Listen on ``path``. A stale socket of a dead server is replaced."""
    path.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o111 if allowed_uids else 0o177)
    try:
        server.bind(str(path))
    finally:
        os.umask(mask)
    server.listen(16)
    return server


def serve(releaser: Releaser, server: socket.socket, allowed_uids: Collection[int] = ()) -> None:
    """Answer until ``server`` is shut down."""
    uids = {os.getuid(), 0, *allowed_uids}
    while True:
        try:
            peer, _ = server.accept()
        except OSError as error:
            if error.errno == errno.EINVAL:  # it was shut down
                return
            raise
        threading.Thread(target=_converse, args=(releaser, peer, uids), daemon=True).start()


def _converse(releaser: Releaser, peer: socket.socket, uids: Collection[int]) -> None:
    with peer:
        peer.settimeout(messages.TIMEOUT_S)
        _pid, uid, _gid = struct.unpack(
            "3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        )
        if uid not in uids:
            return
        channel = Channel(peer, "releaser's client")
        try:
            request = channel.recv_record(REQUESTS)
        except ChannelError:
            answer: messages.Answer = messages.Denied(errors=documents_of(RequestMalformed()))
        else:
            try:
                answer = releaser.answer(request)
            except Exception as error:
                answer = messages.Denied(errors=documents_of(defect(error)))
        try:
            channel.send_record(answer)
        except ChannelError:
            return
