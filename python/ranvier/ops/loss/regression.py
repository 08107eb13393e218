"""Losses of values: squared and absolute errors (mse, l1, smooth_l1, huber), and likelihoods of counts
(poisson_nll) and of values with a variance (gaussian_nll).

The errors have a kernel each, and a slope, the derivative of an element's loss, for gradients of gradients.
The likelihoods are composed of ops.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.ops.elementwise.choice import where
from ranvier.ops.elementwise.functions import exp, log
from ranvier.ops.loss.base import element_loss, exchanged, in_dtype_of, paired, reduced, same_floats
from ranvier.ops.namespaces import Operations, Value
from ranvier.ops.shape.reshape import broadcast_to, unsqueeze
from ranvier.tape.function import Dtypes, in_dtypes
from ranvier.tensors.dtypes import default
from ranvier.tensors.errors import number
from ranvier.tensors.failures import OpError, broadcast_of
from ranvier.tensors.memory import filled
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import Shape, TensorLike

# A loss that is symmetric in x and target has one slope: by target, it is called with the two exchanged.


def _mse_slope(f: Operations, x: Value, t: Value) -> Value:
    return (x - t) * 2.0


Mse = element_loss("Mse", _core.mse, _mse_slope, exchanged(_mse_slope))


def mse(x: TensorLike, target: TensorLike, reduction: str = "mean") -> Tensor:
    """The op of :func:`ranvier.nn.functional.mse_loss`, which describes it."""
    return Mse(reduction).apply(*paired(x, target))


def _l1_slope(f: Operations, x: Value, t: Value) -> Value:
    return f.sign(x - t)


L1 = element_loss("L1", _core.l1, _l1_slope, exchanged(_l1_slope))


def l1(x: TensorLike, target: TensorLike, reduction: str = "mean") -> Tensor:
    """The op of :func:`ranvier.nn.functional.l1_loss`, which describes it."""
    return L1(reduction).apply(*paired(x, target))


def _smooth_l1_slope(f: Operations, x: Value, t: Value, beta: float) -> Value:
    d = x - t
    near = d
    if beta != 0.0:
        near = d / beta
    return f.where(f.abs(d) < beta, near, f.sign(d))


SmoothL1 = element_loss("SmoothL1", _core.smooth_l1, _smooth_l1_slope, exchanged(_smooth_l1_slope))


def smooth_l1(x: TensorLike, target: TensorLike, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """The op of :func:`ranvier.nn.functional.smooth_l1_loss`, which describes it."""
    return SmoothL1(reduction, beta).apply(*paired(x, target))


def _huber_slope(f: Operations, x: Value, t: Value, delta: float) -> Value:
    d = x - t
    return f.where(f.abs(d) < delta, d, f.sign(d) * delta)


Huber = element_loss("Huber", _core.huber, _huber_slope, exchanged(_huber_slope))


def huber(x: TensorLike, target: TensorLike, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """The op of :func:`ranvier.nn.functional.huber_loss`, which describes it."""
    if isinstance(x, Tensor) and isinstance(target, Tensor) and x._array.dtype != target._array.dtype:
        x_cast: Tensor = _core._autocast_cast("float32", x)
        target = target.to(x_cast._array.dtype)
        return Huber(reduction, delta).apply(*paired(x_cast, target))
    return Huber(reduction, delta).apply(*paired(x, target))


@in_dtypes(Dtypes(autocast="float32"))
def poisson_nll(
    x: TensorLike,
    target: TensorLike,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Tensor:
    """The op of :func:`ranvier.nn.functional.poisson_nll_loss`, which describes it."""
    eps = number("poisson_nll", "eps", eps)
    x, t = same_floats("poisson_nll", x=x, target=target)
    if log_input:
        losses = exp(x) - t * x
    else:
        losses = x - t * log(x + eps)
    if full:
        is_large = wrap(t._array) > 1.0
        large = where(is_large, t, 1.0)
        stirling = large * log(large) - large + log(large * (2 * math.pi)) * 0.5
        losses = losses + where(is_large, stirling, 0.0)
    return reduced("poisson_nll", losses, reduction)


@in_dtypes()
def gaussian_nll(
    x: TensorLike,
    target: TensorLike,
    var: TensorLike,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """The op of :func:`ranvier.nn.functional.gaussian_nll_loss`, which describes it."""
    x_shape = tuple(getattr(x, "shape", ()))
    target_shape = tuple(getattr(target, "shape", ()))
    if x_shape == target_shape:
        var = _variance(x, var, x_shape, x_shape)
    else:
        shape = broadcast_of("gaussian_nll", x=x_shape, target=target_shape)
        var = _variance(x, var, x_shape, shape)
        x, target = paired(x, target)
        x = broadcast_to(x, shape)
        target = broadcast_to(target, shape)
    number("gaussian_nll", "eps", eps, 0, above=True)
    mean, observed, variance = same_floats("gaussian_nll", x=x, target=target, var=var)
    raw = wrap(variance._array)
    # max(var, eps), but with the gradient of var everywhere: eps - raw is a constant.
    v = where(raw < eps, variance + (eps - raw), variance)
    d = mean - observed
    losses = (log(v) + d * d / v) * 0.5
    if full:
        losses = losses + 0.5 * math.log(2 * math.pi)
    return reduced("gaussian_nll", losses, reduction)


def _variance(x: TensorLike, var: TensorLike, x_shape: Shape, shape: Shape) -> TensorLike:
    """var in the shape of the loss."""
    if isinstance(var, (int, float)):
        number("gaussian_nll", "var", var, 0)
        return wrap(filled(var, shape, np.dtype(getattr(x, "dtype", default.dtype))))
    var = in_dtype_of(x, var)
    array: Any = getattr(var, "_array", var)
    is_float = isinstance(array, np.ndarray) and array.dtype.char in "fd"
    if is_float and not _core.inside(array, 0.0, math.inf) and (array < 0).any():  # NaN stays NaN
        raise OpError("[gaussian_nll] got a negative var; expected numbers >= 0")
    sizes = tuple(getattr(var, "shape", ()))
    if sizes == shape:
        return var
    if x_shape and sizes == x_shape[:-1]:
        return broadcast_to(unsqueeze(var, -1), shape)
    fits = len(sizes) == len(x_shape) and all(n in (1, m) for n, m in zip(sizes, x_shape, strict=True))
    if not fits:
        raise OpError(
            f"[gaussian_nll] got var of shape {sizes} for x of shape {x_shape}; expected that shape, 1 in "
            "place of a size, or nothing in place of the last"
        )
    return broadcast_to(var, shape)
