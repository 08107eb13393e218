"""Normalisation: x brought to mean 0 and variance 1 over some of its axes, then scaled and shifted.

    y = xhat weight + bias,   xhat = (x - mean) rstd,   rstd = 1 / sqrt(var + eps)

The ops differ only in the axes that a mean is taken over: the batch and its pixels (batch norm), a group of a
sample's channels (group norm), the last axes (layer norm). RMS norm leaves the mean out.

The gradient. All elements of one mean depend on each other through it and through the variance. With
g = dy weight and mean(.) over the same axes,

    dx = rstd (g - mean(g) - xhat mean(g xhat))

The second term is what x does to the mean, the third what it does to the variance. Where mean and variance
are constants (batch norm outside training) only the first is left.
"""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def normalized(x: Array, axes: tuple[int, ...], eps: float) -> tuple[Array, Array]:
    """xhat and rstd, with the axes kept."""
    if x.size == 0:
        return x.copy(), np.ones_like(x)
    rstd = 1 / np.sqrt(x.var(axes, keepdims=True) + eps)
    return (x - x.mean(axes, keepdims=True)) * rstd, rstd


def normalized_backward(g: Array, xhat: Array, rstd: Array, axes: tuple[int, ...]) -> Array:
    if g.size == 0:
        return g.copy()
    return rstd * (g - g.mean(axes, keepdims=True) - xhat * (g * xhat).mean(axes, keepdims=True))


def by_channel(parameter: Array | None, x: Array, otherwise: float) -> Any:
    """(C,) as (1, C, 1, ...), to broadcast against x (N, C, ...); `otherwise` if there is no parameter."""
    if parameter is None:
        return otherwise
    return parameter.reshape((1, -1) + (1,) * (x.ndim - 2))


def axes_of_means(x: Array) -> tuple[int, ...]:
    """All axes but that of the channels."""
    return (0, *range(2, x.ndim))


# --- batch norm: x (N, C, ...), parameters and running statistics (C,)


def batch_norm(x: Array, weight: Array | None, bias: Array | None, eps: float = 1e-5) -> Array:
    """In training: the statistics are those of the batch."""
    xhat, _ = normalized(x, axes_of_means(x), eps)
    return xhat * by_channel(weight, x, 1) + by_channel(bias, x, 0)


def batch_norm_backward(
    dy: Array, x: Array, weight: Array | None, eps: float = 1e-5
) -> tuple[Array, Array, Array]:
    axes = axes_of_means(x)
    xhat, rstd = normalized(x, axes, eps)
    dx = normalized_backward(dy * by_channel(weight, x, 1), xhat, rstd, axes)
    return dx, (dy * xhat).sum(axes), dy.sum(axes)


def batch_norm_eval(
    x: Array, weight: Array | None, bias: Array | None, mean: Array, var: Array, eps: float = 1e-5
) -> Array:
    """Outside training: the statistics are constants."""
    xhat = (x - by_channel(mean, x, 0)) / np.sqrt(by_channel(var, x, 1) + eps)
    return xhat * by_channel(weight, x, 1) + by_channel(bias, x, 0)


def running(mean: Array, var: Array, x: Array, momentum: float) -> tuple[Array, Array]:
    """The running statistics after a batch: an exponential average; var is the unbiased one."""
    axes = axes_of_means(x)
    new_mean = (1 - momentum) * mean + momentum * x.mean(axes)
    return new_mean, (1 - momentum) * var + momentum * x.var(axes, ddof=1)


# --- group norm: x (N, C, ...), parameters (C,)


def grouped(x: Array, groups: int) -> Array:
    """(N, C, ...) as (N, groups, C / groups, pixels)."""
    pixels = int(np.prod(x.shape[2:]))
    return x.reshape(x.shape[0], groups, x.shape[1] // groups, pixels)


def group_norm(
    x: Array, groups: int, weight: Array | None = None, bias: Array | None = None, eps: float = 1e-5
) -> Array:
    xhat, _ = normalized(grouped(x, groups), (2, 3), eps)
    return xhat.reshape(x.shape) * by_channel(weight, x, 1) + by_channel(bias, x, 0)


def group_norm_backward(
    dy: Array, x: Array, groups: int, weight: Array | None, eps: float = 1e-5
) -> tuple[Array, Array, Array]:
    xhat, rstd = normalized(grouped(x, groups), (2, 3), eps)
    g = grouped(dy * by_channel(weight, x, 1), groups)
    dx = normalized_backward(g, xhat, rstd, (2, 3)).reshape(x.shape)
    axes = axes_of_means(x)
    return dx, (dy * xhat.reshape(x.shape)).sum(axes), dy.sum(axes)


# --- layer norm and RMS norm: over the last axes of x, as many as the parameters have


def last_axes(x: Array, count: int) -> tuple[int, ...]:
    return tuple(range(x.ndim - count, x.ndim))


def layer_norm(x: Array, count: int, weight: Array | None, bias: Array | None, eps: float = 1e-5) -> Array:
    """count: the number of last axes."""
    xhat, _ = normalized(x, last_axes(x, count), eps)
    if weight is not None:
        xhat = xhat * weight
    return xhat if bias is None else xhat + bias


def layer_norm_backward(
    dy: Array, x: Array, count: int, weight: Array | None, eps: float = 1e-5
) -> tuple[Array, Array, Array]:
    axes = last_axes(x, count)
    leading = tuple(range(x.ndim - count))
    xhat, rstd = normalized(x, axes, eps)
    g = dy if weight is None else dy * weight
    dx = normalized_backward(g, xhat, rstd, axes)
    return dx, (dy * xhat).sum(leading), dy.sum(leading)


def rms_norm(x: Array, count: int, weight: Array | None, eps: float) -> Array:
    """y = x rstd weight, rstd = 1 / sqrt(mean(x^2) + eps)"""
    if x.size == 0:
        return x.copy()
    rstd = 1 / np.sqrt((x * x).mean(last_axes(x, count), keepdims=True) + eps)
    return x * rstd if weight is None else x * rstd * weight
