"""Activations as layers, by the modules of their functions in :mod:`ranvier.ops.activation`, which has the
formulas of those that work element by element.

``inplace=True`` changes the input and returns it, as in PyTorch.

The base `Module` reads two attributes of these classes: ``_shown`` are the settings that repr shows, "*name"
without the name, "name?" unless it is the default; and `_example` gives an input without elements, with which
a new layer is called once, so that wrong settings are refused at once.
"""

from __future__ import annotations

import ranvier.first_use as first_use
from ranvier.nn.module import Module
from ranvier.nn.table import LAYERS
from ranvier.tensors.data import refuse_torch

_NAMES = {module: LAYERS[f"activation.{module}"] for module in ("piecewise", "smooth", "softmax")}
__getattr__ = first_use.FirstUse(__name__, {module: " ".join(names) for module, names in _NAMES.items()})
__dir__ = __getattr__.directory
__all__ = [*__getattr__.names]
# {the name of a class in lower case: the name}
_BY_NAME = {name.lower(): name for name in __all__ if name != "Softmax2d"}


def named(name: str) -> Module:
    """A new layer by the name of its op: "relu", "leaky_relu", "softmax"; "linear" is Identity.

    Raises ValueError for an unknown name.

    >>> from ranvier.nn import activation
    >>> activation.named("leaky_relu")
    LeakyReLU(negative_slope=0.01)
    """
    if name == "linear":
        from ranvier.nn.reshape import Identity

        return Identity()
    class_name = None
    if isinstance(name, str):
        class_name = _BY_NAME.get(name.replace("_", "").lower())
    if class_name is None:
        refuse_torch("activation", "an activation", name)
        raise ValueError(
            f"[activation] got {name!r}; expected an activation's name such as 'relu', 'tanh', 'sigmoid', "
            "'gelu', 'softmax' or 'linear'"
        )
    layer: Module = __getattr__(class_name)()
    return layer
