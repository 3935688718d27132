"""Rows on their way into an enclave: from the owner's files, or from sealed shards.

``sources`` reads the owner's files for the sealer, with ``parquet`` and ``zstd_frames``. ``shards``
opens what was sealed. ``lines`` splits the bytes of either into records. What a row means, and what
can be wrong with one, is in ``strongroom.trainer.data``.
"""
