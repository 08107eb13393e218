"""Integers of each dtype, in any memory, give the values of int64, as far as the dtype has them."""

import itertools

import numpy as np
import ranvier as rv
from samples.sample import SIZE
from support.layouts import LAYOUTS, in_layout

from properties.every import every_op

LEAVES_OUT = {
    "index_put setitem": "an index of uint8 is a mask",
    "randint_like": "draws from a range, as the dtype has it",
    "clamp": "uint8 has no limits below 0",
}
DTYPES = ("uint8", "int8", "int16", "int32", "int64")


def of_integers(sample):
    """True if the arrays of a right call are int64, some perhaps bools."""
    kinds = set() if sample.is_layer or sample.error else {str(x.dtype) for x in sample.arrays}
    return "int64" in kinds and kinds <= {"int64", "bool"}


@every_op(LEAVES_OUT, only=lambda op: any(map(of_integers, op.samples)), of=of_integers)
def test_integers(sample):
    layouts = itertools.cycle(("", *LAYOUTS))
    for width, dtype in itertools.product((SIZE, 67) if sample.has_size else (SIZE,), DTYPES):
        call = sample.op.drawn(width)[sample.number].tensors()
        arrays = [np.asarray(abs(x) if dtype == "uint8" else x) for x in map(np.asarray, call.inputs)]
        cast = [x if x.dtype == bool else x.astype(dtype) for x in arrays]
        if any((x != y).any() for x, y in zip(arrays, cast, strict=True)):
            continue
        wanted = call.with_inputs(*map(rv.from_numpy, arrays))
        ys = call.with_inputs(*(rv.from_numpy(in_layout(x, next(layouts))) for x in cast))
        for y, want in zip(ys, wanted, strict=True):
            assert y.dtype in (want.dtype, getattr(rv, dtype))
            found = y.numpy()
            np.testing.assert_array_equal(found, want.numpy().astype(found.dtype), err_msg=dtype)
