"""Half floats in NumPy: their dtypes, and numbers rounded to them by arithmetic on exponent and fraction."""

import numpy as np
from ranvier.tensors.memory import BF16, F16

HALVES = (F16, BF16)
_FORMS = {
    F16: (11, -14, 65504.0),
    BF16: (8, -126, (2 - 2.0**-7) * 2.0**127),
}  # digits, least exponent, greatest


def as_half(x, dtype):
    """Floats rounded to nearest, ties to even, as float32."""
    digits, least, greatest = _FORMS[dtype]
    with np.errstate(invalid="ignore"):  # warnings of NaN
        wide = np.asarray(x, np.float64)
        exponent = np.maximum(np.frexp(wide)[1] - 1, least)  # |wide| < 2^(exponent + 1)
        unit = np.ldexp(1.0, exponent - (digits - 1))
        y = np.where(np.isfinite(wide), np.rint(wide / unit) * unit, wide)
        return np.where(np.abs(y) > greatest, np.copysign(np.inf, y), y).astype(np.float32)


def all_halves(dtype):
    """Every one of the 2^16, and as float32 by the definition of its bits."""
    bits = np.arange(1 << 16, dtype=np.uint16)
    digits, least, _ = _FORMS[dtype]
    fraction, exponent = bits & (1 << digits - 1) - 1, (bits & 0x7FFF) >> digits - 1
    normal = np.ldexp(1 + np.ldexp(fraction.astype(np.float64), 1 - digits), exponent.astype(int) - 1 + least)
    size = np.where(exponent == 0, np.ldexp(fraction.astype(np.float64), least + 1 - digits), normal)
    last = (1 << 16 - digits) - 1
    size = np.where(exponent == last, np.where(fraction == 0, np.inf, np.nan), size)
    return bits.view(dtype), np.where(bits >> 15, -size, size).astype(np.float32)
