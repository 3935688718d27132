"""Hold a log's folder to its checkpoint with `aics-tlog` alone, in an environment of its own.

Arguments: the folder, the verifier key, files with earlier checkpoints. Its reader of tiles proves
each one against the signed root as `tlog.TileHashReader` of Go's `x/mod/sumdb` does.
"""

import json
import sys
from pathlib import Path

from aics_tlog.checkpoint import parse_checkpoint, verify_checkpoint
from aics_tlog.note import parse_note, parse_vkey
from aics_tlog.tiles import (
    FileSystemTileReader,
    consistency_proof_from_tiles,
    inclusion_proof_from_tiles,
    read_entry,
)
from aics_tlog.tree import verify_consistency, verify_leaf_inclusion
from aics_tlog.verified import VerifiedTileReader, audit_tiles


def head(path, vkey):
    note = parse_note(Path(path).read_bytes())
    result = verify_checkpoint(note, parse_vkey(vkey))
    if not result.ok:
        raise ValueError(result.error)
    return parse_checkpoint(note.text)


folder, vkey, *earlier = sys.argv[1:]
try:
    log = head(Path(folder) / "checkpoint", vkey)
    files = FileSystemTileReader(folder)
    audited = audit_tiles(files, log.size, log.root)
    tiles = VerifiedTileReader(files, log.size, log.root)
    # All entries of a short log, a few of a long one: its proofs are slow.
    looked_up = range(0, log.size, 1 + log.size // 1000)
    included = sum(
        verify_leaf_inclusion(
            read_entry(tiles, index, log.size),
            index,
            log.size,
            inclusion_proof_from_tiles(tiles, index, log.size),
            log.root,
        )
        for index in looked_up
    )
    before = [head(path, vkey) for path in earlier]
    consistent = sum(
        verify_consistency(
            old.size,
            log.size,
            old.root,
            log.root,
            consistency_proof_from_tiles(tiles, old.size, log.size),
        )
        for old in before
    )
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}")
print(
    json.dumps(
        {
            "size": log.size,
            "looked_up": len(looked_up),
            "included": included,
            "consistent": consistent,
            "tiles": audited.tiles,
            "bundles": audited.bundles,
        }
    )
)
