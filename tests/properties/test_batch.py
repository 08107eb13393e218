"""Several rows or slices at once are what each is alone.

A row of an op by rows has the same bits alone and in any batch, at each ISA level. vmap is a loop over
slices, along any dimension, with some arguments whole, also of gradients.
"""

import warnings
from itertools import product

import numpy as np
import ranvier as rv
from support.tolerance import close, equal

from properties.every import every_op, floats, has_halves, is_smooth, weights_for

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
            found = vmap_or_refusal(sample, run, tuple(dims), given)
            if found is None:
                continue
            for y, *each in zip(found, *expected, strict=True):
                close(y.numpy(), np.stack([z.numpy(force=True) for z in each]), 1e-10, 1e-12, str(dims))


# Ops of which vmap refuses samples, because of what differs from slice to slice.
REFUSED = {
    "argwhere masked_select nonzero unique unique_consecutive": "the shape of the result",
    "bincount histogram": "the shape of the result, or edges",
    "getitem index_put setitem": "how many elements a mask picks",
    "bernoulli binomial multinomial poisson": "draws by values",
    "quantile nanquantile": "q, which Python reads",
    "map_": "values that a function of Python gets",
    "istft": "the window, whose sum is checked",
    "batch_norm BatchNorm1d BatchNorm2d SyncBatchNorm instance_norm InstanceNorm2d": "shared statistics",
}
REFUSED_NAMES = {name for names in REFUSED for name in names.split()}
AS_THEY_ARE = {"searchsorted"}  # whose integers are in order


def others_like(x, count, is_kept):
    """Copies of a tensor: floats times a factor, integers and bools in another order."""
    if x.is_floating_point():
        return [x.detach() * (1 - i / 8) for i in range(count)]
    shifts = [0 if is_kept else i for i in range(count)]
    return [x.reshape(-1).roll(i).reshape(x.shape) for i in shifts]


def vmap_or_refusal(sample, function, dims, given):
    """The result of vmap; None if it refuses the call, as it may for some ops."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* has no batching rule")
        try:
            return rv.vmap(function, dims, randomness="same")(*given)
        except RuntimeError:
            if sample.op.name in REFUSED_NAMES:
                return None
            raise


def slices_of_inputs(call, count):
    """`count` lists of inputs, and the results for each; the integers differ, unless the op refuses that."""
    run = results_of(call)
    for is_kept in (call.sample.op.name in AS_THEY_ARE, True):
        parts = [others_like(x, count, is_kept) for x in call.inputs]
        slices = [[p[i] for p in parts] for i in range(count)]
        try:
            return slices, [run(*[x.clone() for x in each]) for each in slices]
        except (ValueError, IndexError, RuntimeError):
            if is_kept:
                raise


def results_of(call):
    def run(*xs):
        return tuple(call.with_inputs(*xs))

    return run


def as_expected(found, expected, tolerance, where):
    for y, *each in zip(found, *expected, strict=True):
        want = np.stack([z.double().numpy(force=True) for z in each])
        assert (y.dtype, y.shape) == (each[0].dtype, want.shape), where
        close(y.double().numpy(force=True), want, tolerance, tolerance, where)


# float32: sums of 64 terms in another order. Halves are rounded at most 8 times more.
TOLERANCES = {rv.float32: 64 * 2.0**-23, rv.float16: 8 * 2.0**-10, rv.bfloat16: 8 * 2.0**-7}


@every_op(READS_MEMORY)
def test_vmap_of_inputs(sample):
    """As a loop over slices of all inputs, integers and bools too, in halves and within autocast."""
    ways = [(rv.float32, rv.float32)]
    if "autocast" not in sample.left_out:
        ways.append((rv.float32, rv.bfloat16))
    if has_halves(sample.op) and "halves" not in sample.left_out:
        ways.append((rv.float16, rv.float16))
    for dtype, computed in ways:
        call = sample.tensors(dtype, records=False)
        if not call.inputs:
            return
        run = results_of(call)
        with rv.autocast("cpu", enabled=computed != dtype):
            slices, of_slices = slices_of_inputs(call, 3)
            whole = slices[0]
            rest = [[*each[:1], *whole[1:]] for each in slices]
            of_first = [run(*[x.clone() for x in each]) for each in rest]
            for dim, other, expected in ((0, 0, of_slices), (-1, -1, of_slices), (0, None, of_first)):
                dims = (dim, *[other] * (len(whole) - 1))
                given = [
                    x.clone() if d is None else rv.stack([each[i] for each in slices], d)
                    for i, (x, d) in enumerate(zip(whole, dims, strict=True))
                ]
                found = vmap_or_refusal(sample, run, dims, given)
                if found is not None:
                    as_expected(found, expected, TOLERANCES[computed], f"{computed} {dims}")


@every_op(READS_MEMORY | {"bernoulli binomial multinomial poisson": "draws by values"})
def test_vmap_of_vmap(sample):
    """A call within a call is a loop within a loop, along the first and the last dimension."""
    call = sample.tensors(rv.float32, records=False)
    if not call.inputs:
        return
    slices, of_slices = slices_of_inputs(call, 4)
    columns = [list(x) for x in zip(*slices, strict=True)]
    given = [rv.stack([rv.stack(x[:2], -1), rv.stack(x[2:], -1)], 0) for x in columns]
    found = vmap_or_refusal(sample, rv.vmap(results_of(call), -1, randomness="same"), 0, given)
    if found is not None:
        flat = [y.reshape(4, *y.shape[2:]) for y in found]
        as_expected(flat, of_slices, TOLERANCES[rv.float32], "vmap of vmap")
