"""Which processors have instructions for bfloat16."""

from pathlib import Path

import pytest

from strongroom.trainer.model.processor import has_bfloat16


@pytest.mark.parametrize(
    ("cpuinfo", "has"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 avx512_vnni\n", True),
        ("flags\t\t: fpu amx_bf16\n\nvmx flags\t: vnmi\nflags\t\t: fpu amx_bf16\n", True),
        ("flags\t\t: fpu avx512f avx512_vnni\n", False),
        ("flags\t\t: fpu avx512_bf16\n\nflags\t\t: fpu avx512f\n", False),
        ("bugs\t\t: avx512_bf16\n", False),
        ("", False),
    ],
)
def test_bfloat16_counts_where_every_processor_has_it(cpuinfo: str, has: bool, tmp_path: Path):
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert has_bfloat16(tmp_path / "cpuinfo") is has
