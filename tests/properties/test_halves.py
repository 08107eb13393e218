"""An op of halves is that of float32 rounded once; its derivatives are those of float64, within rounding."""

import itertools
import warnings
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
# vmap refuses statistics that all slices share (properties/test_batch.py).
SHARED_STATISTICS = {
    *("batch_norm", "BatchNorm1d", "BatchNorm2d", "SyncBatchNorm"),
    *("instance_norm", "InstanceNorm2d"),
}
EPS = {rv.float16: 2.0**-10, rv.bfloat16: 2.0**-7}
halves = pytest.mark.parametrize("half_dtype", EPS, ids=str)


def is_of_halves(call):
    if call.sample.is_layer:
        return True
    return any(x.is_floating_point() for x in [*call.inputs, *call.states])


def as_comparable(x):
    """An array of float32, or of the integers and bools that there are."""
    if x.is_floating_point():
        x = x.float()
    return x.numpy(force=True)


def check_rounded_once(found, exact, half):
    """The result `found` of the call `half` has the dtype and the bits of that of float32, rounded.

    Of ops with several roundings it is within these.
    """
    exact = exact.detach()
    if is_of_halves(half) and exact.dtype == rv.float32:
        exact = exact.to(half.dtype)
    assert found.dtype == exact.dtype
    found = as_comparable(found)
    exact = as_comparable(exact)
    if lacks(half.sample, "rounding"):
        limit = 16 * EPS[half.dtype] * np.abs(exact).max(initial=0)
        close(found, exact, 0, limit)
    else:
        equal(found, exact)


@halves
@every_op(LEAVES_OUT, only=has_halves)
def test_halves(sample, half_dtype):
    """Results, what the call has written, and gradients."""
    for records in (False, True):
        half = sample.tensors(half_dtype, of=half_dtype, records=records)
        single = sample.tensors(rv.float32, of=half_dtype, records=records)
        half_results = half()
        single_results = single()
        found = [*half_results, *half.states]
        exact = [*single_results, *single.states]
        for y, z in zip(found, exact, strict=True):
            assert y.requires_grad == z.requires_grad
            check_rounded_once(y, z, half)

    # gradients of the first result that has one
    for y, z in zip(half_results, single_results, strict=True):
        if y.requires_grad:
            y.backward(weights_for(y, 1))
            z.backward(weights_for(z, 1))
            break
    for x, z in zip(half.leaves, single.leaves, strict=True):
        assert (x.grad is None) == (z.grad is None)
        if z.grad is not None:
            check_rounded_once(x.grad, z.grad, half)


# --- derivatives
def gradients_of(ys, leaves, seed, create_graph=False):
    """The gradients of the sum of ys, each times its weights; none if there is nothing to differentiate."""
    moving = [y for y in ys if y.requires_grad]
    if not moving:
        return ()
    weights = [weights_for(y, seed) for y in moving]
    return rv.autograd.grad(
        moving, leaves, weights, create_graph=create_graph, allow_unused=True, materialize_grads=True
    )


def by_backward(call, block):
    """Results, gradients and second gradients; the call runs within the block."""
    with block():
        ys = [y for y in floats(call()) if y.requires_grad]
    first = gradients_of(ys, call.leaves, 1, create_graph=True)
    second = gradients_of(first, call.leaves, 2)
    return [*ys, *first, *second]


def by_forward_mode(call, block):
    """Results and their derivatives along a direction of the leaves."""

    def in_block(*leaves):
        with block():
            return tuple(floats(call.with_leaves(*leaves)))

    leaves = tuple(leaf.detach() for leaf in call.leaves)
    directions = tuple(weights_for(leaf, 3) for leaf in leaves)
    ys, tangents = rv.func.jvp(in_block, leaves, directions)
    return [*ys, *tangents]


def by_vmap(call, block):
    """Results of the leaves, and of half of them, in one call."""

    def in_block(*leaves):
        with block():
            return tuple(floats(call.with_leaves(*leaves)))

    stacked = [rv.stack([leaf.detach(), leaf.detach() * 0.5]) for leaf in call.leaves]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* has no batching rule")
        return rv.vmap(in_block, randomness="same")(*stacked)


@halves
@every_op(LEAVES_OUT | TWICE, only=has_halves, of=is_smooth)
def test_half_derivatives(sample, half_dtype):
    """Second gradients, forward mode and vmap, of halves and in blocks of autocast."""
    double = sample.tensors(rv.float64, of=half_dtype)
    single = sample.tensors(rv.float32, of=half_dtype)
    half = sample.tensors(half_dtype, of=half_dtype)
    if not any(y.requires_grad for y in double()):
        return

    def autocast():
        return rv.autocast("cpu", dtype=half_dtype)

    transforms = [by_backward, by_forward_mode]
    if sample.op.name not in SHARED_STATISTICS:
        transforms.append(by_vmap)
    for differentiate in transforms:
        exact = differentiate(double, nullcontext)
        for call, block in ((half, nullcontext), (half, autocast), (single, autocast)):
            found = differentiate(call, block)
            label = f"{differentiate.__name__} {call.dtype} {block.__name__}"
            for number, (y, z) in enumerate(zip(found, exact, strict=True)):
                z = z.numpy(force=True)
                largest = np.abs(z[np.isfinite(z)]).max(initial=0.0)
                limit = 32 * EPS[half_dtype] * largest + 1e-5
                close(y.double().numpy(force=True), z, 0, limit, f"{label} {number}")


def has_no_halves(op):
    return not has_halves(op)


@every_op({}, only=has_no_halves)
def test_halves_are_refused(sample):
    if sample.op.name == "linalg_matrix_norm" and sample.number not in (1, 2):
        return  # the norm of Frobenius is a sum, and has halves
    with pytest.raises((TypeError, ValueError), match=r"float16; expected float32 or float64"):
        sample.tensors(rv.float16)()


# --- sizes and layouts
def contiguous(x):
    return x


def strided(x):
    return rv.stack([x, x], -1)[..., 0]


def transposed(x):
    return x.t().contiguous().t() if x.ndim == 2 else x


def expanded(x):
    return x[:1].expand(x.shape) if x.ndim else x


SIZES = ((1, 17), (15, 65), (16, 33), (63, 1025))  # at each level
LAYOUTS = (contiguous, strided, transposed, expanded)
REORDERED = {"inner addmm": "sums of float32 in another order"}


def has_size(sample):
    return sample.error is None and sample.has_size and not sample.is_layer


def check_results_of(half, inputs):
    """The results of the call with these inputs are those of float32, rounded."""
    single_inputs = [x.float() if x.is_floating_point() else x for x in inputs]
    found = half.with_inputs(*inputs)
    exact = half.with_inputs(*single_inputs)
    for y, z in zip(found, exact, strict=True):
        check_rounded_once(y, z, half)


@every_op(LEAVES_OUT | REORDERED, only=has_halves, of=has_size)
def test_sizes_of_halves(sample, isas, threads):
    """Around those of vectors and blocks, at each level, by any threads, in other layouts of memory."""
    ways = itertools.cycle(itertools.product(EPS, LAYOUTS, (1, 2)))
    for _, sizes in zip(isas, itertools.cycle(SIZES)):
        for n in sizes:
            half_dtype, layout, thread_count = next(ways)
            threads(thread_count)
            of_size = drawn(sample.op.name, n)[sample.number]
            half = of_size.tensors(half_dtype, of=half_dtype, records=False)
            check_results_of(half, [layout(x) for x in half.inputs])


# --- all numbers
EVERY = np.arange(0, 65536, 7, dtype=np.uint16).view(np.int16)  # with NaN, infinities, numbers near 0
REFUSES = {
    "bce gaussian_nll histc searchsorted": "refuse some of these numbers",
    "fmax fmin": "NumPy gives NaN for one of both, of some sizes, where its bits are signalling",
    "index_add": "rounds its products",
    "nan_to_num": "takes the limits of its dtype",
}


def is_rounded_once(sample):
    return has_size(sample) and not lacks(sample, "rounding") and sample.arrays


@every_op(LEAVES_OUT | REORDERED | REFUSES, only=has_halves, of=is_rounded_once)
@pytest.mark.filterwarnings("error")
def test_all_halves(sample, isas, rng):
    """A seventh of all in the place of each input."""

    def every_half_in_place_of(x):
        bits = np.resize(rng.permutation(EVERY), x.shape)
        return rv.tensor(bits).view(x.dtype)

    for _, half_dtype in itertools.product(isas, EPS):
        of_size = drawn(sample.op.name, len(EVERY) // 3 + 1)[sample.number]  # an input (3, n) holds them all
        half = of_size.tensors(half_dtype, of=half_dtype, records=False)
        inputs = [every_half_in_place_of(x) if x.is_floating_point() else x for x in half.inputs]
        check_results_of(half, inputs)
