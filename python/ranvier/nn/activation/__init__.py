"""Activations as layers."""

from typing import Any

from ranvier.autograd.data import refuse_torch
from ranvier.nn.activation import piecewise, smooth
from ranvier.nn.activation.piecewise import *
from ranvier.nn.activation.smooth import *
from ranvier.nn.reshape import Identity


def named(name: str) -> Any:
    """A new layer by the name of its op: "relu", "leaky_relu", "softmax"; "linear" is Identity.

    Raises ValueError for an unknown name.

    >>> from ranvier.nn import activation
    >>> activation.named("leaky_relu")
    LeakyReLU(negative_slope=0.01)
    """
    if name == "linear":
        return Identity()
    kind = _BY_NAME.get(name.replace("_", "").lower()) if isinstance(name, str) else None
    if kind is None:
        refuse_torch("activation", "an activation", name)
        raise ValueError(
            f"[activation] got {name!r}; expected an activation's name such as 'relu', 'tanh', 'sigmoid', "
            "'gelu', 'softmax' or 'linear'"
        )
    return kind()


_BY_NAME = {
    layer.lower(): globals()[layer] for layer in {*piecewise.__all__, *smooth.__all__} - {"Softmax2d"}
}
