"""Values and gradients of sizes around those of vectors, at each level, in any memory, by any threads."""

import functools
import itertools
from typing import Any, NamedTuple

import numpy as np
import ranvier as rv
from samples import OPS
from support.layouts import LAYOUTS, in_layout
from support.tolerance import tolerance

from properties.every import every_op, gradients
from properties.slopes import OF_LARGE, check_slope, directions
from properties.test_gradient import LEAVES_OUT
from properties.test_reference import agree, expected, magnitude

WIDTHS = (1, 2, 3, 5, 9, 15, 16, 17, 31, 33, 64, 65, 129, 257)  # vectors, tiles, blocks, one more and less
LARGE = 20_011  # enough work for several threads


def has_size(op):
    return any(sample.has_size for sample in op.samples)


@functools.lru_cache(20)
def drawn(name, n):
    return OPS[name].drawn(n)


def check_views(ys, arrays):
    """A Function that returns a view has to say so: changes in place are followed through it."""
    for y in ys:
        if y.grad_fn is not None and any(np.shares_memory(y.numpy(force=True), x) for x in arrays):
            maker = getattr(y.grad_fn, "function", y.grad_fn)
            assert maker.is_view, f"{type(maker).__name__} returns a view of its input: set is_view = True"


class Outcome(NamedTuple):
    values: list[Any]
    gradients: list[Any]


def outcome(call, layout=""):
    """Results, and gradients of the leaves, of inputs that lie in memory like this."""
    given = [rv.autograd.wrap(in_layout(x.numpy(force=True), layout), x.requires_grad) for x in call.inputs]
    ys = call.with_inputs(*given)
    check_views(ys, tuple(x.numpy(force=True) for x in given))
    slopes = gradients(ys, [x for x in given if x.requires_grad])
    return Outcome([y.numpy(force=True) for y in ys], [x.numpy() for x in slopes])


@every_op({}, only=has_size, of=lambda sample: sample.has_size and sample.error is None)
def test_sizes(sample, isas):
    layouts = itertools.cycle(("", *LAYOUTS))
    for n in WIDTHS:
        sized = drawn(sample.op.name, n)[sample.number]
        call = sized.tensors(rv.float64, of=rv.float32)
        exact = outcome(call)
        if sample.op.reference:
            agree(exact.values, *expected(sized, np.float32), sample.op.exact, f"size {n}")
        has_gradient = sample.op.name not in LEAVES_OUT and "gradient" not in sample.left_out
        if exact.gradients and sized.is_smooth and has_gradient:
            check_slope(
                call.with_leaves, call.leaves, exact.gradients, directions(call.leaves, 1), **OF_LARGE
            )
        arrays = [*sized.arrays, *exact.values, *exact.gradients]
        terms, size = max(a.size for a in arrays), magnitude(arrays)
        limit = functools.partial(tolerance, reduction=terms, magnitude=size)
        calls = [sized.tensors(dtype, of=rv.float32) for dtype in (rv.float32, rv.float64)]
        for isa, call in itertools.product(isas, calls):
            found = outcome(call, next(layouts))
            agree(found.values, exact.values, limit, sample.op.exact, f"size {n} at {isa}")
            agree(found.gradients, exact.gradients, limit, False, f"gradients of size {n} at {isa}")


@every_op({}, only=has_size, of=lambda sample: sample.has_size and sample.error is None)
def test_threads(sample, threads):
    """The bits of values and gradients are those of one thread."""
    call = drawn(sample.op.name, LARGE)[sample.number].tensors(rv.float32)
    found = []
    for count in (1, 2, 3):
        threads(count)
        found.append([a.tobytes() for part in outcome(call) for a in part])
        assert found[-1] == found[0], f"{count} threads"
