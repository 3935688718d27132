"""``strongroom rollouts``: sealed sample rollouts of a run, shown to the holder of their key.

This process has the network and the ciphertext, and never the key or the text: the viewer that it
starts gets the key from the releaser and writes to the descriptor that it is handed (see
``pipeline.keyholder.outputs``).

The object is held against its checkpoint's manifest, which names damage; what proves that an
enclave of this run wrote it is the seal itself, since nobody else holds the run's output key.
"""

from __future__ import annotations

import os
import stat

from strongroom.audit.events import types as events
from strongroom.crypto.digests import sha256
from strongroom.enclave.channel import frames
from strongroom.enclave.checkpoints import ROLLOUTS
from strongroom.enclave.parent import TaskEnclave
from strongroom.enclave.plan.objects import MANIFEST, complete_checkpoints
from strongroom.pipeline.broker.reading import ReadAccess
from strongroom.pipeline.keyholder.errors import OutputIsFile, RolloutsMissing
from strongroom.pipeline.keyholder.outputs import (
    checkpoint_objects,
    output_keyset,
    sealed_object,
)
from strongroom.pipeline.planning.errors import ReleaserMissing
from strongroom.pipeline.releaser.client import ReleaserClient
from strongroom.pipeline.runfile.spec import RunSpec


def show_rollouts(
    spec: RunSpec,
    run: str,
    step: int,
    out_fd: int,
    *,
    as_json: bool = False,
    in_ascii: bool = False,
) -> None:
    """Write the sample rollouts of the checkpoint at ``step`` to ``out_fd``, as text to be read.

    With ``as_json``, as one JSON document on one line instead; with ``in_ascii``, what the text
    has of other characters is spelled out.

    Raises ``RolloutsMissing`` for a step without a checkpoint, ``OutputIsFile``, the integrity
    errors of ``crypto.pinned`` by the object's name, and what the releaser refuses with.
    """
    if spec.spec.keys.releaser is None:
        raise ReleaserMissing(place="spec.keys.releaser")
    if stat.S_ISREG(os.fstat(out_fd).st_mode):
        raise OutputIsFile(place="standard output")
    access = ReadAccess(spec, run)
    keyset = output_keyset(access, RolloutsMissing)
    sealed, place = _sealed_rollouts(access, step)
    opened = events.RolloutsOpened(uri=place, sha256=sha256(sealed))
    releaser = ReleaserClient(spec.spec.keys.releaser)
    arguments = [releaser.challenge(), run]
    with TaskEnclave("viewer", "strongroom.enclave.roles.view", arguments, [out_fd]) as viewer:
        released = releaser.release_view(viewer.evidence(), run, keyset, opened)
        view = frames.View(
            run=run, step=step, commitment=keyset.commitment, as_json=as_json, in_ascii=in_ascii
        )
        viewer.send(frames.Keys(sealed=released.sealed), view)
        viewer.channel.send_object([sealed])
        viewer.done(place)


def _sealed_rollouts(access: ReadAccess, step: int) -> tuple[bytes, str]:
    """The sealed object, as its manifest pins it, and its URI."""
    folder = access.layout.checkpoint(step)
    place = folder + MANIFEST
    envelope = access.get(place)
    if envelope is None:
        raise RolloutsMissing(
            place=place, expected=f"a checkpoint of step {step}", actual=_steps(access)
        )
    objects = checkpoint_objects(envelope, place)
    if ROLLOUTS not in objects:
        raise RolloutsMissing(place=place, expected="rollouts among its objects")
    pinned = objects[ROLLOUTS]
    place = folder + pinned.object
    return sealed_object(access, place, pinned, RolloutsMissing), place


def _steps(access: ReadAccess) -> str:
    """Which checkpoints there are, for the error that says which there is not."""
    steps = complete_checkpoints(access.names(access.layout.checkpoints))
    return f"checkpoints of steps {', '.join(map(str, steps))}" if steps else "none"
