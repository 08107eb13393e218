"""Statistics of tensors: quantiles, counts, running extremes, differences, searches in sorted values."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ranvier.autograd.host import host
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.ops.elementwise.arithmetic import sub
from ranvier.ops.elementwise.choice import where
from ranvier.ops.elementwise.compare import ne
from ranvier.ops.elementwise.dtypes import as_tensor, cast, floating, is_floating
from ranvier.ops.reduction.reduce import ValuesIndices, amax, amin
from ranvier.ops.reduction.reduce import sum as total
from ranvier.ops.reduction.sort import cumsum
from ranvier.ops.shape.index import gather
from ranvier.ops.shape.join import cat, narrow
from ranvier.ops.shape.reshape import _dim, reshape, some_dim


class MinMax(NamedTuple):
    """The result of aminmax."""

    min: Any
    max: Any


def aminmax(input: Any, *, dim: int | None = None, keepdim: bool = False) -> MinMax:
    """The least and the greatest element, along dim or of all: see :func:`ranvier.amin`.

    >>> import ranvier as rv
    >>> rv.aminmax(rv.tensor([3.0, 1.0, 2.0]))
    MinMax(min=tensor(1.), max=tensor(3.))
    """
    return MinMax(amin(input, dim, keepdim), amax(input, dim, keepdim))


def nansum(
    input: Any,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
    axis: Any = None,
    keepdims: bool = False,
) -> Tensor:
    """The sum of the elements that are not NaN.

    >>> import ranvier as rv
    >>> rv.nansum(rv.tensor([1.0, float("nan"), 2.0]))
    tensor(3.)
    """
    dim = dim if axis is None else axis
    keepdim = keepdim or keepdims
    input = as_tensor("nansum", input)
    return total(where(input == input, input, cast(0, input.dtype)), dim, keepdim, dtype=dtype)


def nanmean(
    input: Any,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
    axis: Any = None,
    keepdims: bool = False,
) -> Tensor:
    """The mean of the elements that are not NaN; NaN where there is none.

    >>> import ranvier as rv
    >>> rv.nanmean(rv.tensor([1.0, float("nan"), 2.0]))
    tensor(1.5000)
    """
    dim = dim if axis is None else axis
    keepdim = keepdim or keepdims
    input = as_tensor("nanmean", input)
    if dtype is not None:
        input = input.to(dtype)
    if not is_floating(input):
        raise TypeError(f"[nanmean] got dtype {input.dtype}; expected float32 or float64")
    return total(where(input == input, input, 0.0), dim, keepdim) / total(
        (input == input).to(input.dtype), dim, keepdim
    )


def _running(name: str, x: Any, dim: int, better: Any) -> ValuesIndices:
    """The best element so far along dim, and the index of its last occurrence; NaN is better than all."""
    x = as_tensor(name, x)
    at, ndim = _dim(name, dim, x.ndim), x.ndim
    index = host(_best_so_far, x._array, at, better)
    y = gather(x if ndim else reshape(x, (1,)), at, index)
    shape = x.shape
    return ValuesIndices(reshape(y, shape), wrap(index.reshape(shape)))


def _best_so_far(x: Any, at: int, better: Any) -> Any:
    rows = np.moveaxis(np.atleast_1d(x), at, 0)
    index = np.zeros(rows.shape, np.int64)
    best = rows[:1].copy()
    for i in range(1, rows.shape[0]):
        now = better(rows[i], best[0]) | (rows[i] != rows[i])
        now &= (best[0] == best[0]) | (rows[i] != rows[i])
        index[i] = np.where(now, i, index[i - 1])
        best[0] = np.where(now, rows[i], best[0])
    return np.ascontiguousarray(np.moveaxis(index, 0, at))


def cummax(input: Any, dim: int) -> ValuesIndices:
    """The greatest element so far along dim, and its index (the last of equal ones).

    >>> import ranvier as rv
    >>> rv.cummax(rv.tensor([1.0, 3.0, 2.0]), 0).values
    tensor([1., 3., 3.])
    """
    return _running("cummax", input, dim, np.greater_equal)


def cummin(input: Any, dim: int) -> ValuesIndices:
    """The least element so far along dim, and its index (the last of equal ones).

    >>> import ranvier as rv
    >>> rv.cummin(rv.tensor([3.0, 1.0, 2.0]), 0).values
    tensor([3., 1., 1.])
    """
    return _running("cummin", input, dim, np.less_equal)


def logcumsumexp(input: Any, dim: int) -> Tensor:
    """y[i] = log(e^x[0] + ... + e^x[i]) along dim, without overflow of the greatest element.

    >>> import ranvier as rv
    >>> rv.logcumsumexp(rv.tensor([0.0, 0.0]), 0)
    tensor([0.0000, 0.6931])
    """
    from ranvier.ops.elementwise.pairs import logaddexp

    input = floating(as_tensor("logcumsumexp", input))
    at = _dim("logcumsumexp", dim, input.ndim)
    if input.ndim == 0:
        return input.clone()
    step = 1
    while step < input.shape[at]:  # log2(n) steps, each joins sums of twice as many elements
        rest = input.shape[at] - step
        joined = logaddexp(narrow(input, at, step, rest), narrow(input, at, 0, rest))
        input = cat([narrow(input, at, 0, step), joined], at)
        step *= 2
    return input


def diff(
    input: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None, *, axis: Any = None
) -> Tensor:
    """The differences of neighbours along dim, n times. Raises ValueError for a negative n.

    >>> import ranvier as rv
    >>> rv.diff(rv.tensor([1.0, 4.0, 9.0]))
    tensor([3., 5.])
    """
    dim = dim if axis is None else axis
    input = as_tensor("diff", input)
    if input.ndim == 0:
        raise ValueError("[diff] got x of shape (); expected at least one dimension")
    if n < 0:
        raise ValueError(f"[diff] got n {n}; expected a number >= 0")
    at = _dim("diff", dim, input.ndim)
    if n == 0:
        return input.clone()
    input = cat([as_tensor("diff", p) for p in (prepend, input, append) if p is not None], at)
    for _ in range(n):
        length = input.shape[at] - 1
        if length < 0:
            break
        later, earlier = narrow(input, at, 1, length), narrow(input, at, 0, length)
        input = ne(later, earlier) if input.dtype == np.bool_ else sub(later, earlier)
    return input


def trapezoid(y: Any, x: Any = None, *, dx: float = 1, dim: int = -1) -> Tensor:
    """The integral of y along dim by the trapezoidal rule, at points x or dx apart.

    >>> import ranvier as rv
    >>> rv.trapezoid(rv.tensor([1.0, 2.0, 3.0]))
    tensor(4.)
    """
    return total(_trapezoids("trapezoid", y, x, dx, dim), dim)


trapz = trapezoid


def cumulative_trapezoid(y: Any, x: Any = None, *, dx: float = 1, dim: int = -1) -> Tensor:
    """The integral of y from the first point to each later one, by the trapezoidal rule.

    >>> import ranvier as rv
    >>> rv.cumulative_trapezoid(rv.tensor([1.0, 2.0, 3.0]))
    tensor([1.5000, 4.0000])
    """
    return cumsum(_trapezoids("cumulative_trapezoid", y, x, dx, dim), dim)


def _trapezoids(name: str, y: Any, x: Any, dx: float, dim: int) -> Tensor:
    y = floating(as_tensor(name, y))
    at = some_dim(name, y, dim)
    n = max(y.shape[at] - 1, 0)
    heights = narrow(y, at, min(1, y.shape[at]), n) + narrow(y, at, 0, n)
    if x is None:
        return heights * (dx / 2)
    x = as_tensor(name, x)
    if x.ndim == 1:
        return heights * reshape(diff(x) / 2, (-1,) + (1,) * (y.ndim - at - 1))
    return heights * (diff(x, dim=at - y.ndim) / 2)
