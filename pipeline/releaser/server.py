"""The releaser's side of a Unix socket; ``client`` is the other one.

Each peer's user id is checked (``SO_PEERCRED``): only the owner's own user, root and those whom the
owner names may ask; unless some are named, the socket's mode is 0600. Keys still need evidence.

Nobody can keep others from asking: a request has one deadline, however it trickles in; each user
has a number of connections of their own, of which the oldest that has not asked anything gives way
to a new one; and where descriptors run out, so does the oldest of all.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from strongroom.enclave.channel.errors import ChannelError
from strongroom.enclave.channel.framing import Channel
from strongroom.errors.defect import defect
from strongroom.errors.listing import documents_of
from strongroom.pipeline.releaser import messages
from strongroom.pipeline.releaser.errors import ReleaserBusy, RequestMalformed
from strongroom.pipeline.releaser.releaser import Releaser

REQUESTS: msgspec.json.Decoder[messages.Request] = msgspec.json.Decoder(messages.Request)
MOST_PER_USER = 32
"""Connections that one user may have open at a time. Where all of them are being answered, one more
is told that it is busy."""
REQUEST_S = 20.0
"""How long a whole request may take to arrive."""
_BACKLOG = 128
_PAUSE_S = 0.05
_GONE = (errno.EINVAL, errno.EBADF)  # it was shut down or closed


def listen(path: Path, allowed_uids: Collection[int] = ()) -> socket.socket:
    """Listen on ``path``. A stale socket of a dead server is replaced."""
    path.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o111 if allowed_uids else 0o177)
    try:
        server.bind(str(path))
    finally:
        os.umask(mask)
    server.listen(_BACKLOG)
    return server


def serve(releaser: Releaser, server: socket.socket, allowed_uids: Collection[int] = ()) -> None:
    """Answer until ``server`` is shut down."""
    uids = {os.getuid(), 0, *allowed_uids}
    connections = _Connections()

    def converse(peer: socket.socket, uid: int) -> None:
        try:
            _converse(releaser, peer, uid, connections)
        finally:
            connections.remove(peer)

    while True:
        try:
            peer, _ = server.accept()
        except OSError as error:
            if error.errno in _GONE:
                return
            connections.make_room()  # out of descriptors or memory
            time.sleep(_PAUSE_S)
            continue
        uid = _uid(peer)
        if uid not in uids:
            peer.close()
            continue
        if not connections.add(peer, uid):
            _refuse(peer)
            continue
        try:
            threading.Thread(target=converse, args=(peer, uid), daemon=True).start()
        except RuntimeError:  # no thread to be had
            connections.remove(peer)
            _refuse(peer)


class _Connections:
    """Those that are open, oldest first."""

    def __init__(self) -> None:
        self._uids: dict[socket.socket, int] = {}
        self._answered: set[socket.socket] = set()
        self._lock = threading.Lock()

    def add(self, peer: socket.socket, uid: int) -> bool:
        """Count one more of a user; False when there is no room and none gives way."""
        with self._lock:
            mine = [each for each, user in self._uids.items() if user == uid]
            if len(mine) >= MOST_PER_USER and not self._end_oldest(mine):
                return False
            self._uids[peer] = uid
            return True

    def remove(self, peer: socket.socket) -> None:
        """This one has ended."""
        with self._lock:
            self._uids.pop(peer, None)
            self._answered.discard(peer)

    def make_room(self) -> None:
        """End the oldest that has not asked anything, whoever's it is."""
        with self._lock:
            self._end_oldest(list(self._uids))

    @contextmanager
    def answering(self, peer: socket.socket) -> Iterator[None]:
        """It has asked, and is not ended meanwhile."""
        with self._lock:
            self._answered.add(peer)
        try:
            yield
        finally:
            with self._lock:
                self._answered.discard(peer)

    def _end_oldest(self, peers: Collection[socket.socket]) -> bool:
        for peer in peers:
            if peer not in self._answered:
                with suppress(OSError):  # its thread may have closed it just now
                    peer.shutdown(socket.SHUT_RDWR)
                del self._uids[peer]
                return True
        return False


def _uid(peer: socket.socket) -> int:
    _pid, uid, _gid = struct.unpack(
        "3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    )
    return int(uid)


def _refuse(peer: socket.socket) -> None:
    """Say that it is busy, without waiting for anything."""
    with peer:
        peer.setblocking(False)
        answer = messages.Denied(errors=documents_of(ReleaserBusy()))
        try:
            Channel(peer, "releaser's client").send_record(answer)
        except ChannelError:
            return


def _converse(releaser: Releaser, peer: socket.socket, uid: int, connections: _Connections) -> None:
    with peer:
        channel = Channel(peer, "releaser's client")
        channel.deadline = time.monotonic() + REQUEST_S
        try:
            request = channel.recv_record(REQUESTS)
        except ChannelError:
            answer: messages.Answer = messages.Denied(errors=documents_of(RequestMalformed()))
        else:
            with connections.answering(peer):
                try:
                    answer = releaser.answer(request, f"uid:{uid}")
                except Exception as error:
                    answer = messages.Denied(errors=documents_of(defect(error)))
        peer.settimeout(REQUEST_S)
        try:
            channel.send_record(answer)
        except ChannelError:
            return
