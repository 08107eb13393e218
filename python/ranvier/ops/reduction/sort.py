"""sort, argsort, topk, kthvalue, median, cumsum, cumprod: order and running sums along one dimension.

Equal elements keep their order: results are the same on every machine. NaN counts as greater than every
number, as in PyTorch. The gradient of a value goes to the element that it was.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

import numpy as np

import ranvier._core as _core
from ranvier.observe import computed
from ranvier.ops.elementwise.dtypes import F32, F64, Array, as_tensor, is_floating
from ranvier.ops.gradient_rules import linear_rule, recomputed
from ranvier.ops.making.convert import to_dtype
from ranvier.ops.reduction.reduce import Extreme, ValuesIndices
from ranvier.ops.shape.join import cat
from ranvier.ops.shape.reshape import _dim, reshape
from ranvier.tape.function import Function, by_kernel
from ranvier.tensors.errors import flag, whole
from ranvier.tensors.failures import OpError, require_dtype
from ranvier.tensors.memory import cast
from ranvier.tensors.recording import host
from ranvier.tensors.tensor import Tensor, by_numpy, wrap
from ranvier.tensors.types import Axis, DtypeLike, Shape, TensorLike


class Sort(Function):
    """(y, i): the elements at places first ... last - 1 of x in order along one axis, and their indices in
    x"""

    def __init__(self, axis: int, descending: bool, first: int, last: int) -> None:
        self.axis = axis
        self.descending = descending
        self.first = first
        self.last = last

    def forward(self, x: Array) -> tuple[Array, Array]:
        self.length = x.shape[self.axis]
        values, self.indices = _core.sort(x, self.axis, self.descending, self.last)
        if self.first:
            part = (*(slice(None),) * self.axis, slice(self.first, None))
            values = values[part]
            self.indices = self.indices[part]
        return values, self.indices

    def backward(self, dy: Array, _: None) -> Array:
        return _core.scatter_add(dy, self.indices, self.axis, self.length, None)


def _gradient(node: Sort, dy: Array) -> Array:
    return node.backward(dy, None)


def _at_indices(node: Sort, x: Array) -> Array:
    return _core.gather(x, node.indices, node.axis, None)


linear_rule(Sort, backward=_gradient, forward=_at_indices)


class Median(Sort):
    """(y, i): the middle element in order along one axis, the lower one of two; the first NaN if there is
    any"""

    def __init__(self, axis: int, length: int) -> None:
        super().__init__(axis, False, 0, length)

    def forward(self, x: Array) -> tuple[Array, Array]:
        _, indices = super().forward(x)
        middle = (*(slice(None),) * self.axis, slice((self.length - 1) // 2, (self.length + 1) // 2))
        first = _core.argmax(x, self.axis, True)  # argmax gives the place of a NaN, if there is one
        greatest = _core.gather(x, first, self.axis, None)
        exact = np.dtype(np.float64)
        # `where` takes floats, which are exact for these indices
        first = _core.cast(first, exact, None)
        of_middle = _core.cast(indices[middle], exact, None)
        chosen = _core.where(_core.ne(greatest, greatest, None), first, of_middle, None)
        self.indices = _core.cast(chosen, indices.dtype, None)
        return _core.gather(x, self.indices, self.axis, None), self.indices


class MedianOfAll(Extreme):
    """y = the median of all elements of a vector; elements that are equal to it share dy evenly"""

    def __init__(self) -> None:
        self.axes = None
        self.keepdims = False

    def forward(self, x: Array) -> Array:
        self.x = x
        self.y = host(_middle, x)
        return self.y


def sort(
    input: TensorLike, dim: int = -1, descending: bool = False, stable: bool = False, *, axis: Axis = None
) -> ValuesIndices:
    """The elements along dim in order, as (values, indices): values[k] = x[indices[k]].

    Always stable. Raises IndexError for a dimension that x does not have.

    >>> import ranvier as rv
    >>> values, indices = rv.sort(rv.tensor([3.0, 1.0, 2.0]))
    >>> values, indices
    (tensor([1., 2., 3.]), tensor([1, 2, 0]))
    """
    if stable is not False:
        flag("sort", "stable", stable)
    if axis is not None:
        dim = axis
    return _ordered(input, dim, descending, "sort")


# takes=3: the kernel gets all arguments but `name`, which is for errors.
@by_kernel(_core.sort, floats=True, result=ValuesIndices, takes=3)
def _ordered(input: TensorLike, dim: int, descending: bool, name: str) -> ValuesIndices:
    input, at, length = _along(name, input, dim)
    return _sorted(input, at, flag(name, "descending", descending), 0, length)


def argsort(
    input: TensorLike, dim: int = -1, descending: bool = False, stable: bool = False, *, axis: Axis = None
) -> Tensor:
    """The indices that put x in order along dim: see :func:`sort`; int64, no gradient.

    >>> import ranvier as rv
    >>> rv.argsort(rv.tensor([3.0, 1.0, 2.0]), descending=True)
    tensor([0, 2, 1])
    """
    if stable is not False:
        flag("argsort", "stable", stable)
    if axis is not None:
        dim = axis
    return _ordered(input, dim, descending, "argsort").indices


def topk(
    input: TensorLike, k: int, dim: int = -1, largest: bool = True, sorted: bool = True, *, axis: Axis = None
) -> ValuesIndices:
    """The k largest (or smallest) elements along dim in order, as (values, indices).

    Among equals the first come first. Raises ValueError where there are fewer than k.

    >>> import ranvier as rv
    >>> values, indices = rv.topk(rv.tensor([0.1, 0.7, 0.2]), 2)
    >>> values, indices
    (tensor([0.7000, 0.2000]), tensor([1, 2]))
    """
    if sorted is not True:
        flag("topk", "sorted", sorted)
    # raises an error: for the kernel, None means all elements
    if k is None:
        k = whole("topk", "k", k)
    if axis is not None:
        dim = axis
    return _greatest(input, dim, largest, k)


# The kernel's arguments are (x, axis, descending, count): `largest` is descending, and k is the count.
@by_kernel(_core.sort, floats=True, result=ValuesIndices, name="topk")
def _greatest(input: TensorLike, dim: int, largest: bool, k: int) -> ValuesIndices:
    input, at, length = _along("topk", input, dim)
    k = _count("topk", k, 0, length)
    return _sorted(input, at, flag("topk", "largest", largest), 0, k)


def kthvalue(input: TensorLike, k: int, dim: int = -1, keepdim: bool = False) -> ValuesIndices:
    """The k-th smallest element along dim, counted from 1, as (values, indices).

    Raises ValueError where there are fewer than k.

    >>> import ranvier as rv
    >>> rv.kthvalue(rv.tensor([3.0, 1.0, 2.0]), 2).values
    tensor(2.)
    """
    input, at, length = _along("kthvalue", input, dim)
    k = _count("kthvalue", k, 1, length)
    return _without_dim(_sorted(input, at, False, k - 1, k), input, at, keepdim)


def median(
    input: TensorLike,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    axis: int | None = None,
    keepdims: bool = False,
) -> Tensor | ValuesIndices:
    """The middle element along dim, the lower one of two, as (values, indices); the first NaN if there is
    any.

    Without dim: the value for all elements, without an index; elements equal to it share its gradient, as in
    PyTorch. Raises ValueError where there is no element.

    >>> import ranvier as rv
    >>> rv.median(rv.tensor([4.0, 1.0, 3.0, 2.0]))
    tensor(2.)
    """
    if axis is not None:
        dim = axis
    input = as_tensor("median", input)
    keepdim = keepdim or keepdims
    if dim is None:
        flat = reshape(input, -1)
        if is_floating(input) and flat.shape[0]:
            return MedianOfAll().apply(flat)
        if flat.shape[0]:
            return by_numpy(_middle, flat._array)
        return median(flat, 0)
    input, at, length = _along("median", input, dim)
    if length == 0:
        raise OpError(
            f"[median] got x of shape {input.shape}, empty along {at}; expected at least one element"
        )
    if is_floating(input) and input.ndim:
        return _without_dim(ValuesIndices(*Median(at, length).apply(input)), input, at, keepdim)
    return _without_dim(_sorted(input, at, False, (length - 1) // 2, (length + 1) // 2), input, at, keepdim)


def _along(name: str, x: TensorLike, dim: int) -> tuple[Tensor, int, int]:
    """(x as a Tensor, the dimension, its length); a number counts as one element."""
    x = as_tensor(name, x)
    at = _dim(name, dim, max(x.ndim, 1))
    if x.ndim == 0:
        return x, at, 1
    return x, at, x.shape[at]


def _sorted(x: Tensor, axis: int, descending: bool, first: int, last: int) -> ValuesIndices:
    if x.ndim == 0:  # one element
        values, indices = _sorted(reshape(x, 1), 0, descending, first, last)
        shape: Shape = () if last > first else (0,)
        return ValuesIndices(reshape(values, shape), reshape(indices, shape))
    if is_floating(x):
        return ValuesIndices(*Sort(axis, descending, first, last).apply(x))
    result = ValuesIndices(*map(wrap, host(in_order, x._array, axis, descending, last, first)))
    return computed("sort", (x,), result, axis=axis, descending=descending, first=first, last=last)


def exact_floats(x: Array) -> Array | None:
    """Integers or bools as floats of exactly the same values, which the kernels take; None if that is
    impossible."""
    kind = x.dtype.kind
    size = x.dtype.itemsize
    # float32 holds integers up to 2^24 exactly, float64 up to 2^53
    if kind not in "biu" or (size == 8 and x.size and not -(2**53) <= x.min() <= x.max() <= 2**53):
        return None
    dtype = F32 if size <= 2 else F64
    return cast(x, dtype)


def in_order(x: Array, axis: int, descending: bool, last: int | None, first: int = 0) -> tuple[Array, Array]:
    """Elements first ... last - 1 of x in order (None: to the end), and their indices, for x of any dtype."""
    floats = x if x.dtype in (F32, F64) else exact_floats(x)
    part = (*(slice(None),) * axis, slice(first, last))
    if floats is not None:
        values, order = _core.sort(floats, axis, descending, last)
        values = np.ascontiguousarray(values[part])
        if values.dtype != x.dtype:
            values = cast(values, x.dtype)
        return values, np.ascontiguousarray(order[part])
    # Sorted from the back, so that equal elements keep their order when the order is reversed.
    if descending:
        order = x.shape[axis] - 1 - np.flip(np.argsort(np.flip(x, axis), axis, kind="stable"), axis)
    else:
        order = np.argsort(x, axis, kind="stable")
    order = np.ascontiguousarray(order[part])
    return np.take_along_axis(x, order, axis), order


def _middle(x: Array) -> Array:
    """The median of a vector."""
    k = (x.size - 1) // 2
    ordered = x.copy()
    ordered.partition(k)
    if np.isnan(ordered[k:]).any():
        return np.asarray(np.nan, x.dtype)
    return np.asarray(ordered[k], x.dtype)


def _without_dim(pair: ValuesIndices, x: Tensor, axis: int, keepdim: bool) -> ValuesIndices:
    if keepdim or x.ndim == 0:
        return pair
    shape = (*x.shape[:axis], *x.shape[axis + 1 :])
    return ValuesIndices(reshape(pair.values, shape), reshape(pair.indices, shape))


def _count(name: str, k: int, least: int, length: int) -> int:
    k = whole(name, "k", k)
    if not least <= k <= length:
        raise OpError(f"[{name}] got k {k} for a dimension of {length}; expected {least} to {length}")
    return k


class Cumsum(Function):
    """y[i] = x[0] + ... + x[i]; dx[i] = dy[i] + ... + dy[n - 1]"""

    join: Callable[[Tensor, Tensor], Tensor] = operator.add

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, x: Array) -> Array:
        return _core.cumsum(x, self.axis, False, None)

    def backward(self, dy: Array) -> Array:
        return _core.cumsum(dy, self.axis, True, None)

    def formula(self, x: Tensor) -> Tensor:
        """After step k each element is the sum, or product, of the 2^k elements that end with it."""
        y = x.movedim(self.axis, 0)
        step = 1
        while step < y.shape[0]:
            y = cat([y[:step], self.join(y[step:], y[:-step])])
            step *= 2
        return y.movedim(0, self.axis)


linear_rule(Cumsum)


class Cumprod(Cumsum):
    """y[i] = x[0] * ... * x[i]"""

    # Here backward reads x alone; PyTorch's reads y, too, so that after `x.data = ...` the two would differ.
    derived = True
    join: Callable[[Tensor, Tensor], Tensor] = operator.mul

    def forward(self, x: Array) -> Array:
        self.x = x
        return _core.cumprod(x, self.axis, False, None)

    def backward(self, dy: Array) -> Array:
        return _core.cumprod_backward(dy, self.x, self.axis)


recomputed("x", kinds=(Cumprod,))(Cumprod.formula)


def cumsum(
    input: TensorLike, dim: int | None = None, *, dtype: DtypeLike | None = None, axis: int | None = None
) -> Tensor:
    """y[.., i, ..] = x[.., 0, ..] + ... + x[.., i, ..] along dim.

    Integers and bools give int64, unless dtype says otherwise. The order of the additions depends on the
    length of dim and the layout alone. Raises IndexError for a dimension that x does not have.

    >>> import ranvier as rv
    >>> rv.cumsum(rv.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), dim=1)
    tensor([[ 1.,  3.,  6.],
            [ 4.,  9., 15.]])
    """
    if axis is not None:
        dim = axis
    return _running("cumsum", Cumsum, np.cumsum, input, dim, dtype)


def cumprod(
    input: TensorLike, dim: int | None = None, *, dtype: DtypeLike | None = None, axis: int | None = None
) -> Tensor:
    """y[.., i, ..] = x[.., 0, ..] * ... * x[.., i, ..] along dim.

    Integers and bools give int64, unless dtype says otherwise. The gradient needs no division: it is right
    where x is 0. Raises IndexError for a dimension that x does not have.

    >>> import ranvier as rv
    >>> rv.cumprod(rv.tensor([1.0, 2.0, 0.5, 3.0]), dim=0)
    tensor([1., 2., 1., 3.])
    """
    if axis is not None:
        dim = axis
    return _running("cumprod", Cumprod, np.cumprod, input, dim, dtype)


def _running(
    name: str,
    node: type[Cumsum],
    function: Callable[..., Array],
    input: TensorLike,
    dim: int | None,
    dtype: DtypeLike | None,
) -> Tensor:
    """A running sum or product along dim: `node` for floats, NumPy's function for other dtypes."""
    x = as_tensor(name, input)
    if dtype is not None:
        x = to_dtype(name, x, dtype)
        require_dtype(name, "x", x, "iuf", "numbers")
    at = _dim(name, dim, max(x.ndim, 1))
    if is_floating(x):
        if x.ndim:
            return node(at).apply(x)
        return x.clone()
    is_bool = x._array.dtype.kind == "b"
    is_integer = x._array.dtype.kind in "iu"
    becomes_int64 = is_bool or (is_integer and dtype is None)
    exact = np.dtype(np.int64) if becomes_int64 else x._array.dtype
    if x.ndim == 0:
        return wrap(cast(x._array, exact))
    return computed(name, (x,), by_numpy(function, x._array, at, exact), axis=at)
