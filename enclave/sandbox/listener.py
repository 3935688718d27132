"""The enclave's end of a watch: it lets an evaluator load, and then lets go for good.

The listener of :func:`enclave.sandbox.filters.watch` stays in the enclave; the watched process
keeps no copy. While it is served, each call that is asked about goes on as it is: the filter and
Landlock of that process have been asked before. Only the number of threads is bounded here. Once it
is closed, the kernel answers such calls with ``ENOSYS``, whatever the process did to itself while
it loaded the customer's code.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from errno import EAGAIN

from strongroom.enclave.sandbox import syscalls
from strongroom.enclave.sandbox.filters import NOTIF_RECV, NOTIF_SEND

MAX_THREADS = 64
"""Of an evaluator, its first one included."""

_NOTIFICATION = struct.Struct("QIIiIQ6Q")
_ANSWER = struct.Struct("QqiI")
_CONTINUE = 1


class Listener:
    """A watched process's questions; ``threads`` is how many it has."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.threads = 1
        self.refused_threads = 0

    def fileno(self) -> int:
        """The descriptor, -1 when closed; ready to be read when there is a question."""
        return self._descriptor

    def answer(self) -> None:
        """Answer one question, for which the caller has polled."""
        question = bytearray(_NOTIFICATION.size)
        with contextlib.suppress(OSError):  # its thread was killed, or a signal interrupted it
            fcntl.ioctl(self._descriptor, NOTIF_RECV, question)
            number, _pid, _flags, call, *_ = _NOTIFICATION.unpack(question)
            errno = self._refusal(call)
            answer = _ANSWER.pack(number, 0, -errno, 0 if errno else _CONTINUE)
            fcntl.ioctl(self._descriptor, NOTIF_SEND, answer)

    def close(self) -> None:
        """Let go: what was asked and not answered fails, too."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _refusal(self, call: int) -> int:
        if call == syscalls.NUMBERS["clone"]:
            if self.threads == MAX_THREADS:
                self.refused_threads += 1
                return EAGAIN
            self.threads += 1
        elif call == syscalls.NUMBERS["exit"]:
            self.threads -= 1
        return 0
