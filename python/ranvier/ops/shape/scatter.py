"""scatter, scatter_add, index_add: values written or added at given indices, and their gradients.

Of several values for one place the last one stays (scatter), or all are added in order (scatter_add), at any
number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.grad_mode import is_grad_enabled
from ranvier.ops.elementwise.dtypes import Array, as_number, as_operand, as_tensor, cast, is_floating
from ranvier.ops.gradient_rules import additive
from ranvier.ops.layout import zeros
from ranvier.ops.shape.index import index_array, part_of, reaches_within, require_from_0
from ranvier.ops.shape.reshape import _dim, expand, reshape
from ranvier.tape.function import Function, by_kernel, watched
from ranvier.tensors.errors import number, one_of
from ranvier.tensors.failures import DtypeError, OpError
from ranvier.tensors.memory import keep, of_slices
from ranvier.tensors.places import put_in_order
from ranvier.tensors.tensor import Tensor, by_numpy, wrap
from ranvier.tensors.types import ArrayLike, TensorLike


class Scatter(Function):
    """y = x, then y[.., index[.., j, ..], ..] = src[.., j, ..], or += with `add`"""

    def __init__(self, axis: int, add: bool) -> None:
        self.axis = axis
        self.add = add

    def forward(self, x: Array, index: Array, src: Array) -> Array:
        # As in PyTorch, index may be smaller than x and src. What lies beyond it in both is not used. True as
        # the kernel's last argument: negative indices raise.
        self.shape, self.index, self.src_shape = x.shape, index, src.shape
        x = _with_dimension(x)
        src = _with_dimension(src)
        self.part = part_of(x.shape, index.shape, self.axis)
        if src.shape != index.shape:
            src = src[tuple(map(slice, index.shape))]
        if not self.part:
            return _core.scatter(x, index, src, self.axis, self.add, None, True).reshape(self.shape)
        y = _core.copy(x, False, None)
        _core.scatter(x[self.part], index, src, self.axis, self.add, y[self.part], True)
        return y

    def backward(self, dy: Array) -> tuple[Array | None, None, Array | None]:
        dy = _with_dimension(dy)
        part = dy[self.part] if self.part else dy
        if self.add:
            dx = dy
            if self.needs[2]:
                dsrc = _core.gather(part, self.index, self.axis, None)
            else:
                dsrc = None
        else:
            dx, dsrc = _core.scatter_backward(part, self.index, self.axis)
            if dx.shape != dy.shape:
                whole = _core.copy(dy, False, None)
                _core.copy(dx, False, whole[self.part])
                dx = whole
        if dsrc is not None and dsrc.shape != self.src_shape:
            whole = zeros(self.src_shape or (1,), dy.dtype)
            _core.copy(dsrc, False, whole[tuple(map(slice, dsrc.shape))])
            dsrc = whole.reshape(self.src_shape)
        return dx.reshape(self.shape), None, dsrc


additive(Scatter, lambda node, dtype: [zeros(node.shape, dtype), node.index, zeros(node.src_shape, dtype)])


def _with_dimension(x: Array) -> Array:
    """x; with shape (1,) if its shape is ()."""
    if x.ndim:
        return x
    return x.reshape(1)


def scatter(
    input: TensorLike,
    dim: int,
    index: ArrayLike,
    src: TensorLike | None = None,
    *,
    value: float | None = None,
    reduce: str | None = None,
) -> Tensor:
    """x with y[.., index[.., j, ..], ..] = src[.., j, ..] along dim, in a new tensor.

    index: integers, with as many dimensions as x and src, none larger than src's, and none except dim larger
    than x's; shape () counts as one dimension. src is a tensor of x's dtype, or a number for all places. Of
    several values for one place the last one stays, and only this one gets a gradient. reduce 'add' adds them
    (see :func:`scatter_add`), 'multiply' multiplies, without a gradient.

    Raises IndexError where an index is negative or out of range, ValueError where the shapes do not fit,
    TypeError where the dtypes differ, RuntimeError for 'multiply' where a gradient is required.

    >>> import ranvier as rv
    >>> rv.scatter(rv.zeros(2, 3), 1, rv.tensor([[2], [0]]), 1.0)
    tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """
    if (src is None) == (value is None):
        raise TypeError("[scatter] got src and value, or neither; expected one of them")
    one_of("scatter", "reduce", reduce, (None, "add", "multiply"))
    values: Any = value if src is None else src
    return _scatter(input, dim, index, values, reduce, "scatter")


def scatter_add(input: TensorLike, dim: int, index: ArrayLike, src: TensorLike) -> Tensor:
    """x with y[.., index[.., j, ..], ..] += src[.., j, ..] along dim, in the order of j, in a new tensor.

    Shapes and errors as :func:`scatter`.

    >>> import ranvier as rv
    >>> rv.scatter_add(rv.zeros(3), 0, rv.tensor([2, 0, 2]), rv.tensor([1.0, 2.0, 3.0]))
    tensor([2., 0., 4.])
    """
    return _scatter(input, dim, index, src, "add", "scatter_add")


def _put_or_added(x: Array, dim: int, index: Array, src: Array, combine: str | None) -> Array:
    """`_scatter` by the kernel, for an index of src's shape."""
    if combine == "multiply" or getattr(src, "shape", None) != index.shape:
        return NotImplemented
    return _core.scatter(x, index, src, dim, combine == "add", None, True)


# takes=5: the kernel gets all arguments but `name`. combine: None writes, "add" adds, "multiply" multiplies.
@by_kernel(_put_or_added, takes=5)
def _scatter(
    x: TensorLike, dim: int, index: ArrayLike, src: TensorLike, combine: str | None, name: str
) -> Tensor:
    x = as_tensor(name, x)
    places = _with_dimension(index_array(name, index))
    at = _dim(name, dim, x.ndim)
    if not isinstance(src, (Tensor, np.ndarray)):  # a number for all places
        number = np.asarray(as_number(name, as_operand(name, src), x.dtype))
        src = wrap(np.broadcast_to(keep(number), places.shape))
    src = _like(x, as_tensor(name, src), name)
    if src.ndim == 0 and places.size != 1:
        src = expand(src, places.shape)
    sizes = x._array.shape or (1,)
    of_src = src._array.shape or (1,)
    if not (reaches_within(places.shape, of_src) and reaches_within(places.shape, sizes, at)):
        if places.size == 0:  # an empty index may have any shape, as in gather
            return x.clone()
        raise OpError(
            f"[{name}] got index of shape {places.shape}, x of shape {x.shape} and src of shape {src.shape}; "
            f"expected an index no larger than src, nor than x but for dimension {at}"
        )
    if combine != "multiply":
        if is_floating(x):
            return watched(Scatter(at, combine == "add").apply(x, wrap(places), src), index)
    elif (x.requires_grad or src.requires_grad) and is_grad_enabled():
        raise RuntimeError(
            "[scatter] got reduce 'multiply' where a gradient is required; expected tensors without one: "
            "detach(), or multiply by a scattered tensor of ones"
        )
    require_from_0(name, places, sizes[at])
    return by_numpy(_scattered, combine, x._array, at, places, src._array)


@of_slices
def _scattered(combine: str | None, x: Array, at: int, places: Array, src: Array) -> Array:
    y = x.copy()
    part = tuple(map(slice, places.shape))
    where: Any = list(np.ogrid[part])
    where[at] = places
    values = _with_dimension(src)[part]
    if combine is None:
        put_in_order(_with_dimension(y), tuple(where), values)
    else:
        getattr(np, combine).at(_with_dimension(y), tuple(where), values)
    return y


def _like(x: Tensor, src: Tensor, name: str) -> Tensor:
    """src in the dtype of x; TypeError if src's values may not fit in it."""
    own = src._array.dtype
    wanted = x._array.dtype
    if own == wanted:
        return src
    if not (np.can_cast(own, wanted) or (own.kind in "biu" and wanted.kind == "f")):
        raise DtypeError(
            f"[{name}] got src of dtype {own} for x of dtype {wanted}; expected equal dtypes: use "
            f"src.to(x.dtype)"
        )
    return cast(src, wanted)


def index_add(
    input: TensorLike, dim: int, index: ArrayLike, source: TensorLike, *, alpha: float = 1
) -> Tensor:
    """x with y[.., index[j], ..] += alpha * source[.., j, ..] along dim, in the order of j, in a new tensor.

    index has one dimension, as long as source's dimension dim; source has x's other sizes. Shape () counts
    as one dimension of one element. Raises IndexError where an index is negative or out of range, ValueError
    where the shapes do not fit, TypeError where the dtypes differ.

    >>> import ranvier as rv
    >>> rv.index_add(rv.zeros(2, 2), 0, rv.tensor([1, 1]), rv.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[0., 0.],
            [4., 6.]])
    """
    return _index_added(input, dim, index, source, number("index_add", "alpha", alpha))


def _added_slices(x: Array, dim: int, index: Array, source: Array, alpha: float) -> Array:
    fits = index.ndim == 1 and alpha == 1  # with another alpha `source` is multiplied first, in Python
    if fits:
        return _core.scatter(x, index, source, dim, True, None, True)
    return NotImplemented


@by_kernel(_added_slices, name="index_add")
def _index_added(input: TensorLike, dim: int, index: ArrayLike, source: TensorLike, alpha: float) -> Tensor:
    input = as_tensor("index_add", input)
    source = as_tensor("index_add", source)
    rows = _with_dimension(index_array("index_add", index))
    require_from_0("index_add", rows)
    shape = input._array.shape
    at = _dim("index_add", dim, len(shape))
    if shape:
        expected = (*shape[:at], rows.size, *shape[at + 1 :])
    elif rows.size == 1:
        expected = ()
    else:
        expected = None
    if rows.ndim != 1 or source.shape != expected:
        raise OpError(
            f"[index_add] got x of shape {input.shape}, index of shape {rows.shape} and source of shape "
            f"{source.shape}; expected source of x's shape, but of index's length along dimension {at}"
        )
    if alpha != 1:
        source = source * alpha
    lengths = (1,) * at + (rows.size,) + (1,) * max(len(shape) - at - 1, 0)
    places = expand(reshape(as_tensor("index_add", index), lengths), expected or (1,))
    return watched(_scatter(input, at, places, source, "add", "index_add"), index)
