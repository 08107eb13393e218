"""Statistics of tensors: quantiles, counts, running extremes, differences, searches in sorted values."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ranvier.autograd.recording import value_read
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.ops.elementwise.arithmetic import add, mul, sub
from ranvier.ops.elementwise.dtypes import as_tensor, cast, floating, is_floating
from ranvier.ops.elementwise.where import where
from ranvier.ops.index import gather
from ranvier.ops.join import cat, narrow
from ranvier.ops.reduce import ValuesIndices, amax, amin
from ranvier.ops.reduce import sum as total
from ranvier.ops.scan import cumsum
from ranvier.ops.shape import _dim, movedim, reshape, squeeze, unsqueeze
from ranvier.ops.sort import sort


class MinMax(NamedTuple):
    """The result of aminmax."""

    min: Any
    max: Any


class Histogram(NamedTuple):
    """The result of histogram."""

    hist: Any
    bin_edges: Any


def aminmax(x: Any, *, dim: int | None = None, keepdim: bool = False) -> MinMax:
    """The least and the greatest element, along dim or of all: see :func:`ranvier.amin`.

    >>> import ranvier as rv
    >>> rv.aminmax(rv.tensor([3.0, 1.0, 2.0]))
    MinMax(min=tensor(1.), max=tensor(3.))
    """
    return MinMax(amin(x, dim, keepdim), amax(x, dim, keepdim))


def nansum(x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The sum of the elements that are not NaN.

    >>> import ranvier as rv
    >>> rv.nansum(rv.tensor([1.0, float("nan"), 2.0]))
    tensor(3.)
    """
    x = as_tensor("nansum", x)
    return total(where(x == x, x, cast(0, x.dtype)), dim, keepdim, dtype=dtype)


def nanmean(x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The mean of the elements that are not NaN; NaN where there is none.

    >>> import ranvier as rv
    >>> rv.nanmean(rv.tensor([1.0, float("nan"), 2.0]))
    tensor(1.5000)
    """
    x = as_tensor("nanmean", x)
    if dtype is not None:
        x = x.to(dtype)
    if not is_floating(x):
        raise TypeError(f"[nanmean] got dtype {x.dtype}; expected float32 or float64")
    return total(where(x == x, x, 0.0), dim, keepdim) / total((x == x).to(x.dtype), dim, keepdim)


def _quantile(
    name: str, x: Any, q: Any, dim: int | None, keepdim: bool, interpolation: str, nans: bool
) -> Tensor:
    x, q = as_tensor(name, x), as_tensor(name, q)
    modes = ("linear", "lower", "higher", "midpoint", "nearest")
    if not is_floating(x):
        raise TypeError(f"[{name}] got dtype {x.dtype}; expected float32 or float64")
    share = q._array.astype(x.dtype)
    value_read(name)
    if (
        interpolation not in modes
        or q.ndim > 1
        or np.any((share < 0) | (share > 1))
        or np.any(share != share)
    ):
        raise ValueError(
            f"[{name}] got q {q.tolist()} and interpolation {interpolation!r}; expected q in [0, 1] and one of "
            f"{', '.join(modes)}"
        )
    ndim = x.ndim
    if dim is None:
        x, at = reshape(x, (-1,)), 0
    else:
        at = _dim(name, dim, x.ndim)
        x = reshape(x, (1,)) if ndim == 0 else x
    x = movedim(x, at, -1)
    n = x.shape[-1]
    if n == 0:
        raise ValueError(f"[{name}] got x without an element along the dimension; expected at least one")
    ordered = sort(x, -1).values  # NaN is last
    held = (x == x)._array.sum(-1, keepdims=True)
    last = held - 1 if nans else np.full_like(held, n - 1)
    place = share.reshape((-1,) + (1,) * x.ndim) * np.maximum(last, 0).astype(x.dtype)  # (q, ..., 1)
    if interpolation in ("lower", "higher", "nearest"):
        place = {"lower": np.floor, "higher": np.ceil, "nearest": np.rint}[interpolation](place)
    low = np.floor(place).astype(np.int64)
    fraction = np.where(place > low, 0.5, 0) if interpolation == "midpoint" else place - low
    fraction = fraction.astype(x.dtype)
    bad = (held == 0) if nans else (held < n)
    flat = reshape(q, (-1,)).to(x.dtype)
    slope = np.maximum(last, 0).astype(x.dtype) * (interpolation == "linear")  # of the place in q
    parts = []
    for i in range(low.shape[0]):
        a = gather(ordered, -1, low[i])
        b = gather(ordered, -1, np.minimum(low[i] + 1, np.maximum(last, 0)))
        part = add(mul(flat[i], wrap(slope)), wrap(fraction[i] - share.reshape(-1)[i] * slope))
        y = a + mul(sub(b, a), part) if fraction[i].any() or q.requires_grad else a
        parts.append(where(wrap(bad), math.nan, y))
    y = cat([unsqueeze(p, 0) for p in parts], 0)  # (q, ..., 1)
    y = movedim(y, -1, at + 1)
    if dim is None:
        y = reshape(y, (y.shape[0], *((1,) * ndim if keepdim else ())))
    elif not keepdim or ndim == 0:
        y = squeeze(y, at + 1)
    return y if q.ndim else squeeze(y, 0)


def quantile(
    x: Any, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """The values below which the shares q of the elements along dim are; NaN where an element is NaN.

    q: a number in [0, 1], or a vector of them, which becomes the first dimension. Between two elements:
    interpolation 'linear', 'lower', 'higher', 'midpoint' or 'nearest'.

    >>> import ranvier as rv
    >>> rv.quantile(rv.tensor([1.0, 2.0, 3.0, 4.0]), 0.5)
    tensor(2.5000)
    """
    return _quantile("quantile", x, q, dim, keepdim, interpolation, nans=False)


def nanquantile(
    x: Any, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """As :func:`quantile`, of the elements that are not NaN."""
    return _quantile("nanquantile", x, q, dim, keepdim, interpolation, nans=True)


def nanmedian(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower median of the elements that are not NaN; with dim also its index."""
    x = as_tensor("nanmedian", x)
    ndim, at = x.ndim, 0 if dim is None else _dim("nanmedian", dim, x.ndim)
    rows = reshape(x, (-1,)) if dim is None or ndim == 0 else x
    if rows.shape[at] == 0:
        raise ValueError("[nanmedian] got no element along the dimension; expected at least one")
    found = sort(rows, at)
    held = (rows._array == rows._array).sum(at, keepdims=True)
    place = np.maximum((held - 1) // 2, 0)
    values, indices = gather(found.values, at, place), gather(found.indices, at, place)
    if dim is None:
        return reshape(values, ())
    if not keepdim or ndim == 0:
        values, indices = squeeze(values, at), squeeze(indices, at)
    return ValuesIndices(values, indices)


def mode(x: Any, dim: int = -1, keepdim: bool = False) -> ValuesIndices:
    """The most frequent value along dim, the least of several, and the index of its last occurrence.

    >>> import ranvier as rv
    >>> rv.mode(rv.tensor([1, 2, 2, 3])).values
    tensor(2)
    """
    x = as_tensor("mode", x)
    ndim, at = x.ndim, _dim("mode", dim, x.ndim)
    rows = np.moveaxis(np.atleast_1d(x._array), at, -1)
    if rows.shape[-1] == 0:
        raise ValueError("[mode] got no element along the dimension; expected at least one")
    index = np.empty(rows.shape[:-1], np.int64)
    for place in np.ndindex(*rows.shape[:-1]):
        values, counts = np.unique(rows[place], return_counts=True)
        index[place] = np.flatnonzero(rows[place] == values[counts.argmax()])[-1] if values.size else 0
    index = np.expand_dims(index, at)
    y = gather(x if ndim else reshape(x, (1,)), at, index)
    found = ValuesIndices(y, wrap(index))
    if keepdim and ndim:
        return found
    return ValuesIndices(squeeze(found.values, at), squeeze(found.indices, at))


def msort(x: Any) -> Tensor:
    """x sorted along its first dimension."""
    return sort(x, 0).values


def _running(name: str, x: Any, dim: int, better: Any) -> ValuesIndices:
    """The best element so far along dim, and the index of its last occurrence; NaN is better than all."""
    x = as_tensor(name, x)
    at, ndim = _dim(name, dim, x.ndim), x.ndim
    rows = np.moveaxis(np.atleast_1d(x._array), at, 0)
    index = np.zeros(rows.shape, np.int64)
    best = rows[:1].copy()
    for i in range(1, rows.shape[0]):
        now = better(rows[i], best[0]) | (rows[i] != rows[i])
        now &= (best[0] == best[0]) | (rows[i] != rows[i])
        index[i] = np.where(now, i, index[i - 1])
        best[0] = np.where(now, rows[i], best[0])
    index = np.moveaxis(index, 0, at)
    y = gather(x if ndim else reshape(x, (1,)), at, np.ascontiguousarray(index))
    shape = x.shape
    return ValuesIndices(reshape(y, shape), wrap(index.reshape(shape)))


def cummax(x: Any, dim: int) -> ValuesIndices:
    """The greatest element so far along dim, and its index (the last of equal ones).

    >>> import ranvier as rv
    >>> rv.cummax(rv.tensor([1.0, 3.0, 2.0]), 0).values
    tensor([1., 3., 3.])
    """
    return _running("cummax", x, dim, np.greater_equal)


def cummin(x: Any, dim: int) -> ValuesIndices:
    """The least element so far along dim, and its index (the last of equal ones)."""
    return _running("cummin", x, dim, np.less_equal)


def logcumsumexp(x: Any, dim: int) -> Tensor:
    """y[i] = log(e^x[0] + ... + e^x[i]) along dim, without overflow of the greatest element.

    >>> import ranvier as rv
    >>> rv.logcumsumexp(rv.tensor([0.0, 0.0]), 0)
    tensor([0.0000, 0.6931])
    """
    from ranvier.ops.numeric.pairs import logaddexp

    x = floating(as_tensor("logcumsumexp", x))
    at = _dim("logcumsumexp", dim, x.ndim)
    if x.ndim == 0:
        return x.clone()
    step = 1
    while step < x.shape[at]:  # log2(n) steps, each joins sums of twice as many elements
        rest = x.shape[at] - step
        joined = logaddexp(narrow(x, at, step, rest), narrow(x, at, 0, rest))
        x = cat([narrow(x, at, 0, step), joined], at)
        step *= 2
    return x


def diff(x: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> Tensor:
    """The differences of neighbours along dim, n times.

    >>> import ranvier as rv
    >>> rv.diff(rv.tensor([1.0, 4.0, 9.0]))
    tensor([3., 5.])
    """
    x = as_tensor("diff", x)
    if x.ndim == 0:
        raise ValueError("[diff] got x of shape (); expected at least one dimension")
    at = _dim("diff", dim, x.ndim)
    if n == 0:
        return x.clone()
    x = cat([as_tensor("diff", p) for p in (prepend, x, append) if p is not None], at)
    for _ in range(n):
        length = x.shape[at] - 1
        if length < 0:
            break
        later, earlier = narrow(x, at, 1, length), narrow(x, at, 0, length)
        x = later ^ earlier if x.dtype == np.bool_ else sub(later, earlier)
    return x


def trapezoid(y: Any, x: Any = None, *, dx: float = 1, dim: int = -1) -> Tensor:
    """The integral of y along dim by the trapezoidal rule, at points x or dx apart.

    >>> import ranvier as rv
    >>> rv.trapezoid(rv.tensor([1.0, 2.0, 3.0]))
    tensor(4.)
    """
    return total(_trapezoids("trapezoid", y, x, dx, dim), dim)


trapz = trapezoid


def cumulative_trapezoid(y: Any, x: Any = None, *, dx: float = 1, dim: int = -1) -> Tensor:
    """The integral of y from the first point to each later one, by the trapezoidal rule."""
    return cumsum(_trapezoids("cumulative_trapezoid", y, x, dx, dim), dim)


def _trapezoids(name: str, y: Any, x: Any, dx: float, dim: int) -> Tensor:
    y = floating(as_tensor(name, y))
    at = _dim(name, dim, y.ndim)
    n = max(y.shape[at] - 1, 0)
    heights = narrow(y, at, min(1, y.shape[at]), n) + narrow(y, at, 0, n)
    if x is None:
        return heights * (dx / 2)
    x = as_tensor(name, x)
    if x.ndim == 1:
        return heights * reshape(diff(x) / 2, (-1,) + (1,) * (y.ndim - at - 1))
    return heights * (diff(x, dim=at - y.ndim) / 2)


def _weights(name: str, weights: Any, n: int) -> Any:
    if weights is None:
        return None
    w = as_tensor(name, weights)._array
    if w.shape != (n,):
        raise ValueError(f"[{name}] got weights of shape {w.shape}; expected ({n},)")
    return w


def bincount(x: Any, weights: Any = None, minlength: int = 0) -> Tensor:
    """How often each of 0, 1, 2 ... occurs in a vector of integers >= 0, or the sum of their weights.

    >>> import ranvier as rv
    >>> rv.bincount(rv.tensor([0, 2, 2]))
    tensor([1, 0, 2])
    """
    x = as_tensor("bincount", x)
    if x.ndim != 1 or x.dtype.kind not in "biu" or (x.numel() and x._array.min() < 0) or minlength < 0:
        raise ValueError(
            f"[bincount] got x of shape {x.shape} and {x.dtype}; expected a vector of integers >= 0"
        )
    w = _weights("bincount", weights, x.shape[0])
    value_read("bincount")
    found = np.bincount(x._array, w, minlength)
    return wrap(found if w is None or w.dtype != np.float32 else found.astype(np.float32))


def histc(x: Any, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements are in each of `bins` equal intervals of [min, max]; equal limits mean those of x.

    >>> import ranvier as rv
    >>> rv.histc(rv.tensor([1.0, 2.0, 1.0]), bins=4, min=0, max=3)
    tensor([0., 2., 1., 0.])
    """
    x = as_tensor("histc", x)
    value_read("histc")
    if min == max and x.numel():
        min, max = float(x._array.min()), float(x._array.max())
    if min == max:
        min, max = min - 1, max + 1
    if bins < 1 or not min < max:
        raise ValueError(f"[histc] got {bins} bins in [{min}, {max}]; expected at least one, and min < max")
    inside = x._array[(x._array >= min) & (x._array <= max)]
    return wrap(np.histogram(inside, bins, (min, max))[0].astype(x.dtype))


def histogram(
    x: Any, bins: Any, *, range: Any = None, weight: Any = None, density: bool = False
) -> Histogram:
    """How many elements are in each interval, and the edges of the intervals: as numpy.histogram."""
    x = as_tensor("histogram", x)
    value_read("histogram")
    w = None if weight is None else as_tensor("histogram", weight)._array
    edges = getattr(bins, "_array", bins)
    counts, found = np.histogram(x._array, edges, range, density, w)
    return Histogram(wrap(counts.astype(x.dtype)), wrap(found.astype(x.dtype)))


def unique(
    x: Any,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The different elements in ascending order (slices along dim, if given); on demand also the index of
    each element of x among them, and how often each occurs.

    >>> import ranvier as rv
    >>> rv.unique(rv.tensor([3, 1, 3]), return_counts=True)
    (tensor([1, 3]), tensor([1, 2]))
    """
    x = as_tensor("unique", x)
    value_read("unique")
    at = None if dim is None else _dim("unique", dim, x.ndim)
    y, inverse, counts = np.unique(
        x._array, return_inverse=True, return_counts=True, axis=at, equal_nan=False
    )
    inverse = inverse.reshape(x.shape if at is None else -1)
    return _chosen(y, inverse, counts, return_inverse, return_counts)


def unique_consecutive(
    x: Any, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The elements (slices along dim) that differ from the one before, as :func:`unique` returns them."""
    x = as_tensor("unique_consecutive", x)
    value_read("unique_consecutive")
    at = 0 if dim is None else _dim("unique_consecutive", dim, x.ndim)
    rows = x._array.reshape(-1) if dim is None else np.moveaxis(x._array, at, 0)
    new = np.ones(rows.shape[0], bool)
    if rows.shape[0]:
        new[1:] = (rows[1:] != rows[:-1]).any(tuple(range(1, rows.ndim)))
    first = np.flatnonzero(new)
    counts = np.diff(np.append(first, rows.shape[0]))
    inverse = np.cumsum(new) - 1
    y = rows[first] if dim is None else np.moveaxis(rows[first], 0, at)
    return _chosen(
        y, inverse.reshape(x.shape) if dim is None else inverse, counts, return_inverse, return_counts
    )


def _chosen(y: Any, inverse: Any, counts: Any, with_inverse: bool, with_counts: bool) -> Any:
    found = [y, *([inverse] if with_inverse else []), *([counts] if with_counts else [])]
    made = tuple(wrap(np.asarray(part, order="C")) for part in found)
    return made if len(made) > 1 else made[0]


def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """True where an element is one of test_elements (with invert: is not); bool.

    >>> import ranvier as rv
    >>> rv.isin(rv.tensor([1, 2, 3]), rv.tensor([2, 5]))
    tensor([False,  True, False])
    """
    a, b = as_tensor("isin", elements), as_tensor("isin", test_elements)
    return wrap(np.asarray(np.isin(a._array, b._array, invert=invert)))


def searchsorted(
    sorted_sequence: Any,
    values: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Any = None,
) -> Tensor:
    """Where to insert the values into sorted rows: (..., n), (..., m) -> (..., m) of int64.

    'left' (the default) gives the index of the first element >= the value, 'right' of the first > it.

    >>> import ranvier as rv
    >>> rv.searchsorted(rv.tensor([1, 3, 5]), rv.tensor([3, 6]))
    tensor([1, 3])
    """
    rows, v = as_tensor("searchsorted", sorted_sequence), as_tensor("searchsorted", values)
    if side not in (None, "left", "right") or (side == "left" and right):
        raise ValueError(f"[searchsorted] got side {side!r} and right {right}; expected 'left' or 'right'")
    where_to = "right" if right or side == "right" else "left"
    sequence = rows._array
    if sorter is not None:
        sequence = np.take_along_axis(sequence, as_tensor("searchsorted", sorter)._array, -1)
    if sequence.ndim == 1:
        found = np.asarray(np.searchsorted(sequence, v._array, where_to))
    else:
        if sequence.ndim == 0 or sequence.shape[:-1] != v._array.shape[:-1]:
            raise ValueError(
                f"[searchsorted] got rows of shape {rows.shape} and values of shape {v.shape}; expected one row, "
                "or equal sizes but for the last"
            )
        found = np.empty(v.shape, np.int64)
        for place in np.ndindex(*sequence.shape[:-1]):
            found[place] = np.searchsorted(sequence[place], v._array[place], where_to)
    return wrap(found.astype(np.int32 if out_int32 else np.int64))


def bucketize(x: Any, boundaries: Any, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """The index of the interval between the sorted boundaries in which each element is; int64.

    >>> import ranvier as rv
    >>> rv.bucketize(rv.tensor([0.5, 3.0]), rv.tensor([1.0, 2.0]))
    tensor([0, 2])
    """
    limits = as_tensor("bucketize", boundaries)
    if limits.ndim != 1:
        raise ValueError(f"[bucketize] got boundaries of shape {limits.shape}; expected a vector")
    return searchsorted(limits, x, out_int32=out_int32, right=right)
