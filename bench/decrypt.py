"""How close opening sealed objects comes to AES-GCM itself, both measured side by side in one run.

Both sides decrypt the same sealed object, segment by segment, into one reused 1 MiB buffer. The raw
side has its nonces and slices made beforehand and calls only ``AESGCM.decrypt_into``; Strongroom's
side is what the pipeline runs: ``StreamingKey.opener`` and ``Opener.open_into``. The two alternate
in pairs, so that a slow moment of the machine falls on both, and the ratio is the median of the
pairs' ratios. It fails (exit code 1) below the floor.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable

import figures
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from strongroom.crypto.keyset import Keyset
from strongroom.crypto.segments import HEADER_BYTES, SEGMENT_BYTES, TAG_BYTES
from strongroom.crypto.writer import segment_nonce

FLOOR = 0.80
AD = b"strongroom/shard/v1\0bench\x001\x000\x001"


def raw_pass(sealed: bytearray, key: bytes, out: memoryview) -> Callable[[], None]:
    """One pass of ``AESGCM.decrypt_into`` over all segments, with everything else done before."""
    header, view = bytes(sealed[:HEADER_BYTES]), memoryview(sealed)
    aead = AESGCM(HKDF(SHA256(), 32, header[1:33], AD).derive(key))
    starts = range(0, len(sealed), SEGMENT_BYTES)
    calls = []
    for i, start in enumerate(starts):
        source = view[start or HEADER_BYTES : start + SEGMENT_BYTES]
        nonce = segment_nonce(header[33:], i, last=i == len(starts) - 1)
        calls.append((nonce, source, None, out[: len(source) - TAG_BYTES]))

    def run() -> None:
        for call in calls:
            aead.decrypt_into(*call)

    return run


def opener_pass(sealed: bytearray, keyset: Keyset, out: memoryview) -> Callable[[], None]:
    """One pass as the pipeline makes it: derive the object's key, open every segment."""
    header, view, key = bytes(sealed[:HEADER_BYTES]), memoryview(sealed), keyset.streaming()

    def run() -> None:
        opener = key.opener(header, len(view), AD)
        for i in range(opener.segments):
            start, stop = opener.segment_range(i)
            opener.open_into(i, view[start:stop], out)

    return run


def seconds(run: Callable[[], None]) -> float:
    """Wall time of one pass."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=128, help="size of the object (default 128)")
    parser.add_argument("--pairs", type=int, default=31, help="pairs of passes (default 31)")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    args = parser.parse_args()

    keyset = Keyset.generate()
    sealed = keyset.streaming().seal(os.urandom(args.mib << 20), AD)
    out = memoryview(bytearray(SEGMENT_BYTES))
    raw, ours = raw_pass(sealed, keyset.key, out), opener_pass(sealed, keyset, out)
    raw()
    ours()
    times = []
    for i in range(args.pairs):
        if i % 2:
            ours_s, raw_s = seconds(ours), seconds(raw)
        else:
            raw_s, ours_s = seconds(raw), seconds(ours)
        times.append((raw_s, ours_s))

    gigabytes = len(sealed) / 1e9
    raw_gbps = gigabytes / statistics.median(raw_s for raw_s, _ in times)
    ours_gbps = gigabytes / statistics.median(ours_s for _, ours_s in times)
    ratio = statistics.median(raw_s / ours_s for raw_s, ours_s in times)
    print(f"$ {figures.command()}")
    print(f"raw AESGCM.decrypt_into   {raw_gbps:6.2f} GB/s")
    print(f"Opener.open_into          {ours_gbps:6.2f} GB/s")
    print(f"ratio                     {ratio:6.3f}   (floor {FLOOR:.2f}, {args.pairs} pairs)")
    if args.json:
        found = {
            "mib": args.mib,
            "pairs": args.pairs,
            "raw_gb_per_s": round(raw_gbps, 3),
            "opener_gb_per_s": round(ours_gbps, 3),
            "ratio": round(ratio, 4),
            "floor": FLOOR,
            "passed": ratio >= FLOOR,
        }
        print(figures.document("decrypt", found))
    return 0 if ratio >= FLOOR else 1


if __name__ == "__main__":
    sys.exit(main())
