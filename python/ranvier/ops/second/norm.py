"""Rules of normalisation: y = (x - mean) rstd weight + bias."""

from __future__ import annotations

import math
from typing import Any

from ranvier.autograd.graph import of_input, rule
from ranvier.autograd.memory import cast
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.ops.elementwise.functions import pow
from ranvier.ops.neural import normalization as norm
from ranvier.ops.reduction.reduce import mean
from ranvier.ops.reduction.reduce import sum as total
from ranvier.ops.shape.reshape import reshape

Axes = tuple[int, ...]
Three = tuple[Tensor | None, Tensor | None, Tensor | None]


def _normalised(x: Tensor, axes: Axes, eps: float, centre: Any = None) -> tuple[Tensor, Tensor]:
    """(x - mean) rstd, and rstd. centre: the mean of forward, which is more exact than one in float32."""
    away = x
    if centre is not None:
        shape = tuple(1 if d in axes else n for d, n in enumerate(x.shape))
        near = x - reshape(wrap(cast(centre, x._array.dtype)), shape)
        away = near - mean(near, axes, keepdim=True)
    rstd = pow(mean(away * away, axes, keepdim=True) + eps, -0.5)
    return away * rstd, rstd


def _of_x(dy: Tensor, x_hat: Tensor, rstd: Tensor, axes: Axes, centred: bool = True) -> Tensor:
    """The gradient of x, from that of x_hat."""
    along = dy - x_hat * mean(dy * x_hat, axes, keepdim=True)
    return (along - mean(dy, axes, keepdim=True) if centred else along) * rstd


def _parameters(node: Any, dy: Tensor, x_hat: Tensor, axes: Axes) -> tuple[Any, Any]:
    """The gradients of weight and bias: sums over these axes."""
    dw = _over(dy * x_hat, axes) if node.needs[1] else None
    return dw, _over(dy, axes) if len(node.needs) > 2 and node.needs[2] else None


def _over(x: Tensor, axes: Axes) -> Tensor:
    return total(x, axes) if axes else x


def _weighted(node: Any, dy: Tensor, shape: tuple[int, ...]) -> Tensor:
    return dy if node.weight is None else dy * reshape(of_input(node, 1, node.weight), shape)


@rule(norm.BatchNorm)
def _batch_norm(node: Any, dy: Tensor) -> Three:
    x = of_input(node, 0, node.x)
    axes, shape = (0, *range(2, x.ndim)), (1, x.shape[1], *(1,) * (x.ndim - 2))
    if node.training:
        x_hat, rstd = _normalised(x, axes, node.eps, node.mean)
    else:
        mu, rstd = (reshape(wrap(cast(s, x.dtype)), shape) for s in (node.mean, node.rstd))
        x_hat = (x - mu) * rstd
    dx = None
    if node.needs[0]:
        weighted = _weighted(node, dy, shape)
        dx = _of_x(weighted, x_hat, rstd, axes) if node.training else weighted * rstd
    return dx, *_parameters(node, dy, x_hat, axes)


@rule(norm.GroupNorm)
def _group_norm(node: Any, dy: Tensor) -> Three:
    x = of_input(node, 0, node.x)
    shape = (1, x.shape[1], *(1,) * (x.ndim - 2))
    groups = (x.shape[0], node.part, math.prod(x.shape[1:]) // node.part)
    x_hat, rstd = _normalised(reshape(x, groups), (2,), node.eps, node.mean)
    dx = None
    if node.needs[0]:
        dx = _of_x(reshape(_weighted(node, dy, shape), groups), x_hat, rstd, (2,))
        dx = reshape(dx, x.shape)
    return dx, *_parameters(node, dy, reshape(x_hat, x.shape), (0, *range(2, x.ndim)))


def _of_last(node: Any, dy: Tensor, sizes: Any, centred: bool) -> tuple[Tensor | None, ...]:
    x = of_input(node, 0, node.x)
    lead = x.ndim - len(sizes)
    axes, shape = tuple(range(lead, x.ndim)), (*(1,) * lead, *x.shape[lead:])
    x_hat, rstd = _normalised(x, axes, node.eps, node.mean if centred else None)
    dx = _of_x(_weighted(node, dy, shape), x_hat, rstd, axes, centred) if node.needs[0] else None
    return dx, *_parameters(node, dy, x_hat, tuple(range(lead)))


@rule(norm.LayerNorm)
def _layer_norm(node: Any, dy: Tensor) -> Any:
    return _of_last(node, dy, node.part, centred=True)


@rule(norm.RMSNorm)
def _rms_norm(node: Any, dy: Tensor) -> Any:
    return _of_last(node, dy, node.normalized_shape, centred=False)[:2]
