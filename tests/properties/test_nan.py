"""NaN and infinities in an input are where NumPy has them in the result, at each ISA level."""

import numpy as np
import ranvier as rv
from samples.sample import arrays_in

from properties.every import every_op
from properties.test_reference import expected

LEAVES_OUT: dict[str, str] = {}


def kinds(y):
    """Where are NaN, infinities and numbers."""
    return np.where(np.isnan(y), 2, np.where(np.isinf(y), np.sign(y), 0)) if y.dtype.kind == "f" else y


@every_op(LEAVES_OUT, only=lambda op: op.reference)
def test_nan(sample, isas):
    for number in range(len(sample.arrays)):
        for value in (np.nan, np.inf, -np.inf):
            array = arrays_in((sample.args, sample.settings))[number]
            if array.dtype.kind != "f" or not array.size:
                continue
            kept, array.flat[array.size // 2] = array.flat[array.size // 2], value
            try:
                compare(sample, isas)
            finally:
                array.flat[array.size // 2] = kept


def compare(sample, isas):
    wanted, _ = expected(sample, np.float32)
    for isa in isas:
        for y, z in zip(sample.tensors(rv.float32, records=False)(), wanted, strict=True):
            np.testing.assert_array_equal(kinds(y.numpy()), kinds(z), isa)
