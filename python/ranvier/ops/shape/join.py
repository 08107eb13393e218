"""cat, stack, split, chunk, unbind, select, narrow: tensors joined and divided."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.grad_mode import mode as tape_mode
from ranvier.ops.elementwise.dtypes import Array, alike, as_tensor, is_floating
from ranvier.ops.namespaces import KERNELS, TENSORS, Operations, Value, differentiable_backward
from ranvier.ops.shape.reshape import some_dim, unsqueeze
from ranvier.tape.function import Function, TakesHalves, by_kernel
from ranvier.tensors.errors import whole
from ranvier.tensors.failures import OpError, OpIndexError
from ranvier.tensors.memory import is_batched
from ranvier.tensors.recording import host
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import TensorLike

_shape_of = attrgetter("shape")


@differentiable_backward()
class Concatenate(TakesHalves):
    """y = the arrays joined along an axis"""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, *arrays: Array) -> Array:
        try:
            y = _core.concatenate(arrays, self.axis)
        except (ValueError, TypeError):
            # without arrays of shape (0,), which PyTorch allows beside arrays of any shape
            y = _joined([x for x in arrays if x.shape != (0,)] or list(arrays), self.axis)
        self.shapes = tuple(map(_shape_of, arrays))
        return y

    def backward(self, dy: Value, f: Operations = KERNELS) -> Any:
        ndim = dy.ndim
        axis = self.axis
        # KERNELS has `split` below, TENSORS the op of this name. Both take a list of sizes.
        parts = f.split(dy, [shape[axis] for shape in self.shapes if len(shape) == ndim], axis)
        if len(parts) == len(self.shapes):
            return parts
        rest = iter(parts)
        gradients = []
        for shape in self.shapes:
            if len(shape) == ndim:
                gradients.append(next(rest))
            else:  # an array of shape (0,), which was left out
                gradients.append(f.zeros_of(shape, dy))
        return tuple(gradients)


def _split(dy: Array, sizes: list[int], axis: int) -> tuple[Array, ...]:
    """Views of consecutive parts of these sizes along an axis."""
    parts = []
    start = 0
    before: tuple[slice, ...] = (slice(None),) * (axis % dy.ndim)
    for n in sizes:
        part = (*before, slice(start, start + n))
        parts.append(dy[part])
        start += n
    return tuple(parts)


KERNELS.split = _split


def cat(tensors: Sequence[TensorLike], dim: int = 0, *, axis: int | None = None) -> Tensor:
    """The tensors joined along dim; their other dimensions are equal.

    Different dtypes are promoted as in arithmetic.
    Tensors of shape (0,) are left out beside others, as in PyTorch. Raises ValueError where the shapes do not
    fit or there is no tensor.

    >>> import ranvier as rv
    >>> rv.cat([rv.ones(1, 2), rv.zeros(2, 2)]).shape
    (3, 2)
    """
    if axis is not None:
        dim = axis
    return _cat(tensors, dim)


@by_kernel(_core.concatenate, name="cat")
def _cat(tensors: Sequence[TensorLike], dim: int) -> Tensor:
    parts = [x if isinstance(x, Tensor) else as_tensor("cat", x) for x in _listed("cat", tensors)]
    if not parts:
        _core.concatenate([], dim)  # raises the error
    first = parts[0]._array.dtype
    for x in parts:
        if x._array.dtype is not first:
            parts = alike(*parts)
            break
    return Concatenate(dim).apply(*parts)


def _joined(arrays: Sequence[Array], dim: int) -> Array:
    """The arrays joined by the core, or by NumPy for dtypes that the core lacks."""
    if arrays[0].dtype.char in "fd":
        return _core.concatenate(arrays, dim)
    try:
        return host(_by_numpy, dim, *arrays)
    except (ValueError, TypeError, OverflowError) as error:
        shapes = ", ".join(str(x.shape) for x in arrays)
        error_class = OpIndexError if isinstance(error, IndexError) else OpError
        raise error_class(
            f"[cat] got shapes {shapes}; expected shapes equal but for dimension {dim}"
        ) from error


def _by_numpy(dim: int, *arrays: Array) -> Array:
    return np.concatenate(arrays, dim)


concat = concatenate = cat


def _listed(name: str, tensors: Sequence[TensorLike]) -> Any:
    """The argument of cat or stack, if it is a sequence; TypeError for a single tensor or number."""
    if type(tensors) in (list, tuple):
        return tensors
    is_one = isinstance(tensors, bytes) or getattr(tensors, "shape", None) == ()
    if is_one or not isinstance(tensors, Iterable):
        raise TypeError(f"[{name}] got {type(tensors).__name__}; expected a sequence of tensors")
    return tensors


def stack(tensors: Sequence[TensorLike], dim: int = 0, *, axis: int | None = None) -> Tensor:
    """Tensors of one shape, joined along a new dimension.

    >>> import ranvier as rv
    >>> rv.stack([rv.tensor([1.0, 2.0]), rv.tensor([3.0, 4.0])], dim=1)
    tensor([[1., 3.],
            [2., 4.]])
    """
    if axis is not None:
        dim = axis
    return _stack(tensors, dim)


@by_kernel(_core.stack, name="stack")
def _stack(tensors: Sequence[TensorLike], dim: int) -> Tensor:
    made = [x if isinstance(x, Tensor) else as_tensor("stack", x) for x in _listed("stack", tensors)]
    return cat([unsqueeze(x, dim) for x in made], dim)


def split(
    tensor: Any,
    split_size_or_sections: int | Sequence[int] | Tensor | None = None,
    dim: int = 0,
    *,
    split_size: int | Sequence[int] | Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Views of x: pieces of a size along dim (the last may be smaller), or of the sizes listed.

    split_size is the name of the sizes in ``x.split(split_size=2)``. Raises ValueError where listed sizes do
    not add up to the dimension, TypeError without sizes.

    >>> import ranvier as rv
    >>> [part.shape for part in rv.zeros(5, 2).split(2)]
    [(2, 2), (2, 2), (1, 2)]
    """
    size = split_size_or_sections if split_size is None else split_size
    if isinstance(size, Tensor) and size.ndim == 0:
        size = whole("split", "split_size", size)
    return _core._split("split", tensor, size, dim)


def chunk(input: TensorLike, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of x: at most this many pieces of equal size (the last may be smaller) along dim.

    >>> import ranvier as rv
    >>> [part.tolist() for part in rv.arange(5).chunk(2)]
    [[0, 1, 2], [3, 4]]
    """
    if isinstance(chunks, Tensor) and chunks.ndim == 0:
        chunks = whole("chunk", "chunks", chunks)
    return _core._chunk("chunk", input, chunks, dim)


@differentiable_backward()
class Unbind(Function):
    """y[i] = x[i] along an axis, for all i. The gradient is one join; for n calls of `getitem` it would be a
    sum of n arrays."""

    is_view = True

    def __init__(self, axis: int) -> None:
        self.before: tuple[Any, ...] = (slice(None),) * axis

    def forward(self, x: Array) -> tuple[Array, ...]:
        return _core._parts(x, len(self.before))

    def backward(self, *dys: Value | None, f: Operations = KERNELS) -> Any:
        one = next(dy for dy in dys if dy is not None)
        place = (*self.before, None, ...)
        zero = one
        if any(dy is None for dy in dys):  # for unused results
            zero = f.zeros_of(one.shape, one)
        gradients = []
        for dy in dys:
            if dy is None:
                dy = zero
            gradients.append(dy[place])
        return f.joined(gradients, len(self.before))


KERNELS.joined = _joined
TENSORS.joined = lambda parts, axis: cat(parts, axis)


def unbind(input: TensorLike, dim: int = 0, *, axis: int | None = None) -> tuple[Tensor, ...]:
    """Views of x: its slices along dim, without that dimension.

    >>> import ranvier as rv
    >>> rv.unbind(rv.tensor([[1.0, 2.0], [3.0, 4.0]]), dim=1)
    (tensor([1., 3.]), tensor([2., 4.]))
    """
    if axis is not None:
        dim = axis
    input = as_tensor("unbind", input)
    if is_batched(input._array):
        return Unbind(some_dim("unbind", input, dim)).apply(input)
    if not (input._requires_grad and tape_mode.enabled and is_floating(input) and input._array.size):
        return _core._unbind("unbind", input, dim)
    return Unbind(some_dim("unbind", input, dim)).apply(input)


def iterate(x: Tensor) -> Iterator[Tensor]:
    """The slices along dimension 0. If no gradient is recorded, each slice is made when it is asked for."""
    if x._array.ndim == 0:
        raise TypeError("iteration over a 0-d tensor")
    if x._requires_grad and tape_mode.enabled:
        return iter(unbind(x))
    return _off_tape(x)


def _off_tape(x: Tensor) -> Iterator[Tensor]:
    """The slices of a tensor that needs no gradient, without nodes for them.

    x is read again for each slice, because the loop over the slices may give x other memory or a history.
    """
    i = 0
    while i < x._array.shape[0]:
        yield _core._slice("iteration", x, i)
        i += 1


def select(input: TensorLike, dim: int, index: int) -> Tensor:
    """A view of x: its slice at index along dim, without that dimension; IndexError where there is none.

    >>> import ranvier as rv
    >>> rv.select(rv.tensor([[1.0, 2.0], [3.0, 4.0]]), 1, -1)
    tensor([2., 4.])
    """
    return _core._select("select", input, dim, index)


def narrow(input: TensorLike, dim: int, start: int, length: int) -> Tensor:
    """A view of x: the slices start ... start + length - 1 along dim.

    Raises IndexError where x has no such start, ValueError where it is too short.

    >>> import ranvier as rv
    >>> rv.narrow(rv.tensor([1.0, 2.0, 3.0]), 0, 1, 2)
    tensor([2., 3.])
    """
    return _core._narrow("narrow", input, dim, start, length)
