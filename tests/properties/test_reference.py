"""The value of an op is that of NumPy, in float32 and float64, at each ISA level."""

import warnings

import numpy as np
from samples.sample import plain
from support.tolerance import close, equal, tolerance

from properties.every import every_op


def expected(sample, dtype):
    """The reference for the numbers of dtype, and how far a result of a dtype may be from it."""
    op = sample.op
    args, settings = plain(sample.args, dtype), plain(sample.settings, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's warning; the op gives none
        wanted = op.reference(*args, **settings)
    wanted = [np.asarray(w) for w in (wanted if isinstance(wanted, (list, tuple)) else [wanted])]
    size, terms = magnitude([*sample.arrays, *wanted]), op.terms(*args, **settings)
    return wanted, lambda dtype: tolerance(dtype, terms, size)


def magnitude(arrays):
    """The largest finite number of arrays of floats, at least 1."""
    finite = [x[np.isfinite(x)] for x in arrays if x.dtype.kind == "f"]
    return max([1.0, *(np.abs(x).max(initial=0) for x in finite)])


def agree(found, wanted, limit, exact, where):
    """The results are those wanted, where they are floats within a limit for their dtype."""
    for y, want in zip(found, wanted, strict=True):
        assert y.shape == want.shape, where
        if y.dtype.kind != "f" or exact:
            equal(y, want.astype(y.dtype), where)
        else:
            close(y, want, 0, limit(y.dtype), where)


def compare_with_reference(sample, isas):
    for dtype in (np.float32, np.float64):
        wanted, limit = expected(sample, dtype)
        for isa in isas:
            found = [y.numpy(force=True) for y in sample.tensors(dtype, records=False)()]
            agree(found, wanted, limit, sample.op.exact, isa)


@every_op({}, only=lambda op: op.reference)
def test_reference(sample, isas):
    compare_with_reference(sample, isas)
