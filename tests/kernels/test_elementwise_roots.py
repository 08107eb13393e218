"""sqrt is correctly rounded: float32 for every significand, float64 beside midpoints of two doubles."""

import numpy as np
import pytest
from ranvier import _core


def roots_of(c: int, bits: int) -> set[int]:
    """All n in [0, 2**bits) with n * n = c modulo 2**bits, for c = 1 modulo 8."""
    found = {1, 3, 5, 7}
    for bit in range(3, bits):
        found = {m for n in found for m in (n, n + (1 << bit)) if (m * m - c) % (1 << bit + 1) == 0}
    return found


def near_midpoints() -> np.ndarray:
    """Every x in [1, 4) whose root is within 2**-102 of itself from a midpoint.

    With the midpoint n / 2 for an odd n in (2**53, 2**54), 4 x = n**2 + c for a small c, and x has 53 bits.
    """
    found = []
    for bits in (54, 55):  # of 4 x, zeros at the end: for x in [1, 2), [2, 4)
        for c in range(-257, 257, 8):  # 4 x is a multiple of 8: the others have no solution
            for n in roots_of(-c, bits):
                x4 = [m * m + c for m in (n, n + (1 << bits)) if 1 << 53 < m < 1 << 54]
                found += [x >> 54 for x in x4 if (x < 1 << 107) == (bits == 54)]
    return np.array(found, dtype=np.float64) / 2.0**52


def check(x: np.ndarray) -> None:
    with np.errstate(invalid="ignore"):
        want = np.sqrt(x)
    kind = f"u{x.itemsize}"
    np.testing.assert_array_equal(_core.sqrt(x).view(kind), want.view(kind))


def test_roots_near_midpoints(isa):
    x = near_midpoints()
    assert x.size > 50
    assert x.min() >= 1
    assert x.max() < 4
    for exponent in range(-1022, 1022, 2):
        check(np.ldexp(x, exponent))


def test_random_numbers(isa, rng):
    bits = rng.integers(0, 1 << 64, 1 << 18, dtype=np.uint64, endpoint=False)
    x = bits.view(np.float64)
    check(np.abs(x[~np.isnan(x)]))
    check(rng.uniform(1, 4, 1 << 20))
    check(rng.integers(0, 1 << 53, 1 << 18).astype(np.float64))


def test_every_significand_of_float32(isa):
    x = np.arange(0x3F800000, 0x40800000, dtype=np.int32).view(np.float32)  # [1, 4)
    check(x)
    for exponent in (-146, -126, -72, -70, -68, 126):
        check(np.ldexp(x[:: 1 << 8], exponent))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_special_numbers_beside_others(dtype, isa):
    kind = np.finfo(dtype)
    special = [0.0, -0.0, kind.smallest_subnormal, kind.tiny, kind.tiny / 2, kind.max, np.inf]
    for number in [*special, 2.0**-900 if dtype == "float64" else 2.0**-70]:
        for lane in range(17):
            for next_to in (number, np.nextafter(number, 0, dtype=dtype)):
                x = np.arange(1, 40, dtype=dtype)
                x[lane] = next_to
                check(x)
    got = _core.sqrt(np.array([4.0, -1.0, np.nan, -np.inf], dtype))
    assert got[0] == 2
    assert np.isnan(got[1:]).all()
