"""The value of an op is that of NumPy, in float32 and float64, at each ISA level."""

import warnings

import numpy as np
from samples.sample import arrays_in
from support.tolerance import tolerance

from properties.every import every_op


def plain(value, dtype):
    """The argument with the numbers of dtype as float64, as the reference takes it."""
    if isinstance(value, (list, tuple)):
        return type(value)(plain(part, dtype) for part in value)
    value = getattr(value, "array", value)
    is_float = isinstance(value, np.ndarray) and value.dtype.kind == "f"
    return value.astype(dtype).astype(np.float64) if is_float else value


@every_op({}, only=lambda op: op.reference)
def test_reference(sample, isas):
    op = sample.op
    for dtype in (np.float32, np.float64):
        args = plain(sample.args, dtype)
        settings = {name: plain(value, dtype) for name, value in sample.settings.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of NumPy; the op gives none
            wanted = op.reference(*args, **settings)
        wanted = wanted if isinstance(wanted, (list, tuple)) else [wanted]
        terms = op.terms(*args, **settings)
        for isa in isas:
            found = sample.tensors(dtype, records=False)()
            for y, want in zip(found, wanted, strict=True):
                y, want = y.numpy(), np.asarray(want)
                assert y.shape == want.shape, isa
                if y.dtype.kind != "f" or op.exact:
                    np.testing.assert_array_equal(y, want.astype(y.dtype), isa)
                    continue
                finite = [x[np.isfinite(x)] for x in [*arrays_in(sample.args), want] if x.dtype.kind == "f"]
                size = max([1.0, *(np.abs(x).max(initial=0) for x in finite)])
                limit = tolerance(y.dtype, terms, size)
                np.testing.assert_allclose(y, want, rtol=0, atol=limit, err_msg=isa)
