"""Layers of smooth activations. Functions: :mod:`ranvier.ops.activation.smooth`."""

from __future__ import annotations

import ranvier.nn.functional as F
import ranvier.ops as ops
from ranvier.nn.activation.base import WithSettings
from ranvier.nn.module import Module
from ranvier.nn.table import LAYERS
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import TensorLike

__all__ = LAYERS["activation.smooth"]


class ELU(WithSettings):
    """x where x > 0, else alpha * (exp(x) - 1).

    Source: Clevert, Unterthiner and Hochreiter, "Fast and Accurate Deep Network Learning by Exponential
    Linear Units" (2015).

    >>> import ranvier as rv
    >>> rv.nn.ELU()(rv.tensor([0.0, 3.0]))
    tensor([0., 3.])
    """

    _shown = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: TensorLike) -> Tensor:
        return F.elu(input, self.alpha, self.inplace)


class Sigmoid(Module):
    """1 / (1 + exp(-x)), within 2 ulp for every float32.

    >>> import ranvier as rv
    >>> rv.nn.Sigmoid()(rv.tensor([0.0, 100.0]))
    tensor([0.5000, 1.0000])
    """

    def forward(self, input: TensorLike) -> Tensor:
        return ops.sigmoid(input)  # not by nn.functional: PyTorch's layer calls torch.sigmoid


class Softsign(Module):
    """x / (1 + |x|).

    Source: Turian, Bergstra and Bengio, "Quadratic Features and Deep Architectures for Chunking" (2009).

    >>> import ranvier as rv
    >>> rv.nn.Softsign()(rv.tensor([-1.0, 0.0, 3.0]))
    tensor([-0.5000,  0.0000,  0.7500])
    """

    def forward(self, input: TensorLike) -> Tensor:
        return F.softsign(input)


class Tanh(Module):
    """The hyperbolic tangent, within 2 ulp for every float32.

    >>> import ranvier as rv
    >>> rv.nn.Tanh()(rv.tensor([0.0, 100.0]))
    tensor([0., 1.])
    """

    def forward(self, input: TensorLike) -> Tensor:
        return ops.tanh(input)  # as in Sigmoid


class Tanhshrink(Module):
    """x - tanh(x).

    >>> import ranvier as rv
    >>> rv.nn.Tanhshrink()(rv.tensor([0.0, 100.0]))
    tensor([ 0., 99.])
    """

    def forward(self, input: TensorLike) -> Tensor:
        return F.tanhshrink(input)


class GELU(WithSettings):
    """x * P(Z <= x) for a standard normal Z: 0.5 x (1 + erf(x / sqrt(2))).

    ``approximate="tanh"``: 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))). Another value
    raises ValueError.

    Source: Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016).

    >>> import ranvier as rv
    >>> rv.nn.GELU()(rv.tensor([-100.0, 0.0, 100.0]))
    tensor([ -0.,   0., 100.])
    """

    _shown = ("approximate",)

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: TensorLike) -> Tensor:
        if self.approximate == "none":
            return F.gelu(input)  # Of one argument alone, the core answers this call without Python.
        return F.gelu(input, approximate=self.approximate)


class SiLU(Module):
    """x * sigmoid(x), also called swish.

    Source: Elfwing, Uchibe and Doya, "Sigmoid-Weighted Linear Units" (2017).

    >>> import ranvier as rv
    >>> rv.nn.SiLU()(rv.tensor([0.0, 100.0]))
    tensor([  0., 100.])
    """

    _shown = ("inplace?",)

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: TensorLike) -> Tensor:
        return F.silu(input, self.inplace)


class Softplus(WithSettings):
    """log(1 + exp(beta x)) / beta, a smooth relu; x itself where beta x > threshold.

    Source: Dugas et al., "Incorporating Second-Order Functional Knowledge for Better Option Pricing" (2000).

    >>> import ranvier as rv
    >>> rv.nn.Softplus()(rv.tensor([-200.0, 0.0, 200.0]))
    tensor([  0.0000,   0.6931, 200.0000])
    """

    _shown = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: TensorLike) -> Tensor:
        return F.softplus(input, self.beta, self.threshold)


class SELU(Module):
    """1.0507 x where x > 0, else 1.0507 * 1.6733 (exp(x) - 1): keeps a layer's mean 0 and variance 1.

    Source: Klambauer et al., "Self-Normalizing Neural Networks" (2017).

    >>> import ranvier as rv
    >>> rv.nn.SELU()(rv.tensor([-100.0, 0.0, 1.0]))
    tensor([-1.7581,  0.0000,  1.0507])
    """

    _shown = ("inplace?",)

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: TensorLike) -> Tensor:
        return F.selu(input, self.inplace)


class CELU(WithSettings):
    """x where x > 0, else alpha (exp(x / alpha) - 1). Raises ValueError for alpha 0.

    Source: Barron, "Continuously Differentiable Exponential Linear Units" (2017).

    >>> import ranvier as rv
    >>> rv.nn.CELU(2.0)(rv.tensor([-100.0, 0.0, 3.0]))
    tensor([-2.,  0.,  3.])
    """

    _shown = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: TensorLike) -> Tensor:
        return F.celu(input, self.alpha, self.inplace)


class Mish(Module):
    """x tanh(softplus(x)).

    Source: Misra, "Mish: A Self Regularized Non-Monotonic Activation Function" (2019).

    >>> import ranvier as rv
    >>> rv.nn.Mish()(rv.tensor([0.0, 100.0]))
    tensor([  0., 100.])
    """

    _shown = ("inplace?",)

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: TensorLike) -> Tensor:
        return F.mish(input, self.inplace)


class LogSigmoid(Module):
    """log(1 / (1 + exp(-x))), accurate also where the sigmoid is 0 or 1.

    >>> import ranvier as rv
    >>> rv.nn.LogSigmoid()(rv.tensor([-100.0, 0.0]))
    tensor([-100.0000,   -0.6931])
    """

    def forward(self, input: TensorLike) -> Tensor:
        return F.logsigmoid(input)


class GLU(WithSettings):
    """y = a sigmoid(b), a and b the halves of x along ``dim``. Raises ValueError for an odd length.

    >>> import ranvier as rv
    >>> rv.nn.GLU()(rv.tensor([6.0, 8.0, 0.0, 100.0]))
    tensor([3., 8.])
    """

    _shown = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: TensorLike) -> Tensor:
        return F.glu(input, self.dim)
