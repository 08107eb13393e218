"""The value of an op is that of NumPy, in float32 and float64, at each ISA level."""

import numpy as np
from samples.sample import arrays_in, plain
from support.tolerance import tolerance

from properties.every import every_op


def compare_with_reference(sample, isas):
    op = sample.op
    for dtype in (np.float32, np.float64):
        args = plain(sample.args, dtype)
        settings = plain(sample.settings, dtype)
        with np.errstate(all="ignore"):
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


@every_op({}, only=lambda op: op.reference)
def test_reference(sample, isas):
    compare_with_reference(sample, isas)
