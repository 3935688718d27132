"""How a ``seal`` enclave sends one shard: sealed as it is written, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from strongroom.crypto.keyset import Keyset
from strongroom.crypto.manifest import encode_header, shard_identity
from strongroom.crypto.writer import SealWriter
from strongroom.enclave.channel import frames
from strongroom.enclave.channel.framing import Channel, Kind


@contextmanager
def sent_shard(
    channel: Channel, keyset: Keyset, name: str, index: int, records: int
) -> Iterator[SealWriter]:
    """Shard ``index`` of the dataset ``name``: write its plaintext to the writer in the block.

    A block that raises ends the object as well, so that the channel can then carry the failure; no
    ``ShardSealed`` follows, and so no manifest names the object.
    """
    channel.send_record(frames.Put(artifact="shard", index=index, size_bytes=0))
    ad = shard_identity(name, keyset.key_id, index, records)
    writer = keyset.streaming().writer(ad, lambda piece: channel.send(Kind.DATA, piece))
    try:
        yield writer
    finally:
        writer.close()
        channel.send(Kind.END)
    channel.send_record(
        frames.ShardSealed(
            shard=index,
            header=encode_header(writer.header),
            records=records,
            plaintext_bytes=writer.plaintext_bytes,
        )
    )
