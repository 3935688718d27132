"""The controller's end of a broker process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from strongroom.enclave.channel.errors import ChannelBroken
from strongroom.enclave.channel.framing import Channel
from strongroom.errors.registry import from_documents
from strongroom.pipeline.broker import messages
from strongroom.pipeline.broker.errors import BrokerLost

ANSWERS: msgspec.json.Decoder[messages.Answer] = msgspec.json.Decoder(messages.Answer)


class BrokerClient:
    """Starts one broker process and asks it things, one at a time.

    ``notice`` is called for each notice in the thread that asked.
    """

    def __init__(self, notice: Callable[[messages.Notice], None]) -> None:
        ours, theirs = Channel.pair()
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-m",
                "strongroom.pipeline.broker.process",
                str(theirs.fileno()),
                str(os.getpid()),
            ],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the controller, which ends its brokers in order
        )
        theirs.close()
        self._channel = Channel(ours, "broker")
        self._notice = notice
        self._lock = threading.RLock()

    @property
    def pid(self) -> int:
        """The broker's process id."""
        return self._process.pid

    def ask(self, request: messages.Request) -> messages.Reply:
        """Send a request, pass on notices, return the reply. Raises what the broker reports."""
        with self._lock:
            try:
                self._channel.send_record(request)
                while True:
                    answer = self._channel.recv_record(ANSWERS)
                    match answer:
                        case messages.Reply():
                            return answer
                        case messages.Notice():
                            self._notice(answer)
                        case messages.Refused():
                            raise from_documents(answer.errors)
            except ChannelBroken:
                raise BrokerLost(place="broker", actual=self._ending()) from None

    def read(self, uri: str, purpose: str) -> tuple[bytes, str] | None:
        """A control object's bytes and tag; None when there is none."""
        reply = self.ask(messages.Read(uri=uri, purpose=purpose))
        return None if reply.value is None else (reply.data, str(reply.value))

    def create(self, uri: str, purpose: str, data: bytes) -> bool:
        """Create a control object; False when it exists."""
        return bool(self.ask(messages.Create(uri=uri, purpose=purpose, data=data)).value)

    def replace(self, uri: str, purpose: str, data: bytes, etag: str) -> bool:
        """Swap a control object; False when it has changed."""
        request = messages.Replace(uri=uri, purpose=purpose, data=data, etag=etag)
        return bool(self.ask(request).value)

    def sizes(self, uri: str, purpose: str) -> dict[str, int]:
        """Sizes of the objects under ``uri``, by name below it."""
        return dict(self.ask(messages.Head(uri=uri, purpose=purpose)).value)

    def facts(self, uri: str, purpose: str) -> dict[str, Any]:
        """What the store says about the bucket of ``uri``."""
        return dict(self.ask(messages.BucketFacts(uri=uri, purpose=purpose)).value)

    def close(self) -> None:
        """End the broker, and with it its enclave."""
        self._channel.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ending(self) -> str:
        try:
            status = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "it closed its channel"
        return f"signal {-status}" if status < 0 else f"exit status {status}"
