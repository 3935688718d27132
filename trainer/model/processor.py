"""What the processor has instructions for."""

from __future__ import annotations

from pathlib import Path


def has_bfloat16(processors: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether every processor listed there multiplies matrices of bfloat16 by itself.

    Without such instructions torch converts each operand, at a third of float32's speed.
    """
    cpuinfo = processors.read_text(encoding="utf-8")
    flags = [line.split() for line in cpuinfo.splitlines() if line.startswith("flags")]
    return bool(flags) and all({"avx512_bf16", "amx_bf16"} & set(each) for each in flags)
