"""Activations with an exponential. Formulas and sources: :mod:`ranvier.ops.activation`,
:mod:`ranvier.ops.activation.softmax`.

``inplace=True`` changes the input and returns it, as in PyTorch.
"""

from __future__ import annotations

from typing import Any

import ranvier.ops as ops
from ranvier.autograd.creation import empty
from ranvier.autograd.failures import OpError
from ranvier.autograd.tensor import Tensor
from ranvier.nn.activation.piecewise import InPlace
from ranvier.nn.layer import Layer
from ranvier.ops.rows import examples

_NAMES = """
    CELU ELU GELU GLU SELU LogSigmoid LogSoftmax Mish SiLU Sigmoid Softmax Softmax2d Softplus
    Softsign Tanh Tanhshrink
"""
__all__ = _NAMES.split()


class WithAlpha(Layer):
    alpha: float = 1.0
    inplace: bool = False


class AlongDim(Layer):
    """dim: None is the dimension that the op chooses."""

    dim: int | None = None

    def _example(self) -> tuple[Any, ...] | None:
        return super()._example() if self.dim is not None else (empty(0),)


class ELU(WithAlpha):
    """y = x where x > 0, else alpha * (exp(x) - 1).
    | rv.nn.ELU()(rv.tensor([0.0, 3.0])) -> tensor([0., 3.])"""


class Sigmoid(Layer):
    """y = 1 / (1 + exp(-x)). | rv.nn.Sigmoid()(rv.tensor([0.0])) -> tensor([0.5000])"""


class Tanh(Layer):
    """y = tanh(x). | rv.nn.Tanh()(rv.tensor([0.0])) -> tensor([0.])"""


class GELU(Layer):
    """y = x Phi(x), Phi the standard normal distribution function; approximate: 'none' or 'tanh'.

    Raises ValueError for another approximation.
    | rv.nn.GELU(approximate="tanh")(rv.tensor([0.0, 100.0])) -> tensor([  0., 100.])"""

    approximate: str = "none"


class SiLU(InPlace):
    """y = x * sigmoid(x), also called swish.
    | rv.nn.SiLU()(rv.tensor([0.0, 100.0])) -> tensor([  0., 100.])"""


class Softplus(Layer):
    """y = log(1 + exp(beta x)) / beta; x itself where beta x > threshold.
    | rv.nn.Softplus()(rv.tensor([0.0])) -> tensor([0.6931])"""

    beta: float = 1.0
    threshold: float = 20.0


class Softmax(AlongDim):
    """y_i = exp(x_i) / sum_j exp(x_j) along dimension ``dim``; None: see :func:`ranvier.softmax`.
    | rv.nn.Softmax(dim=0)(rv.tensor([1.0, 1.0])) -> tensor([0.5000, 0.5000])"""


class LogSoftmax(AlongDim):
    """y_i = x_i - log(sum_j exp(x_j)) along dimension ``dim``; None: see :func:`ranvier.softmax`.
    | rv.nn.LogSoftmax(dim=0)(rv.tensor([0.0, 1000.0])) -> tensor([-1000.,     0.])"""

    op = "log_softmax"


class SELU(InPlace):
    """y = 1.0507 (x where x > 0, else 1.6733 (exp(x) - 1)).
    | rv.nn.SELU()(rv.tensor([-100.0, 0.0, 1.0])) -> tensor([-1.7581,  0.0000,  1.0507])"""


class CELU(WithAlpha):
    """y = x where x > 0, else alpha (exp(x / alpha) - 1). Raises ValueError for alpha 0.
    | rv.nn.CELU(2.0)(rv.tensor([-100.0, 0.0, 3.0])) -> tensor([-2.,  0.,  3.])"""


class Mish(InPlace):
    """y = x tanh(log(1 + exp(x))). | rv.nn.Mish()(rv.tensor([0.0, 100.0])) -> tensor([  0., 100.])"""


class LogSigmoid(Layer):
    """y = log(1 / (1 + exp(-x))).
    | rv.nn.LogSigmoid()(rv.tensor([-100.0, 0.0])) -> tensor([-100.0000,   -0.6931])"""


class Softsign(Layer):
    """y = x / (1 + |x|).
    | rv.nn.Softsign()(rv.tensor([-1.0, 0.0, 3.0])) -> tensor([-0.5000,  0.0000,  0.7500])"""


class Tanhshrink(Layer):
    """y = x - tanh(x). | rv.nn.Tanhshrink()(rv.tensor([0.0, 100.0])) -> tensor([ 0., 99.])"""


class GLU(Layer):
    """y = a sigmoid(b), a and b the halves of x along ``dim``. Raises ValueError for an odd length.
    | rv.nn.GLU()(rv.tensor([6.0, 8.0, 0.0, 100.0])) -> tensor([3., 8.])"""

    dim: int = -1


class Softmax2d(Layer):
    """Softmax over the channels of images (N, C, H, W) or (C, H, W).
    | rv.nn.Softmax2d()(rv.ones(1, 2, 1, 1)).flatten() -> tensor([0.5000, 0.5000])"""

    def forward(self, input: Any) -> Tensor:
        if input.ndim not in (3, 4):
            raise OpError(f"[Softmax2d] got x of shape {input.shape}; expected 3 or 4 dimensions")
        return ops.softmax(input, -3)


examples(globals())  # written as ">>> call"
