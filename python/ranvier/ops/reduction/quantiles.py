"""quantile, nanquantile, nanmedian, mode; bincount, histc, histogram; unique; searchsorted, bucketize, isin.

quantile and nanmedian are composed of sort and gather, which give the gradients. The functions of sets
(unique, mode, bincount, histc ...) have kernels, and no gradient but that of mode (`without_derivative`).
NumPy computes what these do not take. searchsorted has a kernel for simple calls.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

import ranvier._core as _core
from ranvier.observe import computed
from ranvier.ops.elementwise.arithmetic import add, mul, sub
from ranvier.ops.elementwise.choice import where
from ranvier.ops.elementwise.dtypes import F32, F64, Array, as_tensor, singles
from ranvier.ops.gradient_rules import without_derivative
from ranvier.ops.making.creation import linspace
from ranvier.ops.reduction.reduce import Extreme, ValuesIndices
from ranvier.ops.reduction.sort import median, sort
from ranvier.ops.shape.index import gather, index_select
from ranvier.ops.shape.join import cat
from ranvier.ops.shape.reshape import _dim, movedim, reshape, some_dim, squeeze, unsqueeze
from ranvier.tape.function import Dtypes, by_kernel, in_dtypes
from ranvier.tensors.batched import batched, physical, rewrapped
from ranvier.tensors.errors import number
from ranvier.tensors.failures import OpError, misfit, require_dtype
from ranvier.tensors.memory import HALVES, is_batched, require_numbers
from ranvier.tensors.recording import host
from ranvier.tensors.tensor import Tensor, by_numpy, wrap
from ranvier.tensors.types import TensorLike


@in_dtypes(Dtypes(autocast="float32", like_first=True))
def _quantile(
    x: TensorLike, name: str, q: TensorLike, dim: int | None, keepdim: bool, interpolation: str, nans: bool
) -> Tensor:
    """quantile, or with `nans` nanquantile, which leaves NaNs out. name: the public function, for errors."""
    x = as_tensor(name, x)
    q = as_tensor(name, q)
    modes = ("linear", "lower", "higher", "midpoint", "nearest")
    require_dtype(name, "x", x, "f", "floats")
    if is_batched(x._array):
        return _quantile_of_slices(x, name, q, dim, keepdim, interpolation, nans)
    share = q._read(name).astype(x.dtype)
    inside = np.all((share >= 0) & (share <= 1))  # False for a NaN, too
    if interpolation not in modes or q.ndim > 1 or q.numel() == 0 or not inside:
        raise OpError(
            f"[{name}] got q {q.tolist()} and interpolation {interpolation!r}; expected at least one "
            f"q in [0, 1] and one of {', '.join(modes)}"
        )
    ndim = x.ndim
    if dim is None:
        x = reshape(x, (-1,))
        at = 0
    else:
        at = _dim(name, dim, x.ndim)
        if ndim == 0:
            x = reshape(x, (1,))
    x = movedim(x, at, -1)
    n = x.shape[-1]
    if n == 0:
        raise OpError(f"[{name}] got x without an element along the dimension; expected at least one")
    # A quantile is at `place`, between two elements in order; it is interpolated between them.
    ordered = sort(x, -1).values  # NaNs are last
    numbers = x.eq(x)._array.sum(-1, keepdims=True)  # how many elements are not NaN
    if nans:
        last = np.maximum(numbers - 1, 0)
    else:
        last = np.full_like(numbers, n - 1)
    place = share.reshape((-1,) + (1,) * x.ndim) * last.astype(x.dtype)  # (q, ..., 1)
    if interpolation == "lower":
        place = np.floor(place)
    elif interpolation == "higher":
        place = np.ceil(place)
    elif interpolation == "nearest":
        place = np.rint(place)
    # There the result is NaN: the last element in order, which also gets the gradient.
    if nans:
        bad = numbers == 0
    else:
        bad = numbers < n
    place = np.where(bad, last, place).astype(x.dtype)
    low = np.floor(place).astype(np.int64)
    if interpolation == "midpoint":
        fraction = np.where(place > low, 0.5, 0)
    else:
        fraction = place - low
    fraction = fraction.astype(x.dtype)
    flat = reshape(q, (-1,)).to(x.dtype)
    # The derivative of the place by q: place = q last; for other interpolations the place is constant between
    # jumps.
    slope = last.astype(x.dtype) * (interpolation == "linear")
    endless = bool(np.isinf(x._array).any())
    quantiles = []
    for i in range(low.shape[0]):
        a = gather(ordered, -1, low[i])
        b = gather(ordered, -1, np.ceil(place[i]).astype(np.int64))  # equal to a where place is whole
        # `fraction`, with the derivative `slope` by q: q slope + (fraction - q slope)
        constant = fraction[i] - share.reshape(-1)[i] * slope
        part = add(mul(flat[i], wrap(slope)), wrap(constant))
        if fraction[i].any() or q.requires_grad:
            y = a + mul(sub(b, a), part)
        else:
            y = a
        if endless:  # Between infinite elements a + (b - a) part would be NaN.
            between = where(wrap(fraction[i] == 0), a, mul(a, 1 - part) + mul(b, part))
            y = where(wrap(np.isinf(a._array) | np.isinf(b._array)), between, y)
        quantiles.append(unsqueeze(y, 0))
    y = cat(quantiles, 0)  # (q, ..., 1)
    y = movedim(y, -1, at + 1)
    if dim is None:
        ones = (1,) * ndim if keepdim else ()
        y = reshape(y, (y.shape[0], *ones))
    elif not keepdim or ndim == 0:
        y = squeeze(y, at + 1)
    if q.ndim:
        return y
    return squeeze(y, 0)


def _quantile_of_slices(
    x: Tensor, name: str, q: Tensor, dim: int | None, keepdim: bool, interpolation: str, nans: bool
) -> Tensor:
    """:func:`_quantile` of each slice of a batched Tensor."""
    slices = x._array.value  # type: ignore[attr-defined]
    is_flat = dim is None or x.ndim == 0
    if dim is None or x.ndim == 0:
        if dim is not None:
            _dim(name, dim, 1)
        rows = reshape(slices, (len(slices), x.numel()))
        y = _quantile(rows, name, q, 1, False, interpolation, nans)
    else:
        y = _quantile(slices, name, q, _dim(name, dim, x.ndim) + 1, keepdim, interpolation, nans)
    if q.ndim:
        y = movedim(y, 1, 0)
    if is_flat and keepdim:
        y = reshape(y, (*y.shape, *(1,) * x.ndim))
    return batched(y, x._array.level)  # type: ignore[attr-defined]


def quantile(
    input: TensorLike,
    q: TensorLike,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
    axis: int | None = None,
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
    if axis is not None:
        dim = axis
    keepdim = keepdim or keepdims
    return _quantile(input, "quantile", q, dim, keepdim, interpolation, nans=False)


def nanquantile(
    input: TensorLike,
    q: TensorLike,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """As :func:`quantile`, of the elements that are not NaN.

    >>> import ranvier as rv
    >>> rv.nanquantile(rv.tensor([1.0, float("nan"), 2.0]), 0.5)
    tensor(1.5000)
    """
    return _quantile(input, "nanquantile", q, dim, keepdim, interpolation, nans=True)


def nanmedian(input: TensorLike, dim: int | None = None, keepdim: bool = False) -> Tensor | ValuesIndices:
    """The lower median of the elements that are not NaN; with dim also its index.

    >>> import ranvier as rv
    >>> rv.nanmedian(rv.tensor([1.0, float("nan"), 3.0, 2.0]))
    tensor(2.)
    """
    input = as_tensor("nanmedian", input)
    if is_batched(input._array):
        return _nanmedian_of_slices(input, dim, keepdim)
    ndim = input.ndim
    rows = input
    if dim is None or ndim == 0:
        rows = reshape(input, (-1,))
    at = 0
    if dim is not None:
        at = _dim("nanmedian", dim, ndim)
    if rows.shape[at] == 0:
        raise OpError("[nanmedian] got no element along the dimension; expected at least one")
    array = rows._read("nanmedian")
    is_number = array == array
    if dim is None:  # Equal values share the gradient, as in `median`.
        numbers = np.flatnonzero(is_number)
        if numbers.size:
            return median(index_select(rows, 0, numbers))
        return reshape(rows[:1], ())
    ordered = sort(rows, at)
    count = is_number.sum(at, keepdims=True)
    place = np.maximum((count - 1) // 2, 0)
    values = gather(ordered.values, at, place)
    indices = gather(ordered.indices, at, place)
    if not keepdim or ndim == 0:
        values = squeeze(values, at)
        indices = squeeze(indices, at)
    return ValuesIndices(values, indices)


class MedianOfRows(Extreme):
    """y[i] = the lower median of row i of a matrix; elements that are equal to it share its gradient evenly.

    medians: the function of the values, `lower_medians` or `lower_medians_of_numbers`.
    """

    by_numpy = True  # NumPy computes it, not the core

    def __init__(self, medians: Callable[[Array], Array]) -> None:
        self.axes = (1,)
        self.keepdims = False
        self.medians = medians

    def forward(self, x: Array) -> Array:
        self.x = x
        self.y = host(self.medians, x)
        return self.y


def lower_medians(x: Array) -> Array:
    """The median of each row, the lower one of two; NaN where the row has one."""
    middle = (x.shape[1] - 1) // 2
    values = np.sort(x, 1)[:, middle]
    if x.dtype.kind != "f":
        return values
    return np.where(np.isnan(x).any(1), x.dtype.type(np.nan), values)


def lower_medians_of_numbers(x: Array) -> Array:
    """The median of the elements of each row that are not NaN; NaN for a row of NaN alone."""
    ordered = np.sort(x, 1)  # NaNs are last
    count = (x == x).sum(1, keepdims=True)
    return np.take_along_axis(ordered, np.maximum((count - 1) // 2, 0), 1)[:, 0]


def _nanmedian_of_slices(x: Tensor, dim: int | None, keepdim: bool) -> Tensor | ValuesIndices:
    """:func:`nanmedian` of each slice of a batched Tensor."""
    if dim is not None:
        return _along_dim_of_slices("nanmedian", nanmedian, x, dim, keepdim)
    if x.numel() == 0:
        raise OpError("[nanmedian] got no element along the dimension; expected at least one")
    slices = x._array.value  # type: ignore[attr-defined]
    y = MedianOfRows(lower_medians_of_numbers).apply(reshape(slices, (len(slices), x.numel())))
    return batched(y, x._array.level)  # type: ignore[attr-defined]


def _along_dim_of_slices(
    name: str, function: Callable[..., Any], x: Tensor, dim: int, keepdim: bool
) -> ValuesIndices:
    """The function of (x, dim, keepdim) for each slice of a batched Tensor."""
    at = _dim(name, dim, max(x.ndim, 1)) + 1
    slices = x._array.value  # type: ignore[attr-defined]
    if x.ndim == 0:
        pair = function(unsqueeze(slices, 1), at, False)
    else:
        pair = function(slices, at, keepdim)
    level = x._array.level  # type: ignore[attr-defined]
    return ValuesIndices(batched(pair.values, level), batched(pair.indices, level))


def mode(input: TensorLike, dim: int = -1, keepdim: bool = False) -> ValuesIndices:
    """The most frequent value along dim, the least of several, and the index of its last occurrence.

    NaNs are different values, greater than the numbers: the mode is NaN only where there is no number.

    >>> import ranvier as rv
    >>> rv.mode(rv.tensor([1, 2, 2, 3])).values
    tensor(2)
    """
    return _mode(input, dim, keepdim)


@by_kernel(_core._mode, result=ValuesIndices, name="mode")
def _mode(input: TensorLike, dim: int, keepdim: bool) -> ValuesIndices:
    input = as_tensor("mode", input)
    if is_batched(input._array):
        return _along_dim_of_slices("mode", mode, input, dim, keepdim)
    ndim = input.ndim
    at = _dim("mode", dim, ndim)
    rows = np.atleast_1d(input._read("mode"))
    if rows.shape[at] == 0:
        raise OpError("[mode] got no element along the dimension; expected at least one")
    _, index = _core._mode(_comparable(rows), at, True)
    indices = wrap(index)
    if ndim == 0:
        input = reshape(input, (1,))
    y = gather(input, at, indices)
    if keepdim and ndim:
        return ValuesIndices(y, indices)
    return ValuesIndices(squeeze(y, at), squeeze(indices, at))


class Histogram(NamedTuple):
    """The result of histogram."""

    hist: Tensor
    bin_edges: Tensor


def bincount(input: TensorLike, weights: TensorLike | None = None, minlength: int = 0) -> Tensor:
    """The number of times that 0, 1, 2 ... occur in a vector of integers >= 0, or the sum of their weights.

    >>> import ranvier as rv
    >>> rv.bincount(rv.tensor([0, 2, 2]))
    tensor([1, 0, 2])
    """
    if weights is None:
        return _counts_of_values(input, minlength)
    return _bincount(input, weights, minlength)


@by_kernel(_core._bincount)
def _counts_of_values(input: TensorLike, minlength: int) -> Tensor:
    return _bincount(input, None, minlength)


def _bincount(input: TensorLike, weights: TensorLike | None, minlength: int) -> Tensor:
    input = as_tensor("bincount", input)
    fits = input.ndim == 1 and input.dtype.kind in "biu" and input._array.min(initial=0) >= 0
    if not fits or minlength < 0:
        raise OpError(
            f"[bincount] got x of shape {input.shape} and {input._array.dtype}; expected a vector of "
            "integers >= 0"
        )
    if weights is None:
        w = None
    else:
        w = as_tensor("bincount", weights)._array
    if w is not None and w.shape != input.shape:
        raise misfit("bincount", {"weights": w.shape}, input.shape)
    counts = np.bincount(input._read("bincount"), w, minlength)
    if w is not None and w.dtype == np.float32:
        counts = counts.astype(np.float32)
    return without_derivative("bincount", counts, weights)


def histc(input: TensorLike, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """The number of elements in each of `bins` equal intervals of [min, max]; if min = max, of x's range.

    >>> import ranvier as rv
    >>> rv.histc(rv.tensor([1.0, 2.0, 1.0]), bins=4, min=0, max=3)
    tensor([0., 2., 1., 0.])
    """
    return _histc(input, bins, min, max)


def _histc_by_kernel(x: Array, bins: int, low: float, high: float) -> Array:
    return _core._histogram(x, bins, low, high, 1.0, False)[0]


@by_kernel(_histc_by_kernel, name="histc")
def _histc(input: TensorLike, bins: int, min: float, max: float) -> Tensor:
    input = as_tensor("histc", input)
    if is_batched(input._array):
        return _histc_of_slices(input, bins, number("histc", "min", min), number("histc", "max", max))
    values = input._read("histc")
    low, high = _limits(values, number("histc", "min", min), number("histc", "max", max), 1)
    if bins < 1 or not (low < high and high - low < np.inf):
        raise OpError(
            f"[histc] got {bins} bins in [{low}, {high}]; expected at least one, and finite min < max"
        )
    counts = _histc_by_kernel(values.astype(low.dtype), bins, float(low), float(high))
    return without_derivative("histc", counts.astype(input.dtype), input)


def _histc_of_slices(x: Tensor, bins: int, low: float, high: float) -> Tensor:
    """:func:`histc` of each slice of a batched Tensor: limits that are the same for all make one call."""
    slices = physical(x)
    lead = slices.shape[: slices.ndim - x.ndim]
    rows = slices._array.reshape((math.prod(lead), x.numel()))
    if low == high:
        limits = [_limits(row, low, high, 1) for row in rows]
    else:
        limits = [_limits(rows[0], low, high, 1)]
    least = np.array([[pair[0]] for pair in limits])
    most = np.array([[pair[1]] for pair in limits])
    if bins < 1 or not ((least < most) & (most - least < np.inf)).all():
        raise OpError(
            f"[histc] got {bins} bins in [{least.min()}, {most.max()}]; expected at least one, and finite "
            "min < max"
        )
    counts = _counts_of_rows(rows, bins, least, most).reshape(*lead, bins).astype(x.dtype)
    return rewrapped(x, lambda _: wrap(counts))


def _counts_of_rows(rows: Array, bins: int, low: Array, high: Array) -> Array:
    """For each row the number of its elements in each interval. low, high: one for all rows, or for each."""
    exact = low.dtype
    elements = rows.astype(exact, copy=False)
    inside = (elements >= low) & (elements <= high)
    shares = np.where(inside, elements - low, 0) * exact.type(bins) / (high - low)
    places = np.minimum(shares.astype(np.int64), bins - 1) + np.arange(len(rows))[:, None] * bins
    counts = np.bincount(places[inside], minlength=len(rows) * bins)
    return counts.reshape(len(rows), bins)


def _limits(values: Array, low: float, high: float, more: float) -> tuple[np.floating[Any], np.floating[Any]]:
    """The limits low and high in the dtype in which intervals are computed. If both are equal, the limits are
    the least and the greatest value; if these are equal, too, they are moved by `more` downwards and
    upwards."""
    dtype = values.dtype if values.dtype.kind == "f" else F64
    computed_in = dtype
    if dtype in HALVES:
        computed_in = F32
    exact = computed_in.type
    with np.errstate(all="ignore"):
        least = exact(dtype.type(low))
        most = exact(dtype.type(high))
        if least == most and values.size:
            least = exact(values.min())
            most = exact(values.max())
        if least == most:
            end = exact(np.inf)
            least = np.minimum(least - exact(more), np.nextafter(least, -end))
            most = np.maximum(most + exact(more), np.nextafter(most, end))
    return least, most


def histogram(
    input: TensorLike,
    bins: int | Tensor | Sequence[float] = 100,
    *,
    range: tuple[float, float] | None = None,
    weight: TensorLike | None = None,
    density: bool = False,
) -> Histogram:
    """The number of elements in each interval, and the edges of the intervals; for a number, as by
    linspace.

    >>> import ranvier as rv
    >>> rv.histogram(rv.tensor([1.0, 2.0, 1.0]), 2, range=(0.0, 3.0)).hist
    tensor([2., 1.])
    """
    if weight is None and density is False:
        if isinstance(bins, Tensor):
            edges = bins.detach().clone()
            return Histogram(_between_edges(input, edges), edges)
        if type(bins) is int and (range is None or range[0] < range[1]):
            return _histogram(input, bins, range)
    return _histogram_by_numpy(input, bins, range, weight, density)


def _histogram_by_kernel(x: Array, bins: int, range: tuple[float, float] | None) -> tuple[Array, Array]:
    if range is not None:
        low, high = range
    elif x.size:
        low = high = 0.0  # those of the elements
    else:
        low, high = 0.0, 1.0
    return _core._histogram(x, bins, low, high, 0.5, True)


@by_kernel(_histogram_by_kernel, result=Histogram)
def _histogram(input: TensorLike, bins: int, range: tuple[float, float] | None) -> Histogram:
    return _histogram_by_numpy(input, bins, range)


_MOST_SEARCHED = 2000  # elements; NumPy, which sorts them first, takes less time for more


def _between_edges_by_kernel(x: Array, edges: Array) -> Array:
    if x.size > _MOST_SEARCHED:
        return NotImplemented
    return _core._histogram_between(x, edges)


@by_kernel(_between_edges_by_kernel)
def _between_edges(input: TensorLike, edges: Tensor) -> Tensor:
    return _histogram_by_numpy(input, edges).hist


def _histogram_by_numpy(
    input: TensorLike,
    bins: int | Tensor | Sequence[float],
    range: tuple[float, float] | None = None,
    weight: TensorLike | None = None,
    density: bool = False,
) -> Histogram:
    input = as_tensor("histogram", input)
    values = input._read("histogram")
    if weight is None:
        w = None
    else:
        w = as_tensor("histogram", weight)._array
    edges = getattr(bins, "_array", bins)
    require_numbers("histogram", np.asarray(edges).dtype)
    if isinstance(bins, int):
        if bins < 1:
            raise OpError(f"[histogram] got bins {bins}; expected at least one")
        if values.dtype in (F32, F64) and (range is None or range[0] < range[1]):
            if range is None:  # for equal limits `_limits` takes those of the values
                range = (0, 0) if values.size else (0, 1)
            low, high = _limits(values, range[0], range[1], 0.5)
            if not high - low < np.inf:
                raise OpError(f"[histogram] got elements in [{low}, {high}]; expected finite limits")
            edges = linspace(float(low), float(high), bins + 1, dtype=input.dtype)._array
    counts, edges = np.histogram(values, edges, range, density, w)
    hist = without_derivative("histogram", counts.astype(input.dtype), input, weight)
    bin_edges = without_derivative("histogram", edges.astype(input.dtype), input, weight)
    return Histogram(hist, bin_edges)


def unique(
    input: TensorLike,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Tensor | tuple[Tensor, ...]:
    """The different elements in ascending order (slices along dim, if given); on demand also the index of
    each element of x among them, and how often each occurs.

    >>> import ranvier as rv
    >>> rv.unique(rv.tensor([3, 1, 3]), return_counts=True)
    (tensor([1, 3]), tensor([1, 2]))
    """
    if dim is not None:
        return _unique_slices(input, return_inverse, return_counts, dim)
    if return_inverse or return_counts:
        return _unique(input, return_inverse, return_counts)
    return _unique_values(input)


@by_kernel(_core._unique)
def _unique(input: TensorLike, return_inverse: bool, return_counts: bool) -> Tensor | tuple[Tensor, ...]:
    input = as_tensor("unique", input)
    x = input._read("unique")
    values, *others = _core._unique(_comparable(x), return_inverse, return_counts)
    return _tensors("unique", input, [_of_comparable(values, x.dtype), *others])


def _unique_slices(input: TensorLike, return_inverse: bool, return_counts: bool, dim: int) -> Any:
    input = as_tensor("unique", input)
    at = some_dim("unique", input, dim)
    x = input._read("unique")
    width = math.prod(size for d, size in enumerate(x.shape) if d != at)
    if width == 0:
        raise OpError(f"[unique] got x of shape {input.shape}; expected elements in the slices along dim")
    rows = np.moveaxis(x, at, 0).reshape(x.shape[at], width)
    first, *others = _listed(_core._unique_rows(_comparable(rows), return_inverse, return_counts))
    return _tensors("unique", input, [x.take(first, at), *others])


def _different(x: Array) -> Array:
    """The different elements in order. A NaN differs from all other elements, so each NaN is kept."""
    if x.dtype == np.bool_:
        values = []
        if not x.all():
            values.append(False)
        if x.any():
            values.append(True)
        return np.array(values, bool)
    ordered = x.flatten()
    ordered.sort()
    new = np.ones(ordered.size, bool)
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    return ordered[new]


# NumPy's sort compares several elements at once: without indices it takes less time than the kernel.
@by_kernel(_different)
def _unique_values(input: TensorLike) -> Tensor:
    input = as_tensor("unique", input)
    return without_derivative("unique", _different(input._read("unique")), input)


def unique_consecutive(
    input: TensorLike, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Tensor | tuple[Tensor, ...]:
    """The elements (slices along dim) that differ from the one before, as :func:`unique` returns them.

    >>> import ranvier as rv
    >>> rv.unique_consecutive(rv.tensor([1, 1, 2, 1]))
    tensor([1, 2, 1])
    """
    if dim is None:
        return _unique_consecutive(input, return_inverse, return_counts)
    input = as_tensor("unique_consecutive", input)
    values = input._read("unique_consecutive")
    at = some_dim("unique_consecutive", input, dim)
    rows = np.moveaxis(values, at, 0)
    new = np.ones(rows.shape[0], bool)
    if rows.shape[0]:
        differ = rows[1:] != rows[:-1]
        new[1:] = differ.any(tuple(range(1, rows.ndim)))
    found = [np.moveaxis(rows[new], 0, at)]
    if return_inverse:
        found.append(np.cumsum(new) - 1)
    if return_counts:
        found.append(np.diff(np.append(np.flatnonzero(new), rows.shape[0])))
    return _tensors("unique_consecutive", input, found)


@by_kernel(_core._unique_consecutive)
def _unique_consecutive(
    input: TensorLike, return_inverse: bool, return_counts: bool
) -> Tensor | tuple[Tensor, ...]:
    input = as_tensor("unique_consecutive", input)
    x = input._read("unique_consecutive")
    values, *others = _listed(_core._unique_consecutive(_comparable(x), return_inverse, return_counts))
    return _tensors("unique_consecutive", input, [_of_comparable(values, x.dtype), *others])


def _listed(found: Array | tuple[Array, ...]) -> Sequence[Array]:
    """The arrays that a kernel has found: one, or a tuple of several."""
    if isinstance(found, tuple):
        return found
    return [found]


def _comparable(x: Array) -> Array:
    """x, or of uint64, which kernels do not take, numbers of int64 in the same order."""
    if x.dtype == np.uint64:
        return (x ^ _SIGN_BIT).view(np.int64)
    return x


def _of_comparable(values: Array, dtype: np.dtype[Any]) -> Array:
    """The values of this dtype from which `_comparable` has made these."""
    if dtype == np.uint64:
        return values.view(np.uint64) ^ _SIGN_BIT
    return values


_SIGN_BIT = np.uint64(1 << 63)


def _tensors(name: str, x: Tensor, arrays: list[Array]) -> Tensor | tuple[Tensor, ...]:
    results = tuple(without_derivative(name, np.asarray(array, order="C"), x) for array in arrays)
    if len(results) > 1:
        return results
    return results[0]


def isin(
    elements: TensorLike, test_elements: TensorLike, *, assume_unique: bool = False, invert: bool = False
) -> Tensor:
    """True where an element is one of test_elements (with invert: is not); bool.

    >>> import ranvier as rv
    >>> rv.isin(rv.tensor([1, 2, 3]), rv.tensor([2, 5]))
    tensor([False,  True, False])
    """
    a = as_tensor("isin", elements)
    b = as_tensor("isin", test_elements)
    return computed("isin", (a, b), by_numpy(np.isin, *singles(a, b), False, invert), invert=invert)


def searchsorted(
    sorted_sequence: TensorLike,
    values: TensorLike,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: TensorLike | None = None,
) -> Tensor:
    """The places at which to insert the values into sorted rows: (..., n), (..., m) -> (..., m) of int64.

    'left' (the default) gives the index of the first element >= the value, 'right' of the first > it.

    >>> import ranvier as rv
    >>> rv.searchsorted(rv.tensor([1, 3, 5]), rv.tensor([3, 6]))
    tensor([1, 3])
    """
    if type(values) is float:
        dtype = getattr(sorted_sequence, "dtype", None)
        if dtype in (F32, F64):
            values = np.asarray(values, dtype)
    if side is not None:
        if side not in ("left", "right") or (side == "left" and right):
            raise OpError(f"[searchsorted] got side {side!r} and right {right}; expected 'left' or 'right'")
        right = side == "right"
    if sorter is not None:
        rows = as_tensor("searchsorted", sorted_sequence)
        order = as_tensor("searchsorted", sorter)
        sorted_sequence = by_numpy(np.take_along_axis, rows._array, order._array, -1)
    y = _places(sorted_sequence, values, right)
    if out_int32:
        return y.to(np.int32)
    return y


@by_kernel(_core._searchsorted)
def _places(sorted_sequence: TensorLike, values: TensorLike, right: bool) -> Tensor:
    rows = as_tensor("searchsorted", sorted_sequence)
    v = as_tensor("searchsorted", values)
    side = "right" if right else "left"
    y = by_numpy(_places_of, rows._array, v._array, side)
    return computed("searchsorted", (rows, v), y, right=right)


def _places_of(sequence: Array, v: Array, side: Literal["left", "right"]) -> Array:
    shape = sequence.shape
    if sequence.ndim == 1:
        return np.asarray(np.searchsorted(sequence, v, side))
    if sequence.ndim == 0 or sequence.shape[:-1] != v.shape[:-1]:
        raise misfit(
            "searchsorted", {"rows": shape, "values": v.shape}, "one row, or equal sizes but for the last"
        )
    places = np.empty(v.shape, np.int64)
    for row in np.ndindex(*sequence.shape[:-1]):
        places[row] = np.searchsorted(sequence[row], v[row], side)
    return places


def bucketize(
    input: TensorLike, boundaries: TensorLike, *, out_int32: bool = False, right: bool = False
) -> Tensor:
    """The index of the interval between the sorted boundaries in which each element is; int64.

    >>> import ranvier as rv
    >>> rv.bucketize(rv.tensor([0.5, 3.0]), rv.tensor([1.0, 2.0]))
    tensor([0, 2])
    """
    limits = as_tensor("bucketize", boundaries)
    if limits.ndim != 1:
        raise misfit("bucketize", {"boundaries": limits.shape}, "a vector")
    return searchsorted(limits, input, out_int32=out_int32, right=right)
