"""Rules of reductions, norms, scans and softmax."""

from __future__ import annotations

import math
from typing import Any

import ranvier._core as _core
from ranvier.autograd.graph import of_input, of_output, rule
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.ops.activation.softmax import LogSoftmax, Softmax
from ranvier.ops.elementwise.arithmetic import mul
from ranvier.ops.elementwise.choice import where
from ranvier.ops.elementwise.compare import eq
from ranvier.ops.elementwise.functions import abs, exp, pow, sign, sqrt
from ranvier.ops.neural.distance import CosineSimilarity, PairwiseDistance
from ranvier.ops.reduction import norms, reduce, scan
from ranvier.ops.reduction.reduce import mean
from ranvier.ops.reduction.reduce import sum as total
from ranvier.ops.reduction.sort import MedianOfAll
from ranvier.ops.reduction.variance import Var
from ranvier.ops.rules import coefficients, linear, near, none, recomputed
from ranvier.ops.shape.join import cat
from ranvier.ops.shape.reshape import expand, movedim, reshape

linear(scan.CumSum)


@rule(reduce.Sum)
def _sum(node: Any, dy: Tensor) -> Tensor:
    size = math.prod(node.shape)
    if node.mean and size:
        dy = dy * (dy.numel() / size)
    if not node.keepdims:
        dy = reshape(dy, reduce._with_ones(node.shape, node.axes))
    return expand(dy, node.shape)


@rule(reduce.Extreme, MedianOfAll)
def _extreme(node: Any, dy: Tensor) -> Tensor:
    return reshape(dy, node._kept(node.y).shape) * coefficients(node, dy)


@rule(Var)
def _var(node: Any, dy: Tensor) -> Tensor:
    x, n = of_input(node, 0, node.x), node.x.size // (node.y.size or 1)
    divisor = n - node.correction if n > node.correction else 0.0
    away = x - mean(x, node.axes, keepdim=True)
    rest = mean(away, node.axes, keepdim=True)
    away = away - where(wrap(_core.eq(rest._array, rest._array, None)), rest, 0.0)
    dy = reshape(dy, node.y.shape)
    if not node.root:
        return away * (dy * 2.0 / divisor)
    zero = eq(wrap(node.y), 0.0)
    y = sqrt(where(zero, 1.0, total(away * away, node.axes, keepdim=True) / divisor))
    return away * (where(zero, 0.0, dy / y) / divisor)


def _root(y: Tensor) -> Tensor:
    """The square root, with slope 0 at 0."""
    zero = eq(wrap(y._array), 0.0)
    return where(zero, 0.0, sqrt(where(zero, 1.0, y)))


@rule(norms.Norm)
def _norm(node: Any, dy: Tensor) -> Tensor:
    x, p = of_input(node, 0, node.x), node.p
    dy = reshape(dy, node.y.shape)
    if p == 0:
        return none(node.x.shape, dy)
    if p == 1:
        return sign(x) * dy
    if math.isinf(p):
        return near(node, dy * coefficients(node, dy), x)
    y, zero = _kept_output(node, dy), eq(wrap(node.y), 0.0)
    safe = where(zero, 1.0, y)
    if p == 2:
        return x * where(zero, 0.0, dy / safe)
    slope = where(zero, 0.0, dy * pow(safe, 1 - p))
    size = x
    if p < 2:  # |x|^(p - 1) has no slope at 0, where it counts as 0
        size = where(eq(wrap(node.x), 0.0), 1.0, x)
    return sign(x) * pow(abs(size), p - 1) * slope


def _kept_output(node: Any, dy: Tensor) -> Tensor:
    """The output with its reduced axes."""
    y = node.y if node.keepdims else node.y.reshape(reduce._without(node.y.shape, node.axes))
    return reshape(of_output(node, y), node.y.shape)


@rule(norms.LogSumExp)
def _logsumexp(node: Any, dy: Tensor) -> Tensor:
    x = of_input(node, 0, node.x)
    return exp(x - _kept_output(node, dy)) * reshape(dy, node.y.shape)


@recomputed("x", kinds=(norms.Prod,))
def _prod(node: Any, x: Tensor) -> Tensor:
    """The product of pairs, of pairs of pairs, and so on: no division, right for zeros."""
    axis = node.axes if isinstance(node.axes, int) else 0
    x = movedim(x, axis, 0) if isinstance(node.axes, int) else reshape(x, -1)
    if x.shape[0] == 0:
        x = total(x, 0, keepdim=True) + 1.0
    while x.shape[0] > 1:
        half = x.shape[0] // 2
        x = cat([x[:half] * x[half : 2 * half], x[2 * half :]])
    return reshape(x, node.y.shape if node.keepdims else reduce._without(node.y.shape, node.axes))


@recomputed("x", kinds=(scan.CumProd,))
def _cumprod(node: Any, x: Tensor) -> Tensor:
    """After step k each element is the product of the 2^k elements that end with it."""
    y, step = movedim(x, node.axis, 0), 1
    while step < y.shape[0]:
        y = cat([y[:step], mul(y[step:], y[:-step])])
        step *= 2
    return movedim(y, 0, node.axis)


@rule(Softmax)
def _softmax(node: Any, dy: Tensor) -> Tensor:
    y = of_output(node, node.y)
    return y * (dy - total(dy * y, node.dim, keepdim=True))


@rule(LogSoftmax)
def _log_softmax(node: Any, dy: Tensor) -> Tensor:
    return dy - exp(of_output(node, node.y)) * total(dy, node.dim, keepdim=True)


@recomputed("x1", "x2", kinds=(CosineSimilarity,))
def _cosine(node: Any, x1: Tensor, x2: Tensor) -> Tensor:
    dim, eps = node.settings
    lengths = [_root(total(x * x, dim)) for x in (x1, x2)]
    first, second = (length.clip(eps) for length in lengths)
    return total(x1 * x2, dim) / (first * second)


@recomputed("x1", "x2", kinds=(PairwiseDistance,))
def _distance(node: Any, x1: Tensor, x2: Tensor) -> Tensor:
    dim, p, eps = node.settings
    return norms.norm(x1 - x2 + eps, p, dim)
