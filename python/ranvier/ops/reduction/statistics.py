"""Sums and means without NaN, running extremes, differences and integrals along a dimension."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import ranvier._core as _core
from ranvier.ops.elementwise.arithmetic import add, sub
from ranvier.ops.elementwise.binary import logaddexp
from ranvier.ops.elementwise.choice import where
from ranvier.ops.elementwise.compare import ne
from ranvier.ops.elementwise.dtypes import I64, Array, as_tensor, cast, floating, is_floating
from ranvier.ops.making.convert import to_dtype
from ranvier.ops.reduction.reduce import ValuesIndices, amax, amin, sum as total
from ranvier.ops.reduction.sort import Sort, cumsum, exact_floats
from ranvier.ops.shape.join import cat, narrow, select
from ranvier.ops.shape.reshape import _dim, reshape, some_dim
from ranvier.tape.function import by_kernel, in_dtypes
from ranvier.tensors.failures import OpError, require_dtype
from ranvier.tensors.memory import cast as casted
from ranvier.tensors.recording import host
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import Axes, DtypeLike, TensorLike


class MinMax(NamedTuple):
    """The result of aminmax."""

    min: Tensor
    max: Tensor


def aminmax(input: TensorLike, *, dim: int | None = None, keepdim: bool = False) -> MinMax:
    """The least and the greatest element, along dim or of all: see :func:`ranvier.amin`.

    >>> import ranvier as rv
    >>> rv.aminmax(rv.tensor([3.0, 1.0, 2.0]))
    MinMax(min=tensor(1.), max=tensor(3.))
    """
    return MinMax(amin(input, dim, keepdim), amax(input, dim, keepdim))


def nansum(
    input: TensorLike,
    dim: Axes = None,
    keepdim: bool = False,
    *,
    dtype: DtypeLike | None = None,
    axis: Axes = None,
    keepdims: bool = False,
) -> Tensor:
    """The sum of the elements that are not NaN.

    >>> import ranvier as rv
    >>> rv.nansum(rv.tensor([1.0, float("nan"), 2.0]))
    tensor(3.)
    """
    if dtype is None:
        return _nansum(input, dim, axis, keepdim, keepdims)
    input = to_dtype("nansum", as_tensor("nansum", input), dtype)
    return to_dtype("nansum", _nansum(input, dim, axis, keepdim, keepdims), dtype)


def _sum_of_numbers(input: TensorLike, dim: Axes, axis: Axes, keepdim: bool, keepdims: bool) -> Tensor:
    """nansum by other ops, which has the bits of the kernel."""
    input = as_tensor("nansum", input)
    x = where(input == input, input, cast(0, input.dtype))
    return total(x, dim, keepdim, axis=axis, keepdims=keepdims)


# Integers are summed by np.add in int64, from 0 on (the arguments are explained in norms.py, at _PROD).
_nansum = _core._reduction(_sum_of_numbers, _core.nansum, np.add, False, I64.num, 0, "nansum")


def nanmean(
    input: TensorLike,
    dim: Axes = None,
    keepdim: bool = False,
    *,
    dtype: DtypeLike | None = None,
    axis: Axes = None,
    keepdims: bool = False,
) -> Tensor:
    """The mean of the elements that are not NaN; NaN where there is none.

    >>> import ranvier as rv
    >>> rv.nanmean(rv.tensor([1.0, float("nan"), 2.0]))
    tensor(1.5000)
    """
    input = as_tensor("nanmean", input)
    if dtype is not None:
        input = input.to(dtype)
    require_dtype("nanmean", "x", input, "f", "floats")
    if axis is not None:
        dim = axis
    keepdim = keepdim or keepdims
    return _mean_of_numbers(input, dim, keepdim)


@in_dtypes()
def _mean_of_numbers(input: Tensor, dim: Axes, keepdim: bool) -> Tensor:
    is_number = input.eq(input)
    count = total(is_number.to(input.dtype), dim, keepdim)
    return total(where(is_number, input, 0.0), dim, keepdim) / count


class RunningExtreme(Sort):
    """(y, i): the greatest or least element so far along one axis, and the last place where it is"""

    def __init__(self, axis: int, greatest: bool) -> None:
        super().__init__(axis, greatest, 0, 0)  # Sort's places first and last are not used

    def forward(self, x: Array) -> tuple[Array, Array]:
        self.length = x.shape[self.axis]
        values, self.indices = _core.running_extreme(x, self.axis, self.descending)
        return values, self.indices


def _extremes(x: Array, at: int, extreme: np.ufunc) -> tuple[Array, Array]:
    """The result of RunningExtreme for integers."""
    floats = exact_floats(x)
    if floats is not None:
        y, places = _core.running_extreme(floats, at, extreme is np.maximum)
        return casted(y, x.dtype), places
    y = extreme.accumulate(x, at)
    here = np.arange(x.shape[at]).reshape((-1,) + (1,) * (x.ndim - at - 1))
    return y, np.maximum.accumulate(np.where((x == y) | (x != x), here, 0), at)


def _running(name: str, extreme: np.ufunc) -> Callable[[TensorLike, int, bool], ValuesIndices]:
    """A function of (input, dim, greatest): cummax (`greatest`) or cummin.

    The extreme element so far along dim, and the index of its last occurrence. A NaN counts as the extreme.
    """

    @by_kernel(_core.running_extreme, floats=True, result=ValuesIndices)
    def in_python(input: TensorLike, dim: int, greatest: bool) -> ValuesIndices:
        x = as_tensor(name, input)
        at = _dim(name, dim, x.ndim)
        shape = x.shape
        rows = x
        if x.ndim == 0:
            rows = reshape(x, (1,))
        if is_floating(x):
            y, index = RunningExtreme(at, greatest).apply(rows)
        else:
            y, index = map(wrap, host(_extremes, rows._array, at, extreme))
        if x.ndim == 0:
            y = reshape(y, shape)
            index = reshape(index, shape)
        return ValuesIndices(y, index)

    return in_python


_cummax = _running("cummax", np.maximum)
_cummin = _running("cummin", np.minimum)


def cummax(input: TensorLike, dim: int) -> ValuesIndices:
    """The greatest element so far along dim, and its index (the last of equal ones).

    >>> import ranvier as rv
    >>> rv.cummax(rv.tensor([1.0, 3.0, 2.0]), 0)
    ValuesIndices(values=tensor([1., 3., 3.]), indices=tensor([0, 1, 1]))
    """
    return _cummax(input, dim, True)


def cummin(input: TensorLike, dim: int) -> ValuesIndices:
    """The least element so far along dim, and its index (the last of equal ones).

    >>> import ranvier as rv
    >>> rv.cummin(rv.tensor([3.0, 1.0, 2.0]), 0)
    ValuesIndices(values=tensor([3., 1., 1.]), indices=tensor([0, 1, 1]))
    """
    return _cummin(input, dim, False)


@in_dtypes()
def logcumsumexp(input: TensorLike, dim: int) -> Tensor:
    """y[i] = log(e^x[0] + ... + e^x[i]) along dim, without overflow of the greatest element.

    >>> import ranvier as rv
    >>> rv.logcumsumexp(rv.tensor([0.0, 0.0]), 0)
    tensor([0.0000, 0.6931])
    """
    input = floating(as_tensor("logcumsumexp", input))
    at = _dim("logcumsumexp", dim, input.ndim)
    if input.ndim == 0 or input.shape[at] <= 1:
        return input.clone()
    step = 1
    while step < input.shape[at]:  # log2(n) steps, each joins sums of twice as many elements
        rest = input.shape[at] - step
        joined = logaddexp(narrow(input, at, step, rest), narrow(input, at, 0, rest))
        input = cat([narrow(input, at, 0, step), joined], at)
        step *= 2
    return input


def diff(
    input: TensorLike,
    n: int = 1,
    dim: int = -1,
    prepend: TensorLike | None = None,
    append: TensorLike | None = None,
    *,
    axis: int | None = None,
) -> Tensor:
    """The differences of neighbours along dim, n times. Raises ValueError for a negative n.

    >>> import ranvier as rv
    >>> rv.diff(rv.tensor([1.0, 4.0, 9.0]))
    tensor([3., 5.])
    """
    if axis is not None:
        dim = axis
    input = as_tensor("diff", input)
    if input.ndim == 0:
        raise OpError("[diff] got x of shape (); expected at least one dimension")
    if n < 0:
        raise OpError(f"[diff] got n {n}; expected a number >= 0")
    at = _dim("diff", dim, input.ndim)
    if n == 0:
        return input.clone()
    parts = [as_tensor("diff", p) for p in (prepend, input, append) if p is not None]
    if len(parts) > 1 or input.shape[at] == 0:
        input = cat(parts, at)
    for _ in range(n):
        length = input.shape[at] - 1
        if length < 0:
            break
        later = narrow(input, at, 1, length)
        earlier = narrow(input, at, 0, length)
        if input.dtype == np.bool_:
            input = ne(later, earlier)
        else:
            input = sub(later, earlier)
    return input


def trapezoid(y: TensorLike, x: TensorLike | None = None, *, dx: float = 1, dim: int = -1) -> Tensor:
    """The integral of y along dim by the trapezoidal rule, at points x or dx apart.

    >>> import ranvier as rv
    >>> rv.trapezoid(rv.tensor([1.0, 2.0, 3.0]))
    tensor(4.)
    """
    return _trapezoid(y, x, dx, dim)


def _trapezoid_of_arrays(y: Array, x: Array | None, dx: float, dim: int) -> Array:
    """trapezoid by kernels, for points of one dimension; with the bits of `_trapezoid`."""
    if y.ndim == 0 or y.shape[dim] < 2 or (y.ndim > 1 and dim not in (-1, y.ndim - 1)):
        return NotImplemented
    if x is None:
        ends = _core.add(y[..., 0], y[..., -1])
        return _core.mul(_core.sub(_core.sum(y, -1), _core.mul(ends, 0.5)), dx)
    if x.ndim != 1:
        return NotImplemented
    heights = _core.add(y[..., 1:], y[..., :-1])
    areas = _core.mul(heights, _core.sub(x[1:], x[:-1]))
    return _core.mul(_core.sum(areas, -1), 0.5)


@by_kernel(_trapezoid_of_arrays, floats=True)
@in_dtypes()
def _trapezoid(y: TensorLike, x: TensorLike | None, dx: float, dim: int) -> Tensor:
    if x is not None:
        areas, factor = _trapezoids("trapezoid", y, x, dx, dim)
        return total(areas, dim) * factor
    y = floating(as_tensor("trapezoid", y))
    at = some_dim("trapezoid", y, dim)
    n = y.shape[at]
    if n < 2:
        return total(narrow(y, at, 0, 0), at)
    ends = select(y, at, 0) + select(y, at, n - 1)
    return (total(y, at) - ends * 0.5) * dx


trapz = trapezoid


@in_dtypes()
def cumulative_trapezoid(
    y: TensorLike, x: TensorLike | None = None, *, dx: float = 1, dim: int = -1
) -> Tensor:
    """The integral of y from the first point to each later one, by the trapezoidal rule.

    >>> import ranvier as rv
    >>> rv.cumulative_trapezoid(rv.tensor([1.0, 2.0, 3.0]))
    tensor([1.5000, 4.0000])
    """
    areas, factor = _trapezoids("cumulative_trapezoid", y, x, dx, dim)
    return cumsum(areas, dim) * factor


def _trapezoids(name: str, y: TensorLike, x: TensorLike | None, dx: float, dim: int) -> tuple[Tensor, float]:
    """The areas of the trapezoids between neighbouring points along dim, and a factor which they lack."""
    y = floating(as_tensor(name, y))
    at = some_dim(name, y, dim)
    heights = _neighbours(add, y, at)
    if x is None:
        return heights, dx / 2
    x = as_tensor(name, x)
    if x.ndim == 1:
        return heights * reshape(_neighbours(sub, x, 0), (-1,) + (1,) * (y.ndim - at - 1)), 0.5
    return heights * _neighbours(sub, x, some_dim(name, x, at - y.ndim)), 0.5


def _neighbours(op: Callable[[Tensor, Tensor], Tensor], x: Tensor, at: int) -> Tensor:
    """op(later, earlier) for each pair of neighbours along a dimension."""
    length = x.shape[at]
    n = max(length - 1, 0)
    return op(narrow(x, at, min(1, length), n), narrow(x, at, 0, n))
