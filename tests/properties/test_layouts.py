"""Strided, reversed, repeated, unaligned, byte-swapped and read-only arrays give the same numbers."""

import numpy as np
import ranvier as rv
from support.layouts import LAYOUTS, along_axes, any_layout, in_layout
from support.tolerance import tolerance
from support.wrong_input import read_only, swapped, unaligned

from properties.every import every_op, weights_for

LEAVES_OUT = {
    "as_strided": "reads memory",
    """relu_ elu_ selu_ celu_ hardtanh_ leaky_relu_ threshold_ rrelu_
    ReLU_in_place""": "writes to memory: test_in_place.py",
    "histogram logdet slogdet lu": "refuses elements that are all the same",
}


def any_order(array):
    """In memory with another order of the axes, some backwards or with gaps."""
    return any_layout(np.random.default_rng(array.size), array)


def outcome(call, given, way):
    """Results and gradients of the call with these arrays; what is sent back lies the same way."""
    given = [rv.as_tensor(x) for x in given]
    given = [x.requires_grad_(old.requires_grad) for x, old in zip(given, call.inputs, strict=True)]
    try:
        ys = call.with_inputs(*given)
    except ValueError as error:  # singular matrices
        return str(error)
    moving, leaves = [y for y in ys if y.requires_grad], [x for x in given if x.requires_grad]
    if moving and leaves:
        ws = [rv.as_tensor(way(weights_for(y, 1).numpy())) for y in moving]
        ys = [*ys, *rv.autograd.grad(moving, leaves, ws, allow_unused=True, materialize_grads=True)]
    return [y.numpy(force=True) for y in ys]


def in_order(arrays):
    """The same numbers in the order of C."""
    return [np.array(array, order="C") for array in arrays]


def compare(found, expected, terms, where):
    if isinstance(expected, str):
        assert found == expected
        return
    for y, z in zip(found, expected, strict=True):
        if z.dtype.kind != "f":
            np.testing.assert_array_equal(y, z, err_msg=where, strict=True)
            continue  # sums may have another order
        limit = tolerance(z.dtype, terms, max(1.0, np.abs(z[np.isfinite(z)]).max(initial=0)))
        np.testing.assert_allclose(y, z, 0, limit, err_msg=where, strict=True)


@every_op(LEAVES_OUT)
def test_layouts(sample):
    """Of all arrays alike, and of each alone along each of its axes: backwards, or one row repeated."""
    call = sample.tensors(rv.float32)
    plain = [x.numpy(force=True) for x in call.inputs]
    terms = sum(x.size for x in plain)
    for way in (*LAYOUTS, "one element", any_order, unaligned, swapped, read_only):
        lay = lambda array, way=way: way(array) if callable(way) else in_layout(array, way)  # noqa: E731
        given = [*map(lay, plain)]
        straight = outcome(call, in_order(given), lambda array, lay=lay: in_order([lay(array)])[0])
        compare(outcome(call, given, lay), straight, terms, str(way))
    for arrays in along_axes(tuple(plain)):
        same = lambda array: array  # noqa: E731
        compare(outcome(call, arrays, same), outcome(call, in_order(arrays), same), terms, "along an axis")
