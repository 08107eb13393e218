"""Layers of activations that are made of pieces: straight lines, in hardswish a parabola. Functions:
:mod:`ranvier.ops.activation.piecewise`."""

from __future__ import annotations

import ranvier.nn.functional as F
import ranvier.nn.init as init
from ranvier.nn.activation.base import WithSettings
from ranvier.nn.module import Module, Parameter
from ranvier.nn.table import LAYERS
from ranvier.ops.making.creation import empty
from ranvier.tensors.errors import number, whole
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import DtypeLike, TensorLike

__all__ = LAYERS["activation.piecewise"]


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


class LeakyReLU(WithSettings):
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


class Hardtanh(WithSettings):
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


class Softshrink(WithSettings):
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


class Hardshrink(WithSettings):
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


class Heaviside(WithSettings):
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
