"""Inclusion and consistency proofs over a log's leaf hashes (RFC 9162, section 2.1).

A proof is a list of 32-byte hashes. It lets somebody who holds only a signed checkpoint check one
entry, or check that a later checkpoint still contains everything that an earlier one did.
Verifying returns nothing or raises ``ProofInvalid``.
"""

from __future__ import annotations

from collections.abc import Sequence

from strongroom.audit.errors import ProofInvalid
from strongroom.audit.log.tlog import node_hash, subtree_root


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """PATH(index, leaves): the hashes from the leaf's neighbour up to the root's child."""
    if not 0 <= index < len(leaves):
        raise ProofInvalid(place=f"entry {index}", expected=f"an index below {len(leaves)}")
    if len(leaves) == 1:
        return []
    split = _split(len(leaves))
    if index < split:
        return [*inclusion_proof(leaves[:split], index), subtree_root(leaves[split:])]
    return [*inclusion_proof(leaves[split:], index - split), subtree_root(leaves[:split])]


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> list[bytes]:
    """PROOF(old_size, leaves): that the first ``old_size`` leaves are a prefix of all."""
    if not 0 < old_size <= len(leaves):
        raise ProofInvalid(place=f"size {old_size}", expected=f"1 to {len(leaves)}")
    return _subproof(leaves, old_size, known=True)


def _subproof(leaves: Sequence[bytes], old_size: int, *, known: bool) -> list[bytes]:
    if old_size == len(leaves):
        return [] if known else [subtree_root(leaves)]
    split = _split(len(leaves))
    if old_size <= split:
        return [
            *_subproof(leaves[:split], old_size, known=known),
            subtree_root(leaves[split:]),
        ]
    return [
        *_subproof(leaves[split:], old_size - split, known=False),
        subtree_root(leaves[:split]),
    ]


def check_inclusion(
    proof: Sequence[bytes], *, leaf: bytes, index: int, size: int, root: bytes
) -> None:
    """Raise unless ``proof`` leads from ``leaf`` at ``index`` to the ``root`` over ``size``."""
    place = f"entry {index}"
    if not 0 <= index < size:
        raise ProofInvalid(place=place, expected=f"an index below {size}")
    node, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise ProofInvalid(place=place, expected="a shorter proof")
        if node & 1 or node == last:
            found = node_hash(sibling, found)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        node, last = node >> 1, last >> 1
    if last != 0 or found != root:
        raise ProofInvalid(place=place, expected=f"root {root.hex()}", actual=found.hex())


def check_consistency(
    proof: Sequence[bytes], *, old_size: int, old_root: bytes, size: int, root: bytes
) -> None:
    """Raise unless the tree under ``old_root`` is a prefix of the one under ``root``."""
    place = f"sizes {old_size} and {size}"
    invalid = ProofInvalid(place=place, expected="the earlier checkpoint to be a prefix")
    if not 0 < old_size <= size:
        raise invalid
    if old_size == size:
        if proof or old_root != root:
            raise invalid
        return
    path = list(proof)
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise invalid
    node, last = old_size - 1, size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise invalid
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    if last != 0 or old != old_root or new != root:
        raise invalid


def _split(size: int) -> int:
    """The largest power of two below ``size``."""
    return 1 << (size - 1).bit_length() - 1
