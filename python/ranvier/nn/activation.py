"""Activations as layers. Formulas of those that work element by element: :mod:`ranvier.ops.activation`.

``inplace=True`` changes the input and returns it, as in PyTorch.

The base `Module` reads two attributes of these classes: ``_shown`` are the settings that repr shows, "*name"
without the name, "name?" unless it is the default; and `_example` gives an input without elements, with which
a new layer is called once, so that wrong settings are refused at once.
"""

from __future__ import annotations

import ranvier.nn.functional as F
import ranvier.nn.init as init
import ranvier.ops as ops
from ranvier.nn.module import Module, Parameter
from ranvier.nn.reshape import Identity
from ranvier.nn.table import LAYERS
from ranvier.ops.elementwise.dtypes import as_tensor
from ranvier.ops.making.creation import empty
from ranvier.tensors.data import refuse_torch
from ranvier.tensors.errors import number, whole
from ranvier.tensors.failures import misfit
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import DtypeLike, TensorLike

__all__ = LAYERS["activation"]


class _WithSettings(Module):
    """Base of the layers with settings, which their op checks."""

    def _example(self) -> tuple[Tensor, ...] | None:
        return (empty((0,) * 8),)  # 8 dimensions: a setting may be the number of one of them.


class ReLU(Module):
    """max(x, 0); a NaN stays NaN. Its slope at 0 is 0.

    Source: Nair and Hinton, "Rectified Linear Units Improve Restricted Boltzmann Machines" (2010).

    >>> import ranvier as rv
    >>> rv.nn.ReLU()(rv.tensor([-1.0, 0.0, 2.0]))
    tensor([0., 0., 2.])
    """

    _shown = ("inplace?",)

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: TensorLike) -> Tensor:
        return F.relu(input, self.inplace)


class LeakyReLU(_WithSettings):
    """x where x > 0, else negative_slope * x.

    Source: Maas, Hannun and Ng, "Rectifier Nonlinearities Improve Neural Network Acoustic Models" (2013).

    >>> import ranvier as rv
    >>> rv.nn.LeakyReLU(0.5)(rv.tensor([-2.0, 3.0]))
    tensor([-1.,  3.])
    """

    _shown = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input: TensorLike) -> Tensor:
        return F.leaky_relu(input, self.negative_slope, self.inplace)


class Hardtanh(_WithSettings):
    """x limited to [min_val, max_val]; its slope at and beyond the limits is 0.

    Integers stay integers, and the limits lose their fractions. Raises ValueError unless min_val <= max_val.

    >>> import ranvier as rv
    >>> rv.nn.Hardtanh()(rv.tensor([-3.0, 0.5, 3.0]))
    tensor([-1.0000,  0.5000,  1.0000])
    """

    _shown = ("min_val", "max_val")

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.min_val = min_val
        self.max_val = max_val
        self.inplace = inplace

    def forward(self, input: TensorLike) -> Tensor:
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)


class ReLU6(Module):
    """x limited to [0, 6].

    >>> import ranvier as rv
    >>> rv.nn.ReLU6()(rv.tensor([-3.0, 3.0, 9.0]))
    tensor([0., 3., 6.])
    """

    _shown = ("inplace?",)

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: TensorLike) -> Tensor:
        return F.relu6(input, self.inplace)


class Hardsigmoid(Module):
    """x / 6 + 1/2 limited to [0, 1]: a sigmoid of three straight lines.

    Source: Courbariaux, Bengio and David, "BinaryConnect" (2015), with the slope of Howard et al. (2019).

    >>> import ranvier as rv
    >>> rv.nn.Hardsigmoid()(rv.tensor([-4.0, 0.0, 4.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: TensorLike) -> Tensor:
        return F.hardsigmoid(input, self.inplace)


class Hardswish(Module):
    """x hardsigmoid(x): 0 up to -3, x from 3 on.

    Source: Howard et al., "Searching for MobileNetV3" (2019).

    >>> import ranvier as rv
    >>> rv.nn.Hardswish()(rv.tensor([-4.0, 0.0, 4.0]))
    tensor([0., 0., 4.])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: TensorLike) -> Tensor:
        return F.hardswish(input, self.inplace)


class Softshrink(_WithSettings):
    """x moved towards 0 by lambd: 0 where |x| <= lambd. Raises ValueError unless lambd >= 0.

    Source: Donoho, "De-noising by Soft-Thresholding" (1995).

    >>> import ranvier as rv
    >>> rv.nn.Softshrink()(rv.tensor([-2.0, 0.25, 2.0]))
    tensor([-1.5000,  0.0000,  1.5000])
    """

    _shown = ("*lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: TensorLike) -> Tensor:
        return F.softshrink(input, self.lambd)


class Hardshrink(_WithSettings):
    """x where |x| > lambd, else 0.

    Source: Donoho and Johnstone, "Ideal Spatial Adaptation by Wavelet Shrinkage" (1994).

    >>> import ranvier as rv
    >>> rv.nn.Hardshrink()(rv.tensor([-2.0, 0.25, 2.0]))
    tensor([-2.,  0.,  2.])
    """

    _shown = ("*lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: TensorLike) -> Tensor:
        return F.hardshrink(input, self.lambd)


class ELU(_WithSettings):
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


class GELU(_WithSettings):
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


class Softplus(_WithSettings):
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


class CELU(_WithSettings):
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


class Heaviside(_WithSettings):
    """y = 0 where x < 0, values where x = 0, 1 where x > 0. Its gradient is 0: it cannot be trained.

    >>> import ranvier as rv
    >>> rv.nn.Heaviside()(rv.tensor([-1.0, 0.0, 2.35]))
    tensor([0., 0., 1.])
    """

    _shown = ("values?",)

    def __init__(self, values: float = 0.0) -> None:
        super().__init__()
        self.values = values

    def forward(self, input: TensorLike) -> Tensor:
        return F.heaviside(input, self.values)


class PReLU(Module):
    """y = x where x > 0, else weight x. weight is learned: one number, or one for each channel.

    weight (num_parameters,) starts with the value init. x (N, num_parameters, ...), or with one parameter any
    shape. Raises ValueError if x has another number of channels.

    >>> import ranvier as rv
    >>> rv.nn.PReLU()(rv.tensor([-2.0, 3.0])).detach()
    tensor([-0.5000,  3.0000])
    """

    _shown = ("num_parameters",)

    def __init__(self, num_parameters: int = 1, init: float = 0.25, dtype: DtypeLike | None = None) -> None:
        super().__init__()
        self.num_parameters = whole("prelu", "num_parameters", num_parameters)
        self.init = init
        number("prelu", "init", init)
        self.weight = Parameter(empty(self.num_parameters, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets every slope to its starting value."""
        init.constant_(self.weight, self.init)

    def forward(self, input: TensorLike) -> Tensor:
        return F.prelu(input, self.weight)


class GLU(_WithSettings):
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


class _AlongDim(Module):
    """Base of layers that compute along dimension dim. dim = None: the op chooses the dimension."""

    _shown = ("dim",)

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def _example(self) -> tuple[Tensor, ...] | None:
        if self.dim is None:
            return (empty(0),)
        return (empty((0,) * 8),)  # So that a dim up to 7 exists.


class Softmax(_AlongDim):
    """y_i = exp(x_i) / sum_j exp(x_j) along dimension ``dim``; None: see :func:`ranvier.softmax`.

    >>> import ranvier as rv
    >>> rv.nn.Softmax(dim=0)(rv.tensor([1.0, 1.0]))
    tensor([0.5000, 0.5000])
    """

    def forward(self, input: TensorLike) -> Tensor:
        return F.softmax(input, self.dim)


class LogSoftmax(_AlongDim):
    """y_i = x_i - log(sum_j exp(x_j)) along dimension ``dim``; None: see :func:`ranvier.softmax`.

    >>> import ranvier as rv
    >>> rv.nn.LogSoftmax(dim=0)(rv.tensor([0.0, 1000.0]))
    tensor([-1000.,     0.])
    """

    def forward(self, input: TensorLike) -> Tensor:
        return F.log_softmax(input, self.dim)


class Softmin(_AlongDim):
    """softmax(-x) along dimension ``dim``.

    >>> import ranvier as rv
    >>> rv.nn.Softmin(dim=0)(rv.tensor([1.0, 1.0]))
    tensor([0.5000, 0.5000])
    """

    def forward(self, input: TensorLike) -> Tensor:
        return F.softmin(input, self.dim)


class Softmax2d(Module):
    """Softmax over the channels of images (N, C, H, W) or (C, H, W).

    >>> import ranvier as rv
    >>> rv.nn.Softmax2d()(rv.ones(1, 2, 1, 1)).flatten()
    tensor([0.5000, 0.5000])
    """

    def forward(self, input: TensorLike) -> Tensor:
        input = as_tensor("Softmax2d", input)
        if input.ndim not in (3, 4):
            raise misfit("Softmax2d", {"x": input.shape}, "3 or 4 dimensions")
        return F.softmax(input, -3)


def named(name: str) -> Module:
    """A new layer by the name of its op: "relu", "leaky_relu", "softmax"; "linear" is Identity.

    Raises ValueError for an unknown name.

    >>> from ranvier.nn import activation
    >>> activation.named("leaky_relu")
    LeakyReLU(negative_slope=0.01)
    """
    if name == "linear":
        return Identity()
    layer_class = None
    if isinstance(name, str):
        layer_class = _BY_NAME.get(name.replace("_", "").lower())
    if layer_class is None:
        refuse_torch("activation", "an activation", name)
        raise ValueError(
            f"[activation] got {name!r}; expected an activation's name such as 'relu', 'tanh', 'sigmoid', "
            "'gelu', 'softmax' or 'linear'"
        )
    return layer_class()


# {the name of a class in lower case: the class}
_BY_NAME: dict[str, type[Module]] = {name.lower(): globals()[name] for name in __all__ if name != "Softmax2d"}
