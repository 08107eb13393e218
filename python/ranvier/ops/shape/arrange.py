"""Tensors joined, cut, mirrored and written into: composed of the ops of shape, join, index and scatter."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from operator import index
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.creation import zeros
from ranvier.autograd.data import Size
from ranvier.autograd.errors import own_errors
from ranvier.autograd.failures import OpError
from ranvier.autograd.function import Function
from ranvier.autograd.memory import copied, keep
from ranvier.autograd.mode import mode
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.autograd.views import share
from ranvier.ops.elementwise.choice import nonzero
from ranvier.ops.elementwise.dtypes import Array, as_tensor
from ranvier.ops.rows import examples
from ranvier.ops.rules import linear
from ranvier.ops.shape.index import index_select
from ranvier.ops.shape.join import stack
from ranvier.ops.shape.repeat import diagonal as diagonal_of
from ranvier.ops.shape.repeat import meshgrid
from ranvier.ops.shape.reshape import _dim, broadcast_to, flip, movedim, reshape, some_dim, transpose
from ranvier.ops.shape.stacks import listed


def fliplr(input: Any) -> Tensor:
    """x with dimension 1 in reverse order.
    | rv.fliplr(rv.tensor([[1, 2], [3, 4]])) -> tensor([[2, 1], [4, 3]])"""
    return _mirrored("fliplr", input, 1)


def flipud(input: Any) -> Tensor:
    """x with dimension 0 in reverse order. | rv.flipud(rv.tensor([1, 2])) -> tensor([2, 1])"""
    return _mirrored("flipud", input, 0)


def _mirrored(name: str, x: Any, dim: int) -> Tensor:
    x = as_tensor(name, x)
    if x.ndim <= dim:
        raise OpError(f"[{name}] got x of shape {x.shape}; expected at least {dim + 1} dimensions")
    return flip(x, dim)


def rot90(input: Any, k: int = 1, dims: Any = (0, 1)) -> Tensor:
    """x turned by k quarter turns from the first of dims towards the second.
    | rv.rot90(rv.tensor([[1, 2], [3, 4]])) -> tensor([[2, 4], [1, 3]])"""
    input = as_tensor("rot90", input)
    a, b = (_dim("rot90", d, input.ndim) for d in dims) if len(dims) == 2 else (0, 0)
    if a == b or input.ndim < 2:
        raise OpError(f"[rot90] got dims {dims} for x of shape {input.shape}; expected two dimensions")
    if k % 4 == 2:
        return flip(input, (a, b))
    if k % 4 == 0:
        return input.clone()
    return transpose(flip(input, b), a, b) if k % 4 == 1 else flip(transpose(input, a, b), b)


def moveaxis(input: Any, source: Any, destination: Any) -> Tensor:
    """As :func:`ranvier.movedim`. | rv.moveaxis(rv.ones(2, 3, 4), 0, 2).shape -> (3, 4, 2)"""
    return movedim(input, source, destination)


def swapdims(input: Any, dim0: int, dim1: int) -> Tensor:
    """As :func:`ranvier.transpose`. | rv.swapdims(rv.ones(2, 3), 0, 1).shape -> (3, 2)"""
    return transpose(input, dim0, dim1)


def broadcast_shapes(*shapes: Any) -> Size:
    """The shape that tensors of these shapes broadcast to. | rv.broadcast_shapes((2, 1), (3,)) -> (2, 3)"""
    try:
        return Size(np.broadcast_shapes(*shapes))
    except ValueError as error:
        text = ", ".join(map(str, shapes))
        raise OpError(f"[broadcast_shapes] got {text}; expected shapes that broadcast") from error


def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """The tensors, expanded to their common shape.

    >>> import ranvier as rv
    >>> [x.shape for x in rv.broadcast_tensors(rv.ones(2, 1), rv.ones(3))]
    [(2, 3), (2, 3)]
    """
    parts = listed("broadcast_tensors", tensors)
    shape = broadcast_shapes(*(x.shape for x in parts))
    return tuple(broadcast_to(x, shape) for x in parts)


def cartesian_prod(*tensors: Any) -> Tensor:
    """All combinations of one element of each vector, one a row; of one vector itself.
    | rv.cartesian_prod(rv.tensor([1, 2]), rv.tensor([3, 4])).tolist() -> [[1, 3], [1, 4], [2, 3], [2, 4]]"""
    parts = listed("cartesian_prod", tensors)
    if any(x.ndim != 1 for x in parts) or not parts:
        raise OpError(f"[cartesian_prod] got shapes {[x.shape for x in parts]}; expected vectors")
    if len(parts) == 1:
        return parts[0]
    return stack([reshape(x, (-1,)) for x in meshgrid(*parts, indexing="ij")], 1)


def combinations(input: Any, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All subsets of r elements of a vector, one a row.
    | rv.combinations(rv.tensor([1, 2, 3])).tolist() -> [[1, 2], [1, 3], [2, 3]]"""
    input = as_tensor("combinations", input)
    if input.ndim != 1 or r < 0:
        raise OpError(f"[combinations] got x of shape {input.shape} and r {r}; expected a vector and r >= 0")
    if r == 0:
        return zeros(0, dtype=input.dtype)
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = keep(np.array(list(choose(range(input.shape[0]), r)), np.int64).reshape(-1, r))
    return reshape(index_select(input, 0, rows.reshape(-1)), rows.shape)


def tril_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None) -> Tensor:
    """The indices (2, n) of the lower triangle of a row x col matrix, by rows.
    | rv.tril_indices(2, 2) -> tensor([[0, 1, 1], [0, 0, 1]])"""
    places = _core._triangle_indices(row, col, offset, False)
    return wrap(places if dtype is None else places.astype(dtype, copy=False))


def triu_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None) -> Tensor:
    """The indices (2, n) of the upper triangle of a row x col matrix, by rows.
    | rv.triu_indices(2, 2) -> tensor([[0, 0, 1], [0, 1, 1]])"""
    places = _core._triangle_indices(row, col, offset, True)
    return wrap(places if dtype is None else places.astype(dtype, copy=False))


def argwhere(input: Any) -> Tensor:
    """The indices of the elements that are not 0, one a row; int64.
    | rv.argwhere(rv.tensor([0, 5, 7])) -> tensor([[1], [2]])"""
    input = as_tensor("argwhere", input)
    return nonzero(input) if input.ndim else wrap(np.argwhere(input._read("argwhere")))


def diag(input: Any, diagonal: int = 0) -> Tensor:
    """The diagonal of a matrix; of a vector the matrix with that diagonal, 0 elsewhere.
    | rv.diag(rv.tensor([1, 2])) -> tensor([[1, 0], [0, 2]])"""
    input = as_tensor("diag", input)
    if input.ndim not in (1, 2):
        raise OpError(f"[diag] got x of shape {input.shape}; expected a vector or a matrix")
    if input.ndim == 2 and not (input._requires_grad and mode.enabled) and type(diagonal) is int:
        return wrap(copied(np.diagonal(input._array, diagonal), "C"))
    return diag_embed(input, diagonal) if input.ndim == 1 else diagonal_of(input, diagonal).clone()


def diag_embed(input: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices, in dimensions dim1 and dim2, with the last dimension of x on a diagonal, 0 elsewhere.
    | rv.diag_embed(rv.tensor([1, 2])) -> tensor([[1, 0], [0, 2]])"""
    input, offset = as_tensor("diag_embed", input), index(offset)
    some_dim("diag_embed", input, -1)
    n = input.shape[-1] + abs(offset)
    y = zeros(*input.shape[:-1], n, n, dtype=input.dtype)
    diagonal_of(y, offset, -2, -1).copy_(input)
    a, b = (_dim("diag_embed", d, y.ndim) for d in (dim1, dim2))
    if a == b:
        raise OpError(f"[diag_embed] got dim1 {dim1} and dim2 {dim2}; expected two dimensions")
    return movedim(y, (-2, -1), (a, b)) if (a, b) != (y.ndim - 2, y.ndim - 1) else y


class Unfold(Function):
    """y[.., i, .., j] = x[.., i step + j, ..]"""

    is_view = True

    shape: tuple[int, ...]

    def __init__(self, place: tuple[int, int, int]) -> None:
        self.place = place  # dimension, size, step

    forward = Function._windows

    def backward(self, dy: Array) -> Array:
        at, size, step = self.place
        dx = np.zeros(self.shape, dy.dtype)
        lead, count = (slice(None),) * at, dy.shape[at]
        for j in range(size):  # the windows overlap: their gradients are added
            part = (*lead, slice(j, j + (count - 1) * step + 1, step))
            dx[part] += dy[..., j]
        return dx


linear(Unfold)
_core._set_placed(Unfold, True)


def unfold(x: Any, dimension: int, size: int, step: int) -> Tensor:
    """All slices of `size` elements along a dimension, `step` apart; a new last dimension holds them. A view
    that is only read.
    | rv.arange(4).unfold(0, 2, 1).tolist() -> [[0, 1], [1, 2], [2, 3]]"""
    y = _core._unfold("unfold", x, dimension, size, step)
    return reshape(as_tensor("unfold", x), (1,))[:size] if y is None else y


class AsStrided(Function):
    """y = a view of the memory of x; places(): where in x its elements are, found when asked for"""

    is_view = True

    def __init__(self, view: Array, places: Callable[[], Array]) -> None:
        self.view, self.places = view, places

    def forward(self, x: Array) -> Array:
        self.shape, view = x.shape, self.view
        del self.view
        return view

    def backward(self, dy: Array) -> Array:
        places = self.places().reshape(-1)
        return _core.scatter_add(dy.reshape(-1), places, 0, math.prod(self.shape), None).reshape(self.shape)


linear(AsStrided, forward=lambda node, x: x.reshape(-1)[node.places()])


def _part(of: Array, shape: Any, steps: Any, at: int) -> Any:
    """A view of contiguous memory; None for elements beyond it."""
    try:
        return np.ndarray(shape, of.dtype, of, at * of.itemsize, [n * of.itemsize for n in steps])
    except (ValueError, TypeError):
        return None


def as_strided(input: Any, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """The memory of x with this shape and these steps, in elements: a view, which is only read where x
    requires gradients. storage_offset: the first element, from the beginning of the memory; None: that of x.

    Raises ValueError for elements beyond the memory, and of memory with gaps.
    | rv.as_strided(rv.arange(4), (2, 2), (1, 2)).tolist() -> [[0, 2], [1, 3]]"""
    x = as_tensor("as_strided", input)
    memory = array = x._read("as_strided()")
    start, first, whole = 0, 0, storage_offset is None and array.flags.c_contiguous
    view = _part(array, size, stride, 0) if whole else None
    if view is None:  # not of x alone
        while isinstance(memory.base, np.ndarray):
            memory = memory.base
        start = 0 if memory is array else x.storage_offset()
        first = start if storage_offset is None else storage_offset
        if not memory.flags.c_contiguous:
            memory = memory.transpose(np.argsort(memory.strides)[::-1])
        view = _part(memory, size, stride, first)
    if view is None:
        got = f"size {size} and stride {stride} from {first}"
        raise OpError(f"[as_strided] got {got}; expected elements of the memory of x")
    if not (x._requires_grad and mode.enabled):
        out = wrap(view)
        share(x, out)
        return out
    shape, steps, count = array.shape, x.stride(), memory.size

    def places() -> Array:
        at = np.full(count, -1)
        _part(at, shape, steps, start)[...] = np.arange(math.prod(shape)).reshape(shape)
        return keep(_part(at, size, stride, first).copy())

    if array.size < count and (places() < 0).any():
        raise OpError(
            "[as_strided] got elements that x does not show; expected some of x, as it has gradients"
        )
    view.flags.writeable = False
    return AsStrided(view, places).apply(x)


own_errors(globals())
examples(globals())
