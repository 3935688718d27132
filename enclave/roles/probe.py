"""The ``probe`` enclave: locked down as one that trains would be, to report what each layer did.

``strongroom probe`` starts it to find out whether this machine can run enclaves. It has no key and
no data, and sends its probe results in place of evidence.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

import msgspec

from strongroom.crypto.segments import SEGMENT_BYTES
from strongroom.enclave.assurance import Assurance
from strongroom.enclave.channel import frames
from strongroom.enclave.channel.framing import Channel
from strongroom.enclave.evaluator.pair import Evaluators
from strongroom.enclave.roles.lifecycle import Lifecycle


def main(fd: int, _assurance: Assurance, _arguments: Sequence[str]) -> None:
    """Send the probe results over the socket ``fd``."""
    channel = Channel(socket.socket(fileno=fd), "prober's parent")
    life = Lifecycle.begin(channel, "A1", window_bytes=SEGMENT_BYTES)
    seen = life.close(evaluators=Evaluators.start())
    channel.send_record(frames.EvidenceFrame(evidence=msgspec.json.encode(seen.probes)))
