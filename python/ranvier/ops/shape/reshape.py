"""The same elements in another shape: reshape, transpose, permute, squeeze, expand, flip and others.

The result is a view of x if NumPy gives one, and the tape tracks changes in place of both. reshape keeps the
logical order of the elements. If a channels-last image has to be copied for it, the copy is in C order, and
the gradient is channels-last again. The public functions are calls of the core (bindings/ops/bind_shape.cpp,
views.cpp), which makes the nodes of these classes if x needs a gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.grad_mode import mode as tape_mode
from ranvier.observe import computed
from ranvier.ops.elementwise.dtypes import Array, as_tensor
from ranvier.ops.gradient_rules import linear_rule
from ranvier.ops.layout import Parts, is_channels_last
from ranvier.ops.making.convert import reinterpreted
from ranvier.ops.namespaces import KERNELS, Operations, Value, differentiable_backward
from ranvier.tape.function import Function, by_kernel
from ranvier.tape.inplace import check_leaf
from ranvier.tensors.dtypes import dtype as DType
from ranvier.tensors.errors import index
from ranvier.tensors.failures import OpError
from ranvier.tensors.memory import CopyOfView, is_batched, like, read_only, reshaped
from ranvier.tensors.memory_order import to_c_order
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import Axes, DtypeLike, Key, Shape, ShapeLike, TensorLike
from ranvier.tensors.views import views_of


@differentiable_backward()
class Reshape(Function):
    """y = the elements of x, in logical order, in another shape"""

    is_view = True
    channels_last = False
    shape: tuple[int, ...]

    def __init__(self, shape: Any) -> None:
        self.target = shape

    # In the core. It sets `shape`, and calls `_strided` if x is not in C order.
    forward = Function._reshaped

    def _strided(self, x: Array) -> Array:
        self.channels_last = x.dtype.char in "fdeE" and is_channels_last(x)
        y = reshaped(x, self.target)
        self.is_view = np.may_share_memory(x, y)
        return y

    def backward(self, dy: Value, f: Operations = KERNELS) -> Any:
        dx = f.reshape(dy, self.shape)
        if self.channels_last:
            return f.channels_last(dx)
        return dx


@differentiable_backward()
class Permute(Function):
    """y = x with its dimensions in another order"""

    is_view = True

    def __init__(self, dims: tuple[int, ...]) -> None:
        self.dims = dims

    forward = Function._permuted  # in the core

    def backward(self, dy: Value, f: Operations = KERNELS) -> Any:
        inverse = [0] * dy.ndim
        for to, source in enumerate(self.dims):
            inverse[source] = to
        return f.permute(dy, inverse)


@differentiable_backward()
class Expand(Function):
    """y = x repeated to a shape, without a copy"""

    is_view = True
    shape: tuple[int, ...]

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.target = shape

    forward = Function._expanded  # in the core; it sets `shape`

    def backward(self, dy: Value, f: Operations = KERNELS) -> Any:
        return f.sum_to(dy, self.shape)


class Getitem(Function):
    """y = x[key] for a key of integers, slices, None and Ellipsis"""

    is_view = True
    channels_last = False
    shape: Shape

    def __init__(self, key: Key) -> None:
        self.key = key

    # forward(x) is a method of the core's base class, written in C++: it reads `key`, sets `shape` and
    # `channels_last` to those of x, and returns the view.
    forward = Function._picked

    def backward(self, dy: Array) -> Parts:
        key = self.key if isinstance(self.key, tuple) else (self.key,)
        return Parts(key, dy, self.shape, self.channels_last)


def _gradient_of_view(node: Getitem, dy: Array) -> Array:
    return node.backward(dy).array()


linear_rule(Getitem, backward=_gradient_of_view)


class Flip(Function):
    """y = x reversed along some dimensions, in its own memory"""

    def __init__(self, dims: tuple[int, ...]) -> None:
        self.dims = dims

    def forward(self, x: Array) -> Array:
        return like(x, np.asarray(np.flip(x, self.dims)))

    def backward(self, dy: Array) -> Array:
        return np.asarray(np.flip(dy, self.dims))


linear_rule(Flip)


def numbers_of(arguments: tuple[Any, ...]) -> Any:
    """The numbers in the arguments of ``f(x, 2, 3)`` or ``f(x, (2, 3))``, unchecked."""
    if len(arguments) == 1 and type(arguments[0]) is not int:
        return arguments[0]
    return arguments


def _sizes(name: str, arguments: tuple[Any, ...]) -> tuple[int, ...]:
    """The numbers in the arguments of ``f(x, 2, 3)`` or ``f(x, (2, 3))``, checked. name: the op's, for
    errors."""
    try:
        if len(arguments) == 1 and type(arguments[0]) is not int and not isinstance(arguments[0], np.integer):
            arguments = arguments[0]
        if isinstance(arguments, (bytes, bytearray, str, dict)):  # empty, or of numbers
            raise TypeError
        return tuple(map(index, arguments))
    except TypeError as error:
        x: Any = arguments
        if getattr(getattr(x, "dtype", None), "kind", "O") in "iu" and x.ndim == 0:
            return (index(x),)
        raise TypeError(f"[{name}] got {arguments!r}; expected whole numbers") from error


def _dim(name: str, dim: Axes, ndim: int) -> int:
    """The dimension counted from the front. A tensor of shape () counts as having one, as in PyTorch."""
    if type(dim) is int and -ndim <= dim < ndim:
        return dim % ndim
    try:
        dim = index(dim)
    except TypeError as error:
        raise TypeError(f"[{name}] got dim {dim!r}; expected a whole number") from error
    count = ndim or 1
    if not -count <= dim < count:
        raise np.exceptions.AxisError(  # an IndexError, and a ValueError
            f"[{name}] got dim {dim} for {ndim} dimensions; expected {-count} to {count - 1}"
        )
    return dim % count


def some_dim(name: str, x: Tensor, dim: Axes) -> int:
    """As :func:`_dim`, for an op that removes a dimension or takes a part of it: IndexError for shape ()."""
    if x._array.ndim == 0:
        raise IndexError(f"[{name}] got x of shape (); expected at least one dimension")
    return _dim(name, dim, x._array.ndim)


def reshape(input: TensorLike, *sizes: Any, shape: ShapeLike | None = None) -> Tensor:
    """The elements of x in another shape: ``reshape(x, 2, 3)``, ``reshape(x, (2, 3))`` or ``shape=(2, 3)``;
    one size may be -1, which follows from the others.

    Raises ValueError where the number of elements differs.

    >>> import ranvier as rv
    >>> rv.arange(6).reshape(2, -1)
    tensor([[0, 1, 2],
            [3, 4, 5]])
    """
    if shape is not None:
        sizes = (shape,)
    return _core._reshape("reshape", input, sizes)


def flatten(input: TensorLike, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dimensions start_dim to end_dim, both included, as one, in logical order.

    >>> import ranvier as rv
    >>> rv.zeros(2, 3, 4).flatten(1).shape
    (2, 12)
    """
    return _core._flatten("flatten", input, start_dim, end_dim)


def ravel(input: TensorLike) -> Tensor:
    """x in one dimension: a view where x is in C order, else a copy."""
    return _core._reshape("ravel", as_tensor("ravel", input).contiguous(), (-1,))


def unflatten(input: TensorLike, dim: int, sizes: ShapeLike) -> Tensor:
    """Dimension dim in several.

    >>> import ranvier as rv
    >>> rv.zeros(2, 12).unflatten(1, (3, -1)).shape
    (2, 3, 4)
    """
    input = as_tensor("unflatten", input)
    at = some_dim("unflatten", input, dim)
    shape = input.shape
    parts = list(_sizes("unflatten", (sizes,)))
    size = math.prod(n for n in parts if n != -1)
    # -1 is computed here from the size of this dimension: reshape could not compute it if another dimension
    # is 0.
    if -1 in parts and size > 0:
        length = shape[at] if input.ndim else size
        parts[parts.index(-1)] = length // size
    if input.ndim and math.prod(parts) != shape[at]:
        raise OpError(
            f"[unflatten] got sizes {sizes} for a dimension of {shape[at]}; expected their product to be it"
        )
    return reshape(input, (*shape[:at], *parts, *shape[at + 1 :]))


def permute(input: TensorLike, *order: Any, dims: int | Sequence[int] | None = None) -> Tensor:
    """The dimensions in another order: ``permute(x, 1, 0)``, ``permute(x, (1, 0))`` or ``dims=(1, 0)``.

    Raises ValueError unless each is named once.

    >>> import ranvier as rv
    >>> rv.zeros(2, 3, 4).permute(2, 0, 1).shape
    (4, 2, 3)
    """
    if dims is not None:
        order = (dims,)
    return _core._permute("permute", input, order)


def transpose(input: TensorLike, dim0: int, dim1: int) -> Tensor:
    """Two dimensions exchanged; a number as it is.

    >>> import ranvier as rv
    >>> rv.zeros(2, 3, 4).transpose(0, 2).shape
    (4, 3, 2)
    """
    return _core._transpose("transpose", input, dim0, dim1)


def swapaxes(input: TensorLike, axis0: int, axis1: int) -> Tensor:
    """As :func:`transpose`, with NumPy's names.

    >>> import ranvier as rv
    >>> rv.swapaxes(rv.zeros(2, 3, 4), 0, 2).shape
    (4, 3, 2)
    """
    return _core._transpose("swapaxes", input, axis0, axis1)


def movedim(input: TensorLike, source: Axes, destination: Axes) -> Tensor:
    """Dimensions moved to other places; the others keep their order. source, destination: numbers or tuples.

    Raises IndexError for a dimension that x lacks, ValueError where one is named twice or the
    numbers of dimensions differ.

    >>> import ranvier as rv
    >>> rv.movedim(rv.zeros(2, 3, 4), 0, -1).shape, rv.movedim(rv.zeros(2, 3, 4), (0, 1), (1, 2)).shape
    ((3, 4, 2), (4, 2, 3))
    """
    return _core._movedim("movedim", input, source, destination)


def t(input: TensorLike) -> Tensor:
    """The transpose of a matrix; vectors and numbers as they are. Raises ValueError for more dimensions."""
    return _core._t("t", input)


def squeeze(input: TensorLike, dim: Axes = None, *dims: int, axis: Axes = None) -> Tensor:
    """x without its dimensions of size 1: all, or the named ones. A named dimension of another size stays.

    >>> import ranvier as rv
    >>> rv.zeros(2, 1, 3, 1).squeeze(1).shape
    (2, 3, 1)
    """
    axes: Any = dim
    if axis is not None:
        axes = axis
    elif dims:
        axes = (dim, *dims)
    return _core._squeeze("squeeze", input, axes)


def unsqueeze(input: TensorLike, dim: int | None = None, *, axis: int | None = None) -> Tensor:
    """x with a new dimension of size 1 before dim.

    >>> import ranvier as rv
    >>> rv.zeros(2, 3).unsqueeze(-1).shape
    (2, 3, 1)
    """
    if axis is not None:
        dim = axis
    return _core._unsqueeze("unsqueeze", input, dim)


def expand(input: TensorLike, *sizes: Any, size: ShapeLike | None = None) -> Tensor:
    """x repeated along dimensions of size 1, without a copy; -1 leaves a size as it is. The sizes are
    numbers, a tuple, or ``size=(2, 3)``.

    Raises ValueError where x does not broadcast to the shape, and for more than 2**40 elements.

    >>> import ranvier as rv
    >>> rv.tensor([[1.0], [2.0]]).expand(-1, 3)
    tensor([[1., 1., 1.],
            [2., 2., 2.]])
    """
    if size is not None:
        sizes = (size,)
    return _core._expand("expand", input, sizes)


def broadcast_to(input: TensorLike, *sizes: Any, size: ShapeLike | None = None) -> Tensor:
    """:func:`expand`; as a function PyTorch's takes the shape as a tuple alone."""
    if size is not None:
        sizes = (size,)
    return _core._expand("broadcast_to", input, sizes)


def flip(input: TensorLike, *axes: Any, dims: int | Sequence[int] | None = None) -> Tensor:
    """A copy of x, reversed along the dimensions: ``flip(x, 0, 1)``, ``flip(x, (0, 1))`` or ``dims=(0, 1)``.

    Raises IndexError for a dimension that x lacks, ValueError where one is named twice.

    >>> import ranvier as rv
    >>> rv.flip(rv.tensor([1, 2, 3]), 0)
    tensor([3, 2, 1])
    """
    if (dims is None) == (not axes):
        raise TypeError(f"[flip] got axes {axes} and dims {dims}; expected one of them")
    if dims is not None:
        axes = (dims,)
    return _flipped(input, numbers_of(axes))


@by_kernel(_core.flip, name="flip")
def _flipped(input: TensorLike, dims: int | Sequence[int]) -> Tensor:
    input = as_tensor("flip", input)
    named = _sizes("flip", (dims,))
    reversed_dims = [_dim("flip", d, input.ndim) for d in named]
    if len(set(reversed_dims)) != len(reversed_dims):
        raise OpError(f"[flip] got dims {named} for {input.ndim} dimensions; expected each of them once")
    if input.ndim == 0:
        return Flip(()).apply(input)
    return Flip(tuple(reversed_dims)).apply(input)


# --- methods alone, and new shapes in place


def view(x: Tensor, *sizes: Any, size: ShapeLike | None = None, dtype: DtypeLike | None = None) -> Tensor:
    """The elements of x in another shape, on the same memory; a write to one is seen in the other. Results of
    ops that are stored in another order than PyTorch's, as images, get C order for it where no other memory
    depends on theirs. Where no view is possible, as of a transposed tensor, the elements are copied, and the
    copy is read-only: :func:`reshape` gives one that can be changed.

    With a dtype: the same memory read as that dtype, without a gradient; the last dimension changes if the
    dtypes' sizes differ.

    >>> import ranvier as rv
    >>> rv.tensor([1.0]).view(rv.int32)
    tensor([1065353216], dtype=torch.int32)
    """
    if dtype is None and len(sizes) == 1 and type(sizes[0]) is not int:
        size_or_dtype = sizes[0]
        if isinstance(size_or_dtype, (np.dtype, type, DType)):
            dtype = size_or_dtype
    if dtype is not None:
        return computed("view", (x,), reinterpreted(x, dtype), dtype=dtype)
    if size is not None:
        sizes = (size,)
    return _core._view("view", x, sizes)


def view_or_copy(name: str, x: Tensor, sizes: Any) -> Tensor:
    """The view of a tensor whose memory has to get C order first; else a copy that is read-only."""
    array: Any = x._array
    if is_batched(array):
        slices = array.value
        return wrap(array.of_slices(view(slices, (len(slices), *_sizes(name, sizes)))))
    channels_last = is_channels_last(array)
    if to_c_order(x):
        y = _core._view_or_none(name, x, sizes)
    else:
        y = None
    if y is None:
        y = _core._reshape(name, x, sizes)
        y._array = read_only(y._array, CopyOfView)
    elif channels_last and isinstance(y._grad_fn, Reshape):
        y._grad_fn.channels_last = True  # the order of the gradient in which the convolution reads it
    return y


def _as(function: Callable[..., Tensor], name: str, x: TensorLike, other: TensorLike) -> Tensor:
    if not isinstance(other, (Tensor, np.ndarray)):
        raise TypeError(f"[{name}] got {type(other).__name__}; expected a Tensor")
    return function(name, x, other.shape)


def view_as(x: TensorLike, other: TensorLike) -> Tensor:
    """x in the shape of other."""
    return _as(_core._view, "view_as", x, other)


def reshape_as(x: TensorLike, other: TensorLike) -> Tensor:
    """As :meth:`view_as`."""
    return _as(_core._reshape, "reshape_as", x, other)


def expand_as(x: TensorLike, other: TensorLike) -> Tensor:
    """x repeated to the shape of other."""
    return _as(_core._expand, "expand_as", x, other)


def reshaped_in_place(name: str, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A method such as ``x.unsqueeze_(0)``: x itself gets the other shape, on the same memory. The node of
    the view is appended to its history."""

    def method(x: Tensor, *args: Any, **settings: Any) -> Tensor:
        check_leaf(x, name)
        if x._grad_fn is not None and not tape_mode.enabled:
            better = f"x = x.{name[:-1]}(...)"
            raise RuntimeError(f"[{name}] got a Tensor with a history under no_grad(); expected {better}")
        shape = x.shape
        views = views_of(x)
        result = function(x, *args, **settings)
        if (result.shape, result.stride()) == (shape, x.stride()):
            return x
        x._array = result._array
        if is_batched(x._array):  # its value has the history
            return x
        if x._view is not None:
            x._view = result._view
        if result._grad_fn is not None:  # Hooks stay at the old node, and get gradients of the old shape.
            x._grad_fn = result._grad_fn
        # The chains of x's views begin at its old shape. A step from the new shape back to it is put before
        # them.
        if views:
            if function in (swapaxes, t, transpose):  # which are their own inverses
                before = function(x, *args, **settings)
            else:
                before = reshape(x, shape)
            back = before._view[1][-1]  # type: ignore[index]  # the last step of its chain (tensors/views.py)
            for view in views:
                base, chain, why = view._view
                view._view = base, (back, *chain), why
        return x

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"As :func:`ranvier.{name[:-1]}`, of the tensor itself."
    method.__wrapped__ = function  # type: ignore[attr-defined]
    return method


# The core makes these nodes, and calls these functions for what it does not check itself.
_core._set_shapes((as_tensor, _sizes, _dim, some_dim), (Reshape, Permute, Expand, Getitem, view_or_copy))
