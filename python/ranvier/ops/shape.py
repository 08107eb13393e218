"""The same elements in another shape: reshape, transpose, permute, squeeze, expand, flip and others.

The result is a view of x where NumPy gives one; the tape tracks in-place changes of both. reshape keeps the
logical order of the elements: a channels-last image is copied to C order first, and its gradient is
channels-last again.
"""

from __future__ import annotations

import math
from operator import index
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.function import Function
from ranvier.autograd.memory import like, require_size, reshaped
from ranvier.autograd.tensor import Tensor
from ranvier.ops.elementwise.dtypes import Array, as_tensor, unbroadcast
from ranvier.ops.layout import is_channels_last

__all__ = [
    "broadcast_to",
    "expand",
    "flatten",
    "flip",
    "movedim",
    "permute",
    "ravel",
    "reshape",
    "squeeze",
    "swapaxes",
    "t",
    "transpose",
    "unflatten",
    "unsqueeze",
]
METHODS = [*__all__, "expand_as", "reshape_as", "view", "view_as"]


class Reshape(Function):
    """y = the elements of x, in logical order, in another shape"""

    is_view = True
    channels_last = False

    def __init__(self, shape: Any) -> None:
        self.target = shape

    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        if x.flags.c_contiguous:
            return x.reshape(self.target)
        self.channels_last = is_channels_last(x)
        if self.channels_last and x.dtype.kind == "f":
            self.is_view = False
            return _core.copy(x, False, None).reshape(self.target)
        y = reshaped(x, self.target)
        self.is_view = np.may_share_memory(x, y)
        return y

    def backward(self, dy: Array) -> Array:
        dx = reshaped(dy, self.shape)
        return _core.copy(dx, True, None) if self.channels_last else dx


class Permute(Function):
    """y = x with its dimensions in another order"""

    is_view = True

    def __init__(self, dims: tuple[int, ...]) -> None:
        self.dims = dims

    def forward(self, x: Array) -> Array:
        return x.transpose(self.dims)

    def backward(self, dy: Array) -> Array:
        inverse = [0] * dy.ndim
        for to, source in enumerate(self.dims):
            inverse[source] = to
        return dy.transpose(inverse)


class Expand(Function):
    """y = x repeated to a shape, without a copy"""

    is_view = True

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.target = shape

    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        y = np.broadcast_to(x, self.target)
        if x.flags.writeable:  # NumPy's view is read-only, since an element may be at several places
            y.flags.writeable = True
        return y

    def backward(self, dy: Array) -> Array:
        return unbroadcast(dy, self.shape)


class Flip(Function):
    """y = x reversed along some dimensions, in its own memory"""

    def __init__(self, dims: tuple[int, ...]) -> None:
        self.dims = dims

    def forward(self, x: Array) -> Array:
        return like(x, np.asarray(np.flip(x, self.dims)))

    def backward(self, dy: Array) -> Array:
        return np.asarray(np.flip(dy, self.dims))


def _sizes(name: str, arguments: tuple[Any, ...]) -> tuple[int, ...]:
    """The numbers of ``f(x, 2, 3)`` or ``f(x, (2, 3))``."""
    try:
        if len(arguments) == 1 and type(arguments[0]) is not int and not isinstance(arguments[0], np.integer):
            arguments = arguments[0]
        if isinstance(arguments, (bytes, bytearray, str, dict)):  # empty, or of numbers
            raise TypeError
        return tuple(map(index, arguments))
    except TypeError as error:
        raise TypeError(f"[{name}] got {arguments!r}; expected whole numbers") from error


def _dim(name: str, dim: int, ndim: int) -> int:
    """The dimension counted from the front. A tensor of shape () counts as having one, as in PyTorch."""
    if type(dim) is int and -ndim <= dim < ndim:
        return dim % ndim
    try:
        dim = index(dim)
    except TypeError as error:
        raise TypeError(f"[{name}] got dim {dim!r}; expected a whole number") from error
    count = ndim or 1
    if not -count <= dim < count:
        raise IndexError(f"[{name}] got dim {dim} for {ndim} dimensions; expected {-count} to {count - 1}")
    return dim % count


def some_dim(name: str, x: Tensor, dim: Any) -> int:
    """As :func:`_dim`, for an op that removes a dimension or takes a part of it: IndexError for shape ()."""
    if x._array.ndim == 0:
        raise IndexError(f"[{name}] got x of shape (); expected at least one dimension")
    return _dim(name, dim, x._array.ndim)


def reshape(x: Any, *shape: Any) -> Tensor:
    """The elements of x in another shape; one size may be -1; it follows from the others.

    Raises ValueError where the number of elements differs.

    >>> import ranvier as rv
    >>> rv.arange(6).reshape(2, -1)
    tensor([[0, 1, 2],
            [3, 4, 5]])
    """
    x = as_tensor("reshape", x)
    target = shape if shape and type(shape[0]) is int else _sizes("reshape", shape)
    try:
        return Reshape(target).apply(x)
    except (TypeError, ValueError, OverflowError) as error:
        target = _sizes("reshape", target)  # raises for what is no number
        raise ValueError(
            f"[reshape] got shape {target} for x of shape {x.shape}; expected as many elements"
        ) from error


def view(x: Any, *shape: Any) -> Tensor:
    """:func:`reshape`; where no view is possible the elements are copied. With a dtype: :meth:`Tensor.to`."""
    if len(shape) == 1 and isinstance(shape[0], (np.dtype, type)):
        return x.to(shape[0])
    return reshape(x, *shape)


def view_as(x: Any, other: Any) -> Tensor:
    """x in the shape of other."""
    return reshape(x, other.shape)


reshape_as = view_as


def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dimensions start_dim to end_dim, both included, as one, in logical order.

    >>> import ranvier as rv
    >>> rv.zeros(2, 3, 4).flatten(1).shape
    (2, 12)
    """
    x = as_tensor("flatten", x)
    shape = x._array.shape
    if not shape:
        return Reshape((1,)).apply(x)
    first, last = _dim("flatten", start_dim, len(shape)), _dim("flatten", end_dim, len(shape))
    if first > last:
        raise ValueError(
            f"[flatten] got start_dim {start_dim} after end_dim {end_dim}; expected start_dim <= end_dim"
        )
    if first == last:
        return x
    size = math.prod(shape[first : last + 1])
    return Reshape((*shape[:first], size, *shape[last + 1 :])).apply(x)


def ravel(x: Any) -> Tensor:
    """x in one dimension: a view where x is in C order, else a copy."""
    return reshape(as_tensor("ravel", x).contiguous(), -1)


def unflatten(x: Any, dim: int, sizes: Any) -> Tensor:
    """Dimension dim in several.

    >>> import ranvier as rv
    >>> rv.zeros(2, 12).unflatten(1, (3, -1)).shape
    (2, 3, 4)
    """
    x = as_tensor("unflatten", x)
    at, shape, parts = some_dim("unflatten", x, dim), x.shape, list(_sizes("unflatten", (sizes,)))
    known = math.prod(n for n in parts if n != -1)
    if -1 in parts and known > 0:  # from this dimension only: others may be 0
        parts[parts.index(-1)] = shape[at] // known if x.ndim else 1
    if x.ndim and math.prod(parts) != shape[at]:
        raise ValueError(
            f"[unflatten] got sizes {sizes} for a dimension of {shape[at]}; expected their product to be it"
        )
    return reshape(x, (*shape[:at], *parts, *shape[at + 1 :]))


def permute(x: Any, *dims: Any) -> Tensor:
    """The dimensions in another order. Raises ValueError unless each is named once.

    >>> import ranvier as rv
    >>> rv.zeros(2, 3, 4).permute(2, 0, 1).shape
    (4, 2, 3)
    """
    x = as_tensor("permute", x)
    order = dims if dims and type(dims[0]) is int else _sizes("permute", dims)
    try:
        return Permute(order).apply(x)
    except (TypeError, ValueError) as error:
        for d in _sizes("permute", order):
            _dim("permute", d, x.ndim)
        raise ValueError(
            f"[permute] got dims {dims} for {x.ndim} dimensions; expected each of them once"
        ) from error


def transpose(x: Any, dim0: int, dim1: int) -> Tensor:
    """Two dimensions exchanged; a number as it is.

    >>> import ranvier as rv
    >>> rv.zeros(2, 3, 4).transpose(0, 2).shape
    (4, 3, 2)
    """
    x = as_tensor("transpose", x)
    ndim = x._array.ndim
    a, b = _dim("transpose", dim0, ndim), _dim("transpose", dim1, ndim)
    dims = [*range(ndim)]
    if dims:
        dims[a], dims[b] = b, a
    return Permute(tuple(dims)).apply(x)


swapaxes = transpose


def movedim(x: Any, source: Any, destination: Any) -> Tensor:
    """Dimensions moved to other places; the others keep their order. source, destination: numbers or tuples.

    Raises IndexError for a dimension that x lacks, ValueError where one is named twice or the
    numbers of dimensions differ.

    >>> import ranvier as rv
    >>> rv.movedim(rv.zeros(2, 3, 4), 0, -1).shape, rv.movedim(rv.zeros(2, 3, 4), (0, 1), (1, 2)).shape
    ((3, 4, 2), (4, 2, 3))
    """
    x = as_tensor("movedim", x)
    ndim = x._array.ndim
    of, to = (
        [_dim("movedim", d, ndim) for d in _sizes("movedim", (dims,))] for dims in (source, destination)
    )
    if len(of) != len(to) or len(set(of)) != len(of) or len(set(to)) != len(to):
        raise ValueError(
            f"[movedim] got source {source} and destination {destination}; expected as many, each once"
        )
    if not ndim:
        return Permute(()).apply(x)
    rest = iter([d for d in range(ndim) if d not in of])
    moved = dict(zip(to, of, strict=True))
    return Permute(tuple([moved[d] if d in moved else next(rest) for d in range(ndim)])).apply(x)


def t(x: Any) -> Tensor:
    """The transpose of a matrix; vectors and numbers as they are. Raises ValueError for more dimensions."""
    x = as_tensor("t", x)
    if x.ndim > 2:
        raise ValueError(f"[t] got x of shape {tuple(x.shape)}; expected at most 2 dimensions")
    return transpose(x, 0, 1) if x.ndim == 2 else x


def squeeze(x: Any, dim: Any = None) -> Tensor:
    """x without its dimensions of size 1: all, or the named ones. A named dimension of another size stays.

    >>> import ranvier as rv
    >>> rv.zeros(2, 1, 3, 1).squeeze(1).shape
    (2, 3, 1)
    """
    x = as_tensor("squeeze", x)
    shape = x._array.shape
    dims = range(len(shape)) if dim is None else _sizes("squeeze", (dim,))
    gone = {_dim("squeeze", d, len(shape)) for d in dims} if shape else set()
    return Reshape(tuple([n for d, n in enumerate(shape) if not (d in gone and n == 1)])).apply(x)


def unsqueeze(x: Any, dim: int) -> Tensor:
    """x with a new dimension of size 1 before dim.

    >>> import ranvier as rv
    >>> rv.zeros(2, 3).unsqueeze(-1).shape
    (2, 3, 1)
    """
    x = as_tensor("unsqueeze", x)
    shape = x._array.shape
    at = _dim("unsqueeze", dim, len(shape) + 1)
    return Reshape((*shape[:at], 1, *shape[at:])).apply(x)


def expand(x: Any, *shape: Any) -> Tensor:
    """x repeated along dimensions of size 1, without a copy; -1 leaves a size as it is.

    Raises ValueError where x does not broadcast to the shape, and for more than 2**40 elements.

    >>> import ranvier as rv
    >>> rv.tensor([[1.0], [2.0]]).expand(-1, 3)
    tensor([[1., 1., 1.],
            [2., 2., 2.]])
    """
    x, target = as_tensor("expand", x), _sizes("expand", shape)
    lead = len(target) - x.ndim
    if lead < 0 or -1 in target[:lead]:
        raise ValueError(
            f"[expand] got shape {target} for x of shape {x.shape}; expected a size for each dimension"
        )
    full = tuple(x.shape[d - lead] if n == -1 else n for d, n in enumerate(target))
    require_size("expand", full)
    try:
        return Expand(full).apply(x)
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"[expand] got shape {target} for x of shape {x.shape}; expected one it broadcasts to"
        ) from error


def broadcast_to(x: Any, shape: Any) -> Tensor:
    """:func:`expand` with the shape as a tuple."""
    return expand(x, shape)


def expand_as(x: Any, other: Any) -> Tensor:
    """x repeated to the shape of other."""
    return expand(x, tuple(other.shape))


def flip(x: Any, *axes: Any, dims: Any = None) -> Tensor:
    """A copy of x, reversed along the dimensions: ``flip(x, 0, 1)``, ``flip(x, (0, 1))`` or ``dims=(0, 1)``.

    Raises IndexError for a dimension that x lacks, ValueError where one is named twice.

    >>> import ranvier as rv
    >>> rv.flip(rv.tensor([1, 2, 3]), 0)
    tensor([3, 2, 1])
    """
    x = as_tensor("flip", x)
    if (dims is None) == (not axes):
        raise TypeError(f"[flip] got axes {axes} and dims {dims}; expected one of them")
    named = _sizes("flip", axes if dims is None else (dims,))
    found = [_dim("flip", d, x.ndim) for d in named]
    if len(set(found)) != len(found):
        raise ValueError(f"[flip] got dims {named} for {x.ndim} dimensions; expected each of them once")
    return Flip(tuple(found) if x.ndim else ()).apply(x)
