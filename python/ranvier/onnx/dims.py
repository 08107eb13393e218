"""Shapes whose sizes may depend on dynamic axes.

``Dims`` are a shape as a tuple of ints and of Sizes (`sizes.py`): (n, 3) for a batch of any size, whose shape
in the present run is (6, 3). The functions here answer what NumPy and the library answer for shapes of
numbers: what shapes broadcast to, how long a slice is, what a -1 stands for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

from ranvier.onnx.sizes import (
    Dim as Dim,
    Size,
    exact_quotient,
    greatest,
    lower_bound,
    number,
    quotient,
    smallest,
    upper_bound,
)

Dims: TypeAlias = tuple[Dim, ...]
"""The sizes of a value, one for each axis."""


def numbers(dims: Dims) -> tuple[int, ...]:
    """The shape in the present run."""
    return tuple(map(number, dims))


def is_fixed(dims: Sequence[Dim]) -> bool:
    """True if no size depends on a dynamic axis."""
    return not any(isinstance(n, Size) for n in dims)


def same_size(a: Dim, b: Dim) -> bool:
    """True if two sizes are one number, or one polynomial."""
    if isinstance(a, Size) and isinstance(b, Size):
        return a.key == b.key
    return type(a) is type(b) and number(a) == number(b)


def same_dims(a: Dims, b: Dims) -> bool:
    """True if two shapes are equal whatever the sizes of dynamic axes."""
    return len(a) == len(b) and all(map(same_size, a, b))


def count(dims: Sequence[Dim]) -> Any:
    """The number of elements, an int or a Size."""
    return math.prod(dims)


# --- broadcasting
def broadcast(*shapes: Dims) -> tuple[Dim | None, ...]:
    """The dims of operands that broadcast; None for an axis of which two sizes differ."""
    ndim = max(map(len, shapes))
    aligned = [(1,) * (ndim - len(shape)) + tuple(shape) for shape in shapes]
    return tuple(map(_broadcast_size, zip(*aligned, strict=True)))


def _broadcast_size(sizes: Sequence[Dim]) -> Dim | None:
    """The size of an axis of the result; None where two dynamic ones differ."""
    found: Dim = 1
    for n in sizes:
        if same_size(n, found) or same_size(n, 1):
            continue
        if same_size(found, 1):
            found = n
        elif isinstance(n, Size) and not isinstance(found, Size):
            continue  # n is 1 or the number `found`
        elif isinstance(found, Size) and not isinstance(n, Size):
            found = n
        else:
            return None
    return found


# --- reductions
def without_axes(dims: Dims, axes: int | Sequence[int] | None, keepdims: bool) -> Dims:
    """The dims of a reduction over these axes; None: over all."""
    ndim = len(dims)
    if axes is None:
        listed: Sequence[int] = range(ndim)
    elif isinstance(axes, (tuple, list, range)):
        listed = axes
    else:
        listed = (axes,)  # type: ignore[assignment]
    reduced = {axis % max(ndim, 1) for axis in listed}
    left: list[Dim] = []
    for at, n in enumerate(dims):
        if at not in reduced:
            left.append(n)
        elif keepdims:
            left.append(1)
    return tuple(left)


# --- reshaping
def completed(dims: Dims, target: Sequence[Dim]) -> Dims:
    """The target of a reshape, of which one size may be -1."""
    sizes: list[Dim] = []
    unknown: list[int] = []
    for at, n in enumerate(target):
        if isinstance(n, Size):
            sizes.append(n)
        elif n == -1:
            unknown.append(at)
            sizes.append(-1)
        else:
            sizes.append(int(n))
    if unknown:
        others = count([n for at, n in enumerate(sizes) if at not in unknown])
        sizes[unknown[0]] = _missing_factor(count(dims), others)
    return tuple(sizes)


def _missing_factor(total: Dim, others: Dim) -> Any:
    """The size of one axis, of the product of all and that of all others."""
    if not is_fixed((total, others)):
        exact = exact_quotient(total, others)
        if exact is not None:
            return exact
    return quotient(total, others)


def split_again(dims: Dims, shape: tuple[int, ...]) -> Dims:
    """The dims of a reshape that the library's own code has computed from numbers.

    dims: before it.
    shape: after it, in the present run.

    Each group of axes with the same number of elements before and after is divided on its own: (6n, 4) to
    (6, n, 2, 2) has the groups 6n to (6, n) and 4 to (2, 2). An axis as long as one before it is that axis,
    and one further axis of a group has what is left.
    """
    made: list[Dim] = []
    before = 0
    after = 0
    while before < len(dims) or after < len(shape):
        first_before = before
        first_after = after
        before, after = _end_of_group(dims, shape, before, after)
        made += _divided_group(dims[first_before:before], shape[first_after:after])
    return tuple(made)


def _end_of_group(dims: Dims, shape: tuple[int, ...], before: int, after: int) -> tuple[int, int]:
    """The ends in dims and in shape of the group of axes that begins at `before` and at `after`."""
    start = after
    elements_before = 1
    elements_after = 1
    while True:
        if before < len(dims) and (elements_before <= elements_after or after == len(shape)):
            elements_before *= number(dims[before])
            before += 1
        elif after < len(shape):
            elements_after *= shape[after]
            after += 1
        if elements_before == elements_after and after > start:
            return before, after
        if before == len(dims) and after == len(shape):
            return before, after


def _divided_group(dims: Dims, shape: tuple[int, ...]) -> list[Dim]:
    """The dims after a reshape of one group of axes."""
    dynamic = [n for n in dims if isinstance(n, Size)]  # the sizes that no axis of the result has yet
    made: list[Dim] = []
    for n in shape:
        places = [at for at, size in enumerate(dynamic) if number(size) == n]
        if places:
            made.append(dynamic.pop(places[0]))
        else:
            made.append(n)
    if not dynamic:
        return made
    total = count(dims)
    for at, size in enumerate(made):  # what is left of the product belongs to one axis
        others = count([*made[:at], *made[at + 1 :]])
        left = exact_quotient(total, others)
        if left is None and not isinstance(size, Size):
            left = quotient(total, others)
        if left is not None and number(left) == number(size):
            made[at] = left
            break
    return made


# --- windows and factors
def windows(n: Dim, kernel: int, stride: int, pad: int, dilation: int) -> Dim:
    """The number of windows along an axis, as convolutions and pools have them."""
    made: Dim = (n + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
    return made


def scaled(n: Dim, factor: float) -> Dim:
    """The size after a factor."""
    if factor.is_integer():
        return n * int(factor)
    return math.floor(n * factor)


# --- slices
def sliced(n: Dim, part: slice) -> Any:
    """The number of elements that a slice takes of n; None where a bound may be of either sign."""
    step: Any = 1
    if part.step is not None:
        step = part.step
    if isinstance(step, Size):
        return None
    if step < 0:
        return _sliced_backwards(n, part)
    start: Any = 0
    if part.start is not None:
        start = _slice_bound(part.start, n)
    stop: Any = n
    if part.stop is not None:
        stop = _slice_bound(part.stop, n)
    if start is None or stop is None:
        return None
    length = greatest(stop - start, 0)
    if step == 1:
        return length
    return -(-length // step)


def _sliced_backwards(n: Dim, part: slice) -> Any:
    """`sliced` with a negative step: of a dynamic axis the whole axis alone."""
    if part.start is None and part.stop is None:
        return -(-n // -part.step)
    if isinstance(n, Size):
        return None
    in_this_run = slice(number(part.start), number(part.stop), number(part.step))
    return len(range(*in_this_run.indices(n)))


_BEYOND = 2**40  # more elements than any axis has: files have such bounds for "to the end"


def _slice_bound(at: Any, n: Dim) -> Any:
    """A bound of a slice, counted from the front and within the axis; None where its sign is not known."""
    if not isinstance(at, Size):
        at = int(at)
    if not isinstance(at, Size) and abs(at) >= _BEYOND:
        if at > 0:
            return n
        return 0
    if lower_bound(at) >= 0:
        return smallest(at, n)
    if upper_bound(at) < 0:
        return greatest(at + n, 0)
    return None


def key_of_axes(key: Any, ndim: int) -> list[Any]:
    """The key of an index as a list: an entry for each dimension of the operand, and None for each new axis.

    ``x[..., 0]`` of three dimensions has the list [:, :, 0].
    """
    entries = [key]
    if isinstance(key, tuple):
        entries = list(key)
    named = [entry for entry in entries if entry is not None and entry is not Ellipsis]
    others = [slice(None)] * (ndim - len(named))  # the dimensions that the key does not name
    for at, entry in enumerate(entries):
        if entry is Ellipsis:
            return entries[:at] + others + entries[at + 1 :]
    return entries + others
