"""Rules of activations."""

from __future__ import annotations

import math
from typing import Any

import ranvier._core as _core
from ranvier.autograd.function import Function
from ranvier.autograd.graph import of_input, of_output, on_arrays, rule
from ranvier.autograd.memory import filled_like
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.ops.activation import piecewise, smooth
from ranvier.ops.activation.piecewise import hardsigmoid
from ranvier.ops.activation.smooth import SELU_ALPHA, SELU_SCALE, sigmoid, softplus, tanh
from ranvier.ops.elementwise.arithmetic import neg
from ranvier.ops.elementwise.compare import eq
from ranvier.ops.elementwise.extrema import clamp
from ranvier.ops.elementwise.functions import abs, exp
from ranvier.ops.elementwise.where import where
from ranvier.ops.rules import diagonal, near, sum_to
from ranvier.ops.shape.join import concatenate, split
from ranvier.ops.shape.reshape import reshape

diagonal(
    piecewise.Relu,
    piecewise.LeakyRelu,
    piecewise.Heaviside,
    piecewise.Hardsigmoid,
    piecewise.Hardtanh,
    piecewise.Softshrink,
    piecewise.Hardshrink,
    kinks=True,
)


@rule(smooth.Sigmoid)
def _sigmoid(node: Any, dy: Tensor) -> Tensor:
    y = of_output(node, node.y)
    return dy * y * (1.0 - y)


@rule(smooth.Tanh)
def _tanh(node: Any, dy: Tensor) -> Tensor:
    y = of_output(node, node.y)
    return dy * (1.0 - y * y)


def _exponential(dy: Tensor, x: Tensor, scale: float, alpha: float, steepness: float = 1.0) -> Tensor:
    """The gradient of scale x where x > 0, else of scale alpha exp(steepness x) / steepness."""
    below = exp(where(wrap(x._array) >= 0.0, 0.0, x) * steepness) * (scale * alpha)  # nan is below
    return dy * where(wrap(x._array) > 0.0, scale, below)


@rule(smooth.Elu)
def _elu(node: Any, dy: Tensor) -> Tensor:
    return _exponential(dy, of_input(node, 0, node.x), 1.0, node.setting)


@rule(smooth.Selu)
def _selu(node: Any, dy: Tensor) -> Tensor:
    return _exponential(dy, of_input(node, 0, node.x), SELU_SCALE, SELU_ALPHA)


@rule(smooth.Celu)
def _celu(node: Any, dy: Tensor) -> Tensor:
    return _exponential(dy, of_input(node, 0, node.x), 1.0, 1.0, 1 / node.setting)


_GELU = math.sqrt(2 / math.pi)


class GeluSlope(Function):
    """y = P(Z <= x) + x p(x) for a standard normal Z with density p: the derivative of gelu"""

    def forward(self, x: Any) -> Any:
        self.x = x
        return _core.gelu_backward(filled_like(1, x), x)

    def backward(self, dy: Any) -> Any:
        return on_arrays(_gelu_slope, self, dy)


@rule(GeluSlope)
def _gelu_slope(node: Any, dy: Tensor) -> Tensor:
    x = of_input(node, 0, node.x)
    return dy * exp(x * x * -0.5) * (2.0 - x * x) * (1 / math.sqrt(2 * math.pi))


@rule(smooth.Gelu)
def _gelu(node: Any, dy: Tensor) -> Tensor:
    slope: Tensor = GeluSlope().apply(of_input(node, 0, node.x))
    return dy * slope


@rule(smooth.GeluTanh)
def _gelu_tanh(node: Any, dy: Tensor) -> Tensor:
    x = clamp(of_input(node, 0, node.x), -1e3, 1e3)  # beyond, the slope is 0 or 1
    t = tanh((x + x * x * x * 0.044715) * _GELU)
    return dy * (t + 1.0 + x * (1.0 - t * t) * (x * x * (3 * 0.044715) + 1.0) * _GELU) * 0.5


@rule(smooth.Silu)
def _silu(node: Any, dy: Tensor) -> Tensor:
    x = of_input(node, 0, node.x)
    s = sigmoid(x)
    return dy * s * (_finite(x) * (1.0 - s) + 1.0)


def _finite(x: Tensor) -> Tensor:
    """x, and 0 where it is infinite: a factor of what vanishes there faster."""
    return where(eq(abs(wrap(x._array)), math.inf), 0.0, x)


@rule(smooth.Mish)
def _mish(node: Any, dy: Tensor) -> Tensor:
    x = of_input(node, 0, node.x)
    t = tanh(softplus(x))
    return dy * (t + _finite(x) * (1.0 - t * t) * sigmoid(x))


@rule(smooth.Logsigmoid)
def _logsigmoid(node: Any, dy: Tensor) -> Tensor:
    return dy * sigmoid(neg(of_input(node, 0, node.x)))


@rule(smooth.Softsign)
def _softsign(node: Any, dy: Tensor) -> Tensor:
    root = abs(of_input(node, 0, node.x)) + 1.0
    return dy / (root * root)


@rule(smooth.Tanhshrink)
def _tanhshrink(node: Any, dy: Tensor) -> Tensor:
    t = tanh(of_input(node, 0, node.x))
    return dy * t * t


@rule(smooth.Softplus)
def _softplus(node: Any, dy: Tensor) -> Tensor:
    z = of_input(node, 0, node.x) * node.beta
    return dy * where(wrap(z._array) > node.threshold, 1.0, sigmoid(z))


@rule(piecewise.Hardswish)
def _hardswish(node: Any, dy: Tensor) -> Tensor:
    x = of_input(node, 0, node.x)
    inside = abs(wrap(node.x)) < 3.0
    return dy * (hardsigmoid(x) + where(inside, x * (1 / 6), 0.0))


@rule(smooth.Glu)
def _glu(node: Any, dy: Tensor) -> Tensor:
    x = of_input(node, 0, _core.concatenate([node.a, node.b], node.axis))
    half = node.a.shape[node.axis]
    a, b = split(x, half, node.axis)
    b = sigmoid(b)
    return concatenate([dy * b, dy * a * b * (1.0 - b)], node.axis)


@rule(piecewise.Prelu)
def _prelu(node: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None]:
    x, weight = of_input(node, 0, node.x), of_input(node, 1, node.slopes.reshape(node.weight_shape))
    positive, dx, dweight = wrap(node.x) > 0.0, None, None
    if node.needs[0]:
        dx = near(node, where(positive, dy, dy * reshape(weight, node.slopes.shape)), x)
    if node.needs[1]:
        dweight = reshape(sum_to(where(positive, 0.0, dy * x), node.slopes.shape), node.weight_shape)
    return dx, dweight
