"""Strided, reversed, repeated, unaligned, byte-swapped and read-only arrays give the same numbers."""

from functools import partial

import numpy as np
import ranvier as rv
from support.layouts import LAYOUTS, along_axes, any_layout, in_layout
from support.tolerance import close, equal, tolerance
from support.wrong_input import read_only, swapped, unaligned

from properties.every import every_op, weights_for

LEAVES_OUT = {
    "as_strided": "reads memory",
    """relu_ elu_ selu_ celu_ hardtanh_ leaky_relu_ threshold_ rrelu_
    ReLU_in_place""": "writes to memory: test_in_place.py",
    "histogram": "refuses elements that are all the same",
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
        moving, leaves = [y for y in ys if y.requires_grad], [x for x in given if x.requires_grad]
        if moving and leaves:
            ws = [rv.as_tensor(way(weights_for(y, 1).numpy())) for y in moving]
            ys = [*ys, *rv.autograd.grad(moving, leaves, ws, allow_unused=True, materialize_grads=True)]
    except ValueError as error:  # singular matrices
        return str(error)
    return [y.numpy(force=True) for y in ys]


def of_same(call, arrays, way=lambda array: array):
    """The outcome for arrays of the same numbers in the order of C."""
    return outcome(
        call, [np.array(x, order="C") for x in arrays], lambda array: np.array(way(array), order="C")
    )


def compare(found, expected, terms, where):
    if isinstance(expected, str):
        assert found == expected
        return
    for y, z in zip(found, expected, strict=True):
        assert y.dtype == z.dtype, where
        if z.dtype.kind != "f":
            equal(y, z, where)
            continue
        limit = tolerance(z.dtype, terms, max(1.0, np.abs(z[np.isfinite(z)]).max(initial=0)))
        close(y, z, 0, limit, where)  # sums may have another order


@every_op(LEAVES_OUT | {"apply_": "has no input but the tensor that it writes to"})
def test_layouts(sample):
    """All arrays have a layout, then each alone along each of its axes: backwards, or one row repeated."""
    call = sample.tensors(rv.float32)
    plain = tuple(x.numpy(force=True) for x in call.inputs)
    terms, expected = sum(x.size for x in plain), of_same(call, plain)
    for way in (
        *(partial(in_layout, layout=layout) for layout in LAYOUTS),
        any_order,
        unaligned,
        swapped,
        read_only,
    ):
        compare(outcome(call, [*map(way, plain)], way), expected, terms, str(way))
    one = partial(in_layout, layout="one element")
    given = [*map(one, plain)]
    compare(outcome(call, given, one), of_same(call, given, one), terms, "one element")
    same = lambda array: array  # noqa: E731
    for arrays in along_axes(plain):
        is_equal = all(np.array_equal(x, y) for x, y in zip(arrays, plain, strict=True))
        straight = expected if is_equal else of_same(call, arrays)
        compare(outcome(call, arrays, same), straight, terms, "along an axis")
