"""Numbers rounded to bfloat16, and what tests of `set_float32_matmul_precision("medium")` have in common."""

import os
from contextlib import contextmanager

import numpy as np
import pytest
import ranvier as rv
import ranvier._core as _core

ASKED = os.environ.get("RANVIER_BFLOAT16", "auto")
REAL = [kind for kind in ("pairs", "tiles") if _core.set_bfloat16(kind)]
TILES = [kind for kind in ("tiles", "emulated") if _core.set_bfloat16(kind)][:1]
_core.set_bfloat16(ASKED)
KINDS = REAL + [kind for kind in TILES if kind not in REAL]  # what multiplies, of those that are here

needs_bfloat16 = pytest.mark.skipif(
    not KINDS, reason="needs a processor with products of bfloat16 (avx512_bf16) at its level"
)
needs_tiles = pytest.mark.skipif(not TILES, reason="needs AMX, or avx512_bf16 and a build that emulates it")


@contextmanager
def multiplied_by(kind, precision):
    assert _core.set_bfloat16(kind)
    with rv.config.float32_matmul_precision(precision):
        yield
    _core.set_bfloat16(ASKED)


@pytest.fixture(params=KINDS or [None])
def medium(request):
    with multiplied_by(request.param, "medium"):
        yield


@pytest.fixture
def directly():
    """Without Winograd's algorithm, whose transformed factors are rounded to bfloat16."""
    before = rv.get_winograd()
    rv.set_winograd(False)
    yield
    rv.set_winograd(before)


@pytest.fixture(params=TILES or [None])
def high(request):
    with multiplied_by(request.param, "high"):
        yield


def is_rounded(n, k):
    """True if a product of n columns and k factors is one of bfloat16 with "medium"."""
    tiles = _core.bfloat16() > 1
    return min(n, k) >= (32 if tiles else 16) and n * k >= (4096 if tiles else 1024)


def bfloat16(x):
    """x rounded to 8 bits, to nearest, ties to even, as float64; subnormal numbers are 0."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16).astype(np.uint32).view(np.float32)
    rounded = np.where(np.isnan(x), np.float32(np.nan), rounded)
    tiny = np.finfo(np.float32).tiny
    return np.where((np.abs(x) < tiny) | (np.abs(rounded) < tiny), np.float32(0), rounded).astype(np.float64)
