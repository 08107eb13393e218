"""What activations share, and the piecewise linear ones. Formulas and sources: :mod:`ranvier.ops.activation`.

``inplace=True`` changes the input and returns it, as in PyTorch.
"""

from __future__ import annotations

from typing import Any

import ranvier.nn.functional as F
import ranvier.nn.init as init
import ranvier.ops as ops
from ranvier.autograd.creation import empty, full
from ranvier.autograd.tensor import Tensor
from ranvier.nn.module import Module, Parameter
from ranvier.nn.registry import number, whole

_NAMES = """
    Hardshrink Hardsigmoid Hardswish Hardtanh Heaviside LeakyReLU PReLU RReLU ReLU ReLU6 Softshrink
    Threshold
"""
__all__ = _NAMES.split()


class OfAnyRank(Module):
    def _example(self) -> tuple[Any, ...]:
        return (empty((0,) * 8),)


class Activation(Module):
    """A layer without settings."""

    op: str  # its name in ranvier.ops

    def __init__(self) -> None:
        super().__init__()

    def forward(self, input: Any) -> Tensor:
        return getattr(ops, self.op)(input)


class InPlace(Module):
    """A layer with ``inplace`` as its only argument."""

    op: str

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Any) -> Tensor:
        return getattr(ops, self.op)(input, inplace=self.inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class WithAlpha(OfAnyRank):
    op: str
    _shown = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: Any) -> Tensor:
        return getattr(ops, self.op)(input, self.alpha, inplace=self.inplace)


class Shrink(OfAnyRank):
    op: str

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Any) -> Tensor:
        return getattr(ops, self.op)(input, self.lambd)

    def extra_repr(self) -> str:
        return str(self.lambd)


class AlongDim(OfAnyRank):
    """dim: None is the dimension that the op chooses."""

    op: str
    _shown = ("dim",)

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def _example(self) -> tuple[Any, ...]:
        return super()._example() if self.dim is not None else (empty(0),)

    def forward(self, input: Any) -> Tensor:
        return getattr(ops, self.op)(input, self.dim)


class ReLU(InPlace):
    """y = max(x, 0).

    >>> import ranvier as rv
    >>> rv.nn.ReLU()(rv.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    op = "relu"


class ReLU6(InPlace):
    """y = min(max(x, 0), 6).

    >>> import ranvier as rv
    >>> rv.nn.ReLU6()(rv.tensor([-1.0, 2.0, 7.0]))
    tensor([0., 2., 6.])
    """

    op = "relu6"


class LeakyReLU(OfAnyRank):
    """y = x where x > 0, else negative_slope * x.

    >>> import ranvier as rv
    >>> rv.nn.LeakyReLU(0.5)(rv.tensor([-2.0, 3.0]))
    tensor([-1.,  3.])
    """

    _shown = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input: Any) -> Tensor:
        return ops.leaky_relu(input, self.negative_slope, inplace=self.inplace)


class Heaviside(OfAnyRank):
    """y = 0 where x < 0, values where x = 0, 1 where x > 0. Its gradient is 0: it cannot be trained.

    >>> import ranvier as rv
    >>> rv.nn.Heaviside()(rv.tensor([-1.0, 0.0, 2.35]))
    tensor([0., 0., 1.])
    """

    def __init__(self, values: float = 0.0) -> None:
        super().__init__()
        self.values = values

    def forward(self, input: Any) -> Tensor:
        return ops.heaviside(input, self.values)

    def extra_repr(self) -> str:
        return f"values={self.values}" if self.values else ""


class Hardtanh(OfAnyRank):
    """y = x limited to [min_val, max_val].

    >>> import ranvier as rv
    >>> rv.nn.Hardtanh()(rv.tensor([-3.0, 0.5]))
    tensor([-1.0000,  0.5000])
    """

    _shown = ("min_val", "max_val")

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.min_val = min_val
        self.max_val = max_val
        self.inplace = inplace

    def forward(self, input: Any) -> Tensor:
        return ops.hardtanh(input, self.min_val, self.max_val, inplace=self.inplace)


class Hardsigmoid(InPlace):
    """y = x / 6 + 1/2 limited to [0, 1].

    >>> import ranvier as rv
    >>> rv.nn.Hardsigmoid()(rv.tensor([-4.0, 0.0, 4.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """

    op = "hardsigmoid"

    def extra_repr(self) -> str:
        return ""  # as in PyTorch


class Hardswish(InPlace):
    """y = x hardsigmoid(x).

    >>> import ranvier as rv
    >>> rv.nn.Hardswish()(rv.tensor([-4.0, 0.0, 4.0]))
    tensor([0., 0., 4.])
    """

    op = "hardswish"

    def extra_repr(self) -> str:
        return ""  # as in PyTorch


class Softshrink(Shrink):
    """y = x moved towards 0 by lambd, 0 where |x| <= lambd. Raises ValueError unless lambd >= 0.

    >>> import ranvier as rv
    >>> rv.nn.Softshrink()(rv.tensor([-2.0, 0.25, 2.0]))
    tensor([-1.5000,  0.0000,  1.5000])
    """

    op = "softshrink"


class Hardshrink(Shrink):
    """y = x where |x| > lambd, else 0.

    >>> import ranvier as rv
    >>> rv.nn.Hardshrink()(rv.tensor([-2.0, 0.25, 2.0]))
    tensor([-2.,  0.,  2.])
    """

    op = "hardshrink"


class PReLU(Module):
    """y = x where x > 0, else weight x, with a slope that is learned: one, or one for each channel.

    weight (num_parameters,), starting at init; x (N, num_parameters, ...), any shape for one parameter.
    Raises ValueError where x has another number of channels.

    >>> import ranvier as rv
    >>> rv.nn.PReLU()(rv.tensor([-2.0, 3.0])).detach()
    tensor([-0.5000,  3.0000])
    """

    _shown = ("num_parameters",)

    def __init__(self, num_parameters: int = 1, init: float = 0.25, dtype: Any = None) -> None:
        super().__init__()
        self.num_parameters = whole("prelu", "num_parameters", num_parameters)
        self.init = init
        self.weight = Parameter(full((self.num_parameters,), number("prelu", "init", init), dtype=dtype))

    def reset_parameters(self) -> None:
        """Sets every slope to its starting value."""
        init.constant_(self.weight, self.init)

    def forward(self, input: Any) -> Tensor:
        return ops.prelu(input, self.weight)


class Threshold(Module):
    """x where x > threshold, else the value.

    >>> import ranvier as rv
    >>> rv.nn.Threshold(1.0, -1.0)(rv.tensor([0.0, 2.0]))
    tensor([-1.,  2.])
    """

    _shown = ("threshold", "value")

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold = number("Threshold", "threshold", threshold)
        self.value, self.inplace = number("Threshold", "value", value), bool(inplace)

    def forward(self, input: Any) -> Tensor:
        return F.threshold(input, self.threshold, self.value, self.inplace)


class RReLU(Module):
    """x where x >= 0, else a x, with a random a while training: see :func:`ranvier.nn.functional.rrelu`.

    >>> import ranvier as rv
    >>> rv.nn.RReLU(0.0, 1.0).eval()(rv.tensor([-6.0, 2.0]))
    tensor([-3.,  2.])
    """

    _shown = ("lower", "upper")

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, inplace: bool = False) -> None:
        super().__init__()
        self.lower, self.upper = number("RReLU", "lower", lower), number("RReLU", "upper", upper)
        if not self.lower <= self.upper:
            raise ValueError(f"[RReLU] got lower {lower} and upper {upper}; expected lower <= upper")
        self.inplace = bool(inplace)

    def forward(self, input: Any) -> Tensor:
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)
