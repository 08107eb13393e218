"""Layers with an exponential inside. The formulas are in :mod:`ranvier.ops.activation` and
:mod:`ranvier.ops.softmax`.

``inplace=True`` changes the tensor that comes in and returns it, as in PyTorch.
"""

from __future__ import annotations

from typing import Any

import ranvier.ops as ops
from ranvier.autograd.tensor import Tensor
from ranvier.nn.activation.inplace import _InPlace
from ranvier.nn.module import Module

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "SELU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmin",
    "Softplus",
    "Softsign",
    "Tanh",
    "Tanhshrink",
]


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
        return ops.elu(x, self.alpha, inplace=self.inplace)

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
        return ops.silu(x, inplace=self.inplace)


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


class SELU(_InPlace):
    """y = 1.0507 (x where x > 0, else 1.6733 (exp(x) - 1)).

    >>> import ranvier as rv
    >>> rv.nn.SELU()(rv.tensor([-100.0, 0.0, 1.0]))
    tensor([-1.7581,  0.0000,  1.0507])
    """

    def forward(self, x: Any) -> Tensor:
        return ops.selu(x, inplace=self.inplace)


class CELU(Module):
    """y = x where x > 0, else alpha (exp(x / alpha) - 1). Raises ValueError for alpha 0.

    >>> import ranvier as rv
    >>> rv.nn.CELU(2.0)(rv.tensor([-100.0, 0.0, 3.0]))
    tensor([-2.,  0.,  3.])
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, x: Any) -> Tensor:
        return ops.celu(x, self.alpha, inplace=self.inplace)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class Mish(_InPlace):
    """y = x tanh(log(1 + exp(x))).

    >>> import ranvier as rv
    >>> rv.nn.Mish()(rv.tensor([0.0, 100.0]))
    tensor([  0., 100.])
    """

    def forward(self, x: Any) -> Tensor:
        return ops.mish(x, inplace=self.inplace)


class LogSigmoid(Module):
    """y = log(1 / (1 + exp(-x))).

    >>> import ranvier as rv
    >>> rv.nn.LogSigmoid()(rv.tensor([-100.0, 0.0]))
    tensor([-100.0000,   -0.6931])
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, x: Any) -> Tensor:
        return ops.logsigmoid(x)


class Softsign(Module):
    """y = x / (1 + |x|).

    >>> import ranvier as rv
    >>> rv.nn.Softsign()(rv.tensor([-1.0, 0.0, 3.0]))
    tensor([-0.5000,  0.0000,  0.7500])
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, x: Any) -> Tensor:
        return ops.softsign(x)


class Tanhshrink(Module):
    """y = x - tanh(x).

    >>> import ranvier as rv
    >>> rv.nn.Tanhshrink()(rv.tensor([0.0, 100.0]))
    tensor([ 0., 99.])
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, x: Any) -> Tensor:
        return ops.tanhshrink(x)


class GLU(Module):
    """y = a sigmoid(b), a and b the halves of x along ``dim``. Raises ValueError for an odd length.

    >>> import ranvier as rv
    >>> rv.nn.GLU()(rv.tensor([6.0, 8.0, 0.0, 100.0]))
    tensor([3., 8.])
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Any) -> Tensor:
        return ops.glu(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmin(Module):
    """y = softmax(-x) along dimension ``dim``, by default the last.

    >>> import ranvier as rv
    >>> rv.nn.Softmin(dim=0)(rv.tensor([0.0, 1000.0]))
    tensor([1., 0.])
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Any) -> Tensor:
        return ops.softmin(x, -1 if self.dim is None else self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"
