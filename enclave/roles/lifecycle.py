"""What every enclave does before its role's own work: close, show that it is closed, get its keys.

The order is the same for all, and is what the evidence is worth:

1. measure the code and make the window for plaintext, while files can still be opened and sized;
2. **stage A**: no files but libraries, no network, no privileges; one thread, so nothing that
   starts threads is imported before;
3. the role's own preparation: the imports and warm-ups that it needs (torch, Arrow, the
   evaluator's process), since nothing can be loaded after the next line;
4. compare every file that is mapped into the process with the measured set; **stage B**: look up
   and open for the last time, keep what is mapped of files, then the system-call filter, on all
   threads: from here on the process is in its last stage;
5. try each wall from inside, so that the evidence holds what was seen and not what was intended;
6. make the key pairs, which therefore never exist in a process that could leak them, send the
   evidence, and open the keys that the releaser seals to it.

:meth:`Lifecycle.begin` does 1 and 2, :meth:`Lifecycle.attest` 4 to 6. At assurance A0 the walls are
left out, and the evidence says so.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import dataclass

from strongroom.crypto.digests import Sha256
from strongroom.enclave.assurance import Assurance
from strongroom.enclave.attest import Attested, attest, warm_up_primitives
from strongroom.enclave.channel.framing import Channel
from strongroom.enclave.evidence import Role
from strongroom.enclave.measurement import measure
from strongroom.enclave.sandbox import landlock
from strongroom.enclave.sandbox.filters import trainer
from strongroom.enclave.sandbox.lockdown import (
    keep_files,
    limit_memory,
    lock_files_and_network,
    lock_system_calls,
    memory_in_use,
    mount_unlocked,
    mute,
)
from strongroom.enclave.sandbox.probes import Probed, ProbedProcesses, facts, probe
from strongroom.enclave.sandbox.scratch import MOUNT_POINT, Scratch
from strongroom.enclave.sandbox.secret_memory import SECRET_MAPPING, SecretMemory
from strongroom.isolated import boot

MORE_BYTES = 1 << 30
"""What an enclave may take once it has keys, in addition to what it has then."""


@dataclass(frozen=True)
class Needs:
    """What a role needs that others do not, see ``sandbox.filters.trainer`` for the first two."""

    executable: bool = False
    engine: bool = False
    memory_bytes: int = 0
    """In all; 0 for :data:`MORE_BYTES` more than it has."""


_LITTLE = Needs()


@dataclass(frozen=True)
class Lifecycle:
    """An enclave's process after stage A, made by :meth:`begin`."""

    channel: Channel
    assurance: Assurance
    measurement: Sha256
    window: SecretMemory
    """Memory for plaintext."""

    @classmethod
    def begin(
        cls,
        channel: Channel,
        assurance: Assurance,
        *,
        window_bytes: int = 1,
        scratch: Scratch | None = None,
    ) -> Lifecycle:
        """Measure, and lock files and network; ``scratch`` is mounted on the way.

        Raises ``LockdownOrder`` in a process with threads, and ``ScratchUnavailable``.
        """
        measurement = measure()
        window = SecretMemory(window_bytes)
        warm_up_primitives()
        if assurance != "A0":
            lock_files_and_network(scratch=scratch)
        elif scratch:
            mount_unlocked(scratch)
        return cls(channel, assurance, measurement, window)

    @property
    def locked(self) -> bool:
        """Whether there are walls."""
        return self.assurance != "A0"

    def close(
        self,
        fds: Collection[int] = (),
        evaluators: ProbedProcesses | None = None,
        needs: Needs = _LITTLE,
    ) -> Probed:
        """Compare what is mapped with the measured set, filter system calls, try every wall.

        ``fds`` are the descriptors that this process should have beside 0 to 2, the channel's and
        the evaluators'. Raises ``PlatformUnsupported``.
        """
        if boot.guard:
            boot.guard.settle(own=(SECRET_MAPPING, f"{MOUNT_POINT}/"))
        known = facts()
        if self.locked:
            limit_memory(needs.memory_bytes or memory_in_use() + MORE_BYTES)
            mute()
            known["mapped_files"] = keep_files()
            if needs.engine:
                # It reads its own folder from now on. Threads that there are keep the wider layer.
                with contextlib.suppress(OSError):  # the probes tell
                    landlock.restrict((MOUNT_POINT,), scoped=False)  # it stops its evaluators
            lock_system_calls(trainer(executable=needs.executable, engine=needs.engine))
        return probe(
            known,
            evaluators,
            expected_fds=(self.channel.fileno(), *fds),
            secret_memory=self.window.kind,
            engine=needs.engine,
        )

    def attest(
        self,
        role: Role,
        plan_digest: Sha256,
        nonce: str,
        *,
        fds: Collection[int] = (),
        evaluators: ProbedProcesses | None = None,
        needs: Needs = _LITTLE,
    ) -> Attested:
        """:meth:`close`, then send the evidence and wait for the keys.

        ``plan_digest`` is that of the plan, or the subject that stands in its place; ``nonce``
        is the releaser's.
        """
        seen = self.close(fds, evaluators, needs)
        return attest(
            self.channel,
            role=role,
            assurance=self.assurance,
            measurement=self.measurement,
            plan_digest=plan_digest,
            nonce=nonce,
            probes=seen.probes,
            warnings=seen.warnings,
        )
