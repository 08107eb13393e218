"""Ops that read or write elements at given places: take, put, index_fill, scatter_reduce and others."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.ops.elementwise.choice import masked_fill, where
from ranvier.ops.elementwise.dtypes import Array, alike, as_tensor, cast, is_floating
from ranvier.ops.image.resample import pad
from ranvier.ops.making.creation import full_like
from ranvier.ops.reduction.sort import cumsum
from ranvier.ops.shape.index import gather, index_array, part_of, require_from_0, selected
from ranvier.ops.shape.reshape import _dim, broadcast_to, expand, reshape
from ranvier.ops.shape.scatter import _like, _scatter, index_add, scatter, scatter_add
from ranvier.tape.function import Function, by_kernel, into, watched
from ranvier.tape.higher_order import of_input, of_output, refuse, rule
from ranvier.tape.inplace import assign, check_leaf, setitem
from ranvier.tensors.errors import one_of
from ranvier.tensors.failures import DtypeError, OpError, misfit
from ranvier.tensors.keys import raw_index
from ranvier.tensors.memory import all_slices, fill_number, filled_like, is_batched, keep, of_slices
from ranvier.tensors.picks import picks_of
from ranvier.tensors.places import picked
from ranvier.tensors.recording import host
from ranvier.tensors.tensor import Tensor, by_numpy, wrap
from ranvier.tensors.types import ArrayLike, TensorLike


def take(input: TensorLike, index: ArrayLike) -> Tensor:
    """The elements of x at flat positions, in the shape of index.

    >>> import ranvier as rv
    >>> rv.take(rv.tensor([[1.0, 2.0], [3.0, 4.0]]), rv.tensor([3, 0]))
    tensor([4., 1.])
    """
    input = as_tensor("take", input)
    at = as_tensor("take", index)
    return reshape(selected(reshape(input, (-1,)), 0, reshape(at, -1), False), at.shape)


def put(input: TensorLike, index: ArrayLike, source: TensorLike, accumulate: bool = False) -> Tensor:
    """x with the elements of source at flat positions index, or added to them, in a new tensor.

    >>> import ranvier as rv
    >>> rv.put(rv.zeros(3), rv.tensor([2, 0]), rv.tensor([5.0, 6.0]))
    tensor([6., 0., 5.])
    """
    input = as_tensor("put", input)
    source = as_tensor("put", source)
    at = index_array("put", index)
    if source.numel() != at.size:
        raise OpError(f"[put] got {source.numel()} elements for {at.size} positions; expected as many")
    rows = host(_in_range, "put", at.reshape(-1), input.numel())
    write = scatter_add if accumulate else scatter
    y = write(reshape(input, (-1,)), 0, rows, reshape(source, (-1,)))
    return reshape(watched(y, index), input.shape)


def _in_range(name: str, index: Array, size: int) -> Array:
    """The index counted from 0."""
    places = all_slices(index)
    if _core.inside(places, 0, size - 1):
        return index
    if places.min() < -size or places.max() >= size:
        raise IndexError(f"[{name}] got an index outside -{size} ... {size - 1}; expected one inside")
    return np.where(index < 0, index + size, index)


def _rows(name: str, x: Tensor, dim: int, index: ArrayLike) -> tuple[int, Array]:
    """dim and the indices along it, both from 0 on."""
    at = _dim(name, dim, x.ndim)
    rows = index_array(name, index).reshape(-1)
    size = x.shape[at] if x.ndim else 1
    return at, host(_in_range, name, rows, size)


def index_fill(input: TensorLike, dim: int, index: ArrayLike, value: TensorLike) -> Tensor:
    """x with every element at the indices along dim replaced by a number, in a new tensor.

    >>> import ranvier as rv
    >>> rv.index_fill(rv.zeros(3), 0, rv.tensor([0, 2]), 1.0)
    tensor([1., 0., 1.])
    """
    input = as_tensor("index_fill", input)
    at, rows = _rows("index_fill", input, dim, index)
    if isinstance(value, (Tensor, np.ndarray)):
        value = as_tensor("index_fill", value)
        if value.ndim:
            raise misfit("index_fill", {"value": value.shape}, "a number")
    else:
        value = fill_number("index_fill", value, input._array.dtype)
    source = expand(cast(value, input.dtype), _rows_shape(input, at, rows))
    return watched(_copied(input, at, rows, source), index)


def _rows_shape(x: Tensor, at: int, rows: Array) -> tuple[int, ...]:
    if x.ndim:
        return (*x.shape[:at], rows.size, *x.shape[at + 1 :])
    return ()


def _scattered(x: Array, at: int, rows: Array, source: Array) -> Array:
    # add=False, out=None, from_0=True
    return _core.scatter(x, rows, source, at, False, None, True)


@by_kernel(_scattered)
def _copied(x: Tensor, at: int, rows: Array, source: Tensor) -> Tensor:
    if x.ndim == 0:
        return where(wrap(keep(np.asarray(rows.size > 0))), reshape(source, ()), x)
    places = rows.reshape((-1,) + (1,) * (x.ndim - at - 1))
    return scatter(x, at, np.broadcast_to(places, source.shape), source)


def fill_diagonal_(input: Tensor, fill_value: float, wrap: bool = False) -> Tensor:
    """x[i, i, ..] = fill_value, in place, for a matrix (m, n) or more dimensions of one length.

    wrap: with m > n the diagonal begins again after each n + 1 rows. Raises ValueError for another shape.

    >>> import ranvier as rv
    >>> rv.zeros(2, 2).fill_diagonal_(5.0)
    tensor([[5., 0.],
            [0., 5.]])
    """
    check_leaf(input, "fill_diagonal_")
    if input.ndim < 2 or (input.ndim > 2 and len(set(input.shape)) > 1):
        raise misfit("fill_diagonal_", {"x": input.shape}, "a matrix, or dimensions of one length")
    mask = np.zeros(input.shape, bool)
    np.fill_diagonal(mask, True, wrap)
    return assign(input, masked_fill(input, keep(mask), fill_value), "fill_diagonal_")


def apply_(input: Tensor, callable: Callable[[Any], Any]) -> Tensor:
    """x = callable(x), in place, for one number after another, in Python.

    >>> import ranvier as rv
    >>> rv.tensor([1.0, 2.0]).apply_(lambda v: v + 1)
    tensor([2., 3.])
    """
    return _computed("apply_", input, callable)


def map_(input: Tensor, other: TensorLike, callable: Callable[[Any, Any], Any]) -> Tensor:
    """x = callable(x, other), in place, for one pair of numbers after another, in Python.

    >>> import ranvier as rv
    >>> rv.tensor([1.0, 2.0]).map_(rv.tensor([3.0, 4.0]), max)
    tensor([3., 4.])
    """
    return _computed("map_", input, callable, as_tensor("map_", other))


def _computed(name: str, x: Tensor, function: Callable[..., Any], *others: Tensor) -> Tensor:
    """x with the function of its elements and those of others. Raises RuntimeError for gradients."""
    operands = (x, *others)
    if any(t.requires_grad for t in operands):
        raise RuntimeError(f"[{name}] got a tensor that requires gradients; expected x.detach()")
    numbers = [broadcast_to(t, x.shape).reshape(-1).tolist() for t in operands]
    results = list(map(function, *numbers))
    return x.copy_(wrap(np.reshape(results, x.shape)))


def index_copy_(input: Tensor, dim: int, index: ArrayLike, source: TensorLike) -> Tensor:
    """As :func:`ranvier.index_copy`, in place: the other elements are not read."""
    return _copied_into(input, dim, index, source)


def _scattered_into(dim: int, index: Array, source: Array, out: Array) -> Array:
    return _core.scatter(out, index, source, dim, False, out, True)


@into(_scattered_into)
def _copied_into(input: Tensor, dim: int, index: ArrayLike, source: TensorLike) -> Tensor:
    check_leaf(input, "index_copy_")
    at = _dim("index_copy_", dim, input.ndim)
    source = as_tensor("index_copy_", source)
    rows = index_array("index_copy_", index).reshape(-1)
    if source.dtype != input.dtype or source.shape != _rows_shape(input, at, rows) or not input.ndim:
        return assign(input, index_copy(input, dim, index, source), "index_copy_")
    require_from_0("index_copy_", index)
    # A Tensor stays one, so that its changes are seen before backward.
    places = index.reshape(-1) if isinstance(index, Tensor) else rows
    setitem(input, (slice(None),) * at + (places,), source)
    return input


def index_copy(input: TensorLike, dim: int, index: ArrayLike, source: TensorLike) -> Tensor:
    """x with y[.., index[j], ..] = source[.., j, ..] along dim, in a new tensor.

    Raises IndexError where an index is negative or out of range.

    >>> import ranvier as rv
    >>> rv.index_copy(rv.zeros(3), 0, rv.tensor([2, 0]), rv.tensor([5.0, 6.0]))
    tensor([6., 0., 5.])
    """
    x = as_tensor("index_copy", input)
    values = as_tensor("index_copy", source)
    if _core._autocast(-1):
        x, values = alike(x, values)
    require_from_0("index_copy", index)
    at, rows = _rows("index_copy", x, dim, index)
    expected = _rows_shape(x, at, rows)
    if values.shape != expected and not (x.ndim == 0 and values.numel() == 1):
        raise misfit("index_copy", {"source": values.shape}, expected)
    return watched(_copied(x, at, rows, values), index)


def index_put(input: TensorLike, indices: Any, values: TensorLike, accumulate: bool = False) -> Tensor:
    """x with x[indices] = values, or += with accumulate, in a new tensor.

    >>> import ranvier as rv
    >>> rv.index_put(rv.zeros(2, 2), (rv.tensor([0, 1]), rv.tensor([1, 0])), rv.tensor([5.0, 6.0]))
    tensor([[0., 5.],
            [6., 0.]])
    """
    input = as_tensor("index_put", input)
    values = as_tensor("index_put", values)
    key = raw_index(tuple(_tensor_or_all(i) for i in indices))
    if values.dtype != input.dtype:
        raise DtypeError(
            f"[index_put] got values of {values._array.dtype} for x of {input._array.dtype}; expected equal "
            "dtypes"
        )
    try:
        if not accumulate:
            y = input.clone()
            y[key[0] if len(key) == 1 else key] = values
            return watched(y, *indices)
        # If arrays index the first n dimensions and the others are whole, these n become one, and index_add
        # adds rows. With other keys the values are added at the flat positions of their elements.
        picks = picks_of(key, input.shape)
        n = len(picks.axes)
        if picks.basic.count(slice(None)) == len(picks.basic) and picks.axes == tuple(range(n)):
            length = math.prod(input.shape[:n])
            rest = input.shape[n:]
            rows = host(_in_range, "index_put", picks.rows, length)
            source = broadcast_to(values, (*picks.shape, *rest)).reshape(rows.size, *rest)
            y = index_add(input.reshape(length, *rest), 0, rows, source)
            return watched(y, *indices).reshape(input.shape)
        places = picked(keep(np.arange(input.numel())).reshape(input.shape), (key,))
    except IndexError as error:
        raise IndexError(f"[index_put] {error}") from error
    return put(input, places, broadcast_to(values, places.shape), accumulate)


def _tensor_or_all(index: TensorLike | None) -> Tensor | slice:
    """An index of `index_put`; None stands for a whole dimension."""
    if index is None:
        return slice(None)
    return as_tensor("index_put", index)


def masked_scatter(input: TensorLike, mask: TensorLike, source: TensorLike) -> Tensor:
    """x with the elements where mask is true replaced by the first elements of source, in order.

    >>> import ranvier as rv
    >>> rv.masked_scatter(rv.zeros(3), rv.tensor([True, False, True]), rv.tensor([1.0, 2.0]))
    tensor([1., 0., 2.])
    """
    input = as_tensor("masked_scatter", input)
    mask = as_tensor("masked_scatter", mask)
    source = as_tensor("masked_scatter", source)
    if mask.dtype != np.bool_:
        raise DtypeError(f"[masked_scatter] got mask of dtype {mask.dtype}; expected bool")
    shape = np.broadcast_shapes(input.shape, mask.shape)
    input = expand(input, shape)
    if is_batched(mask._array):
        return _masked_scatter_of_slices(input, expand(mask, shape), source)
    places = np.flatnonzero(np.broadcast_to(mask._read("masked_scatter"), shape))
    if source.numel() < places.size:
        raise OpError(
            f"[masked_scatter] got {source.numel()} elements for {places.size} places; "
            "expected at least as many"
        )
    y = scatter(reshape(input, -1), 0, wrap(keep(places)), reshape(source, -1)[: places.size])
    return reshape(y, shape)


def _masked_scatter_of_slices(x: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """:func:`masked_scatter` where each slice has a mask of its own: Python cannot read its places."""
    chosen = reshape(mask, -1)
    place = cumsum(chosen.long(), 0) - 1  # of each chosen element, in source
    most = int(all_slices(place._array).max(initial=-1)) + 1
    if source.numel() < most:
        raise OpError(
            f"[masked_scatter] got {source.numel()} elements for {most} places; expected at least as many"
        )
    if source.numel() == 0:
        return x.clone()
    values = gather(reshape(source, -1), 0, place.clamp(min=0))
    return where(mask, reshape(values, x.shape), x)


def scatter_reduce(
    input: TensorLike, dim: int, index: ArrayLike, src: TensorLike, reduce: str, *, include_self: bool = True
) -> Tensor:
    """x with y[.., index[j], ..] = the reduction of all src[.., j, ..] written there, and of x's element.

    reduce: 'sum', 'prod', 'mean', 'amax' or 'amin'. Without include_self, x counts only where nothing is
    written. Equal extremes share the gradient; where one is NaN all gradients are. Raises IndexError where an
    index is negative or out of range, TypeError where src has a dtype that x's cannot hold.

    >>> import ranvier as rv
    >>> rv.scatter_reduce(rv.zeros(2), 0, rv.tensor([0, 0, 1]), rv.tensor([1.0, 5.0, 2.0]), "amax")
    tensor([5., 2.])
    """
    one_of("scatter_reduce", "reduce", reduce, ("sum", "prod", "mean", "amax", "amin"))
    if include_self and reduce == "sum":
        return _scatter(input, dim, index, src, "add", "scatter_reduce")
    return _reduced_into(input, dim, index, src, reduce, include_self)


def _by_places(x: Array, dim: int, index: Array, src: Array, reduce: str, include_self: bool) -> Array:
    if not include_self or reduce == "mean" or index.shape != src.shape:
        return NotImplemented
    return _core.scatter_reduce(x, index, src, dim, reduce)


@by_kernel(_by_places)
def _reduced_into(
    input: TensorLike, dim: int, index: ArrayLike, src: TensorLike, reduce: str, include_self: bool
) -> Tensor:
    """scatter_reduce: `input` with src added, multiplied and so on at the places of index along dim."""
    input = as_tensor("scatter_reduce", input)
    src = _like(input, as_tensor("scatter_reduce", src), "scatter_reduce")
    places = index_array("scatter_reduce", index)
    at = _dim("scatter_reduce", dim, input.ndim)
    require_from_0("scatter_reduce", places, (input.shape or (1,))[at])
    if reduce in ("sum", "mean") and is_floating(input):
        ones = full_like(src.detach(), 1)
        count = scatter_add(full_like(input.detach(), int(include_self)), at, places, ones)
        base = input
        if not include_self:
            base = where(count > 0, 0.0, input)
        y = scatter_add(base, at, places, src)
        y = watched(y, index)
        if reduce == "sum":
            return y
        return y / count.clamp(min=1)
    if is_floating(input) and reduce != "mean":
        return watched(ScatterReduce(at, reduce, include_self).apply(input, places, src), index)
    return by_numpy(_reduced, input._array, at, places, src._array, reduce, include_self)


_UFUNCS = {"sum": np.add, "mean": np.add, "prod": np.multiply, "amax": np.maximum, "amin": np.minimum}


@of_slices
def _reduced(x: Array, at: int, places: Array, src: Array, reduce: str, include_self: bool) -> Array:
    """scatter_reduce by NumPy. places may be smaller than src: then only the front part of src counts. Arrays
    without dimensions get one."""
    places = np.atleast_1d(places)
    y = np.atleast_1d(x.copy())
    part = tuple(map(slice, places.shape))
    rows: list[Any] = list(np.ogrid[part])
    rows[at] = places
    key = tuple(rows)
    if not include_self:
        y[key] = _neutral(reduce, y.dtype)
    with np.errstate(all="ignore"):
        _UFUNCS[reduce].at(y, key, np.atleast_1d(src)[part])
    if reduce == "mean":
        count = np.full(y.shape, int(include_self))
        np.add.at(count, key, 1)
        divide = np.true_divide if y.dtype.kind == "f" else np.floor_divide
        y = divide(y, np.maximum(count, 1)).astype(y.dtype)
    return y.reshape(x.shape)


def _neutral(reduce: str, dtype: np.dtype[Any]) -> float:
    """The neutral element of a reduction, from which it starts."""
    if reduce == "prod":
        return 1
    if reduce not in ("amax", "amin"):
        return 0
    if dtype.kind == "f":
        return -math.inf if reduce == "amax" else math.inf
    if dtype.kind == "b":
        return reduce == "amin"
    limits = np.iinfo(dtype)
    return limits.min if reduce == "amax" else limits.max


class ScatterReduce(Function):
    """y = the maximum, minimum or product of all values for a place; equal extremes share the gradient.

    at: the dimension. include_self: whether the element of x at the place takes part, too.
    """

    by_numpy = True  # NumPy computes parts of forward and backward, between the kernels

    def __init__(self, at: int, reduce: str, include_self: bool) -> None:
        self.at = at
        self.reduce = reduce
        self.include_self = include_self

    def forward(self, x: Array, places: Array, src: Array) -> Array:
        self.shape = x.shape
        self.src_shape = src.shape
        self.x = np.atleast_1d(x)
        self.places = np.atleast_1d(places)
        self.used = tuple(map(slice, self.places.shape))  # src and x may be larger
        self.part = part_of(self.x.shape, self.places.shape, self.at) or (...,)
        self.values = np.atleast_1d(src)[self.used]
        if self.include_self:
            first = self.x
        else:
            first = self._put(self.x, _neutral(self.reduce, x.dtype))
        y = self._write(_core.scatter_reduce, first, self.values, self.reduce)
        self.y = y if self.shape else y.reshape(())
        return self.y

    def _write(self, kernel: Any, x: Array, values: Array, *settings: Any) -> Array:
        """x with values written to the places by a kernel."""
        part = kernel(x[self.part], self.places, values, self.at, *settings)
        if part.shape == x.shape:
            return part
        y = x.copy()
        y[self.part] = part
        return y

    def _put(self, x: Array, value: float) -> Array:
        values = np.broadcast_to(x.dtype.type(value), self.places.shape)
        return self._write(_core.scatter, x, values, False, None, True)

    def _added(self, x: Array, values: Array) -> Array:
        dtype = self.y.dtype
        return self._write(_core.scatter, x.astype(dtype), values.astype(dtype), True, None, True)

    def _read(self, x: Array) -> Array:
        return _core.gather(x, self.places, self.at, None, True, True)

    def backward(self, dy: Array) -> tuple[Array, None, Array]:
        x = self.x
        values = self.values
        dy = np.atleast_1d(dy)
        y = np.atleast_1d(self.y)
        # `own` is true where the value of x itself takes part in the reduction.
        own: Array | bool = True
        if not self.include_self:
            own = self._put(np.ones(x.shape, dy.dtype), 0) != 0
        with np.errstate(all="ignore"):
            if self.reduce == "prod":
                dx, dvalues = self._of_product(dy, y, own)
            else:
                # Where y is NaN, all gradients are NaN, as in PyTorch. kept: y at the place of each value.
                # mine and hit are true for the elements of x and for the values that share the gradient.
                lost = y != y
                kept = self._read(y)
                mine = own & ((x == y) | lost)
                hit = (values == kept) | (kept != kept)
                share = dy / np.maximum(self._added(mine, hit), 1)
                if lost.any():
                    share[lost] = np.nan
                dx = np.where(mine, share, 0)
                dvalues = np.where(hit, self._read(share), 0)
        dx = dx.astype(dy.dtype, copy=False).reshape(self.shape)
        dsrc = np.zeros(self.src_shape or (1,), dy.dtype)
        dsrc[self.used] = dvalues
        return dx, None, dsrc.reshape(self.src_shape)

    def _of_product(self, dy: Array, y: Array, own: Array | bool) -> tuple[Array, Array]:
        """The gradients of x and the values: dy times all other factors at the place, also where one is 0."""
        x = self.x
        values = self.values
        none = values == 0
        empty = own & (x == 0)
        # Without a factor 0 the other factors are y / x. Else zeros counts the factors 0 of each place, and
        # rest is the product of its other factors.
        if not (none.any() or empty.any()):
            return np.where(own, dy * (y / x), 0), self._read(dy) * (self._read(y) / values)
        zeros = self._added(empty, none)
        rest = np.where(own & (x != 0), x, 1).astype(x.dtype)
        rest = self._write(_core.scatter_reduce, rest, np.where(none, 1, values), "prod")

        def others(v: Array, zeros: Array, rest: Array) -> Array:
            alone = np.where(v == 0, zeros == 1, zeros == 0)
            product = np.where(v == 0, rest, rest / np.where(v == 0, 1, v))
            # The product of all factors but v: 0 where one of them is 0 (0 * product keeps NaN).
            return np.where(alone, product, 0 * product)

        dx = np.where(own, dy * others(x, zeros, rest), 0)
        return dx, self._read(dy) * others(values, self._read(zeros), self._read(rest))


@rule(ScatterReduce)
def _scatter_reduce(node: ScatterReduce, dy: Tensor) -> tuple[Tensor | None, None, Tensor | None]:
    """The gradients by differentiable ops: dy times constants, or for "prod" times the other factors."""
    if node.reduce == "prod":
        of_x, of_src = _products_of_others(node)
    else:
        shares, _, of_all = node.backward(filled_like(1, dy._array))
        of_used = of_all.reshape(node.src_shape or (1,))[node.used]
        of_x = wrap(shares)
        of_src = wrap(np.ascontiguousarray(of_used))
    dx = None
    if node.needs[0]:
        dx = dy * of_x
    if not node.needs[2]:
        return dx, None, None
    dsrc = gather(reshape(dy, dy.shape or (1,)), node.at, wrap(node.places)) * of_src
    # src may be larger than places: the gradient of what is not written is 0, by `pad`
    if node.src_shape and dsrc.shape != node.src_shape:
        sizes = []  # before and after each dimension, the last one first
        for size, whole in zip(reversed(dsrc.shape), reversed(node.src_shape), strict=True):
            sizes += [0, whole - size]
        dsrc = pad(dsrc, sizes)
    return dx, None, reshape(dsrc, node.src_shape)


def _products_of_others(node: ScatterReduce) -> tuple[Tensor, Tensor]:
    """For each factor, of x and of src, the product of all others at its place: y divided by it, or for a
    factor 0 the product of the factors that are not 0."""
    source = np.zeros(node.src_shape or (1,), node.values.dtype)
    source[node.used] = node.values
    src = reshape(of_input(node, 2, source.reshape(node.src_shape)), source.shape)[node.used]
    x = reshape(of_input(node, 0, node.x.reshape(node.shape)), node.x.shape)
    y = reshape(of_output(node, node.y), node.x.shape)
    takes_part = np.ones_like(node.x)
    if not node.include_self:
        takes_part = node._put(takes_part, 0)
    takes_part = takes_part != 0
    zeros_of_x = takes_part & (node.x == 0)
    zeros_of_src = node.values == 0
    if (node._added(zeros_of_x, zeros_of_src) > 1).any():
        refuse(node)
    places = wrap(node.places)
    own = wrap(takes_part)
    x_is_0 = wrap(zeros_of_x)
    src_is_0 = wrap(zeros_of_src)
    x = where(own & ~x_is_0, x, 1.0)
    src = where(src_is_0, 1.0, src)
    rest = ScatterReduce(node.at, "prod", True).apply(x, places, src)
    of_x = where(own, where(x_is_0, rest, y / x), 0.0)
    of_src = where(src_is_0, gather(rest, node.at, places), gather(y, node.at, places) / src)
    return reshape(of_x, node.shape), of_src
