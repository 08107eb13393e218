"""Counts, histograms, unique values and searches in sorted values."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ranvier.autograd.tensor import Tensor, by_numpy
from ranvier.ops.elementwise.by_numpy import without_derivative
from ranvier.ops.elementwise.dtypes import as_tensor
from ranvier.ops.shape.reshape import some_dim


class Histogram(NamedTuple):
    """The result of histogram."""

    hist: Any
    bin_edges: Any


def _weights(name: str, weights: Any, n: int) -> Any:
    if weights is None:
        return None
    w = as_tensor(name, weights)._array
    if w.shape != (n,):
        raise ValueError(f"[{name}] got weights of shape {w.shape}; expected ({n},)")
    return w


def bincount(input: Any, weights: Any = None, minlength: int = 0) -> Tensor:
    """How often each of 0, 1, 2 ... occurs in a vector of integers >= 0, or the sum of their weights.

    >>> import ranvier as rv
    >>> rv.bincount(rv.tensor([0, 2, 2]))
    tensor([1, 0, 2])
    """
    input = as_tensor("bincount", input)
    if (
        input.ndim != 1
        or input.dtype.kind not in "biu"
        or (input.numel() and input._array.min() < 0)
        or minlength < 0
    ):
        raise ValueError(
            f"[bincount] got x of shape {input.shape} and {input.dtype}; expected a vector of integers >= 0"
        )
    w = _weights("bincount", weights, input.shape[0])
    found = np.bincount(input._read("bincount"), w, minlength)
    found = found if w is None or w.dtype != np.float32 else found.astype(np.float32)
    return without_derivative("bincount", found, weights)


def histc(input: Any, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements are in each of `bins` equal intervals of [min, max]; equal limits mean those of x.

    >>> import ranvier as rv
    >>> rv.histc(rv.tensor([1.0, 2.0, 1.0]), bins=4, min=0, max=3)
    tensor([0., 2., 1., 0.])
    """
    input = as_tensor("histc", input)
    values = input._read("histc")
    if min == max and values.size:
        min, max = float(values.min()), float(values.max())
    if min == max:
        min, max = min - 1, max + 1
    if bins < 1 or not -np.inf < min < max < np.inf:
        raise ValueError(
            f"[histc] got {bins} bins in [{min}, {max}]; expected at least one, and finite min < max"
        )
    inside = values[(values >= min) & (values <= max)]
    return without_derivative("histc", np.histogram(inside, bins, (min, max))[0].astype(input.dtype), input)


def histogram(
    input: Any, bins: Any = 100, *, range: Any = None, weight: Any = None, density: bool = False
) -> Histogram:
    """How many elements are in each interval, and the edges of the intervals: as numpy.histogram.

    >>> import ranvier as rv
    >>> rv.histogram(rv.tensor([1.0, 2.0, 1.0]), 2, range=(0.0, 3.0)).hist
    tensor([2., 1.])
    """
    input = as_tensor("histogram", input)
    values = input._read("histogram")
    w = None if weight is None else as_tensor("histogram", weight)._array
    edges = getattr(bins, "_array", bins)
    counts, found = np.histogram(values, edges, range, density, w)
    return Histogram(
        *(
            without_derivative("histogram", part.astype(input.dtype), input, weight)
            for part in (counts, found)
        )
    )


def unique(
    input: Any,
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
    input = as_tensor("unique", input)
    at = None if dim is None else some_dim("unique", input, dim)
    y, inverse, counts = np.unique(
        input._read("unique"), return_inverse=True, return_counts=True, axis=at, equal_nan=False
    )
    inverse = inverse.reshape(input.shape if at is None else -1)
    return _chosen("unique", input, y, inverse, counts, return_inverse, return_counts)


def unique_consecutive(
    input: Any, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The elements (slices along dim) that differ from the one before, as :func:`unique` returns them.

    >>> import ranvier as rv
    >>> rv.unique_consecutive(rv.tensor([1, 1, 2, 1]))
    tensor([1, 2, 1])
    """
    input = as_tensor("unique_consecutive", input)
    values = input._read("unique_consecutive")
    at = 0 if dim is None else some_dim("unique_consecutive", input, dim)
    rows = values.reshape(-1) if dim is None else np.moveaxis(values, at, 0)
    new = np.ones(rows.shape[0], bool)
    if rows.shape[0]:
        new[1:] = (rows[1:] != rows[:-1]).any(tuple(range(1, rows.ndim)))
    first = np.flatnonzero(new)
    counts = np.diff(np.append(first, rows.shape[0]))
    inverse = np.cumsum(new) - 1
    y = rows[first] if dim is None else np.moveaxis(rows[first], 0, at)
    inverse = inverse.reshape(input.shape) if dim is None else inverse
    return _chosen("unique_consecutive", input, y, inverse, counts, return_inverse, return_counts)


def _chosen(
    name: str, x: Tensor, y: Any, inverse: Any, counts: Any, with_inverse: bool, with_counts: bool
) -> Any:
    found = [y, *([inverse] if with_inverse else []), *([counts] if with_counts else [])]
    made = tuple(without_derivative(name, np.asarray(part, order="C"), x) for part in found)
    return made if len(made) > 1 else made[0]


def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """True where an element is one of test_elements (with invert: is not); bool.

    >>> import ranvier as rv
    >>> rv.isin(rv.tensor([1, 2, 3]), rv.tensor([2, 5]))
    tensor([False,  True, False])
    """
    a, b = as_tensor("isin", elements), as_tensor("isin", test_elements)
    return by_numpy(_isin, a._array, b._array, invert)


def _isin(a: Any, b: Any, invert: bool) -> Any:
    return np.asarray(np.isin(a, b, invert=invert))


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
    where_to: Any = "right" if right or side == "right" else "left"
    order = None if sorter is None else as_tensor("searchsorted", sorter)._array
    return by_numpy(_places_of, rows._array, v._array, order, where_to, np.int32 if out_int32 else np.int64)


def _places_of(sequence: Any, v: Any, order: Any, where_to: Any, dtype: Any) -> Any:
    shape = sequence.shape
    if order is not None:
        sequence = np.take_along_axis(sequence, order, -1)
    if sequence.ndim == 1:
        return np.asarray(np.searchsorted(sequence, v, where_to)).astype(dtype)
    if sequence.ndim == 0 or sequence.shape[:-1] != v.shape[:-1]:
        raise ValueError(
            f"[searchsorted] got rows of shape {shape} and values of shape {v.shape}; expected one "
            "row, or equal sizes but for the last"
        )
    found = np.empty(v.shape, np.int64)
    for place in np.ndindex(*sequence.shape[:-1]):
        found[place] = np.searchsorted(sequence[place], v[place], where_to)
    return found.astype(dtype)


def bucketize(input: Any, boundaries: Any, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """The index of the interval between the sorted boundaries in which each element is; int64.

    >>> import ranvier as rv
    >>> rv.bucketize(rv.tensor([0.5, 3.0]), rv.tensor([1.0, 2.0]))
    tensor([0, 2])
    """
    limits = as_tensor("bucketize", boundaries)
    if limits.ndim != 1:
        raise ValueError(f"[bucketize] got boundaries of shape {limits.shape}; expected a vector")
    return searchsorted(limits, input, out_int32=out_int32, right=right)
