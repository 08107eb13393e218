"""Ops that repeat or shift elements (repeat, tile, repeat_interleave, roll, meshgrid), and ops on the
diagonal of matrices and the elements on one side of it (diagonal, trace, tril, triu).

Without a gradient the core's kernels `repeat`, `repeat_each`, `roll` and `triangle` compute the results. Else
the nodes here do (Repeat, Diagonal, Triangle), which save shapes only: the ops are linear, so the gradient
reads no values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.observe import observers, value_read
from ranvier.ops.elementwise.choice import MaskedFill, masked_fill
from ranvier.ops.elementwise.dtypes import Array, as_tensor, is_floating
from ranvier.ops.gradient_rules import linear_rule
from ranvier.ops.layout import fill_part, zeros
from ranvier.ops.reduction.reduce import sum as total
from ranvier.ops.shape.index import getitem, index_array, index_select
from ranvier.ops.shape.join import cat
from ranvier.ops.shape.reshape import _sizes, expand, flatten, numbers_of, reshape, some_dim
from ranvier.tape.function import Dtypes, Function, by_kernel, in_dtypes
from ranvier.tensors.batched import SlicesError
from ranvier.tensors.errors import TooLarge, one_of, whole
from ranvier.tensors.failures import OpError, misfit
from ranvier.tensors.memory import all_slices, copied, is_batched, keep, reshaped, unbroadcast
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import ArrayLike, Axes, Shape, ShapeLike, TensorLike


def repeat(input: TensorLike, *sizes: ShapeLike, repeats: ShapeLike | None = None) -> Tensor:
    """x repeated along each dimension; sizes beyond x's dimensions add leading dimensions.

    Raises ValueError for a negative number, or for fewer numbers than dimensions.

    >>> import ranvier as rv
    >>> rv.tensor([1.0, 2.0]).repeat(2, 2)
    tensor([[1., 2., 1., 2.],
            [1., 2., 1., 2.]])
    """
    if repeats is not None:
        sizes = (repeats,)
    return _copies(input, numbers_of(sizes))


@by_kernel(_core.repeat)
def _copies(input: TensorLike, sizes: ShapeLike) -> Tensor:
    input = as_tensor("repeat", input)
    times = _sizes("repeat", (sizes,))
    if len(times) < input.ndim or any(n < 0 for n in times):
        raise OpError(
            f"[repeat] got sizes {times} for x of shape {input.shape}; expected a number >= 0 "
            "for each dimension"
        )
    return _repeated(input, times)


def tile(input: TensorLike, *sizes: ShapeLike, dims: ShapeLike | None = None) -> Tensor:
    """:func:`repeat`, with 1 for leading dimensions that have no number: NumPy's tile.

    >>> import ranvier as rv
    >>> rv.tile(rv.tensor([[1.0, 2.0]]), (2,))
    tensor([[1., 2., 1., 2.]])
    """
    if dims is not None:
        sizes = (dims,)
    return _tiles(input, numbers_of(sizes))


@by_kernel(_core.repeat)
def _tiles(input: TensorLike, sizes: ShapeLike) -> Tensor:
    input = as_tensor("tile", input)
    times = _sizes("tile", (sizes,))
    if any(n < 0 for n in times):
        raise OpError(f"[tile] got dims {times}; expected numbers >= 0")
    leading = (1,) * (input.ndim - len(times))
    return _repeated(input, leading + times)


class Repeat(Function):
    """y = x repeated along each dimension, in three steps.

    For repeat, a dimension of size n becomes (1, n), is broadcast to (times, n), and these two are joined to
    one of size times * n. For repeat_interleave it becomes (n, 1), then (n, times).

    split, wide, final: the shapes of x after these three steps.
    """

    def __init__(self, split: Sequence[int], wide: Sequence[int], final: Shape) -> None:
        self.split = tuple(split)
        self.wide = tuple(wide)
        self.final = final

    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        wide = np.broadcast_to(x.reshape(self.split), self.wide)
        return copied(wide, "C").reshape(self.final)

    def backward(self, dy: Array) -> Array:
        dx = unbroadcast(reshaped(dy, self.wide), self.split)
        return dx.reshape(self.shape)


linear_rule(Repeat)


def _repeated(x: Tensor, times: tuple[int, ...]) -> Tensor:
    """x repeated as often as `times` says, along as many dimensions, of which x may lack leading ones."""
    shape = (1,) * (len(times) - x.ndim) + tuple(x.shape)
    if math.prod(times) >= 2**48:  # more elements than any memory has
        raise TooLarge
    split: list[int] = []
    wide: list[int] = []
    final: list[int] = []
    for n, count in zip(shape, times, strict=True):
        if count > 1 or count == 0:  # a dimension that is repeated once needs no second one
            split.append(1)
            wide.append(count)
        split.append(n)
        wide.append(n)
        final.append(n * count)
    if len(wide) > 8:  # more dimensions than a kernel takes: each gets a call of its own
        return _repeated_one_by_one(x, shape, times)
    return Repeat(split, wide, tuple(final)).apply(x)


def _repeated_one_by_one(x: Tensor, shape: Shape, times: Shape) -> Tensor:
    """x, of this shape with leading ones, repeated along one dimension after the other."""
    for d, count in enumerate(times):
        before = math.prod(shape[:d])
        after = math.prod(shape[d + 1 :])
        x = _repeated(reshape(x, (before, shape[d], after)), (1, count, 1))
        shape = (*shape[:d], shape[d] * count, *shape[d + 1 :])
    return reshape(x, shape)


def repeat_interleave(
    input: TensorLike,
    repeats: ArrayLike | None = None,
    dim: int | None = None,
    *,
    output_size: int | None = None,
) -> Tensor:
    """Each element (with dim: slice) repeated in place; repeats is a number, or one for each. Of repeats
    alone: their indices, each so often.

    Raises ValueError for a negative number, numbers that are not as many as x is long along dim, or an
    output_size that is not the length of the result.

    >>> import ranvier as rv
    >>> x = rv.tensor([1.0, 2.0])
    >>> x.repeat_interleave(2), x.repeat_interleave(rv.tensor([0, 3]))
    (tensor([1., 1., 2., 2.]), tensor([2., 2., 2.]))
    """
    if repeats is None:
        repeats = as_tensor("repeat_interleave", input)
        input = np.arange(len(repeats), dtype=repeats.dtype)
    if dim is None:
        input = flatten(as_tensor("repeat_interleave", input))
        dim = 0
    if output_size is not None:
        return _each_repeated(input, repeats, dim, output_size)
    return _each_repeated(input, repeats, dim)


def _repeat_each(x: Array, times: ArrayLike, axis: int) -> Array:
    """The kernel takes one whole number of repeats, and no output_size. Python makes all other calls."""
    if type(times) is int:
        return _core.repeat_each(x, times, axis)
    return NotImplemented


def _each_slice_repeated(x: Tensor, at: int, times: Array, output_size: int | None) -> Tensor:
    """:func:`repeat_interleave` with other numbers of repeats in each slice of a batched Tensor."""
    from ranvier.ops.making.creation import arange  # few programs need them
    from ranvier.ops.reduction.quantiles import searchsorted
    from ranvier.ops.reduction.sort import cumsum

    n = x.shape[at]
    counts = reshape(wrap(times), (-1,))
    if counts.shape[0] != n:  # one number for all n elements
        counts = expand(counts, (n,))
    ends = cumsum(counts, 0)
    lengths = all_slices(ends._array)[..., -1:]
    if output_size is None or (lengths != output_size).any():
        raise SlicesError(
            f"[repeat_interleave] got repeats that differ from slice to slice and output_size {output_size}; "
            "expected an output_size, the sum of the repeats of each slice"
        )
    rows = searchsorted(ends, arange(output_size), right=True)
    return index_select(x, at, rows)


@by_kernel(_repeat_each)
def _each_repeated(
    input: TensorLike, repeats: ArrayLike, dim: Axes, output_size: int | None = None
) -> Tensor:
    input = as_tensor("repeat_interleave", input)
    times = index_array("repeat_interleave", repeats)
    at = some_dim("repeat_interleave", input, dim)
    n = input.shape[at]
    counts = all_slices(times)
    if times.size not in (1, n) or times.ndim > 1 or (counts.size and counts.min() < 0):
        raise OpError(
            f"[repeat_interleave] got repeats {counts.tolist()} for a dimension of {n}; expected one number "
            ">= 0, or one for each"
        )
    if isinstance(repeats, (int, np.integer)) and output_size is None:
        return _each_repeated_alike(input, at, int(repeats))
    if is_batched(times):
        return _each_slice_repeated(input, at, times, output_size)
    length = times.sum(dtype=float)
    if times.size == 1:  # one number for all n slices
        length = length * n
    if length > 2**62:  # np.repeat does not check for overflow
        raise TooLarge
    # The values of a Tensor decide the shape of the result. Observers are notified that Python has read them.
    if not isinstance(repeats, (int, list, tuple)):
        value_read("repeat_interleave", repeats)
    rows = keep(np.arange(n).repeat(times.reshape(-1)))
    if output_size is not None and output_size != rows.size:
        raise OpError(f"[repeat_interleave] got output_size {output_size!r}; expected {rows.size}, or None")
    return index_select(input, at, rows)


def _each_repeated_alike(x: Tensor, at: int, times: int) -> Tensor:
    """Each slice of x along the dimension `at`, `times` in place. The gradient is a sum along a dimension,
    whose error does not grow with `times`."""
    n = x.shape[at]
    if times * n > 2**62:
        raise TooLarge
    before = math.prod(x.shape[:at])
    after = math.prod(x.shape[at + 1 :])
    final = (*x.shape[:at], n * times, *x.shape[at + 1 :])
    split = [before, n, 1, after]
    wide = [before, n, times, after]
    return Repeat(split, wide, final).apply(x)


def roll(input: TensorLike, shifts: ShapeLike, dims: Axes = None) -> Tensor:
    """x shifted cyclically along each dimension; without dims along the flattened x.

    Raises ValueError where shifts and dims are not as many.

    >>> import ranvier as rv
    >>> rv.roll(rv.tensor([1, 2, 3, 4]), 1)
    tensor([4, 1, 2, 3])
    """
    if dims is None or type(dims) is int:
        return _rolled(input, shifts, dims)
    steps = _sizes("roll", (shifts,))
    axes = _sizes("roll", (dims,))
    if not axes:
        return _rolled(input, steps, None)
    if len(steps) != len(axes):
        raise OpError(f"[roll] got {len(steps)} shifts and {len(axes)} dims; expected as many")
    y = as_tensor("roll", input)
    for step, axis in zip(steps, axes, strict=True):
        y = _rolled(y, step, axis)
    return y


@by_kernel(_core.roll)
def _rolled(x: TensorLike, shifts: ShapeLike, dim: int | None) -> Tensor:
    """x shifted along one dimension, or the flattened x."""
    x = as_tensor("roll", x)
    steps = _sizes("roll", (shifts,))
    if len(steps) != 1:
        if dim is None:
            given = "without dims; expected one"
        else:
            given = "and 1 dims; expected as many"
        raise OpError(f"[roll] got {len(steps)} shifts {given}")
    if dim is None:
        return reshape(_rolled(flatten(x), steps[0], 0), x.shape)
    axis = some_dim("roll", x, dim)
    n = x.shape[axis]
    step = 0
    if n:
        step = steps[0] % n
    before = (slice(None),) * axis
    head = (*before, slice(n - step, None))
    tail = (*before, slice(n - step))
    return cat([getitem(x, head), getitem(x, tail)], axis)


def meshgrid(*tensors: TensorLike, indexing: str = "ij") -> tuple[Tensor, ...]:
    """For vectors of n, m ... one tensor (n, m, ...) each, constant along the others' dimensions: views.

    indexing "xy" exchanges the first two dimensions. Raises ValueError for another value, or for tensors of
    more than one dimension.

    >>> import ranvier as rv
    >>> rv.meshgrid(rv.tensor([1, 2]), rv.tensor([3, 4]), indexing="ij")
    (tensor([[1, 1],
            [2, 2]]), tensor([[3, 4],
            [3, 4]]))
    """
    listed: Sequence[Any] = tensors
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        listed = tensors[0]
    vectors = [as_tensor("meshgrid", x) for x in listed]
    one_of("meshgrid", "indexing", indexing, ("ij", "xy"))
    if not vectors or any(x.ndim > 1 for x in vectors):
        shapes = ", ".join(str(x.shape) for x in vectors)
        raise OpError(f"[meshgrid] got shapes {shapes or 'none'}; expected vectors")
    order = list(range(len(vectors)))
    if indexing == "xy":
        order[:2] = order[:2][::-1]
    sizes = [x.numel() for x in vectors]
    shape = [sizes[i] for i in order]
    parts = []
    for i, x in enumerate(vectors):
        place = [1] * len(vectors)
        place[order.index(i)] = sizes[i]
        parts.append(expand(reshape(x, place), shape))
    return tuple(parts)


class Diagonal(Function):
    """y[.., i] = x[.., i, .., i + offset, ..]"""

    is_view = True

    shape: tuple[int, ...]

    def __init__(self, place: tuple[int, int, int]) -> None:
        self.place = place  # (offset, dim1, dim2); the core reads it

    # forward(x) is a method of the core's base class, written in C++: it reads `place`, sets `shape` to the
    # shape of x, and returns the diagonal as a view of x.
    forward = Function._diagonal

    def backward(self, dy: Array) -> Array:
        dx = zeros(self.shape, dy.dtype)
        fill_part(self.forward(dx), dy)  # writes dy into the diagonal of dx
        return dx


linear_rule(Diagonal)
# The core makes this node if x needs a gradient. False: the class is Diagonal (True: Unfold).
_core._set_placed(Diagonal, False)


def diagonal(input: TensorLike, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A view of x: its elements x[.., i, .., i + offset, ..], with i along dim1 and i + offset along dim2.
    The last dimension of the view is that of i.

    Raises IndexError for a dimension that x lacks, ValueError where both are one.

    >>> import ranvier as rv
    >>> rv.diagonal(rv.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([1., 4.])
    """
    return _core._diagonal("diagonal", input, offset, dim1, dim2)


@in_dtypes(Dtypes(halves="own", autocast="float32"))
def trace(input: TensorLike) -> Tensor:
    """The sum of a matrix's diagonal. Raises ValueError unless x has 2 dimensions.

    >>> import ranvier as rv
    >>> rv.trace(rv.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor(5.)
    """
    input = as_tensor("trace", input)
    if input.ndim != 2:
        raise misfit("trace", {"x": input.shape}, "2 dimensions")
    return total(diagonal(input))


class Triangle(MaskedFill):
    """y = x with zeros where a mask is true; y is in C order. The ops tril and triu make the mask from the
    shape."""

    def forward(self, x: Array, mask: Array) -> Array:
        if not x.flags.c_contiguous:
            x = copied(x, "C")
        return super().forward(x, mask)

    def release(self) -> None:  # The mask depends on the shape only, so it is kept: backward may run again.
        return


def _triangle(name: str, upper: bool) -> Callable[..., Tensor]:
    """A function of (input, diagonal, upper): triu (`upper`) or tril. The kernel needs `upper` as an
    argument."""

    @by_kernel(_core.triangle)
    def in_python(input: TensorLike, diagonal: int, upper: bool) -> Tensor:
        x = as_tensor(name, input)
        diagonal = whole(name, "diagonal", diagonal)
        if x.ndim < 2:
            raise misfit(name, {"x": tuple(x.shape)}, "at least 2 dimensions")
        rows, columns = x.shape[-2:]
        diagonal = min(max(diagonal, -rows - 1), columns + 1)  # Larger values give the same result.
        ones = np.ones((rows, columns), np.bool_)
        # `outside` is the other triangle, true where y is 0. Under an observer, such as a recording, NumPy
        # makes it and it is declared constant (keep), so that replays do not compute it. Otherwise the kernel
        # makes it, which is faster.
        if upper:
            first_outside = diagonal - 1  # the nearest diagonal on which y is 0
        else:
            first_outside = diagonal + 1
        if not observers:
            outside = _core.triangle(ones, first_outside, not upper)
        elif upper:
            outside = keep(np.tril(ones, first_outside))
        else:
            outside = keep(np.triu(ones, first_outside))
        if is_floating(x):
            return Triangle(0.0).apply(x, outside)
        return masked_fill(x, outside, 0)

    return in_python


_tril = _triangle("tril", upper=False)
_triu = _triangle("triu", upper=True)


def tril(input: TensorLike, diagonal: int = 0) -> Tensor:
    """x (..., m, n) with zeros above the diagonal: y[i, j] = x[i, j] where j - i <= diagonal, else 0.

    Raises ValueError where x has fewer than 2 dimensions.

    >>> import ranvier as rv
    >>> rv.tril(rv.ones(2, 2))
    tensor([[1., 0.],
            [1., 1.]])
    """
    return _tril(input, diagonal, False)


def triu(input: TensorLike, diagonal: int = 0) -> Tensor:
    """x (..., m, n) with zeros below the diagonal: y[i, j] = x[i, j] where j - i >= diagonal, else 0.

    Raises ValueError where x has fewer than 2 dimensions.

    >>> import ranvier as rv
    >>> rv.triu(rv.ones(2, 2), 1)
    tensor([[0., 1.],
            [0., 0.]])
    """
    return _triu(input, diagonal, True)
