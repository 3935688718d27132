"""``strongroom probe``: lock a process down as an enclave would be, and say what each layer did.

No key, no data, no evidence: for whoever wants to know whether this machine can run an enclave.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

import msgspec

from strongroom.crypto.segments import SEGMENT_BYTES
from strongroom.enclave.channel import frames
from strongroom.enclave.channel.framing import Channel
from strongroom.enclave.evaluator.process import EvaluatorProcess
from strongroom.enclave.sandbox.launch import Assurance
from strongroom.enclave.sandbox.lockdown import lock_files_and_network, lock_system_calls
from strongroom.enclave.sandbox.probes import probe
from strongroom.enclave.sandbox.secret_memory import SecretMemory


def main(fd: int, _assurance: Assurance, _arguments: Sequence[str]) -> None:
    """Send the probe results over the socket ``fd`` in place of evidence."""
    channel = Channel(socket.socket(fileno=fd), "prober's parent")
    window = SecretMemory(SEGMENT_BYTES)
    lock_files_and_network()
    evaluator = EvaluatorProcess.start()
    lock_system_calls()
    seen = probe(evaluator, expected_fds=(fd,), secret_memory=window.kind)
    channel.send_record(frames.EvidenceFrame(evidence=msgspec.json.encode(seen.probes)))
