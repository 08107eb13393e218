"""Activations as layers."""

from typing import Any

from ranvier.nn.activation.piecewise import (
    Hardshrink,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    Heaviside,
    LeakyReLU,
    PReLU,
    ReLU,
    ReLU6,
    Softshrink,
)
from ranvier.nn.activation.smooth import (
    CELU,
    ELU,
    GELU,
    GLU,
    SELU,
    LogSigmoid,
    LogSoftmax,
    Mish,
    Sigmoid,
    SiLU,
    Softmax,
    Softmin,
    Softplus,
    Softsign,
    Tanh,
    Tanhshrink,
)
from ranvier.nn.reshape import Identity

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "SELU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "Heaviside",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
]


def named(name: str) -> Any:
    """A new layer by the name of its operation: "relu", "leaky_relu", "softmax"; "linear" is Identity.

    Raises ValueError for an unknown name.

    >>> from ranvier.nn import activation
    >>> activation.named("leaky_relu")
    LeakyReLU(negative_slope=0.01)
    """
    if name == "linear":
        return Identity()
    kind = _BY_NAME.get(name.replace("_", "").lower()) if isinstance(name, str) else None
    if kind is None:
        raise ValueError(
            f"[activation] got {name!r}; expected the name of one, such as 'relu', 'tanh', 'sigmoid', "
            "'gelu', 'softmax' or 'linear'"
        )
    return kind()


_BY_NAME = {layer.lower(): globals()[layer] for layer in __all__}
