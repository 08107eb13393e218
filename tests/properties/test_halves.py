"""An op of halves is that of float32 rounded once; its derivatives are those of float64, within rounding."""

import itertools
from contextlib import nullcontext

import numpy as np
import pytest
import ranvier as rv
from support.tolerance import close, equal

from properties.every import (
    OF_ITS_DTYPE,
    every_op,
    floats,
    has_halves,
    is_smooth,
    lacking,
    lacks,
    weights_for,
)
from properties.test_sizes import drawn

TWICE = {"Transformer": "second gradients of many roundings"} | lacking("second") | OF_ITS_DTYPE
LEAVES_OUT = {
    "nextafter": "the neighbour is that of its own dtype",
    "bincount": "sums of halves are float64",
    "histogram": "its bins are numbers of the dtype",
    "random_": "draws integers that the dtype has",
}
EPS = {rv.float16: 2.0**-10, rv.bfloat16: 2.0**-7}
halves = pytest.mark.parametrize("own", EPS, ids=str)


def same(y, exact, call):
    """Dtype and bits, those of float32 rounded; those of ops of several roundings within these."""
    own, given = call.dtype, [*call.inputs, *call.states]
    is_of_halves = call.sample.is_layer or any(x.is_floating_point() for x in given)
    exact = exact.detach().to(own) if is_of_halves and exact.dtype == rv.float32 else exact
    assert y.dtype == exact.dtype
    y, exact = ((x.float() if x.is_floating_point() else x).numpy(force=True) for x in (y, exact))
    if lacks(call.sample, "rounding"):
        limit = 16 * EPS[own] * np.abs(exact).max(initial=0)
        close(y, exact, 0, limit)
        return
    equal(y, exact)


@halves
@every_op(LEAVES_OUT, only=has_halves)
def test_halves(sample, own):
    """Results, what the call has written, and gradients."""
    for records in (False, True):
        half, single = (sample.tensors(dtype, of=own, records=records) for dtype in (own, rv.float32))
        ys, exact = half(), single()
        for y, z in zip([*ys, *half.states], [*exact, *single.states], strict=True):
            assert y.requires_grad == z.requires_grad
            same(y, z, half)
    for y, z in [pair for pair in zip(ys, exact, strict=True) if pair[0].requires_grad][:1]:
        y.backward(weights_for(y, 1))
        z.backward(weights_for(z, 1))
    for x, z in zip(half.leaves, single.leaves, strict=True):
        assert (x.grad is None) == (z.grad is None)
        if z.grad is not None:
            same(x.grad, z.grad, half)


def second(call, block):
    with block():
        ys = [y for y in floats(call()) if y.requires_grad]
    settings = {"allow_unused": True, "materialize_grads": True}
    first = rv.autograd.grad(ys, call.leaves, [weights_for(y, 1) for y in ys], create_graph=True, **settings)
    live = [g for g in first if g.requires_grad]
    of_first = (
        rv.autograd.grad(live, call.leaves, [weights_for(g, 2) for g in live], **settings) if live else ()
    )
    return [*ys, *first, *of_first]


def forward(call, block):
    def in_block(*xs):
        with block():
            return tuple(floats(call.with_leaves(*xs)))

    leaves = tuple(x.detach() for x in call.leaves)
    ys, tangents = rv.func.jvp(in_block, leaves, tuple(weights_for(x, 3) for x in leaves))
    return [*ys, *tangents]


def mapped(call, block):
    def in_block(*xs):
        with block():
            return tuple(floats(call.with_leaves(*xs)))

    leaves = [rv.stack([x.detach(), x.detach() * 0.5]) for x in call.leaves]
    return rv.vmap(in_block, randomness="same")(*leaves)


@halves
@every_op(LEAVES_OUT | TWICE, only=has_halves, of=is_smooth)
def test_half_derivatives(sample, own):
    """Second gradients, forward mode and vmap, of halves and in blocks of autocast."""
    double, single, half = (sample.tensors(dtype, of=own) for dtype in (rv.float64, rv.float32, own))
    if not any(y.requires_grad for y in double()):
        return

    def autocast():
        return rv.autocast("cpu", dtype=own)

    for run in (second, forward, mapped):
        exact = run(double, nullcontext)
        for call, block in ((half, nullcontext), (half, autocast), (single, autocast)):
            found = run(call, block)
            for k, (y, z) in enumerate(zip(found, exact, strict=True)):
                y, z = y.double().numpy(force=True), z.numpy(force=True)
                limit = 32 * EPS[own] * np.abs(z[np.isfinite(z)]).max(initial=0.0) + 1e-5
                close(y, z, 0, limit, f"{run.__name__} {call.dtype} {block} {k}")


@every_op({}, only=lambda op: not has_halves(op))
def test_halves_are_refused(sample):
    if sample.op.name != "linalg_matrix_norm" or sample.number in (1, 2):  # the norm of Frobenius is a sum
        with pytest.raises((TypeError, ValueError), match=r"float16; expected float32 or float64"):
            sample.tensors(rv.float16)()


SIZES = ((1, 17), (15, 65), (16, 33), (63, 1025))  # at each level
LAYOUTS = {
    "strided": lambda x: rv.stack([x, x], -1)[..., 0],
    "transposed": lambda x: x.t().contiguous().t() if x.ndim == 2 else x,
    "expanded": lambda x: x[:1].expand(x.shape) if x.ndim else x,
}
REORDERED = {"inner addmm": "sums of float32 in another order"}


def has_size(sample):
    return sample.error is None and sample.has_size and not sample.is_layer


@every_op(LEAVES_OUT | REORDERED, only=has_halves, of=has_size)
def test_sizes_of_halves(sample, isas, threads):
    """Around those of vectors and blocks, at each level, by any threads, in other layouts of memory."""
    ways = itertools.cycle(itertools.product(EPS, [None, *LAYOUTS.values()], (1, 2)))
    for _, sizes in zip(isas, itertools.cycle(SIZES)):
        for n in sizes:
            own, layout, count = next(ways)
            threads(count)
            half = drawn(sample.op.name, n)[sample.number].tensors(own, of=own, records=False)
            given = [layout(x) if layout else x for x in half.inputs]
            ys = half.with_inputs(*given)
            exact = half.with_inputs(*(x.float() if x.is_floating_point() else x for x in given))
            for y, z in zip(ys, exact, strict=True):
                same(y, z, half)


EVERY = np.arange(0, 65536, 7, dtype=np.uint16).view(np.int16)  # with NaN, infinities, numbers near 0
REFUSES = {
    "bce gaussian_nll histc searchsorted": "refuse some of these numbers",
    "fmax fmin": "NumPy gives NaN for one of both, of some sizes, where its bits are signalling",
    "index_add": "rounds its products",
    "nan_to_num": "takes the limits of its dtype",
}


@every_op(
    LEAVES_OUT | REORDERED | REFUSES,
    only=has_halves,
    of=lambda sample: has_size(sample) and not lacks(sample, "rounding") and sample.arrays,
)
@pytest.mark.filterwarnings("error")
def test_all_halves(sample, isas, rng):
    """A seventh of all in the place of each input."""
    for _, own in itertools.product(isas, EPS):
        half = drawn(sample.op.name, len(EVERY) // 3 + 1)[sample.number].tensors(own, of=own, records=False)
        given = [
            rv.tensor(np.resize(rng.permutation(EVERY), x.shape)).view(own) if x.is_floating_point() else x
            for x in half.inputs
        ]
        ys = half.with_inputs(*given)
        exact = half.with_inputs(*(x.float() if x.is_floating_point() else x for x in given))
        for y, z in zip(ys, exact, strict=True):
            same(y, z, half)
