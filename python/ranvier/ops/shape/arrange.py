"""Shape ops that few programs use: fliplr, rot90, combinations, diag, unfold, as_strided and others.

Most are composed of the ops in reshape.py, join.py and index.py; unfold and as_strided have Functions of
their own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.grad_mode import mode as tape_mode
from ranvier.observe import is_written
from ranvier.ops.elementwise.choice import nonzero, where
from ranvier.ops.elementwise.dtypes import Array, as_tensor
from ranvier.ops.gradient_rules import linear_rule
from ranvier.ops.layout import widening
from ranvier.ops.making.creation import arange, as_tensor as new_tensor
from ranvier.ops.shape.index import index_select
from ranvier.ops.shape.join import cat, stack
from ranvier.ops.shape.repeat import diagonal as diagonal_of, meshgrid
from ranvier.ops.shape.reshape import _dim, broadcast_to, flip, movedim, reshape, some_dim, transpose
from ranvier.ops.shape.stacking import listed
from ranvier.tape.function import Function
from ranvier.tensors.data import Size
from ranvier.tensors.deepcopy_pickle import place_in_memory
from ranvier.tensors.errors import index, whole
from ranvier.tensors.failures import OpError, misfit
from ranvier.tensors.memory import copied, is_batched, keep
from ranvier.tensors.recording import paused
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import Axes, DeviceLike, DtypeLike, Shape, TensorLike


def fliplr(input: TensorLike) -> Tensor:
    """x with dimension 1 in reverse order.

    >>> import ranvier as rv
    >>> rv.fliplr(rv.tensor([[1, 2], [3, 4]]))
    tensor([[2, 1],
            [4, 3]])
    """
    return _mirrored("fliplr", input, 1)


def flipud(input: TensorLike) -> Tensor:
    """x with dimension 0 in reverse order.

    >>> import ranvier as rv
    >>> rv.flipud(rv.tensor([1, 2]))
    tensor([2, 1])
    """
    return _mirrored("flipud", input, 0)


def _mirrored(name: str, x: TensorLike, dim: int) -> Tensor:
    x = as_tensor(name, x)
    if x.ndim <= dim:
        raise misfit(name, {"x": x.shape}, f"at least {dim + 1} dimensions")
    return flip(x, dim)


def rot90(input: TensorLike, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """x turned by k quarter turns from the first of dims towards the second.

    >>> import ranvier as rv
    >>> rv.rot90(rv.tensor([[1, 2], [3, 4]]))
    tensor([[2, 4],
            [1, 3]])
    """
    input = as_tensor("rot90", input)
    k = whole("rot90", "k", k)
    axes = [_dim("rot90", d, input.ndim) for d in dims] if len(dims) == 2 else []
    if len(set(axes)) != 2 or input.ndim < 2:
        raise OpError(f"[rot90] got dims {dims} for x of shape {input.shape}; expected two dimensions")
    a, b = axes
    if k % 4 == 2:
        return flip(input, (a, b))
    if k % 4 == 0:
        return input.clone()
    if k % 4 == 1:
        return transpose(flip(input, b), a, b)
    return flip(transpose(input, a, b), b)


def moveaxis(input: TensorLike, source: Axes, destination: Axes) -> Tensor:
    """As :func:`ranvier.movedim`.

    >>> import ranvier as rv
    >>> rv.moveaxis(rv.ones(2, 3, 4), 0, 2).shape
    (3, 4, 2)
    """
    return movedim(input, source, destination)


def swapdims(input: TensorLike, dim0: int, dim1: int) -> Tensor:
    """As :func:`ranvier.transpose`.

    >>> import ranvier as rv
    >>> rv.swapdims(rv.ones(2, 3), 0, 1).shape
    (3, 2)
    """
    return transpose(input, dim0, dim1)


def broadcast_shapes(*shapes: Any) -> Size:
    """The shape that tensors of these shapes broadcast to.

    >>> import ranvier as rv
    >>> rv.broadcast_shapes((2, 1), (3,))
    (2, 3)
    """
    try:
        return Size(np.broadcast_shapes(*shapes))
    except ValueError as error:
        text = ", ".join(map(str, shapes))
        raise OpError(f"[broadcast_shapes] got {text}; expected shapes that broadcast") from error


def broadcast_tensors(*tensors: TensorLike) -> tuple[Tensor, ...]:
    """The tensors, expanded to their common shape.

    >>> import ranvier as rv
    >>> [x.shape for x in rv.broadcast_tensors(rv.ones(2, 1), rv.ones(3))]
    [(2, 3), (2, 3)]
    """
    parts = listed("broadcast_tensors", tensors)
    shape = broadcast_shapes(*(x.shape for x in parts))
    return tuple(_expanded(x, shape) for x in parts)


def _expanded(x: Tensor, shape: Shape) -> Tensor:
    if x.shape == shape:
        return x
    return broadcast_to(x, shape)


def cartesian_prod(*tensors: TensorLike) -> Tensor:
    """All combinations of one element of each vector, one a row; of one vector itself.

    >>> import ranvier as rv
    >>> rv.cartesian_prod(rv.tensor([1, 2]), rv.tensor([3, 4])).tolist()
    [[1, 3], [1, 4], [2, 3], [2, 4]]
    """
    parts = listed("cartesian_prod", tensors)
    shapes = [x.shape for x in parts]
    if not parts or any(len(shape) != 1 for shape in shapes):
        raise OpError(f"[cartesian_prod] got shapes {shapes}; expected vectors")
    if len(parts) == 1:
        return parts[0]
    return stack([reshape(x, (-1,)) for x in meshgrid(*parts, indexing="ij")], 1)


def combinations(input: TensorLike, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All subsets of r elements of a vector, one a row.

    >>> import ranvier as rv
    >>> rv.combinations(rv.tensor([1, 2, 3])).tolist()
    [[1, 2], [1, 3], [2, 3]]
    """
    input = as_tensor("combinations", input)
    if input.ndim != 1 or r < 0:
        raise OpError(f"[combinations] got x of shape {input.shape} and r {r}; expected a vector and r >= 0")
    if r == 0:
        return input.new_zeros(0)
    with paused():  # for a recorded step these are constants
        rows = _core._combination_indices(input.shape[0], r, with_replacement)
    return reshape(index_select(input, 0, keep(rows.reshape(-1))), rows.shape)


def tril_indices(
    row: int, col: int, offset: int = 0, *, dtype: DtypeLike | None = None, device: DeviceLike | None = None
) -> Tensor:
    """The indices (2, n) of the lower triangle of a row x col matrix, by rows.

    >>> import ranvier as rv
    >>> rv.tril_indices(2, 2)
    tensor([[0, 1, 1],
            [0, 0, 1]])
    """
    places = _core._triangle_indices(row, col, offset, False)
    return new_tensor(places, dtype, device)


def triu_indices(
    row: int, col: int, offset: int = 0, *, dtype: DtypeLike | None = None, device: DeviceLike | None = None
) -> Tensor:
    """The indices (2, n) of the upper triangle of a row x col matrix, by rows.

    >>> import ranvier as rv
    >>> rv.triu_indices(2, 2)
    tensor([[0, 0, 1],
            [0, 1, 1]])
    """
    places = _core._triangle_indices(row, col, offset, True)
    return new_tensor(places, dtype, device)


def argwhere(input: TensorLike) -> Tensor:
    """The indices of the elements that are not 0, one a row; int64.

    >>> import ranvier as rv
    >>> rv.argwhere(rv.tensor([0, 5, 7]))
    tensor([[1],
            [2]])
    """
    input = as_tensor("argwhere", input)
    if input.ndim:
        return nonzero(input)
    return wrap(np.argwhere(input._read("argwhere")))


def diag(input: TensorLike, diagonal: int = 0) -> Tensor:
    """The diagonal of a matrix; of a vector the matrix with that diagonal, 0 elsewhere.

    >>> import ranvier as rv
    >>> rv.diag(rv.tensor([1, 2]))
    tensor([[1, 0],
            [0, 2]])
    """
    input = as_tensor("diag", input)
    if input.ndim not in (1, 2):
        raise misfit("diag", {"x": input.shape}, "a vector or a matrix")
    recorded = (input._requires_grad and tape_mode.enabled) or is_written()
    is_plain = not recorded and not is_batched(input._array)
    if input.ndim == 2 and is_plain and type(diagonal) is int:
        return wrap(copied(np.diagonal(input._array, diagonal), "C"))
    if input.ndim == 1:
        return diag_embed(input, diagonal)
    return diagonal_of(input, diagonal).clone()


def diag_embed(input: TensorLike, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices, in dimensions dim1 and dim2, with the last dimension of x on a diagonal, 0 elsewhere.

    >>> import ranvier as rv
    >>> rv.diag_embed(rv.tensor([1, 2]))
    tensor([[1, 0],
            [0, 2]])
    """
    input = as_tensor("diag_embed", input)
    offset = index(offset)
    some_dim("diag_embed", input, -1)
    n = input.shape[-1] + abs(offset)
    if is_written():
        y = _on_diagonal(input, offset, n)
    else:
        y = input.new_zeros(*input.shape[:-1], n, n)
        diagonal_of(y, offset, -2, -1).copy_(input)
    a = _dim("diag_embed", dim1, y.ndim)
    b = _dim("diag_embed", dim2, y.ndim)
    if a == b:
        raise OpError(f"[diag_embed] got dim1 {dim1} and dim2 {dim2}; expected two dimensions")
    if (a, b) != (y.ndim - 2, y.ndim - 1):
        return movedim(y, (-2, -1), (a, b))
    return y


def _on_diagonal(x: Tensor, offset: int, n: int) -> Tensor:
    """As `diag_embed`, without a change in place: x along the rows or the columns of (n, n), and 0 beside the
    diagonal."""
    at = arange(n)
    on_diagonal = (at[None, :] - at[:, None]).eq(offset)
    filler = x.new_zeros(*x.shape[:-1], abs(offset))
    whole = cat([x, filler], -1) if offset else x
    values = whole[..., :, None] if offset >= 0 else whole[..., None, :]
    return where(on_diagonal, values, x.new_zeros(()))


class Unfold(Function):
    """y[.., i, .., j] = x[.., i step + j, ..]"""

    is_view = by_numpy = True

    shape: tuple[int, ...]

    def __init__(self, place: tuple[int, int, int]) -> None:
        self.place = place  # dimension, size, step

    forward = Function._windows  # in the core: it reads `place`, and sets `shape` to the shape of x

    @widening
    def backward(self, dy: Array) -> Array:
        at, _, step = self.place
        # Windows may overlap: an element gets the sum of the gradients of all windows that have it.
        dx = overlapped(np.moveaxis(dy, at, -2), step, self.shape[at])
        return np.ascontiguousarray(np.moveaxis(dx, -1, at))


def overlapped(x: Array, step: int, length: int) -> Array:
    """The sum of overlapping frames (.., count, size), each `step` elements after the one before: (..,
    length).

    Each frame is cut into parts of `step` elements. Part j of all frames is added at once, to rows of `step`
    elements.
    """
    *lead, count, size = x.shape
    parts = -(-size // step)
    y = np.zeros((*lead, max(count + parts, -(-length // step)), step), x.dtype)
    for j in range(parts):
        part = x[..., j * step : (j + 1) * step]
        y[..., j : j + count, : part.shape[-1]] += part
    return y.reshape(*lead, y.shape[-2] * step)[..., :length]


linear_rule(Unfold)
# The core makes this node if x needs a gradient. True: the class is Unfold (False: Diagonal).
_core._set_placed(Unfold, True)


def unfold(x: TensorLike, dimension: int, size: int, step: int) -> Tensor:
    """All slices of `size` elements along a dimension, `step` apart; a new last dimension holds them. A view,
    only read where the slices overlap.

    >>> import ranvier as rv
    >>> rv.arange(4).unfold(0, 2, 1).tolist()
    [[0, 1], [1, 2], [2, 3]]
    """
    y = _core._unfold("unfold", x, dimension, size, step)
    if y is None:
        return reshape(as_tensor("unfold", x), (1,))[:size]
    return y


class AsStrided(Function):
    """y = a view of the memory of x. Elements of the memory that are not in x have no gradient, as in
    PyTorch.

    size, stride: of y, in elements. first: the place of y's first element in the memory, in elements.
    by_memory: that places are counted in memory, not in x; writes to views (tape/inplace.py) ask for it.
    """

    is_view = by_memory = True
    shape: tuple[int, ...]
    # (the steps of x, the place of its first element, the length of its memory), in elements
    place: tuple[Any, ...]

    def __init__(self, size: Any, stride: Any, first: int) -> None:
        self.size = size
        self.stride = stride
        self.first = first

    def forward(self, x: Array) -> Array:
        memory, start = _memory(x)
        self.shape = x.shape
        steps = [n // x.itemsize for n in x.strides]
        self.place = (steps, start, memory.nbytes // x.itemsize)
        return _part(memory, x.dtype, self.size, self.stride, self.first)

    def places(self) -> Array:
        """The place of each element of y in x, in C order; the size of x for elements that are not in x."""
        steps, start, count = self.place
        n = math.prod(self.shape)
        at = np.full(count, n)
        _part(at, at.dtype, self.shape, steps, start)[...] = np.arange(n).reshape(self.shape)
        return _part(at, at.dtype, self.size, self.stride, self.first)

    @property
    def is_apart(self) -> bool:
        """True if y has elements that x, itself a view, does not have. They may depend on the inputs, too, so
        that backward is not the derivative of forward (func/derivatives.py)."""
        return not isinstance(self.edges[0], Tensor) and bool((self.places() == math.prod(self.shape)).any())

    @widening
    def backward(self, dy: Array) -> Array:
        n = math.prod(self.shape)
        places = keep(self.places().reshape(-1))
        return _core.scatter_add(dy.reshape(-1), places, 0, n + 1, None)[:n].reshape(self.shape)


def _at_places(node: AsStrided, x: Array) -> Array:
    """The elements of y in x; 0 for those that are not in x."""
    zero = x.dtype.type(0)
    return np.append(x, zero)[node.places()]


linear_rule(AsStrided, forward=_at_places)


def _memory(x: Array) -> tuple[Array, int]:
    """The memory of which x is a part, and the number of its elements before x."""
    memory, start = place_in_memory(x)
    return memory.array, start // x.itemsize


def _part(of: Array, dtype: np.dtype[Any], shape: Any, steps: Sequence[int], at: int) -> Any:
    """The view of contiguous memory with this shape and these steps from element `at` on; None if it would
    have elements beyond the memory."""
    if of.size == 0 and math.prod(shape):  # NumPy does not check memory of 0 bytes
        return None
    try:
        return np.ndarray(shape, dtype, of, at * dtype.itemsize, [n * dtype.itemsize for n in steps])
    except (ValueError, TypeError):
        return None


def _apart(size: Sequence[int], stride: Sequence[int]) -> bool:
    """True if no two elements are at the same place in memory, whatever the order of the dimensions."""
    reach = 0
    for step, n in sorted(zip(stride, size, strict=True)):
        if n > 1 and step <= reach:
            return False
        reach += step * (n - 1)
    return True


def _strided_slices(x: Tensor, size: Sequence[int], stride: Sequence[int], offset: int | None) -> Tensor:
    """:func:`as_strided` of each slice: offset is the place for the first one."""
    array: Any = x._array
    slices = array.value
    y = as_strided(slices, (len(slices), *size), (slices.stride(0), *stride), offset)
    return wrap(array.of_slices(y))


def as_strided(
    input: TensorLike, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """A view of the memory of x with this shape and these steps, in elements. If x requires gradients, a view
    with several elements at one place is read-only. storage_offset: the first element, counted from the
    beginning of the memory, also if x is only a part of it; None: the first element of x.

    Elements that are not in x have no gradient. Raises ValueError for elements beyond the memory.

    >>> import ranvier as rv
    >>> rv.as_strided(rv.arange(4), (2, 2), (1, 2)).tolist()
    [[0, 2], [1, 3]]
    """
    x = as_tensor("as_strided", input)
    if is_batched(x._array):
        return _strided_slices(x, size, stride, storage_offset)
    memory, start = _memory(x._read("as_strided()"))
    first = start if storage_offset is None else storage_offset
    view = _part(memory, x._array.dtype, size, stride, first)
    if view is None:
        got = f"size {size} and stride {stride} from {first}"
        raise OpError(f"[as_strided] got {got}; expected elements of the memory of x")
    y = AsStrided(size, stride, first).apply(x)
    base, chain, why = y._view
    if not why:
        # After a change of the base, the result is a view of the whole base, as in PyTorch.
        if len(chain) > 1:
            of_base = AsStrided(size, stride, first)
            of_base.forward(base._array)
            y._view = base, (of_base,), why
        lacks = base._array.nbytes < memory.nbytes or not _apart(size, stride)
        # `Replace` (tape/copy_functions.py) could not repeat a change of such a view.
        if lacks and y._requires_grad:
            y._array.flags.writeable = False
    return y
