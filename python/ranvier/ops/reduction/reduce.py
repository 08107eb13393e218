"""sum, mean, max, min and others: reductions over any axes.

dim (or NumPy's name, axis) is None for all axes, an int, or a tuple of ints; negative ones count from the
end. keepdim (keepdims) leaves the reduced axes in the shape, with size 1. Sums are pairwise, in an
order that depends on the shape only. NumPy reduces integers and bools, which have no gradient.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

import ranvier._core as _core
from ranvier.observe import computed, observers
from ranvier.ops.elementwise.choice import maximum, minimum
from ranvier.ops.elementwise.dtypes import I64, Array, as_tensor, is_floating, reduction
from ranvier.ops.gradient_rules import linear_rule
from ranvier.ops.layout import is_channels_last
from ranvier.ops.making.convert import to_dtype
from ranvier.ops.namespaces import KERNELS, TENSORS, Operations, Value, differentiable_backward
from ranvier.ops.shape.reshape import reshape
from ranvier.tape.function import Dtypes, Function, TakesHalves, by_kernel
from ranvier.tensors.errors import index, renamed
from ranvier.tensors.failures import OpError, OpIndexError, failure
from ranvier.tensors.memory import filled_like, is_batched, reshaped
from ranvier.tensors.recording import host
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import Axes, DtypeLike, Shape, TensorLike

KernelAxes: TypeAlias = int | tuple[int, ...] | None
"""Axes as the kernels take them; None: all."""

Kernel: TypeAlias = Callable[..., Any]
"""A kernel of the core."""


class ValuesIndices(NamedTuple):
    """The result of max and min along one axis."""

    values: Tensor
    indices: Tensor


@differentiable_backward()
class Sum(TakesHalves):
    """y = sum of x over the axes; mean: divided by their number of elements"""

    channels_last = False

    def __init__(self, axes: KernelAxes, keepdims: bool, mean: bool = False) -> None:
        self.axes = axes
        self.keepdims = keepdims
        self.mean = mean

    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        if x.ndim == 4:
            self.channels_last = is_channels_last(x)
        if self.mean:
            return _core.mean(x, self.axes, self.keepdims, None)
        return _core.sum(x, self.axes, self.keepdims, None)

    def backward(self, dy: Value, f: Operations = KERNELS) -> Any:
        scale = 1.0
        if self.mean:
            size = math.prod(self.shape)
            scale = math.prod(dy.shape) / size if size else 1.0
        return f.spread(dy, self.shape, self.axes, scale, self.channels_last)


def _spread(dy: Tensor, shape: Shape, axes: KernelAxes, scale: float, channels_last: bool) -> Tensor:
    """dy times scale, repeated along the reduced axes to this shape."""
    if scale != 1:
        dy = dy * scale
    if dy.ndim < len(shape):
        dy = dy.reshape(_with_ones(shape, axes))
    return dy.expand(shape)


KERNELS.spread = _core.expand
TENSORS.spread = _spread


class Extreme(Function):
    """y = max or min of x over the axes; the elements that are equal to y share dy evenly. Where y is NaN,
    the NaN elements share it, as in PyTorch's max; with spread_nan, as in PyTorch's amax, all gradients there
    are NaN."""

    spread_nan = False
    # half floats are computed as they are, but in float32 where a gradient is needed
    dtypes = Dtypes(halves="forward")

    def __init__(self, reduce: Kernel, axes: KernelAxes, keepdims: bool, spread_nan: bool = False) -> None:
        self.reduce = reduce
        self.axes = axes
        self.keepdims = keepdims
        self.spread_nan = spread_nan

    def forward(self, x: Array) -> Array:
        self.x = x
        self.y = self.reduce(x, self.axes, self.keepdims, None)
        return self.y

    def backward(self, dy: Array) -> Array:
        y = self._with_reduced_axes(self.y)
        share = _core.count_equal(self.x, y, self.axes, True)
        _core.div(self._with_reduced_axes(dy), share, share)
        dx = _core.where_equal(self.x, y, share, None)
        if self.spread_nan and not _core.inside(y, -math.inf, math.inf):
            zero = _core.full(y.shape, y.dtype, 0.0)
            _core.add(dx, _core.where(_core.eq(y, y, None), zero, math.nan, None), dx)
        return dx

    def _with_reduced_axes(self, y: Array) -> Array:
        """y with its reduced axes in the shape, with size 1."""
        if self.keepdims:
            return y
        return y.reshape(_with_ones(self.x.shape, self.axes))


def _of_shares(node: Extreme, x: Array) -> Array:
    """The linear function whose transpose is backward, for second gradients."""
    shares = node.backward(filled_like(1, node.y))
    return _core.sum(_core.mul(shares, x, shares), node.axes, node.keepdims, None)


linear_rule(Extreme, forward=_of_shares)


class ExtremeAlong(Function):
    """(y, i): the first max or min along one axis and its index; dy goes to that element"""

    # half floats are computed as they are, but in float32 where a gradient is needed
    dtypes = Dtypes(halves="forward")

    def __init__(self, find: Kernel, axis: int, keepdims: bool) -> None:
        self.find = find
        self.axis = axis
        self.keepdims = keepdims

    def forward(self, x: Array) -> tuple[Array, Array]:
        self.shape = x.shape
        y, indices = self.find(x, self.axis, self.keepdims)
        self.indices = indices.reshape(_with_ones(x.shape, self.axis))
        return y, indices

    def backward(self, dy: Array, _: None) -> Array:
        dy = dy.reshape(self.indices.shape)
        return _core.scatter_add(dy, self.indices, self.axis, self.shape[self.axis], None)


def _at_extremes(node: ExtremeAlong, x: Array) -> Array:
    y = _core.gather(x, node.indices, node.axis, None)
    if node.keepdims:
        return y
    return y.reshape(_without(y.shape, node.axis))


def _gradient(node: ExtremeAlong, dy: Array) -> Array:
    return node.backward(dy, None)


linear_rule(ExtremeAlong, backward=_gradient, forward=_at_extremes)


def _with_ones(shape: Shape, axes: KernelAxes) -> Shape:
    """The shape with size 1 for the reduced axes."""
    if axes is None or not shape:
        return (1,) * len(shape)
    if isinstance(axes, int):
        axes = (axes,)
    sizes = list(shape)
    for axis in axes:
        sizes[axis] = 1
    return tuple(sizes)


def _without(shape: Shape, axes: KernelAxes) -> Shape:
    """The shape without the reduced axes."""
    if axes is None or not shape:
        return ()
    if isinstance(axes, int):
        at = axes % len(shape)
        return shape[:at] + shape[at + 1 :]
    reduced = {axis % len(shape) for axis in axes}
    return tuple(n for axis, n in enumerate(shape) if axis not in reduced)


def _arguments(
    name: str, x: TensorLike, dim: Axes, keepdim: bool, axis: Axes, keepdims: bool
) -> tuple[Tensor, KernelAxes, bool]:
    """(x as a Tensor, the axes, whether reduced axes are kept) from the arguments of a reduction."""
    if not isinstance(x, Tensor):
        x = as_tensor(name, x)
    axes = dim if axis is None else axis
    if (axes is None or type(axes) is int) and keepdim is False and keepdims is False:
        return x, axes, False
    try:
        if isinstance(axes, (tuple, list)):
            axes = tuple(map(index, axes)) or None  # () means all, as in PyTorch
        elif axes is not None:
            axes = index(axes)
    except TypeError as error:
        raise TypeError(f"[{name}] got axis {axes!r}; expected None, an int or a tuple of ints") from error
    if not isinstance(keepdim, (bool, np.bool_)) or not isinstance(keepdims, (bool, np.bool_)):
        raise TypeError(f"[{name}] got keepdim {keepdim!r}, keepdims {keepdims!r}; expected True or False")
    return x, axes, bool(keepdim or keepdims)


def _numpy(function: Callable[..., Any], x: Tensor, axes: KernelAxes, keepdims: bool) -> Tensor:
    """The reduction by a function of NumPy, for integers and bools; no gradient."""
    name = function.__name__
    if axes is None:
        several: tuple[int, ...] = ()
    elif isinstance(axes, int):
        several = (axes,)
    else:
        several = axes
    for axis in several:
        _check_axis(name, x, axis)
    ndim = builtins.max(x.ndim, 1)
    from_front = [axis % ndim for axis in several]
    for axis in several:
        if from_front.count(axis % ndim) > 1:
            raise OpError(f"[{name}] got axis {axis} twice; expected distinct axes")
    y = reduction(function, x._array, axes, keepdims)
    if y is None:
        try:
            y = host(_reduced, function, x._array, axes, keepdims)
        except ValueError:
            raise _empty(name, x) from None
    return computed(name, (x,), wrap(y), axes=axes, keepdims=keepdims)


def _empty(name: str, x: Tensor) -> OpIndexError:
    got = f"x of shape {x.shape}, empty along the axis"
    return failure(OpIndexError, name, got, "at least one element")


def _reduced(function: Callable[..., Any], x: Array, axes: KernelAxes, keepdims: bool) -> Array:
    if x.ndim == 0:
        axes = None
    y = function(x, axis=axes, keepdims=keepdims)
    if not is_batched(y):
        y = np.asarray(y, order="C")
    # NumPy sums uint8 in uint64
    if y.dtype == np.uint64:
        return y.astype(np.int64)
    return y


def _check_axis(name: str, x: Tensor, axis: int) -> None:
    limit = builtins.max(x.ndim, 1)
    if not -limit <= axis < limit:
        raise np.exceptions.AxisError(
            f"[{name}] got axis {axis} for an array of {x.ndim} dimensions; expected {-limit} to {limit - 1}"
        )


# `_core._reduction` makes functions of (x, dim, axis, keepdim, keepdims): the core computes simple calls, and
# calls `in_python` for all others. The public functions put their arguments in this form.


def _added_up(
    name: str, kernel: Kernel, ufunc: np.ufunc | None = None, dtype: int = -1, initial: int = -1
) -> Callable[..., Tensor]:
    def in_python(input: TensorLike, dim: Axes, axis: Axes, keepdim: bool, keepdims: bool) -> Tensor:
        input, axes, keepdims = _arguments(name, input, dim, keepdim, axis, keepdims)
        if name == "mean" or is_floating(input):
            return Sum(axes, keepdims, name == "mean").apply(input)
        return _numpy(np.sum, input, axes, keepdims)

    # ufunc: what the core runs on integers and bools, in the dtype with this NumPy number, from `initial` on
    return _core._reduction(in_python, kernel, ufunc, False, dtype, initial, name)


_sum = _added_up("sum", _core.sum, np.add, I64.num, 0)
_mean = _added_up("mean", _core.mean)


def sum(
    input: TensorLike,
    dim: Axes = None,
    keepdim: bool = False,
    *,
    dtype: DtypeLike | None = None,
    axis: Axes = None,
    keepdims: bool = False,
) -> Tensor:
    """The sum over the axes; 0 where there is nothing to add. Integers and bools give int64.

    Raises AxisError, a ValueError and IndexError, for an axis that x does not have; ValueError for one
    that is given twice.

    >>> import ranvier as rv
    >>> rv.sum(rv.tensor([[1.0, 2.0], [3.0, 4.0]]), dim=0)
    tensor([4., 6.])
    """
    if dtype is None:
        return _sum(input, dim, axis, keepdim, keepdims)
    input = to_dtype("sum", as_tensor("sum", input), dtype)
    return to_dtype("sum", _sum(input, dim, axis, keepdim, keepdims), dtype)


def mean(
    input: TensorLike,
    dim: Axes = None,
    keepdim: bool = False,
    *,
    dtype: DtypeLike | None = None,
    axis: Axes = None,
    keepdims: bool = False,
) -> Tensor:
    """The mean over the axes; nan where there is nothing to average. Raises TypeError for integers.

    >>> import ranvier as rv
    >>> rv.mean(rv.tensor([[1.0, 2.0], [3.0, 5.0]]), dim=1)
    tensor([1.5000, 4.0000])
    """
    if dtype is None:
        return _mean(input, dim, axis, keepdim, keepdims)
    input = to_dtype("mean", as_tensor("mean", input), dtype)
    return to_dtype("mean", _mean(input, dim, axis, keepdim, keepdims), dtype)


def _extremes(
    name: str, kernel: Kernel, function: Callable[..., Any], ufunc: np.ufunc
) -> Callable[..., Tensor]:
    """The function of an op that reduces to extremes. function: NumPy's, for integers and bools."""

    def in_python(input: TensorLike, dim: Axes, axis: Axes, keepdim: bool, keepdims: bool) -> Tensor:
        x, axes, keepdims = _arguments(name, input, dim, keepdim, axis, keepdims)
        if is_floating(x):
            return Extreme(kernel, axes, keepdims, spread_nan=name in ("amax", "amin")).apply(x)
        return _numpy(function, x, axes, keepdims)

    return _core._reduction(in_python, kernel, ufunc, name=name)


_amax = _extremes("amax", _core.max, np.max, np.maximum)
_amin = _extremes("amin", _core.min, np.min, np.minimum)


def amax(
    input: TensorLike, dim: Axes = None, keepdim: bool = False, *, axis: Axes = None, keepdims: bool = False
) -> Tensor:
    """The maximum over the axes, NaN if any element is; equal maxima share the gradient, NaN where y is.

    Raises ValueError where there is no element.

    >>> import ranvier as rv
    >>> rv.amax(rv.tensor([[1.0, 7.0], [3.0, 5.0]]), dim=1)
    tensor([7., 5.])
    """
    return _amax(input, dim, axis, keepdim, keepdims)


def amin(
    input: TensorLike, dim: Axes = None, keepdim: bool = False, *, axis: Axes = None, keepdims: bool = False
) -> Tensor:
    """The minimum over the axes, NaN if any element is; equal minima share the gradient, NaN where y is.

    Raises ValueError where there is no element.

    >>> import ranvier as rv
    >>> rv.amin(rv.tensor([[1.0, 7.0], [3.0, 5.0]]), dim=0)
    tensor([1., 5.])
    """
    return _amin(input, dim, axis, keepdim, keepdims)


def _extreme_along(
    name: str, over_axes: Callable[..., Tensor], find: Kernel
) -> Callable[..., Tensor | ValuesIndices]:
    """A function of (input, dim, keepdim), max or min along a dimension."""

    @by_kernel(find, floats=True, result=ValuesIndices, name=name)
    def along(input: TensorLike, dim: Axes, keepdim: bool) -> Tensor | ValuesIndices:
        x, axes, keepdims = _arguments(name, input, dim, keepdim, None, False)
        if axes is None or isinstance(axes, tuple):
            return over_axes(x, axes, None, keepdims, False)
        return _extreme(name, over_axes, find, x, axes, keepdims)

    return along


_max_over_axes = _extremes("max", _core.max, np.max, np.maximum)
_min_over_axes = _extremes("min", _core.min, np.min, np.minimum)
_max_along = _extreme_along("max", _max_over_axes, _core._max_along)
_min_along = _extreme_along("min", _min_over_axes, _core._min_along)


def max(
    input: TensorLike,
    dim: Axes | Tensor | Array = None,
    keepdim: bool = False,
    *,
    other: TensorLike | None = None,
    axis: Axes = None,
    keepdims: bool = False,
) -> Any:
    """The greatest element, or (values, indices) of the first maxima along dim.

    Without dim as :func:`amax`. With dim the first maximum along it takes the gradient. With a tensor in
    place of dim, or other: :func:`ranvier.maximum` of the two.

    Raises ValueError where there is no element.

    >>> import ranvier as rv
    >>> rv.max(rv.tensor([[1.0, 7.0], [5.0, 3.0]]), dim=1)
    ValuesIndices(values=tensor([7., 5.]), indices=tensor([1, 0]))
    """
    if dim is axis is other is None:
        return _max_over_axes(input, None, None, keepdim, keepdims)
    if type(dim) is not int and (other is not None or isinstance(dim, (Tensor, np.ndarray))):
        operand: Any = dim if other is None else other
        try:
            return maximum(input, operand)
        except Exception as error:
            raise renamed(error, "max") from None
    if axis is not None:
        dim = axis
    if keepdims is not False:
        keepdim = keepdims
    return _max_along(input, dim, keepdim)


def min(
    input: TensorLike,
    dim: Axes | Tensor | Array = None,
    keepdim: bool = False,
    *,
    other: TensorLike | None = None,
    axis: Axes = None,
    keepdims: bool = False,
) -> Any:
    """The smallest element, or (values, indices) of the first minima along dim: see :func:`max`.

    >>> import ranvier as rv
    >>> rv.min(rv.tensor([[1.0, 7.0], [5.0, 3.0]]), dim=0)
    ValuesIndices(values=tensor([1., 3.]), indices=tensor([0, 1]))
    """
    if dim is axis is other is None:
        return _min_over_axes(input, None, None, keepdim, keepdims)
    if type(dim) is not int and (other is not None or isinstance(dim, (Tensor, np.ndarray))):
        operand: Any = dim if other is None else other
        try:
            return minimum(input, operand)
        except Exception as error:
            raise renamed(error, "min") from None
    if axis is not None:
        dim = axis
    if keepdims is not False:
        keepdim = keepdims
    return _min_along(input, dim, keepdim)


def _extreme(
    name: str, over_axes: Callable[..., Tensor], find: Kernel, x: Tensor, axis: int, keepdims: bool
) -> ValuesIndices:
    _check_axis(name, x, axis)
    if x.ndim and x.shape[axis] == 0:
        raise _empty(name, x)
    if is_floating(x):
        if x.ndim == 0:  # x is reduced as a vector of one element
            return ValuesIndices(*ExtremeAlong(find, 0, False).apply(reshape(x, 1)))
        return ValuesIndices(*ExtremeAlong(find, axis, keepdims).apply(x))
    axes = axis if x.ndim else None
    values = over_axes(x, axes, None, keepdims, False)
    return ValuesIndices(values, _arg("arg" + name, x, axis, keepdims))


def _place(name: str) -> Callable[..., Tensor]:
    find = getattr(_core, name)

    def kernel(x: Array, dim: Axes, keepdim: bool) -> Array:
        if dim is None and not keepdim:
            return find(reshaped(x, -1), 0)
        return find(x, dim, keepdim)

    @by_kernel(kernel, floats=True, name=name)
    def in_python(input: TensorLike, dim: Axes, keepdim: bool) -> Tensor:
        return _arg(name, *_arguments(name, input, dim, keepdim, None, False))

    return in_python


_argmax = _place("argmax")
_argmin = _place("argmin")


def argmax(
    input: TensorLike, dim: Axes = None, keepdim: bool = False, *, axis: Axes = None, keepdims: bool = False
) -> Tensor:
    """The index of the first maximum (or NaN) along dim, or in the flattened tensor; int64, no gradient.

    Raises ValueError where there is no element.

    >>> import ranvier as rv
    >>> rv.argmax(rv.tensor([[1.0, 7.0], [5.0, 3.0]]), dim=1)
    tensor([1, 0])
    """
    if axis is not None:
        dim = axis
    if keepdims is not False:
        keepdim = keepdims
    return _argmax(input, dim, keepdim)


def argmin(
    input: TensorLike, dim: Axes = None, keepdim: bool = False, *, axis: Axes = None, keepdims: bool = False
) -> Tensor:
    """The index of the first minimum (or NaN) along dim, or in the flattened tensor; int64, no gradient.

    >>> import ranvier as rv
    >>> rv.argmin(rv.tensor([4.0, 2.0, 3.0]))
    tensor(1)
    """
    if axis is not None:
        dim = axis
    if keepdims is not False:
        keepdim = keepdims
    return _argmin(input, dim, keepdim)


def _arg(name: str, x: Tensor, axis: KernelAxes, keepdims: bool) -> Tensor:
    array = x._array
    if array.dtype.kind != "f" or array.ndim == 0:
        fits = axis is None or (type(axis) is int and -array.ndim <= axis < array.ndim)
        if fits and array.size and not (observers or keepdims):
            return wrap(np.asarray(getattr(array, name)(axis)))
        return _numpy(getattr(np, name), x, axis, keepdims)
    elif axis is None:
        flat = getattr(_core, name)(reshaped(array, -1), 0, False)
        if keepdims:
            flat = flat.reshape((1,) * array.ndim)
        y = wrap(flat)
    else:
        y = wrap(getattr(_core, name)(array, axis, keepdims))
    if observers:
        return computed(name, (x,), y, axes=axis, keepdims=keepdims)
    return y


def _no_axes(dim: Axes, axis: Axes) -> bool:
    axes = dim if axis is None else axis
    return isinstance(axes, (tuple, list)) and not axes
