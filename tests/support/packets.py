"""A look into every packet of some ports on loopback, whatever else goes on there.

The kernel's filter lets nothing else through, so that other programs' traffic costs nothing and
nobody waits for it to end.
"""

from __future__ import annotations

import ctypes
import secrets
import socket
import struct
import threading
from collections.abc import Iterable

from support.leak_search import Needles, in_bytes

_ETH_P_ALL = 3
_SO_ATTACH_FILTER = 26
_SO_RCVBUFFORCE = 33
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_BUFFER_BYTES = 256 << 20
_LONGEST = 1 << 17
# Instructions of classic BPF, with offsets from the start of the Ethernet header.
_LOAD_HALF, _LOAD_HALF_X, _LOAD_IP_HEADER = 0x28, 0x48, 0xB1
_JUMP_EQUAL, _RETURN = 0x15, 0x06
_ETHERNET, _IPV4, _IPV6 = 14, 0x0800, 0x86DD
_PORTS_AFTER_IPV6 = _ETHERNET + 40


class Packets:
    """Looks into packets from and to ``ports`` while it is open; ``found`` has the needles' names.

    ``reason`` says why it cannot, for a user who may not listen there. ``lost`` counts packets that
    came faster than they were looked into.
    """

    def __init__(self, needles: Needles, ports: Iterable[int]) -> None:
        self.found: set[str] = set()
        self.reason = ""
        self.lost = 0
        self._needles = needles
        self._ports = sorted(set(ports))
        self._last = secrets.token_bytes(16)
        self._ending = threading.Event()

    def __enter__(self) -> Packets:
        try:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        except PermissionError:
            self.reason = "this user may not listen on loopback"
            return self
        _attach(self._socket, _filter(self._ports))
        self._socket.bind(("lo", _ETH_P_ALL))
        self._socket.settimeout(1.0)
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.reason:
            return
        self._ending.set()
        self._send_last()
        self._thread.join()
        counts = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        self.lost = struct.unpack("II", counts)[1]
        self._socket.close()

    def _send_last(self) -> None:
        """A packet of our own: whatever was sent before it has been looked into once it comes."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(self._last, ("127.0.0.1", self._ports[0]))

    def _listen(self) -> None:
        while True:
            try:
                packet = self._socket.recv(_LONGEST)
            except TimeoutError:
                if self._ending.is_set():
                    self._send_last()  # the one before was lost
                continue
            if self._last in packet:
                return
            missing = {k: v for k, v in self._needles.items() if k not in self.found}
            self.found |= in_bytes(packet, missing)


def _filter(ports: list[int]) -> list[tuple[int, int, int, int]]:
    """Instructions that accept TCP and UDP over IPv4 and IPv6 from or to one of the ports."""
    accept = [(_RETURN, 0, 0, 0xFFFFFFFF)]
    refuse = [(_RETURN, 0, 0, 0)]

    def either(load: int, source: int, destination: int) -> list[tuple[int, int, int, int]]:
        code: list[tuple[int, int, int, int]] = []
        for at in (source, destination):
            code.append((load, 0, 0, at))
            for index, port in enumerate(ports):
                # To the end of this part, where the packet is accepted.
                rest = len(ports) - index - 1
                ahead = rest if at == destination else rest + 1 + len(ports)
                code.append((_JUMP_EQUAL, ahead + 1, 0, port))
        return code + refuse + accept

    over_ipv4 = [
        (_LOAD_IP_HEADER, 0, 0, _ETHERNET),
        *either(_LOAD_HALF_X, _ETHERNET, _ETHERNET + 2),
    ]
    over_ipv6 = either(_LOAD_HALF, _PORTS_AFTER_IPV6, _PORTS_AFTER_IPV6 + 2)
    return [
        (_LOAD_HALF, 0, 0, _ETHERNET - 2),
        (_JUMP_EQUAL, 0, len(over_ipv4), _IPV4),
        *over_ipv4,
        (_JUMP_EQUAL, 0, len(over_ipv6), _IPV6),
        *over_ipv6,
        *refuse,
    ]


def _attach(listening: socket.socket, code: list[tuple[int, int, int, int]]) -> None:
    packed = b"".join(struct.pack("HBBI", *instruction) for instruction in code)
    program = ctypes.create_string_buffer(packed)
    described = struct.pack("HxxxxxxQ", len(code), ctypes.addressof(program))
    listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)
