"""What activations share, and the piecewise linear ones. Formulas and sources: :mod:`ranvier.ops.activation`.

``inplace=True`` changes the input and returns it, as in PyTorch.
"""

from __future__ import annotations

from typing import Any

import ranvier.nn.init as init
import ranvier.ops as ops
from ranvier.autograd.creation import full
from ranvier.autograd.tensor import Tensor
from ranvier.nn.layer import Layer
from ranvier.nn.module import Module, Parameter
from ranvier.nn.registry import number, whole
from ranvier.ops.rows import examples

_NAMES = """
    Hardshrink Hardsigmoid Hardswish Hardtanh Heaviside LeakyReLU PReLU ReLU ReLU6 Softshrink
"""
__all__ = _NAMES.split()


class InPlace(Layer):
    """A layer with ``inplace`` as its only argument."""

    inplace: bool = False

    def _example(self) -> None:
        return None

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class Shrink(Layer):
    _shown = ("*lambd",)
    lambd: float = 0.5


class ReLU(InPlace):
    """y = max(x, 0). | rv.nn.ReLU()(rv.tensor([-1.0, 2.0])) -> tensor([0., 2.])"""


class ReLU6(InPlace):
    """y = min(max(x, 0), 6). | rv.nn.ReLU6()(rv.tensor([-1.0, 2.0, 7.0])) -> tensor([0., 2., 6.])"""


class LeakyReLU(Layer):
    """y = x where x > 0, else negative_slope * x.
    | rv.nn.LeakyReLU(0.5)(rv.tensor([-2.0, 3.0])) -> tensor([-1.,  3.])"""

    op = "leaky_relu"
    negative_slope: float = 0.01
    inplace: bool = False


class Heaviside(Layer):
    """y = 0 where x < 0, values where x = 0, 1 where x > 0. Its gradient is 0: it cannot be trained.
    | rv.nn.Heaviside()(rv.tensor([-1.0, 0.0, 2.35])) -> tensor([0., 0., 1.])"""

    _shown = ("values?",)
    values: float = 0.0


class Hardtanh(Layer):
    """y = x limited to [min_val, max_val].
    | rv.nn.Hardtanh()(rv.tensor([-3.0, 0.5])) -> tensor([-1.0000,  0.5000])"""

    min_val: float = -1.0
    max_val: float = 1.0
    inplace: bool = False


class Hardsigmoid(InPlace):
    """y = x / 6 + 1/2 limited to [0, 1].
    | rv.nn.Hardsigmoid()(rv.tensor([-4.0, 0.0, 4.0])) -> tensor([0.0000, 0.5000, 1.0000])"""

    def extra_repr(self) -> str:
        return ""  # as in PyTorch


class Hardswish(InPlace):
    """y = x hardsigmoid(x). | rv.nn.Hardswish()(rv.tensor([-4.0, 0.0, 4.0])) -> tensor([0., 0., 4.])"""

    def extra_repr(self) -> str:
        return ""  # as in PyTorch


class Softshrink(Shrink):
    """y = x moved towards 0 by lambd, 0 where |x| <= lambd. Raises ValueError unless lambd >= 0.
    | rv.nn.Softshrink()(rv.tensor([-2.0, 0.25, 2.0])) -> tensor([-1.5000,  0.0000,  1.5000])"""


class Hardshrink(Shrink):
    """y = x where |x| > lambd, else 0.
    | rv.nn.Hardshrink()(rv.tensor([-2.0, 0.25, 2.0])) -> tensor([-2.,  0.,  2.])"""


class PReLU(Module):
    """y = x where x > 0, else weight x, with a slope that is learned: one, or one for each channel.

    weight (num_parameters,), starting at init; x (N, num_parameters, ...), any shape for one parameter.
    Raises ValueError where x has another number of channels.
    | rv.nn.PReLU()(rv.tensor([-2.0, 3.0])).detach() -> tensor([-0.5000,  3.0000])"""

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


examples(globals())  # written as ">>> call"
