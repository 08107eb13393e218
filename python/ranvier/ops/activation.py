"""Activations: y = f(x) element by element.

Every function takes a Tensor or array of float32 or float64 and any shape, and returns a Tensor of the same
shape and dtype whose memory order is that of x. Another dtype raises TypeError.
"""

from __future__ import annotations

from typing import Any

from ranvier import _core
from ranvier.autograd.function import Function
from ranvier.autograd.tensor import Tensor


class Relu(Function):
    def forward(self, x: Any) -> Any:
        self.y = _core.relu(x)
        return self.y

    def backward(self, dy: Any) -> Any:
        return _core.relu_backward(dy, self.y)


def relu(x: Any) -> Tensor:
    """max(x, 0); a NaN stays NaN. Its slope at 0 is 0.

    Source: Nair and Hinton, "Rectified Linear Units Improve Restricted Boltzmann Machines" (2010).

    >>> import ranvier as rv
    >>> rv.relu(rv.tensor([-1.0, 0.0, 2.0]))
    tensor([0., 0., 2.])
    """
    return Relu().apply(x)


class LeakyRelu(Function):
    def __init__(self, negative_slope: float) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Any) -> Any:
        self.x = x
        return _core.leaky_relu(x, self.negative_slope)

    def backward(self, dy: Any) -> Any:
        return _core.leaky_relu_backward(dy, self.x, self.negative_slope)


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Tensor:
    """x where x > 0, else negative_slope * x.

    Source: Maas, Hannun and Ng, "Rectifier Nonlinearities Improve Neural Network Acoustic Models" (2013).

    >>> import ranvier as rv
    >>> rv.leaky_relu(rv.tensor([-2.0, 3.0]), 0.5)
    tensor([-1.,  3.])
    """
    return LeakyRelu(negative_slope).apply(x)


class Elu(Function):
    def __init__(self, alpha: float) -> None:
        self.alpha = alpha

    def forward(self, x: Any) -> Any:
        self.x = x
        return _core.elu(x, self.alpha)

    def backward(self, dy: Any) -> Any:
        return _core.elu_backward(dy, self.x, self.alpha)


def elu(x: Any, alpha: float = 1.0) -> Tensor:
    """x where x > 0, else alpha * (exp(x) - 1).

    Source: Clevert, Unterthiner and Hochreiter, "Fast and Accurate Deep Network Learning by Exponential
    Linear Units" (2015).

    >>> import ranvier as rv
    >>> rv.elu(rv.tensor([0.0, 3.0]))
    tensor([0., 3.])
    """
    return Elu(alpha).apply(x)


class Sigmoid(Function):
    def forward(self, x: Any) -> Any:
        self.y = _core.sigmoid(x)
        return self.y

    def backward(self, dy: Any) -> Any:
        return _core.sigmoid_backward(dy, self.y)


def sigmoid(x: Any) -> Tensor:
    """1 / (1 + exp(-x)), within 2 ulp for every float32.

    >>> import ranvier as rv
    >>> rv.sigmoid(rv.tensor([0.0, 100.0]))
    tensor([0.5000, 1.0000])
    """
    return Sigmoid().apply(x)


class Tanh(Function):
    def forward(self, x: Any) -> Any:
        self.y = _core.tanh(x)
        return self.y

    def backward(self, dy: Any) -> Any:
        return _core.tanh_backward(dy, self.y)


def tanh(x: Any) -> Tensor:
    """The hyperbolic tangent, within 2 ulp for every float32.

    >>> import ranvier as rv
    >>> rv.tanh(rv.tensor([0.0, 100.0]))
    tensor([0., 1.])
    """
    return Tanh().apply(x)


class Gelu(Function):
    def forward(self, x: Any) -> Any:
        self.x = x
        return _core.gelu(x)

    def backward(self, dy: Any) -> Any:
        return _core.gelu_backward(dy, self.x)


class GeluTanh(Function):
    def forward(self, x: Any) -> Any:
        self.x = x
        return _core.gelu_tanh(x)

    def backward(self, dy: Any) -> Any:
        return _core.gelu_tanh_backward(dy, self.x)


def gelu(x: Any, approximate: str = "none") -> Tensor:
    """x * P(Z <= x) for a standard normal Z: 0.5 x (1 + erf(x / sqrt(2))).

    ``approximate="tanh"``: 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))). Another value
    raises ValueError.

    Source: Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016).

    >>> import ranvier as rv
    >>> rv.gelu(rv.tensor([-100.0, 0.0, 100.0]))
    tensor([ -0.,   0., 100.])
    """
    if approximate == "none":
        return Gelu().apply(x)
    if approximate == "tanh":
        return GeluTanh().apply(x)
    raise ValueError(f"[gelu] got approximate={approximate!r}; expected 'none' or 'tanh'")


class Silu(Function):
    def forward(self, x: Any) -> Any:
        self.x = x
        return _core.silu(x)

    def backward(self, dy: Any) -> Any:
        return _core.silu_backward(dy, self.x)


def silu(x: Any) -> Tensor:
    """x * sigmoid(x), also called swish.

    Source: Elfwing, Uchibe and Doya, "Sigmoid-Weighted Linear Units" (2017).

    >>> import ranvier as rv
    >>> rv.silu(rv.tensor([0.0, 100.0]))
    tensor([  0., 100.])
    """
    return Silu().apply(x)


class Softplus(Function):
    def __init__(self, beta: float, threshold: float) -> None:
        self.beta, self.threshold = beta, threshold

    def forward(self, x: Any) -> Any:
        self.x = x
        return _core.softplus(x, self.beta, self.threshold)

    def backward(self, dy: Any) -> Any:
        return _core.softplus_backward(dy, self.x, self.beta, self.threshold)


def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta x)) / beta, a smooth relu; x itself where beta x > threshold.

    Source: Dugas et al., "Incorporating Second-Order Functional Knowledge for Better Option Pricing" (2000).

    >>> import ranvier as rv
    >>> rv.softplus(rv.tensor([-200.0, 0.0, 200.0]))
    tensor([  0.0000,   0.6931, 200.0000])
    """
    return Softplus(beta, threshold).apply(x)


class Step(Function):
    def forward(self, x: Any) -> Any:
        self.x = x
        return _core.step(x)

    def backward(self, dy: Any) -> Any:
        return _core.step_backward(dy, self.x)


def step(x: Any) -> Tensor:
    """1 where x > 0, else 0: the threshold of the first artificial neurons. Its gradient is 0 everywhere.

    Source: McCulloch and Pitts, "A Logical Calculus of the Ideas Immanent in Nervous Activity" (1943).

    >>> import ranvier as rv
    >>> rv.step(rv.tensor([-1.0, 0.0, 2.35]))
    tensor([0., 0., 1.])
    """
    return Step().apply(x)


class Hardtanh(Function):
    def __init__(self, min_val: float, max_val: float) -> None:
        self.min_val, self.max_val = min_val, max_val

    def forward(self, x: Any) -> Any:
        self.x = x
        return _core.hardtanh(x, self.min_val, self.max_val)

    def backward(self, dy: Any) -> Any:
        return _core.hardtanh_backward(dy, self.x, self.min_val, self.max_val)


def hardtanh(x: Any, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """x limited to [min_val, max_val]; its slope at and beyond the limits is 0.

    Raises ValueError unless min_val < max_val.

    >>> import ranvier as rv
    >>> rv.hardtanh(rv.tensor([-3.0, 0.5, 3.0]))
    tensor([-1.0000,  0.5000,  1.0000])
    """
    if not min_val < max_val:
        raise ValueError(
            f"[hardtanh] got min_val={min_val} and max_val={max_val}; expected min_val < max_val"
        )
    return Hardtanh(min_val, max_val).apply(x)


def relu6(x: Any) -> Tensor:
    """x limited to [0, 6].

    >>> import ranvier as rv
    >>> rv.relu6(rv.tensor([-3.0, 3.0, 9.0]))
    tensor([0., 3., 6.])
    """
    return Hardtanh(0.0, 6.0).apply(x)
