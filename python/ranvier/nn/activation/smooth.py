"""Activations with an exponential. Formulas and sources: :mod:`ranvier.ops.activation`,
:mod:`ranvier.ops.activation.softmax`.

``inplace=True`` changes the input and returns it, as in PyTorch.
"""

from __future__ import annotations

from typing import Any

import ranvier.nn.functional as F
import ranvier.ops as ops
from ranvier.autograd.tensor import Tensor
from ranvier.nn.activation.piecewise import Activation, AlongDim, InPlace, OfAnyRank, WithAlpha
from ranvier.nn.module import Module

_NAMES = """
    CELU ELU GELU GLU SELU LogSigmoid LogSoftmax Mish SiLU Sigmoid Softmax Softmax2d Softmin Softplus
    Softsign Tanh Tanhshrink
"""
__all__ = _NAMES.split()


class ELU(WithAlpha):
    """y = x where x > 0, else alpha * (exp(x) - 1).

    >>> import ranvier as rv
    >>> rv.nn.ELU()(rv.tensor([0.0, 3.0]))
    tensor([0., 3.])
    """

    op = "elu"


class Sigmoid(Activation):
    """y = 1 / (1 + exp(-x)).

    >>> import ranvier as rv
    >>> rv.nn.Sigmoid()(rv.tensor([0.0]))
    tensor([0.5000])
    """

    op = "sigmoid"


class Tanh(Activation):
    """y = tanh(x).

    >>> import ranvier as rv
    >>> rv.nn.Tanh()(rv.tensor([0.0]))
    tensor([0.])
    """

    op = "tanh"


class GELU(OfAnyRank):
    """y = x Phi(x), Phi the standard normal distribution function; approximate: 'none' or 'tanh'.

    Raises ValueError for another approximation.

    >>> import ranvier as rv
    >>> rv.nn.GELU(approximate="tanh")(rv.tensor([0.0, 100.0]))
    tensor([  0., 100.])
    """

    _shown = ("approximate",)

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Any) -> Tensor:
        return ops.gelu(input, self.approximate)


class SiLU(InPlace):
    """y = x * sigmoid(x), also called swish.

    >>> import ranvier as rv
    >>> rv.nn.SiLU()(rv.tensor([0.0, 100.0]))
    tensor([  0., 100.])
    """

    op = "silu"


class Softplus(OfAnyRank):
    """y = log(1 + exp(beta x)) / beta; x itself where beta x > threshold.

    >>> import ranvier as rv
    >>> rv.nn.Softplus()(rv.tensor([0.0]))
    tensor([0.6931])
    """

    _shown = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Any) -> Tensor:
        return ops.softplus(input, self.beta, self.threshold)


class Softmax(AlongDim):
    """y_i = exp(x_i) / sum_j exp(x_j) along dimension ``dim``; None: see :func:`ranvier.softmax`.

    >>> import ranvier as rv
    >>> rv.nn.Softmax(dim=0)(rv.tensor([1.0, 1.0]))
    tensor([0.5000, 0.5000])
    """

    op = "softmax"


class LogSoftmax(AlongDim):
    """y_i = x_i - log(sum_j exp(x_j)) along dimension ``dim``; None: see :func:`ranvier.softmax`.

    >>> import ranvier as rv
    >>> rv.nn.LogSoftmax(dim=0)(rv.tensor([0.0, 1000.0]))
    tensor([-1000.,     0.])
    """

    op = "log_softmax"


class SELU(InPlace):
    """y = 1.0507 (x where x > 0, else 1.6733 (exp(x) - 1)).

    >>> import ranvier as rv
    >>> rv.nn.SELU()(rv.tensor([-100.0, 0.0, 1.0]))
    tensor([-1.7581,  0.0000,  1.0507])
    """

    op = "selu"


class CELU(WithAlpha):
    """y = x where x > 0, else alpha (exp(x / alpha) - 1). Raises ValueError for alpha 0.

    >>> import ranvier as rv
    >>> rv.nn.CELU(2.0)(rv.tensor([-100.0, 0.0, 3.0]))
    tensor([-2.,  0.,  3.])
    """

    op = "celu"


class Mish(InPlace):
    """y = x tanh(log(1 + exp(x))).

    >>> import ranvier as rv
    >>> rv.nn.Mish()(rv.tensor([0.0, 100.0]))
    tensor([  0., 100.])
    """

    op = "mish"


class LogSigmoid(Activation):
    """y = log(1 / (1 + exp(-x))).

    >>> import ranvier as rv
    >>> rv.nn.LogSigmoid()(rv.tensor([-100.0, 0.0]))
    tensor([-100.0000,   -0.6931])
    """

    op = "logsigmoid"


class Softsign(Activation):
    """y = x / (1 + |x|).

    >>> import ranvier as rv
    >>> rv.nn.Softsign()(rv.tensor([-1.0, 0.0, 3.0]))
    tensor([-0.5000,  0.0000,  0.7500])
    """

    op = "softsign"


class Tanhshrink(Activation):
    """y = x - tanh(x).

    >>> import ranvier as rv
    >>> rv.nn.Tanhshrink()(rv.tensor([0.0, 100.0]))
    tensor([ 0., 99.])
    """

    op = "tanhshrink"


class GLU(OfAnyRank):
    """y = a sigmoid(b), a and b the halves of x along ``dim``. Raises ValueError for an odd length.

    >>> import ranvier as rv
    >>> rv.nn.GLU()(rv.tensor([6.0, 8.0, 0.0, 100.0]))
    tensor([3., 8.])
    """

    _shown = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Any) -> Tensor:
        return ops.glu(input, self.dim)


class Softmin(AlongDim):
    """y = softmax(-x) along dimension ``dim``; None: see :func:`ranvier.softmax`.

    >>> import ranvier as rv
    >>> rv.nn.Softmin(dim=0)(rv.tensor([0.0, 1000.0]))
    tensor([1., 0.])
    """

    op = "softmin"


class Softmax2d(Module):
    """Softmax over the channels of images (N, C, H, W) or (C, H, W).

    >>> import ranvier as rv
    >>> rv.nn.Softmax2d()(rv.ones(1, 2, 1, 1)).flatten()
    tensor([0.5000, 0.5000])
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, input: Any) -> Tensor:
        if input.ndim not in (3, 4):
            raise ValueError(f"[Softmax2d] got x of shape {input.shape}; expected 3 or 4 dimensions")
        return F.softmax(input, -3)
