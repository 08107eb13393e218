"""Several rows or slices at once are what each is alone.

A row of an op by rows has the same bits alone and in any batch, at each ISA level. vmap is a loop over
slices, along any dimension, with some arguments whole, also of gradients.
"""

from itertools import product

import numpy as np
import ranvier as rv
from support.tolerance import close, equal

from properties.every import every_op, floats, is_smooth, weights_for

LEAVES_OUT = {
    "bernoulli binomial dropout dropout1d Dropout1d Dropout2d FeatureAlphaDropout": "draws",
    "argsort cumsum cumprod searchsorted unique_consecutive split tril triu logical_or": "depends on places",
}
SIZES = (2, 3, 5, 16, 17)
ROWS = max(SIZES)


def results(call, inputs):
    return [y.numpy(force=True) for y in call.with_inputs(*inputs)]


def parts(call, axis, rows):
    """Inputs with these rows, each from 0 to ROWS - 1: the input's own in turn, floats times a factor that
    depends on the number, so that no two rows are equal."""
    return [
        rv.stack(
            [
                x.detach().select(axis, i % x.shape[axis]) * (1 - i / 64 if x.is_floating_point() else 1)
                for i in rows
            ],
            axis,
        )
        for x in call.inputs
    ]


def is_by_rows(call, axis):
    """True if the values of a row are, but for their last bits, those of the row alone."""
    try:
        whole, alone = (results(call, parts(call, axis, rows)) for rows in ((0, 1), (1,)))
    except (ValueError, TypeError, IndexError, RuntimeError):
        return False
    return all(
        y.ndim > axis
        and y.shape[axis] == 2
        and y.take([1], axis).shape == z.shape
        and np.allclose(y.take([1], axis), z, 1e-4, 1e-5, equal_nan=True)
        for y, z in zip(whole, alone, strict=True)
    )


@every_op(LEAVES_OUT)
def test_batch(sample, isas):
    ways = [(0, rv.float32, False)]
    if sample.is_layer:  # the batch of recurrent layers is the second axis
        ways = [*product((0, 1), (rv.float32, rv.float64), {sample.args[0].training, False})]
    for axis, dtype, training in ways:
        call = sample.tensors(dtype)
        if sample.is_layer:
            call.args[0].train(training)
        if (
            not call.inputs
            or any(x.ndim <= axis or x.shape[axis] < 1 for x in call.inputs)
            or not is_by_rows(call, axis)
        ):
            continue
        rows = [parts(call, axis, [i]) for i in range(ROWS)]
        batches = [(n, parts(call, axis, range(n))) for n in SIZES]
        for isa in isas:
            alone = [results(call, row) for row in rows]
            alone = [np.concatenate(ys, axis) for ys in zip(*alone, strict=True)]
            for n, batch in batches:
                for y, z in zip(results(call, batch), alone, strict=True):
                    equal(y, z.take(range(n), axis), f"{n} rows at {isa}")


READS_MEMORY = {"as_strided": "reads memory, which slices do not have"}


def slices_of(x, count=3):
    """The tensor itself and some like it."""
    return [x.detach() * (1 - i / 8) if x.is_floating_point() else x.detach() for i in range(count)]


@every_op(READS_MEMORY, of=is_smooth)
def test_vmap(sample):
    call = sample.tensors(rv.float64)
    if not call.leaves:
        return

    def function(*xs):
        return tuple(call.with_leaves(*xs))

    def slopes(*xs):
        def loss(*ys):
            made = floats(call.with_leaves(*ys))
            return sum(((y * weights_for(y, 1)).sum() for y in made), rv.zeros((), dtype=rv.float64))

        return rv.func.grad(loss, tuple(range(len(xs))))(*xs)

    parts = [slices_of(x) for x in call.leaves]
    whole = [p[0] for p in parts]
    slices = [[p[i] for p in parts] for i in range(3)]
    for run in (function, slopes) if any(y.requires_grad for y in call()) else (function,):
        of_slices = [run(*each) for each in slices]
        of_first = [of_slices[0], *(run(part, *whole[1:]) for part in parts[0][1:])]
        for dims, expected in (
            ([0] * len(parts), of_slices),
            ([-1] * len(parts), of_slices),
            ([0] + [None] * (len(parts) - 1), of_first),
        ):
            given = [w if d is None else rv.stack(p, d) for w, p, d in zip(whole, parts, dims, strict=True)]
            found = rv.vmap(run, tuple(dims), randomness="same")(*given)
            for y, *each in zip(found, *expected, strict=True):
                close(y.numpy(), np.stack([z.numpy(force=True) for z in each]), 1e-10, 1e-12, str(dims))
