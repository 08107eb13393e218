"""norm, logsumexp, prod, count_nonzero, all and any: reductions other than sums, means and extremes.

dim and keepdim have the same meaning as in :mod:`ranvier.ops.reduction.reduce`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.observe import is_recording
from ranvier.ops.elementwise.compare import ne
from ranvier.ops.elementwise.dtypes import BOOL, I64, Array, as_tensor, floating, is_floating
from ranvier.ops.gradient_rules import recomputed
from ranvier.ops.layout import zeros
from ranvier.ops.making.convert import to_dtype
from ranvier.ops.reduction.reduce import (
    Extreme,
    KernelAxes,
    _arguments,
    _check_axis,
    _no_axes,
    _numpy,
    _without,
    sum as total,
)
from ranvier.ops.shape.join import cat
from ranvier.ops.shape.reshape import some_dim
from ranvier.tape.function import Dtypes, Function, in_dtypes
from ranvier.tensors.failures import OpError
from ranvier.tensors.memory import reshaped
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import Axes, DtypeLike, TensorLike


class _SavesResult(Function):
    """A reduction that saves its axes and its result y, with the reduced axes in the shape, for backward."""

    def __init__(self, axes: KernelAxes, keepdims: bool) -> None:
        self.axes = axes
        self.keepdims = keepdims

    def dropped(self, y: Array) -> Array:
        """The result of the op: y without the reduced axes, unless keepdims is set. y is saved as it is."""
        self.y = y
        if self.keepdims:
            return y
        return y.reshape(_without(y.shape, self.axes))


def size_of(y: Array) -> Tensor:
    """|y| as a constant, or 1 where y is 0 or not finite: a divisor by which values are scaled, so that their
    powers stay in the dtype's range."""
    size = _core.abs(y, None)
    return wrap(_core.where(_core.eq(_core.div(size, size, None), 1.0, None), size, 1.0, None))


def scale_of(node: Function) -> Tensor | None:
    """`size_of` a node's result; None if forward has not run, because the model is written to a file."""
    if hasattr(node, "y"):
        return size_of(node.y)
    return None


def safe_root(square: Tensor) -> Tensor:
    """The square root, with the slope 0 at 0."""
    zero = square.eq(0.0)
    return square.masked_fill(zero, 1.0).sqrt().masked_fill(zero, 0.0)


class Norm(_SavesResult):
    """y = (sum of |x|^p)^(1/p); the greatest |x| for p = inf, the least for -inf, their number for 0"""

    def __init__(self, p: float, axes: KernelAxes, keepdims: bool) -> None:
        self.p = p
        self.axes = axes
        self.keepdims = keepdims

    def forward(self, x: Array) -> Array:
        self.x = x
        return self.dropped(self._norm(x))

    def _norm(self, x: Array) -> Array:
        """The norm with reduced axes in the shape. The arguments True, None of kernels are keepdims and
        out."""
        p = self.p
        axes = self.axes
        if p == 2:
            return _core.norm(x, axes, True, None)
        if p == 1:
            return _core.sum_abs(x, axes, True, None)
        if p == math.inf:
            least = _core.neg(_core.min(x, axes, True, None), None)
            return _core.maximum(_core.max(x, axes, True, None), least, None)
        if p == -math.inf:
            return _core.min(_core.abs(x, None), axes, True, None)
        if p == 0:
            total = _core.sum(x, axes, True, None)  # only its shape is used
            n = x.size // (total.size or 1)
            equal = _core.count_equal(x, zeros(total.shape, x.dtype), axes, True)
            return _core.sub(float(n), equal, equal)
        # A sum of powers in [1 / far, far] is accurate, and y = total^(1 / p). A recorded step must not
        # choose by values, since a replay makes the same kernel calls for other values. It takes the general
        # way below.
        total = self._powers(x)
        far = 1e25 if x.itemsize == 4 else 1e250
        if not x.size or (
            not is_recording()
            and _core.min(total, None, False, None) >= 1 / far
            and _core.max(total, None, False, None) <= far
        ):
            return _core.pow(total, 1 / p, total)
        # Other sums may overflow or underflow. Then y = top (sum of (|x| / top)^p)^(1 / p), where top is the
        # greatest |x|, or the least for p < 0. top is replaced by 1 where it is 0, infinite or NaN (top / top
        # is not 1), and where the sum is in the range (clip does not change it).
        size = _core.abs(x, None)
        extreme = _core.max if p > 0 else _core.min
        top = extreme(size, axes, True, None)
        top = _core.where(_core.eq(_core.div(top, top, None), 1.0, None), top, 1.0, None)
        in_range = _core.eq(_core.clip(total, 1 / far, far, None), total, None)
        top = _core.where(in_range, 1.0, top, None)
        total = self._powers(_core.div(size, top, size))
        return _core.mul(_core.pow(total, 1 / p, total), top, total)

    def _powers(self, x: Array) -> Array:
        """The sums of |x|^p."""
        if self.p == 3:
            return _core.sum_abs(_core.pow(x, 3, None), self.axes, True, None)
        powers = _core.abs(x, None)
        return _core.sum(_core.pow(powers, self.p, powers), self.axes, True, None)

    def formula(self, x: Tensor) -> Tensor:
        p = self.p
        axes = self.axes
        keepdims = self.keepdims
        if math.isinf(p):
            extreme = _core.max if p > 0 else _core.min
            return Extreme(extreme, axes, keepdims).apply(x.abs())
        if p == 1:
            return total(x.abs(), axes, keepdims)
        zero = x.eq(0.0)
        empty = 0.0 if p >= 0 else math.inf
        if p == 0:
            return total(x.masked_fill(zero, 0.0).masked_fill(~zero, 1.0), axes, keepdims)
        size = scale_of(self)
        if size is not None:
            x = x / size
        if p == 2:
            y = safe_root(total(x.square(), axes, True))
        else:
            powers = total((x.masked_fill(zero, 1.0).abs() ** p).masked_fill(zero, empty), axes, True)
            zero = powers.eq(empty)
            y = (powers.masked_fill(zero, 1.0) ** (1 / p)).masked_fill(zero, 0.0)
        if size is not None:  # Where y is 0 the slope is 0; a NaN in dy must still give NaN.
            y = y * size + total(x.masked_fill(y.ne(0.0), 0.0) * 0.0, axes, True)
        if keepdims:
            return y
        return total(y, axes)

    def backward(self, dy: Array) -> Array:
        x = self.x
        y = self.y
        p = self.p
        dy = dy.reshape(y.shape)
        if p == 0:
            return zeros(x.shape, x.dtype)
        if p == 1:
            return _core.mul(_core.sign(x, None), dy, None)
        if math.isinf(p):  # the elements with |x| = y share dy evenly
            size = _core.abs(x, None)
            share = _core.count_equal(size, y, self.axes, True)
            _core.div(dy, share, share)
            return _core.mul(_core.where_equal(size, y, share, None), _core.sign(x, size), size)
        nonzero = _core.ne(y, 0.0, None)
        # The gradient is (x dy) / y, in this order, because dy / y may overflow and (x / y) dy may underflow.
        # One kernel computes it: div_backward(a, b, c) = -(a b) / c. For y = 0, c is inf, so that the
        # gradient is 0.
        if p == 2:
            return _core.div_backward(x, _core.neg(dy, None), _core.where(nonzero, y, math.inf, None), None)
        # dy sign(x) (|x| / y)^(p - 1), and 0 where y is 0. For p < 1 the power is infinite at x = 0; it
        # becomes 0.
        shape = _core.abs(x, None)
        of_zero = math.inf if p > 1 else 1.0
        _core.div(shape, _core.where(nonzero, y, of_zero, None), shape)
        if p < 1:
            shape = _core.where(nonzero, shape, 1.0, None)
        _core.pow(shape, p - 1, shape)
        if p < 1:
            shape = _core.where(_core.ne(x, 0.0, None), shape, 0.0, None)
        shape = _core.mul(shape, _core.sign(x, None), shape)
        return _core.mul(shape, _core.where(nonzero, dy, 0.0, None), shape)


recomputed("x", kinds=(Norm,))(Norm.formula)


class Logsumexp(_SavesResult):
    """y = log(sum of exp(x)); dx = dy exp(x - y)"""

    def forward(self, x: Array) -> Array:
        self.x = x
        if x.size == 0:  # there is no maximum: the result is the logarithm of the sum 0, or empty
            return self.dropped(_core.log(_core.sum(x, self.axes, True, None), None))
        top = _core.max(x, self.axes, True, None)
        total = _core.sum_exp(x, top, self.axes, True)
        return self.dropped(_core.add(_core.log(total, total), top, total))

    def backward(self, dy: Array) -> Array:
        share = _core.sub(self.x, self.y, None)
        return _core.mul(_core.exp(share, share), dy.reshape(self.y.shape), share)

    def formula(self, x: Tensor) -> Tensor:
        top = Extreme(_core.max, self.axes, True).apply(x)
        top = top.masked_fill(top.abs().eq(math.inf), 0.0)
        y = (x - top).exp().sum(self.axes, True).log() + top
        if self.keepdims:
            return y
        return y.sum(self.axes)


recomputed("x", kinds=(Logsumexp,))(Logsumexp.formula)


class Prod(_SavesResult):
    """y = product of x; dx[i] = dy times the product of all others, without a division"""

    # Backward's rule reads y. After `x.data = ...`, y would be the product of the old data: backward then
    # raises.
    derived = True  # backward reads arrays that forward has computed

    def forward(self, x: Array) -> Array:
        self.x = x
        return self.dropped(_core.prod(x, self.axes, True, None))

    def backward(self, dy: Array) -> Array:
        if not isinstance(self.axes, int):  # None: the product of all elements
            x = reshaped(self.x, -1)
            return _core.cumprod_backward(dy.reshape(1), x, 0).reshape(self.x.shape)
        return _core.cumprod_backward(dy.reshape(self.y.shape), self.x, self.axes)

    def formula(self, x: Tensor) -> Tensor:
        """The product of pairs, then of pairs of these, and so on. Its derivative needs no division, so that
        zeros do no harm."""
        ndim = x.ndim
        axis = self.axes
        if isinstance(axis, int):
            x = x.movedim(axis, 0)
        else:
            x = x.reshape(-1)
        if x.shape[0] == 0:
            x = x.sum(0, keepdim=True) + 1.0
        while x.shape[0] > 1:
            half = x.shape[0] // 2
            pairs = x[:half] * x[half : 2 * half]
            if x.shape[0] % 2:
                x = cat([pairs, x[2 * half :]])
            else:
                x = pairs
        if not self.keepdims:
            return x.squeeze(0)
        if isinstance(axis, int):
            return x.movedim(0, axis)
        return x.reshape((1,) * ndim)


recomputed("x", kinds=(Prod,))(Prod.formula)


def norm(
    input: TensorLike,
    p: float | str | None = "fro",
    dim: Axes = None,
    keepdim: bool = False,
    *,
    dtype: DtypeLike | None = None,
) -> Tensor:
    """The p-norm over the axes: (sum of |x|^p)^(1/p), of all elements without dim.

    p: 2 (or "fro"), 1, inf (the greatest |x|), -inf (the least), 0 (how many are not 0), any number, or
    "nuc", the sum of the singular values of a matrix (see :func:`ranvier.linalg.matrix_norm`). The
    gradient is 0 where the norm is; equal greatest elements share it. Powers may leave the range of
    the dtype.

    Raises ValueError for another p, for axes that x lacks, and for p = inf or -inf over no element; TypeError
    for integers.

    >>> import ranvier as rv
    >>> rv.norm(rv.tensor([3.0, -4.0])), rv.norm(rv.tensor([[3.0, -4.0], [1.0, 1.0]]), 1, dim=1)
    (tensor(5.), tensor([7., 2.]))
    """
    if isinstance(p, str) and p == "nuc":
        return _nuclear(as_tensor("norm", input), dim, keepdim)
    if p is None or (isinstance(p, str) and p == "fro"):
        p = 2.0
    if isinstance(p, Tensor) and p.ndim == 0:
        p = p.item()
    if isinstance(p, (bool, str)) or not isinstance(p, (int, float, np.number)) or p != p:
        raise OpError(f"[norm] got p {p!r}; expected 'fro', 'nuc' or a number")
    input, axes, keepdim = _arguments("norm", input, dim, keepdim, None, False)
    if dtype is not None:
        input = to_dtype("norm", input, dtype)
    return Norm(float(p), axes, keepdim).apply(input)


def _nuclear(x: Tensor, dim: Axes, keepdim: bool) -> Tensor:
    dims = (-2, -1) if dim is None else dim
    if not isinstance(dims, (tuple, list)) or len(dims) != 2 or (dim is None and x.ndim != 2):
        raise OpError(f"[norm] got p 'nuc', dim {dim!r} and x of shape {x.shape}; expected two dimensions")
    rows = some_dim("norm", x, dims[0])
    columns = some_dim("norm", x, dims[1])
    if rows == columns:
        raise OpError(f"[norm] got p 'nuc' and dim {dim!r}; expected two dimensions")
    from ranvier.ops.matrix.singular import singular_norm  # few programs need it

    return singular_norm(x, "nuc", rows, columns, keepdim)


def logsumexp(
    input: TensorLike, dim: Axes = None, keepdim: bool = False, *, axis: Axes = None, keepdims: bool = False
) -> Tensor:
    """log(sum of exp(x)) over the axes, without overflow: the maximum is subtracted first.

    -inf where there is nothing to add. Raises ValueError for axes that x lacks. Integers are computed in
    float32.

    >>> import ranvier as rv
    >>> rv.logsumexp(rv.tensor([1000.0, 0.0]), dim=0)
    tensor(1000.)
    """
    input, axes, keepdims = _arguments("logsumexp", input, dim, keepdim, axis, keepdims)
    return Logsumexp(axes, keepdims).apply(floating(input))


# The product of integers. The arguments of _reduction are (in_python, kernel, ufunc, flat, dtype, initial).
# There is no kernel (None); the core runs the inner loop of np.multiply in int64, beginning with 1.
# flat=False: a call whose input needs a gradient is left to Python. in_python gets all calls that the core
# does not compute, with the arguments x, dim, axis, keepdim and keepdims.
def _product_of_integers(x: Tensor, dim: int | None, _: None, keepdim: bool, __: bool) -> Tensor:
    return _numpy(np.prod, x, dim, keepdim)


_PROD = _core._reduction(_product_of_integers, None, np.multiply, False, I64.num, 1)


@in_dtypes(Dtypes(halves="own", autocast="float32"))
def prod(
    input: TensorLike,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    dtype: DtypeLike | None = None,
    axis: int | None = None,
    keepdims: bool = False,
) -> Tensor:
    """The product along dim, or of all elements; 1 where there is nothing to multiply. Integers give int64.

    The gradient is right where x is 0. Raises ValueError for several axes or one that x lacks.

    >>> import ranvier as rv
    >>> rv.tensor([[1.0, 2.0], [3.0, 4.0]]).prod(dim=1)
    tensor([ 2., 12.])
    """
    input, axes, keepdims = _arguments("prod", input, dim, keepdim, axis, keepdims)
    if isinstance(axes, tuple):
        if len(axes) != 1:
            raise OpError(f"[prod] got {len(axes)} axes; expected one, or None for all elements")
        axes = axes[0]
    if dtype is not None:
        input = to_dtype("prod", input, dtype)
    if not is_floating(input):
        y = _PROD(input, axes, None, keepdims, False)
        if dtype is None:
            return y
        return y.to(dtype)
    if input.ndim == 0 and axes is not None:
        _check_axis("prod", input, axes)
        axes = None
    return Prod(axes, keepdims).apply(input)


def count_nonzero(input: TensorLike, dim: Axes = None, *, axis: Axes = None) -> Tensor:
    """The number of elements over the axes that are not 0; int64, no gradient.

    >>> import ranvier as rv
    >>> rv.count_nonzero(rv.tensor([[0.0, 2.0], [3.0, 1.0]]), dim=1)
    tensor([1, 2])
    """
    if axis is not None:
        dim = axis
    input, axes, _ = _arguments("count_nonzero", as_tensor("count_nonzero", input), dim, False, None, False)
    return _numpy(np.sum, ne(input, 0), axes, False)


def _truth(name: str, function: Callable[..., Any], ufunc: np.ufunc, initial: int) -> Callable[..., Tensor]:
    def in_python(input: TensorLike, dim: Axes, axis: Axes, keepdim: bool, keepdims: bool) -> Tensor:
        if _no_axes(dim, axis):
            return ne(input, 0)
        input, axes, keepdims = _arguments(name, input, dim, keepdim, axis, keepdims)
        y = _numpy(function, input, axes, keepdims)
        if input._array.dtype == np.uint8:
            return y.to(np.uint8)
        return y

    # None: there is no kernel. True: the result has no gradient. BOOL: elements become bools first. initial:
    # the result over no element.
    return _core._reduction(in_python, None, ufunc, True, BOOL.num, initial, name)


_all = _truth("all", np.all, np.logical_and, 1)
_any = _truth("any", np.any, np.logical_or, 0)


def all(
    input: TensorLike, dim: Axes = None, keepdim: bool = False, *, axis: Axes = None, keepdims: bool = False
) -> Tensor:
    """True where every element along the axes is; no gradient.

    Without axes, dim=(), of each element. Of uint8 a uint8, as in PyTorch.

    >>> import ranvier as rv
    >>> rv.all(rv.tensor([1.0, 0.0]))
    tensor(False)
    """
    return _all(input, dim, axis, keepdim, keepdims)


def any(
    input: TensorLike, dim: Axes = None, keepdim: bool = False, *, axis: Axes = None, keepdims: bool = False
) -> Tensor:
    """True where any element along the axes is; see :func:`all`.

    >>> import ranvier as rv
    >>> rv.any(rv.tensor([1.0, 0.0]))
    tensor(True)
    """
    return _any(input, dim, axis, keepdim, keepdims)
