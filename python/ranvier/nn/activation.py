"""Activations as layers. The formulas are in :mod:`ranvier.ops.activation` and :mod:`ranvier.ops.softmax`.

``inplace`` is accepted for PyTorch's programs and has no effect: every layer returns a new tensor.
"""

from __future__ import annotations

from typing import Any

from ranvier import ops
from ranvier.autograd.tensor import Tensor
from ranvier.nn.module import Module


class _InPlace(Module):
    """A layer whose only argument is the ignored ``inplace``."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class ReLU(_InPlace):
    """y = max(x, 0).

    >>> import ranvier as rv
    >>> rv.nn.ReLU()(rv.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def forward(self, x: Any) -> Tensor:
        return ops.relu(x)


class ReLU6(_InPlace):
    """y = min(max(x, 0), 6).

    >>> import ranvier as rv
    >>> rv.nn.ReLU6()(rv.tensor([-1.0, 2.0, 7.0]))
    tensor([0., 2., 6.])
    """

    def forward(self, x: Any) -> Tensor:
        return ops.relu6(x)


class LeakyReLU(Module):
    """y = x where x > 0, else negative_slope * x.

    >>> import ranvier as rv
    >>> rv.nn.LeakyReLU(0.5)(rv.tensor([-2.0, 3.0]))
    tensor([-1.,  3.])
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, x: Any) -> Tensor:
        return ops.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class ELU(Module):
    """y = x where x > 0, else alpha * (exp(x) - 1).

    >>> import ranvier as rv
    >>> rv.nn.ELU()(rv.tensor([0.0, 3.0]))
    tensor([0., 3.])
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, x: Any) -> Tensor:
        return ops.elu(x, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class Sigmoid(Module):
    """y = 1 / (1 + exp(-x)).

    >>> import ranvier as rv
    >>> rv.nn.Sigmoid()(rv.tensor([0.0]))
    tensor([0.5000])
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, x: Any) -> Tensor:
        return ops.sigmoid(x)


class Tanh(Module):
    """y = tanh(x).

    >>> import ranvier as rv
    >>> rv.nn.Tanh()(rv.tensor([0.0]))
    tensor([0.])
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, x: Any) -> Tensor:
        return ops.tanh(x)


class GELU(Module):
    """y = x Phi(x), Phi the standard normal distribution function; approximate: 'none' or 'tanh'.

    Raises ValueError for another approximation.

    >>> import ranvier as rv
    >>> rv.nn.GELU(approximate="tanh")(rv.tensor([0.0, 100.0]))
    tensor([  0., 100.])
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, x: Any) -> Tensor:
        return ops.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(_InPlace):
    """y = x * sigmoid(x), also called swish.

    >>> import ranvier as rv
    >>> rv.nn.SiLU()(rv.tensor([0.0, 100.0]))
    tensor([  0., 100.])
    """

    def forward(self, x: Any) -> Tensor:
        return ops.silu(x)


class Softplus(Module):
    """y = log(1 + exp(beta x)) / beta; x itself where beta x > threshold.

    >>> import ranvier as rv
    >>> rv.nn.Softplus()(rv.tensor([0.0]))
    tensor([0.6931])
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, x: Any) -> Tensor:
        return ops.softplus(x, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Step(Module):
    """y = 1 where x > 0, else 0; its gradient is 0, so it serves to show, not to train.

    >>> import ranvier as rv
    >>> rv.nn.Step()(rv.tensor([-1.0, 2.35]))
    tensor([0., 1.])
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, x: Any) -> Tensor:
        return ops.step(x)


class Hardtanh(Module):
    """y = x limited to [min_val, max_val].

    >>> import ranvier as rv
    >>> rv.nn.Hardtanh()(rv.tensor([-3.0, 0.5]))
    tensor([-1.0000,  0.5000])
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.min_val = min_val
        self.max_val = max_val
        self.inplace = inplace

    def forward(self, x: Any) -> Tensor:
        return ops.hardtanh(x, self.min_val, self.max_val)

    def extra_repr(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}"


class Softmax(Module):
    """y_i = exp(x_i) / sum_j exp(x_j) along dimension ``dim``, by default the last.

    >>> import ranvier as rv
    >>> rv.nn.Softmax(dim=0)(rv.tensor([1.0, 1.0]))
    tensor([0.5000, 0.5000])
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Any) -> Tensor:
        return ops.softmax(x, -1 if self.dim is None else self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """y_i = x_i - log(sum_j exp(x_j)) along dimension ``dim``, by default the last.

    >>> import ranvier as rv
    >>> rv.nn.LogSoftmax(dim=0)(rv.tensor([0.0, 1000.0]))
    tensor([-1000.,     0.])
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Any) -> Tensor:
        return ops.log_softmax(x, -1 if self.dim is None else self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"
