"""NaN and infinities in an input are at the same places of results and gradients at each level, in both
dtypes, and where NumPy has them."""

import numpy as np
import ranvier as rv
from samples.sample import arrays_in
from support.tolerance import equal

from properties.every import every_op, gradients, lacking, lacks
from properties.test_reference import expected

LEAVES_OUT = {
    "batch_norm instance_norm group_norm layer_norm": "an infinite weight times 0 is NaN in one dtype",
    "ldexp": "overflows in float32",
}


def kinds(y):
    """Where are NaN, infinities and numbers."""
    return np.where(np.isnan(y), 2, np.where(np.isinf(y), np.sign(y), 0)) if y.dtype.kind == "f" else y


@every_op(LEAVES_OUT | lacking("NaN"))
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
    results = []
    for isa in isas:
        for dtype in (rv.float32, rv.float64):
            call = sample.tensors(dtype)
            ys = call()
            results.append([kinds(y.numpy(force=True)) for y in (*ys, *gradients(ys, call.leaves))])
            for y, z in zip(results[-1], results[0], strict=True):
                equal(y, z, f"{isa} {dtype}")
    has_limits = not lacks(sample, "limits") and "reference" not in sample.left_out
    if sample.op.reference and has_limits:
        for y, z in zip(results[0], expected(sample, np.float32)[0], strict=False):
            equal(y, kinds(z))
