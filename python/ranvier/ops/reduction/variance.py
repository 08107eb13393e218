"""var, std, var_mean, std_mean over any axes.

dim, keepdim and correction are those of PyTorch; NumPy's axis and keepdims work too.

>>> import ranvier as rv
>>> rv.var(rv.tensor([[1.0, 3.0]]), axis=1)
tensor([2.])
"""

from __future__ import annotations

import math

import ranvier._core as _core
from ranvier.ops.elementwise.choice import where
from ranvier.ops.elementwise.dtypes import Array
from ranvier.ops.reduction.norms import safe_root, scale_of
from ranvier.ops.reduction.reduce import KernelAxes, _arguments, _without, mean
from ranvier.tape.function import Function, in_dtypes
from ranvier.tape.higher_order import of_input, of_output, rule
from ranvier.tensors.failures import OpError
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import Axes, TensorLike


class Var(Function):
    """y = sum of (x - mean)^2 / (n - correction); std: its square root"""

    derived = True  # backward reads arrays that forward has computed

    def __init__(self, axes: KernelAxes, keepdims: bool, correction: float, root: bool) -> None:
        self.axes = axes
        self.keepdims = keepdims
        self.correction = correction
        self.root = root
        self.frees_result = not root  # in PyTorch std saves its result, var does not

    def forward(self, x: Array) -> Array:
        self.x = x
        mean = _core.mean(x, self.axes, True, None)
        # mean is rounded, with a large error if it is far from 0. rest, the mean of x - mean, is this error.
        # Where rest is NaN (from an infinite or NaN x), backward takes 0 instead.
        rest = _core.mean(_core.sub(x, mean, None), self.axes, True, None)
        self.mean = mean
        self.rest = _core.where(_core.eq(rest, rest, None), rest, 0.0, None)
        kernel = _core.std if self.root else _core.var
        self.y = kernel(x, mean, self.axes, True, self.correction, rest, None)
        if self.keepdims:
            return self.y
        return self.y.reshape(_without(self.y.shape, self.axes))

    def backward(self, dy: Array) -> Array:
        n = self.x.size // (self.y.size or 1)
        dy = dy.reshape(self.y.shape)
        divisor = max(n - self.correction, 0.0)
        # dv/dx = 2 (x - mean) / divisor; d sqrt(v) = dv / (2 sqrt(v)). Where v is 0, y is set to inf: then it
        # is 0.
        away = _core.sub(self.x, self.mean, None)
        _core.sub(away, self.rest, away)
        if not self.root:
            return _core.mul(away, _core.div(_core.mul(dy, 2.0, None), divisor, None), away)
        y = _core.where(_core.eq(self.y, 0.0, None), math.inf, self.y, None)
        # away dy / (divisor y): div_backward(a, b, c) computes -a b / c
        return _core.div_backward(away, _core.div(dy, -divisor, None), y, None)

    def formula(self, x: Tensor) -> Tensor:
        # For std the deviations are divided by the size of the result, so that their squares stay in the
        # range.
        size = scale_of(self) if self.root else None
        away = x - mean(x, self.axes, True)
        rest = mean(away, self.axes, True)  # the rounding error of the mean
        away = away - rest.masked_fill(rest.ne(rest), 0.0)
        if size is not None:
            away = away / size
        squares = away.square().sum(self.axes, True)
        divisor = x.numel() // max(squares.numel(), 1) - self.correction
        y = squares / max(divisor, 0.0)
        if self.root:
            y = safe_root(y)
        if size is not None:
            y = y * size
        if self.keepdims:
            return y
        return y.sum(self.axes)


@rule(Var)
def _of_variance(node: Var, dy: Tensor) -> Tensor:
    """The gradient of Var by differentiable ops, for gradients of gradients."""
    x = of_input(node, 0, node.x)
    n = node.x.size // (node.y.size or 1)
    divisor = max(n - node.correction, 0.0)
    away = x - mean(x, node.axes, keepdim=True)
    rest = mean(away, node.axes, keepdim=True)
    away = away - where(wrap(_core.eq(rest._array, rest._array, None)), rest, 0.0)
    dy = dy.reshape(node.y.shape)
    if not node.root:
        return away * (dy * 2.0 / divisor)
    if node.keepdims:
        y = node.y
    else:
        y = node.y.reshape(_without(node.y.shape, node.axes))
    y = of_output(node, y).reshape(node.y.shape)
    return away / where(wrap(node.y).eq(0.0), math.inf, y) * (dy / divisor)


def var(
    input: TensorLike,
    dim: Axes = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    axis: Axes = None,
    keepdims: bool = False,
) -> Tensor:
    """The variance over the axes: the sum of (x - mean)^2 / (n - correction).

    correction is 1 (Bessel's) unless given; ``unbiased=False`` is 0. nan where n <= correction.
    A variance outside the range of the dtype is inf or 0; this does not affect :func:`std`.

    >>> import ranvier as rv
    >>> rv.var(rv.tensor([1.0, 2.0, 3.0, 4.0]), correction=0)
    tensor(1.2500)
    """
    return _spread("var", input, dim, unbiased, keepdim, correction, axis, keepdims)


def std(
    input: TensorLike,
    dim: Axes = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    axis: Axes = None,
    keepdims: bool = False,
) -> Tensor:
    """The standard deviation over the axes: the square root of :func:`var`.

    >>> import ranvier as rv
    >>> rv.std(rv.tensor([1.0, 5.0]), correction=0)
    tensor(2.)
    """
    return _spread("std", input, dim, unbiased, keepdim, correction, axis, keepdims)


def _spread(
    name: str,
    input: TensorLike,
    dim: Axes,
    unbiased: bool,
    keepdim: bool,
    correction: float | None,
    axis: Axes,
    keepdims: bool,
) -> Tensor:
    """var or std."""
    if isinstance(dim, bool):  # PyTorch's var(unbiased)
        unbiased = dim
        dim = None
    input, axes, keepdims = _arguments(name, input, dim, keepdim, axis, keepdims)
    if correction is None:
        correction = int(unbiased)
    try:
        less = correction.__float__()
    except (AttributeError, TypeError, OverflowError, RuntimeError, ValueError):
        less = math.nan
    if not math.isfinite(less):
        raise OpError(f"[{name}] got correction {correction!r}; expected a finite number")
    return Var(axes, keepdims, float(less), name == "std").apply(input)


@in_dtypes()
def var_mean(
    input: TensorLike,
    dim: Axes = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """(:func:`var`, :func:`mean`) over the axes.

    >>> import ranvier as rv
    >>> rv.var_mean(rv.tensor([1.0, 3.0]))
    (tensor(2.), tensor(2.))
    """
    if isinstance(dim, bool):  # PyTorch's var_mean(unbiased)
        unbiased = dim
        dim = None
    return var(input, dim, unbiased, keepdim, correction=correction), mean(input, dim, keepdim)


@in_dtypes()
def std_mean(
    input: TensorLike,
    dim: Axes = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """(:func:`std`, :func:`mean`) over the axes.

    >>> import ranvier as rv
    >>> rv.std_mean(rv.tensor([1.0, 5.0]), correction=0)
    (tensor(2.), tensor(3.))
    """
    if isinstance(dim, bool):  # PyTorch's std_mean(unbiased)
        unbiased = dim
        dim = None
    return std(input, dim, unbiased, keepdim, correction=correction), mean(input, dim, keepdim)
