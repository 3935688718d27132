"""Controls of the look at packets: what it sees and leaves out, whatever the noise."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from support.packets import Packets

NEEDLES = {"seen": b"cormorant-in-the-packet"}


@contextmanager
def receiver(family: socket.AddressFamily) -> Iterator[socket.socket]:
    """A UDP socket on loopback."""
    with closing(socket.socket(family, socket.SOCK_DGRAM)) as found:
        found.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        yield found


@pytest.fixture
def noise() -> Iterator[socket.socket]:
    """A port to which somebody sends all the time, with the needle in every packet."""
    with (
        receiver(socket.AF_INET) as target,
        closing(socket.socket(type=socket.SOCK_DGRAM)) as sender,
    ):
        over = threading.Event()

        def send() -> None:
            while not over.is_set():
                sender.sendto(NEEDLES["seen"] * 50, target.getsockname())

        thread = threading.Thread(target=send)
        thread.start()
        yield target
        over.set()
        thread.join()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize("sends", [False, True], ids=["to the port", "from the port"])
def test_a_packet_is_seen_beside_noise_that_is_not(
    noise: socket.socket, family: socket.AddressFamily, sends: bool
) -> None:
    with receiver(family) as ours, receiver(family) as other:
        port = ours.getsockname()[1]
        with Packets(NEEDLES, [port]) as quiet:
            pass
        with Packets(NEEDLES, [1, port, 65_535]) as packets:
            source, target = (ours, other) if sends else (other, ours)
            source.sendto(b"here is a " + NEEDLES["seen"], target.getsockname())
    if packets.reason:
        pytest.skip(packets.reason)
    assert quiet.found == set()
    assert (packets.found, packets.lost) == ({"seen"}, 0)


def test_the_noise_is_seen_by_who_asks_for_it(noise: socket.socket) -> None:
    with Packets(NEEDLES, [noise.getsockname()[1]]) as packets:
        noise.sendto(NEEDLES["seen"], noise.getsockname())
    if packets.reason:
        pytest.skip(packets.reason)
    assert packets.found == {"seen"}


def test_a_stream_is_seen() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        Packets(NEEDLES, [server.getsockname()[1]]) as packets,
        socket.create_connection(server.getsockname()) as client,
    ):
        client.sendall(b"here is a " + NEEDLES["seen"])
    if packets.reason:
        pytest.skip(packets.reason)
    assert packets.found == {"seen"}
