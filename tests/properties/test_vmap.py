"""vmap is a loop over slices, along any dimension, with some arguments whole, also of gradients."""

import numpy as np
import ranvier as rv

from properties.every import every_op, floats, is_smooth, weights_for

LEAVES_OUT = {"as_strided": "reads memory, which slices do not have"}


def slices_of(x, count=3):
    """The tensor itself and some like it."""
    return [x.detach() * (1 - i / 8) if x.is_floating_point() else x.detach() for i in range(count)]


@every_op(LEAVES_OUT, of=is_smooth)
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
    whole = [x.detach() for x in call.leaves]
    ways = [[0] * len(parts), [-1] * len(parts), [0] + [None] * (len(parts) - 1)]
    for run in (function, slopes) if any(y.requires_grad for y in call()) else (function,):
        for dims in ways:
            given = [w if d is None else rv.stack(p, d) for w, p, d in zip(whole, parts, dims, strict=True)]
            found = rv.vmap(run, tuple(dims), randomness="same")(*given)
            for i in range(3):
                each = [w if d is None else p[i] for w, p, d in zip(whole, parts, dims, strict=True)]
                for y, z in zip(found, run(*each), strict=True):
                    np.testing.assert_allclose(y[i].numpy(), z.numpy(force=True), 1e-10, 1e-12, str(dims))
