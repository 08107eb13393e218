"""Arrays that do not fit together, for each kernel: none is read beyond its end, or as of another dtype."""

import numpy as np
from support.calls import KERNELS
from support.grouped import grouped
from support.run_call import call_of, run
from support.wrong_input import flat

# Sizes and dtypes that a result does not show: of what is looked up, reduced, counted or written to.
NOT_SHOWN = {
    *(("batch_norm", 5), ("embedding", 1), ("embedding_bag", 0), ("embedding_bag", 1), ("ctc_loss", 0)),
    *(("ctc_loss", 1), ("gather", 0), ("std", 0), ("sum_exp", 0), ("var", 0), ("scatter_backward", 1)),
    *(("embedding_bag_backward", 2), ("grid_sample", 0), ("move_images", 0)),
}


def unlike(x, alone):
    """Integers for floats, and floats for others; the other width of floats, one more along each axis."""
    yield x.astype("int64" if x.dtype.kind == "f" else "float32")
    if not alone:
        for axis in range(x.ndim):
            yield np.concatenate([x, x.take([0], axis)], axis)
        if x.dtype.kind == "f":
            yield x.astype("float64" if x.dtype == "float32" else "float32")


def described(name, arrays, attributes):
    return [(y.shape, y.dtype) for y in flat(run("kernels", name, arrays, attributes))]


@grouped("name", sorted(KERNELS))
def test_arrays_that_do_not_fit_together(name):
    """They are refused, or the result shows that they fit: it has another shape or dtype."""
    arrays, attributes = call_of("kernels", name)
    usual = described(name, arrays, attributes)
    for at, right in enumerate(arrays):
        for wrong in [] if isinstance(right, list) else unlike(right, len(arrays) == 1):
            given = [*call_of("kernels", name)[0]]
            given[at] = wrong
            try:
                found = described(name, given, attributes)
            except (ValueError, TypeError) as refusal:
                text = str(refusal)
                assert "; expected" in text, text
            else:
                assert found != usual or (name, at) in NOT_SHOWN, f"array {at}: {wrong.dtype} {wrong.shape}"
