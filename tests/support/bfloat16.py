"""Numbers rounded to bfloat16, and what tests of `set_float32_matmul_precision("medium")` have in common."""

import numpy as np
import pytest
import ranvier as rv
import ranvier._core as _core

needs_bfloat16 = pytest.mark.skipif(
    not _core.has_bfloat16(), reason="needs a processor with products of bfloat16 (avx512_bf16) at its level"
)


@pytest.fixture
def medium():
    with rv.config.float32_matmul_precision("medium"):
        yield


def bfloat16(x):
    """x rounded to 8 bits, to nearest, ties to even, as float64; subnormal numbers are 0."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16).astype(np.uint32).view(np.float32)
    rounded = np.where(np.isnan(x), np.float32(np.nan), rounded)
    tiny = np.finfo(np.float32).tiny
    return np.where((np.abs(x) < tiny) | (np.abs(rounded) < tiny), np.float32(0), rounded).astype(np.float64)
