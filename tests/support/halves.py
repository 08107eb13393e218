"""Half floats in NumPy: their dtypes, and numbers rounded to them by arithmetic on exponent and fraction."""

from typing import NamedTuple

import numpy as np
from ranvier.tensors.memory import BF16, F16

HALVES = (F16, BF16)


class Format(NamedTuple):
    digits: int  # of the fraction, with the leading 1 that is not stored
    least_exponent: int  # of normal numbers
    greatest: float


FORMATS = {
    F16: Format(11, -14, 65504.0),
    BF16: Format(8, -126, (2 - 2.0**-7) * 2.0**127),
}


def as_half(x, dtype):
    """Floats rounded to nearest, ties to even, as float32."""
    half = FORMATS[dtype]
    with np.errstate(invalid="ignore"):  # warnings of NaN
        wide = np.asarray(x, np.float64)
        _, exponent = np.frexp(wide)  # |wide| < 2^exponent
        exponent = np.maximum(exponent - 1, half.least_exponent)
        unit = np.ldexp(1.0, exponent - (half.digits - 1))
        rounded = np.where(np.isfinite(wide), np.rint(wide / unit) * unit, wide)
        overflows = np.abs(rounded) > half.greatest
        return np.where(overflows, np.copysign(np.inf, rounded), rounded).astype(np.float32)


def all_halves(dtype):
    """Every one of the 2^16, and as float32 by the definition of its bits."""
    half = FORMATS[dtype]
    stored_digits = half.digits - 1
    bits = np.arange(1 << 16, dtype=np.uint16)
    is_negative = bits >> 15
    exponent = (bits & 0x7FFF) >> stored_digits
    fraction = bits & ((1 << stored_digits) - 1)
    share = np.ldexp(fraction.astype(np.float64), -stored_digits)  # of the leading 1

    normal = np.ldexp(1 + share, exponent.astype(int) - 1 + half.least_exponent)
    subnormal = np.ldexp(share, half.least_exponent)
    size = np.where(exponent == 0, subnormal, normal)

    last_exponent = (1 << (15 - stored_digits)) - 1
    infinity_or_nan = np.where(fraction == 0, np.inf, np.nan)
    size = np.where(exponent == last_exponent, infinity_or_nan, size)
    return bits.view(dtype), np.where(is_negative, -size, size).astype(np.float32)
