"""Values and gradients at each level of instructions beside the same call in float64, element by element.

All calls get the same numbers: `sample.tensors(dtype, of=rv.float32)` rounds the inputs to float32 first.
An element may be off by a multiple of the roundings of its sum, times |z| + moves + inner: z is the element
in float64; moves says how far it moves where inputs change by a rounding (its condition, measured by
`moved`); `op.inner`, written at the samples, is a number inside the op that is larger than its result, such
as 1 in 1 - tanh(x)^2. Iterating the fixture `isas` switches the level.
"""

import itertools
from typing import Any, NamedTuple

import numpy as np
import ranvier as rv
from samples.sample import plain
from support.tolerance import equal, tolerance

from properties.every import OF_ITS_DTYPE, every_op, floats, is_smooth, weights_for


class Results(NamedTuple):
    arrays: list[Any]  # values, then gradients of the leaves; None where a leaf has no part in them
    count: int  # the number of values


def results(call):
    ys = call()
    wanted = [y for y in floats(ys) if y.requires_grad]
    gradients = ()
    if wanted and call.leaves:
        weights = [weights_for(y, 1) for y in wanted]
        gradients = rv.autograd.grad(wanted, call.leaves, weights, allow_unused=True)
    arrays = [None if y is None else y.numpy(force=True) for y in (*ys, *gradients)]
    return Results(arrays, len(ys))


def moved(sample, wanted, times):
    """How far each element of the results moves, in units of eps, where each input changes by eps, up or
    down: the largest of some draws of the signs."""
    rng, eps = np.random.default_rng(1), 2.0**-30
    far = [np.zeros(np.shape(y)) for y in wanted]
    call = sample.tensors(rv.float64, of=rv.float32)
    exact = [x.detach().clone() for x in call.leaves]
    for _ in range(times if call.leaves else 0):
        with rv.no_grad():
            for x, own in zip(call.leaves, exact, strict=True):
                x.copy_(own * rv.tensor(1 + eps * rng.choice([-1.0, 1.0], tuple(x.shape))))
        for one, y, z in zip(far, results(call).arrays, wanted, strict=True):
            if y is not None and y.dtype.kind == "f":
                with np.errstate(invalid="ignore"):  # inf - inf
                    np.maximum(one, np.abs(y - z) / eps, out=one, where=np.isfinite(y) & np.isfinite(z))
    return far


def terms_of(sample, y, outputs):
    """The number of terms of the longest sum in an element of y: those of the op (of a layer at most its
    largest array), or those of a gradient of what is broadcast, which adds as many elements of the
    outputs as belong to one of y."""
    args, settings = plain(sample.args), plain(sample.settings)
    terms = max([x.size for x in sample.arrays]) if sample.is_layer else sample.op.terms(*args, **settings)
    return max(terms, sum(z.size for z in outputs) // max(np.size(y), 1))


def compare(sample, isas, times=5):
    """Compare with float64 at each level; times: the draws of `moved`. One draw may move the terms of a
    difference alike, so that the result stays; all of them do so with two terms in one of 2^times
    elements."""
    wanted = results(sample.tensors(rv.float64, of=rv.float32)).arrays
    far = moved(sample, wanted, times)
    for level, dtype in itertools.product(isas, (rv.float32, rv.float64)):
        found, count = results(sample.tensors(dtype, of=rv.float32))
        for number, (y, z, moves) in enumerate(zip(found, wanted, far, strict=True)):
            what = f"{level} {dtype} result {number}"
            assert (y is None) == (z is None), what
            if y is None:
                continue
            if y.dtype.kind != "f":
                equal(y, z, what)
                continue
            bound = 4 * tolerance(y.dtype, terms_of(sample, y, found[:count]))
            each = bound * (np.abs(z) + moves + sample.op.inner) + np.finfo(y.dtype).tiny
            finite = np.isfinite(z)
            equal(np.isfinite(y), finite, what)
            off, most = np.abs(y[finite] - z[finite]), each[finite]
            if not (off < most).all():
                np.testing.assert_array_less(off, most, err_msg=what)


@every_op(OF_ITS_DTYPE, of=is_smooth)
def test_levels(sample, isas):
    compare(sample, isas)
