"""vmap is a loop over slices, along any dimension, with some arguments whole, also of gradients."""

import numpy as np
import ranvier as rv
from support.tolerance import close

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
