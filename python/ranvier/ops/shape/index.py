"""Ops that pick elements: x[key], gather, take_along_dim, index_select and masked_select.

The kernel `_core.gather` picks, `_core.scatter_add` adds gradients to the places from which elements were
picked; forward saves the indices and the shape of x. Views are made in the core, too (`_core._getitem`).

Integers, slices, None and Ellipsis in a key give views. Arrays or tensors of integers or bools pick copies.
An element that is picked several times gets the sum of the gradients, added in order, at any thread count.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.observe import is_written
from ranvier.ops.elementwise.dtypes import Array, as_tensor
from ranvier.ops.gradient_rules import linear_rule
from ranvier.ops.layout import zeros
from ranvier.ops.shape.reshape import Getitem, _dim, expand, reshape, some_dim
from ranvier.tape.function import Dtypes, Function, by_kernel, ndarray, watched
from ranvier.tensors.data import array_of
from ranvier.tensors.errors import flag
from ranvier.tensors.failures import OpError, OpIndexError, broadcast_of, misfit, require_dtype
from ranvier.tensors.keys import index_error, raw_index, tuple_of
from ranvier.tensors.memory import all_slices, copied, in_dtype, keep, reshaped
from ranvier.tensors.picks import Picks, picks_of
from ranvier.tensors.recording import host
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import ArrayLike, Index, Key, Shape, TensorLike

_ALL = slice(None)
_I64 = np.dtype(np.int64)
# NumPy's codes of the dtypes that the kernels move: f d floats, i l q integers, e float16, E bfloat16
_MOVED = frozenset("fdilqeE")


def _taken(x: Array, index: Array, rows: Array, axis: int, from_0: bool) -> Array:
    """x at the rows along an axis. index: the rows, with 1 or x.ndim dimensions. from_0: negative rows
    raise, by the kernel; np.take would count them from the end."""
    if x.dtype.char in _MOVED:
        return _core.gather(x, index, axis, None, from_0)
    if from_0:
        require_from_0("index_select", rows)
    return host(np.take, x, rows, axis)


class TakeRows(Function):
    """y[j, ...] = x[index[j], ...]"""

    # half floats are computed as they are, but in float32 where a gradient is needed
    dtypes = Dtypes(halves="forward")

    def __init__(self, index: Array) -> None:
        self.index = index

    def forward(self, x: Array) -> Array:
        index = self.index
        self.shape = x.shape
        self.rows = index.reshape((-1,) + (1,) * (x.ndim - 1))  # it broadcasts to x, for scatter_add
        rows = index.reshape(-1)
        y = _taken(x, rows, rows, axis=0, from_0=False)
        if index.ndim == 1:
            return y
        return y.reshape(index.shape + x.shape[1:])

    def backward(self, dy: Array) -> Array:
        if self.index.ndim > 1:
            dy = reshaped(dy, self.rows.shape[:1] + self.shape[1:])
        return _core.scatter_add(dy, self.rows, 0, self.shape[0], None)


class Pick(Function):
    """y = x[key] for a key with arrays.

    The axes that the arrays index become one, with one index `rows` (see Picks). Negative indices count from
    the end, unless from_0.
    """

    # half floats are computed as they are, but in float32 where a gradient is needed
    dtypes = Dtypes(halves="forward")

    def __init__(self, picks: Picks, from_0: bool = False) -> None:
        self.picks = picks
        self.from_0 = from_0

    def forward(self, x: Array) -> Array:
        basic, axes, rows, shape, _ = self.picks
        self.shape = x.shape
        self.whole = basic.count(_ALL) == len(basic)  # True: the slices take all of x
        view = x
        if not self.whole:
            view = x[basic]
        first = axes[0]
        count = len(axes)
        self.order = None
        if axes[-1] - first != count - 1:  # The axes are not neighbours: the picked dimensions come first.
            others = [d for d in range(view.ndim) if d not in axes]
            self.order = (*axes, *others)
            view = view.transpose(self.order)
            first = 0
        self.moved = view.shape
        end = first + count
        before = view.shape[:first]
        picked = view.shape[first:end]
        after = view.shape[end:]
        self.length = math.prod(picked)
        if count > 1:  # joins the picked axes to one of this length
            if not _merges(view, first, end):
                view = copied(view, "C")
            view = view.reshape((*before, self.length, *after))
        self.axis = first
        self.index = rows.reshape((1,) * first + (-1,) + (1,) * len(after))  # it broadcasts to the view
        self.picked = (*before, rows.size, *after)
        y = _taken(view, self.index, rows, first, self.from_0)
        return y.reshape(*before, *shape, *after)

    def backward(self, dy: Array) -> Array:
        dy = reshaped(dy, self.picked)
        dx = _core.scatter_add(dy, self.index, self.axis, self.length, None).reshape(self.moved)
        if self.order is not None:
            dx = dx.transpose(np.argsort(self.order))  # back to the order of x
        if self.whole:
            return dx
        whole = zeros(self.shape, dy.dtype)
        _core.copy(dx, False, whole[self.picks.basic])
        return whole


linear_rule(TakeRows, Pick)


def _merges(x: Array, begin: int, end: int) -> bool:
    """True if axes begin ... end - 1 of x can be joined to one axis without a copy."""
    axes = [d for d in range(begin, end) if x.shape[d] != 1]
    return all(x.strides[a] == x.shape[b] * x.strides[b] for a, b in pairwise(axes))


class Gather(Function):
    """y[.., j, ..] = x[.., index[.., j, ..], ..] along one axis; y has the shape of index"""

    # half floats are computed as they are, but in float32 where a gradient is needed
    dtypes = Dtypes(halves="forward")

    def __init__(self, axis: int, from_0: bool) -> None:
        self.axis = axis
        self.from_0 = from_0

    def forward(self, x: Array, index: Array) -> Array:
        self.index = index
        self.shape = x.shape
        self.part = part_of(x.shape, index.shape, self.axis)
        if x.dtype.char in _MOVED:
            return _core.gather(x, index, self.axis, None, self.from_0, True)
        return host(_gathered, x, index, self.axis, self.from_0)

    def backward(self, dy: Array) -> tuple[Array, None]:
        length = self.shape[self.axis]
        if not self.part:
            return _core.scatter_add(dy, self.index, self.axis, length, None), None
        dx = zeros(self.shape, dy.dtype)
        _core.scatter_add(dy, self.index, self.axis, length, dx[self.part])
        return dx, None


def _gather_again(node: Gather, x: Array) -> Array:
    return node.forward(x, node.index)


def _gradient_of_gather(node: Gather, dy: Array) -> Array:
    return node.backward(dy)[0]


linear_rule(Gather, forward=_gather_again, backward=_gradient_of_gather)


def part_of(sizes: Shape, shape: Shape, axis: int) -> tuple[slice, ...]:
    """The part of an array of these sizes that an index of this shape reaches along an axis; () for the whole
    array."""
    for d, n in enumerate(shape):
        if n != sizes[d] and d != axis:
            return _reached(shape, axis)
    return ()


def _reached(shape: Shape, axis: int) -> tuple[slice, ...]:
    """All along the axis, and along the others as much as the shape."""
    part = [slice(n) for n in shape]
    part[axis] = _ALL
    return tuple(part)


def reaches_within(shape: Shape, sizes: Shape, axis: int = -1) -> bool:
    """True if an index of this shape is no larger than `sizes` in any dimension except the axis."""
    if len(shape) != len(sizes):
        return False
    for d, n in enumerate(shape):  # noqa: SIM110  # all() of a generator takes twice as long
        if n > sizes[d] and d != axis:
            return False
    return True


def getitem(x: Tensor, key: Key) -> Tensor:
    """x[key]: a view for integers, slices, None and Ellipsis; a copy for integer and bool arrays.

    A list of numbers is an index array. One that holds Tensors, lists, slices, None or Ellipsis is a tuple,
    as in PyTorch: x[[i, j]] is x[i, j].

    A Tensor of uint8 is a mask, as in PyTorch; long() makes it indices. An array of uint8 has indices, as in
    NumPy.

    Raises IndexError where an index is out of range or a mask does not fit.

    >>> import ranvier as rv
    >>> x = rv.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> x[:, 1], x[x > 1.5], x[[0, 1, 1], [1, 0, 0]]
    (tensor([2., 4.]), tensor([2., 3., 4.]), tensor([2., 3., 3.]))
    """
    try:
        view = _core._getitem("getitem", x, key)
    except IndexError as error:
        raise index_error("getitem", key, x.shape, error) from None
    if view is not None:
        return view
    if type(key) is ndarray:
        key = (key,)  # A bare array of uint8 would be a mask.
    return _picked(x, key)


@by_kernel(_core._picked)
def _picked(x: Tensor, key: Key) -> Tensor:
    parts = tuple_of(key)
    if parts is not key:
        return getitem(x, parts)
    if is_written():  # the call is recorded for a file
        row_and_key = _without_first_number(x, key)
        if row_and_key is not None:
            return getitem(*row_and_key)
    raw = raw_index(key)
    if isinstance(raw, np.ndarray) and raw.dtype.kind in "iu" and raw.ndim and x.ndim:
        return watched(TakeRows(raw).apply(x), key)
    return watched(_pick(x, picks_of(raw, x.shape)), key)


def _without_first_number(x: Tensor, key: Key) -> tuple[Tensor, tuple[Any, ...]] | None:
    """For a model that is written to a file: x and the key without the first Tensor of one number, which may
    depend on the inputs. x becomes its slice at that index; the key gets 0. None without such a Tensor."""
    indices: tuple[Any, ...] = key if isinstance(key, tuple) else (key,)
    for i, index in enumerate(indices):
        if not isinstance(index, Tensor) or index.ndim > 0:
            continue
        dtype = index._array.dtype
        if dtype.kind in "iu" and dtype != np.uint8:
            dims = [_dims_indexed(index) for index in indices]
            axis = sum(dims[:i])
            if ... in indices[:i]:  # counted from the end
                axis = x.ndim - sum(dims[i:])
            row = selected(x, axis, reshape(index, 1), False)
            return row, (*indices[:i], 0, *indices[i + 1 :])
    return None


def _dims_indexed(index: Index) -> int:
    """How many dimensions an index between the brackets stands for; 1 for an ellipsis, too."""
    array: Any = getattr(index, "_array", index)
    if getattr(array, "dtype", None) == np.bool_:
        return array.ndim
    return int(index is not None)


def _pick(x: Tensor, picks: Picks, from_0: bool = False) -> Tensor:
    if not picks.axes:  # The key has only integers, slices and None, some integers as Tensors.
        return Getitem((*picks.basic, Ellipsis)).apply(x)
    if is_written() and picks.basic.count(_ALL) < len(picks.basic):  # In a file, slices are a separate call.
        x = Getitem(picks.basic).apply(x)
        picks = picks._replace(basic=(_ALL,) * x.ndim)
    return Pick(picks, from_0).apply(x)


def index_array(name: str, index: ArrayLike, ndim: int | None = None) -> Array:
    """The index as an array of integers, with ndim dimensions if that is given."""
    if isinstance(index, (list, tuple)):
        array = array_of(name, index)
        if all(type(i) is int for i in index):
            array = keep(array)
        index = array
    array = as_tensor(name, index)._array
    require_dtype(name, "index", array, "iu", "integers")
    if ndim is not None and array.ndim != ndim:
        raise misfit(name, {"index": array.shape}, f"{ndim} dimensions")
    return array


def gather(input: TensorLike, dim: int, index: ArrayLike, *, sparse_grad: bool = False) -> Tensor:
    """y[.., j, ..] = x[.., index[.., j, ..], ..] along dim; y has the shape of index.

    index: integers, as many dimensions as x, and along the others at most x's sizes (the rest of x is not
    used, as in PyTorch; :func:`take_along_dim` broadcasts). Shape () counts as one dimension, and an empty
    index may have any shape. Raises IndexError where an index is negative or out of range, ValueError where
    the shapes do not fit.

    >>> import ranvier as rv
    >>> rv.gather(rv.tensor([[1.0, 2.0], [3.0, 4.0]]), 1, rv.tensor([[0], [1]]))
    tensor([[1.],
            [4.]])
    """
    if sparse_grad is not False:
        flag("gather", "sparse_grad", sparse_grad)
    return gathered(input, dim, index, True)


def _gather(x: Array, dim: int, index: Array, from_0: bool) -> Array:
    return _core.gather(x, index, dim, None, from_0, True)


@by_kernel(_gather, name="gather")
def gathered(input: TensorLike, dim: int, index: ArrayLike, from_0: bool) -> Tensor:
    """:func:`gather`; negative indices count from the end, unless from_0."""
    input = as_tensor("gather", input)
    at = _dim("gather", dim, input.ndim)
    places = index_array("gather", index)
    if places.size == 0:
        return reshape(getitem(reshape(input, -1), slice(0, 0)).clone(), places.shape)
    if (input.ndim == 0 or places.ndim == 0) and input.ndim < 2 and places.ndim < 2:
        return reshape(gathered(reshape(input, -1), 0, places.reshape(-1), from_0), places.shape)
    if not reaches_within(places.shape, input._array.shape, at):
        raise OpError(
            f"[gather] got index of shape {places.shape} for x of shape {input.shape}; expected as many "
            f"dimensions, none but {at} larger than x's"
        )
    return watched(Gather(at, from_0).apply(input, wrap(places)), index)


def _gathered(x: Array, places: Array, at: int, from_0: bool) -> Array:
    """:func:`gather` by NumPy, for dtypes that the kernel does not move."""
    size = x.shape[at]
    low = int(places.min())
    high = int(places.max())
    least = 0 if from_0 else -size
    if not least <= low <= high < size:
        wrong = low
        if high >= size:
            wrong = high
        raise OpIndexError(
            f"[gather] got index {wrong} for an axis of length {size}; expected {least} to {size - 1}"
        )
    return np.take_along_axis(x[_reached(places.shape, at)], places, at)


def take_along_dim(input: TensorLike, indices: ArrayLike, dim: int | None = None) -> Tensor:
    """:func:`gather` with x and indices broadcast except along dim; without dim both are flattened.

    For the indices that argmax and argsort return. With dim, negative indices count from the end. Raises
    ValueError where the shapes do not broadcast.

    >>> import ranvier as rv
    >>> x = rv.tensor([[3.0, 1.0, 2.0], [4.0, 6.0, 5.0]])
    >>> rv.take_along_dim(x, x.argmax(1, keepdim=True), dim=1)
    tensor([[3.],
            [6.]])
    """
    input = as_tensor("take_along_dim", input)
    places = index_array("take_along_dim", indices)
    if dim is None:
        return watched(gather(reshape(input, -1), 0, places.reshape(-1)), indices)
    at = some_dim("take_along_dim", input, dim)
    try:
        if places.ndim != input.ndim:
            raise OpError("ranks differ")
        sizes = list(np.broadcast_shapes(_without(input.shape, at), _without(places.shape, at)))
    except ValueError as error:
        raise OpError(
            f"[take_along_dim] got indices of shape {places.shape} for x of shape {input.shape}; expected "
            f"shapes that broadcast but for dimension {at}"
        ) from error
    sizes[at] = input.shape[at]
    if tuple(sizes) != input.shape:
        input = expand(input, sizes)
    sizes[at] = places.shape[at]
    return watched(gathered(input, at, np.broadcast_to(places, sizes), False), indices)


def _without(shape: Shape, axis: int) -> Shape:
    """The shape with 1 at the axis."""
    return (*shape[:axis], 1, *shape[axis + 1 :])


def index_select(input: TensorLike, dim: int, index: ArrayLike) -> Tensor:
    """The slices x[.., index[j], ..] along dim, joined; index has one dimension.

    Raises IndexError where an index is negative or out of range, ValueError where it has more dimensions.

    >>> import ranvier as rv
    >>> rv.index_select(rv.tensor([[1.0, 2.0], [3.0, 4.0]]), 1, rv.tensor([1, 1, 0]))
    tensor([[2., 2., 1.],
            [4., 4., 3.]])
    """
    return selected(input, dim, index, True)


def require_from_0(name: str, index: ArrayLike, size: int = 2**53) -> None:
    """Raises IndexError unless all indices are in 0 ... size - 1, as PyTorch for these ops. Without a size
    (2**53, which no axis has) only negative indices raise."""
    places = all_slices(index_array(name, index))
    if not places.size or _core.inside(in_dtype(places, _I64), 0, size - 1):
        return
    if places.min() < 0:
        raise OpIndexError(f"[{name}] got index {places.min()}; expected indices from 0 on")
    if places.max() >= size:
        expected = "no index"
        if size:
            expected = f"0 to {size - 1}"
        raise OpIndexError(
            f"[{name}] got index {places.max()} for an axis of length {size}; expected {expected}"
        )


def _slices(x: Array, dim: int, index: Array, from_0: bool) -> Array:
    """The kernel of index_select, for an index of one dimension."""
    if index.ndim == 1:
        return _core.gather(x, index, dim, None, from_0)
    return NotImplemented


@by_kernel(_slices, name="index_select")
def selected(input: TensorLike, dim: int, index: ArrayLike, from_0: bool) -> Tensor:
    """:func:`index_select`; negative indices count from the end, unless from_0."""
    input = as_tensor("index_select", input)
    rows = index_array("index_select", index)
    if input.ndim == 0 and rows.size == 1:
        return reshape(selected(reshape(input, 1), dim, rows, from_0), ())
    at = _dim("index_select", dim, input.ndim)
    if rows.ndim > 1 or input.ndim == 0:
        shapes = f"index of shape {rows.shape} for x of shape {input.shape}"
        if input.ndim:
            wanted = "one dimension"
        else:
            wanted = "one dimension with one index"
        raise OpError(f"[index_select] got {shapes}; expected {wanted}")
    # It is not copied: a recording identifies the array.
    if not rows.ndim:
        rows = rows.reshape(1)
    try:
        y = _pick(input, Picks((slice(None),) * input.ndim, (at,), rows, rows.shape, (rows,)), from_0)
    except IndexError:
        size = input.shape[at]
        least = 0 if from_0 else -size
        numbers = all_slices(rows)
        expected = f"{least} to {size - 1}"
        raise OpIndexError(
            f"[index_select] got index {numbers.min()} to {numbers.max()} for an axis of length {size}; "
            f"expected {expected}"
        ) from None
    return watched(y, index)


def masked_select(input: TensorLike, mask: TensorLike) -> Tensor:
    """The elements of x where the mask is true, in logical order; both broadcast against each other.

    Raises TypeError where the mask is not bool, ValueError where the shapes do not broadcast.

    >>> import ranvier as rv
    >>> rv.masked_select(rv.tensor([[1.0, 2.0], [3.0, 4.0]]), rv.tensor([True, False]))
    tensor([1., 3.])
    """
    input = as_tensor("masked_select", input)
    chosen = as_tensor("masked_select", mask)._read("masked_select")
    require_dtype("masked_select", "mask", chosen, "b", "bool")
    shape = broadcast_of("masked_select", x=input.shape, mask=chosen.shape)
    if input.shape != shape:
        input = expand(input, shape)
    rows = np.flatnonzero(np.broadcast_to(chosen, shape))
    return _pick(reshape(input, -1), Picks((slice(None),), (0,), rows, rows.shape, (rows,)))
