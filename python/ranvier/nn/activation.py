"""Activations as layers. `_layer` makes those that work element by element, from the rows of
:mod:`ranvier.ops.activation.table`.

``inplace=True`` changes the input and returns it, as in PyTorch.
"""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import ranvier.nn.functional as F
import ranvier.nn.init as init
import ranvier.ops as ops
from ranvier.nn.layer import Layer
from ranvier.nn.module import Module, Parameter
from ranvier.nn.reshape import Identity
from ranvier.nn.table import LAYERS
from ranvier.ops.activation.table import TABLE
from ranvier.ops.elementwise.dtypes import as_tensor
from ranvier.ops.making.creation import empty
from ranvier.tensors.data import refuse_torch
from ranvier.tensors.errors import number, whole
from ranvier.tensors.failures import misfit
from ranvier.tensors.tensor import Tensor

__all__ = LAYERS["activation"]
_SHOWN = {
    "hardshrink": ("*lambd",),
    "softshrink": ("*lambd",),
    "hardsigmoid": (),
    "hardswish": (),
}  # the settings that repr shows, as in PyTorch; see `settings_text` of nn/arguments.py


def _gelu(self: Any, input: Any) -> Tensor:
    """forward of GELU: approximate is a keyword, as in PyTorch; without it the core answers."""
    if self.approximate == "none":
        return F.gelu(input)
    return F.gelu(input, approximate=self.approximate)


def _layer(op: str, name: str) -> type[Layer]:
    """Makes the layer class `name` of an op, with the settings, formula and example of the op."""
    function = getattr(ops, op)
    settings = [*inspect.signature(function).parameters.values()][1:]
    example = r">>> rv\.(?:nn\.functional\.)?\w+\((rv\.tensor\(\[.*?\]\))(?:, (.*))?\)\n"
    text = re.sub(example, rf">>> rv.nn.{name}(\2)(\1)\n", f"The layer of ``{op}``: {function.__doc__}")
    body: dict[str, Any] = {"__doc__": text, "__module__": __name__, "_op": op}
    body["__annotations__"] = {setting.name: setting.annotation for setting in settings}
    body |= {setting.name: setting.default for setting in settings}
    if [*body["__annotations__"]] == ["inplace"]:
        body["_shown"] = ("inplace?",)
    if op in _SHOWN:
        body["_shown"] = _SHOWN[op]
    if op == "gelu":
        body["forward"] = _gelu
    return type(name, (Layer,), body)


if TYPE_CHECKING:  # editors and type checkers read these names; tests/interface compares them with the table
    CELU = Layer
    ELU = Layer
    GELU = Layer
    Hardshrink = Layer
    Hardsigmoid = Layer
    Hardswish = Layer
    Hardtanh = Layer
    LeakyReLU = Layer
    LogSigmoid = Layer
    Mish = Layer
    ReLU = Layer
    ReLU6 = Layer
    SELU = Layer
    SiLU = Layer
    Sigmoid = Layer
    Softplus = Layer
    Softshrink = Layer
    Softsign = Layer
    Tanh = Layer
    Tanhshrink = Layer

globals().update({row.layer: _layer(op, row.layer) for op, row in TABLE.items()})


class Heaviside(Layer):
    """y = 0 where x < 0, values where x = 0, 1 where x > 0. Its gradient is 0: it cannot be trained.

    >>> import ranvier as rv
    >>> rv.nn.Heaviside()(rv.tensor([-1.0, 0.0, 2.35]))
    tensor([0., 0., 1.])
    """

    _shown = ("values?",)
    values: float = 0.0


class PReLU(Module):
    """y = x where x > 0, else weight x. weight is learned: one number, or one for each channel.

    weight (num_parameters,) starts with the value init. x (N, num_parameters, ...), or with one parameter any
    shape. Raises ValueError if x has another number of channels.

    >>> import ranvier as rv
    >>> rv.nn.PReLU()(rv.tensor([-2.0, 3.0])).detach()
    tensor([-0.5000,  3.0000])
    """

    _shown = ("num_parameters",)

    def __init__(self, num_parameters: int = 1, init: float = 0.25, dtype: Any = None) -> None:
        super().__init__()
        self.num_parameters = whole("prelu", "num_parameters", num_parameters)
        self.init = init
        number("prelu", "init", init)
        self.weight = Parameter(empty(self.num_parameters, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets every slope to its starting value."""
        init.constant_(self.weight, self.init)

    def forward(self, input: Any) -> Tensor:
        return F.prelu(input, self.weight)


class GLU(Layer):
    """y = a sigmoid(b), a and b the halves of x along ``dim``. Raises ValueError for an odd length.

    >>> import ranvier as rv
    >>> rv.nn.GLU()(rv.tensor([6.0, 8.0, 0.0, 100.0]))
    tensor([3., 8.])
    """

    dim: int = -1


class AlongDim(Layer):
    """Base of layers that compute along dimension dim. dim = None: the op chooses the dimension."""

    dim: int | None = None

    def _example(self) -> tuple[Any, ...] | None:
        if self.dim is not None:
            return super()._example()
        return (empty(0),)


class Softmax(AlongDim):
    """y_i = exp(x_i) / sum_j exp(x_j) along dimension ``dim``; None: see :func:`ranvier.softmax`.

    >>> import ranvier as rv
    >>> rv.nn.Softmax(dim=0)(rv.tensor([1.0, 1.0]))
    tensor([0.5000, 0.5000])
    """


class LogSoftmax(AlongDim):
    """y_i = x_i - log(sum_j exp(x_j)) along dimension ``dim``; None: see :func:`ranvier.softmax`.

    >>> import ranvier as rv
    >>> rv.nn.LogSoftmax(dim=0)(rv.tensor([0.0, 1000.0]))
    tensor([-1000.,     0.])
    """

    _op = "log_softmax"


class Softmin(AlongDim):
    """softmax(-x) along dimension ``dim``.

    >>> import ranvier as rv
    >>> rv.nn.Softmin(dim=0)(rv.tensor([1.0, 1.0]))
    tensor([0.5000, 0.5000])
    """


class Softmax2d(Layer):
    """Softmax over the channels of images (N, C, H, W) or (C, H, W).

    >>> import ranvier as rv
    >>> rv.nn.Softmax2d()(rv.ones(1, 2, 1, 1)).flatten()
    tensor([0.5000, 0.5000])
    """

    def forward(self, input: Any) -> Tensor:
        input = as_tensor("Softmax2d", input)
        if input.ndim not in (3, 4):
            raise misfit("Softmax2d", {"x": input.shape}, "3 or 4 dimensions")
        return F.softmax(input, -3)


def named(name: str) -> Any:
    """A new layer by the name of its op: "relu", "leaky_relu", "softmax"; "linear" is Identity.

    Raises ValueError for an unknown name.

    >>> from ranvier.nn import activation
    >>> activation.named("leaky_relu")
    LeakyReLU(negative_slope=0.01)
    """
    if name == "linear":
        return Identity()
    if isinstance(name, str):
        kind = _BY_NAME.get(name.replace("_", "").lower())
    else:
        kind = None
    if kind is None:
        refuse_torch("activation", "an activation", name)
        raise ValueError(
            f"[activation] got {name!r}; expected an activation's name such as 'relu', 'tanh', 'sigmoid', "
            "'gelu', 'softmax' or 'linear'"
        )
    return kind()


_BY_NAME = {name.lower(): globals()[name] for name in __all__ if name != "Softmax2d"}
