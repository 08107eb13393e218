"""Quantiles, medians and the most frequent value."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ranvier.autograd.tensor import Tensor, wrap
from ranvier.ops.elementwise.arithmetic import add, mul, sub
from ranvier.ops.elementwise.choice import where
from ranvier.ops.elementwise.dtypes import as_tensor, is_floating
from ranvier.ops.reduction.reduce import ValuesIndices
from ranvier.ops.reduction.sort import median, sort
from ranvier.ops.shape.index import gather, index_select
from ranvier.ops.shape.join import cat
from ranvier.ops.shape.reshape import _dim, movedim, reshape, squeeze, unsqueeze


def _quantile(
    name: str, x: Any, q: Any, dim: int | None, keepdim: bool, interpolation: str, nans: bool
) -> Tensor:
    x, q = as_tensor(name, x), as_tensor(name, q)
    modes = ("linear", "lower", "higher", "midpoint", "nearest")
    if not is_floating(x):
        raise TypeError(f"[{name}] got dtype {x.dtype}; expected float32 or float64")
    share = q._read(name).astype(x.dtype)
    if (
        interpolation not in modes
        or q.ndim > 1
        or q.numel() == 0
        or np.any((share < 0) | (share > 1))
        or np.any(share != share)
    ):
        raise ValueError(
            f"[{name}] got q {q.tolist()} and interpolation {interpolation!r}; expected at least one "
            f"q in [0, 1] and one of {', '.join(modes)}"
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
        b = gather(ordered, -1, np.ceil(place[i]).astype(np.int64))  # a itself, where place is whole
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
    input: Any,
    q: Any,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
    axis: Any = None,
    keepdims: bool = False,
) -> Tensor:
    """The values below which the shares q of the elements along dim are; NaN where an element is NaN.

    Raises ValueError for q outside [0, 1] or without elements, and for x without an element along dim.
    q: a number in [0, 1], or a vector of them, which becomes the first dimension. Between two elements:
    interpolation 'linear', 'lower', 'higher', 'midpoint' or 'nearest'.

    >>> import ranvier as rv
    >>> rv.quantile(rv.tensor([1.0, 2.0, 3.0, 4.0]), 0.5)
    tensor(2.5000)
    """
    dim = dim if axis is None else axis
    keepdim = keepdim or keepdims
    return _quantile("quantile", input, q, dim, keepdim, interpolation, nans=False)


def nanquantile(
    input: Any, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """As :func:`quantile`, of the elements that are not NaN.

    >>> import ranvier as rv
    >>> rv.nanquantile(rv.tensor([1.0, float("nan"), 2.0]), 0.5)
    tensor(1.5000)
    """
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, nans=True)


def nanmedian(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower median of the elements that are not NaN; with dim also its index.

    >>> import ranvier as rv
    >>> rv.nanmedian(rv.tensor([1.0, float("nan"), 3.0, 2.0]))
    tensor(2.)
    """
    input = as_tensor("nanmedian", input)
    ndim, at = input.ndim, 0 if dim is None else _dim("nanmedian", dim, input.ndim)
    rows = reshape(input, (-1,)) if dim is None or ndim == 0 else input
    if rows.shape[at] == 0:
        raise ValueError("[nanmedian] got no element along the dimension; expected at least one")
    if dim is None:  # equal values share the gradient, as those of median do
        held = np.flatnonzero(rows._array == rows._array)
        return median(index_select(rows, 0, held)) if held.size else reshape(rows[:1], ())
    found = sort(rows, at)
    held = (rows._array == rows._array).sum(at, keepdims=True)
    place = np.maximum((held - 1) // 2, 0)
    values, indices = gather(found.values, at, place), gather(found.indices, at, place)
    if not keepdim or ndim == 0:
        values, indices = squeeze(values, at), squeeze(indices, at)
    return ValuesIndices(values, indices)


def mode(input: Any, dim: int = -1, keepdim: bool = False) -> ValuesIndices:
    """The most frequent value along dim, the least of several, and the index of its last occurrence.

    >>> import ranvier as rv
    >>> rv.mode(rv.tensor([1, 2, 2, 3])).values
    tensor(2)
    """
    input = as_tensor("mode", input)
    ndim, at = input.ndim, _dim("mode", dim, input.ndim)
    rows = np.moveaxis(np.atleast_1d(input._array), at, -1)
    if rows.shape[-1] == 0:
        raise ValueError("[mode] got no element along the dimension; expected at least one")
    index = np.empty(rows.shape[:-1], np.int64)
    for place in np.ndindex(*rows.shape[:-1]):
        row = rows[place]
        values, counts = np.unique(row, return_counts=True)
        best = values[counts.argmax()]
        index[place] = np.flatnonzero((row == best) | ((row != row) & (best != best)))[-1]  # NaNs are equal
    index = np.expand_dims(index, at)
    y = gather(input if ndim else reshape(input, (1,)), at, index)
    found = ValuesIndices(y, wrap(index))
    if keepdim and ndim:
        return found
    return ValuesIndices(squeeze(found.values, at), squeeze(found.indices, at))


def msort(input: Any) -> Tensor:
    """x sorted along its first dimension.

    >>> import ranvier as rv
    >>> rv.msort(rv.tensor([2, 1]))
    tensor([1, 2])
    """
    return sort(input, 0).values
