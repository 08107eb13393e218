"""The one layer that a stack of linear layers is equal to."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np

import ranvier.nn as nn
from ranvier import randn
from ranvier.autograd import no_grad, random
from ranvier.explore.depth import require_module

__all__ = ["Collapsed", "collapse"]


class Collapsed(NamedTuple):
    """The layer, the largest difference of its outputs from those of the stack, and the bound on rounding."""

    layer: Any
    difference: float
    bound: float

    @property
    def equal(self) -> bool:
        """Whether the difference is only rounding."""
        return self.difference <= self.bound


def collapse(model: Any, *, samples: int = 1000, seed: int = 0) -> Collapsed:
    """The one `nn.Linear` that is equal to a stack of linear layers, with a numerical check.

    W2 (W1 x + b1) + b2 = (W2 W1) x + (W2 b1 + b2), layer after layer. Both are then computed in float64 for
    standard normal inputs. The bound on rounding is float64's eps times the number of terms of all sums times
    the largest output if all terms had one sign. The layer has the dtype of the stack.

    Args:
        model: an `nn.Sequential` of `nn.Linear`, `nn.Identity` and further Sequentials, or one `nn.Linear`.
        samples, seed: of the inputs; the global random stream does not change.

    Raises TypeError: model is not a Module.
    Raises ValueError: a layer that is not linear, or a model without a Linear.

    >>> import ranvier as rv
    >>> from ranvier import nn
    >>> found = rv.explore.collapse(nn.Sequential(nn.Linear(4, 64), nn.Linear(64, 64), nn.Linear(64, 2)))
    >>> found.layer, found.equal
    (Linear(in_features=4, out_features=2, bias=True), True)
    >>> rv.explore.collapse(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)))
    Traceback (most recent call last):
    ValueError: [collapse] layer "1" is a ReLU, which is not linear; expected nn.Linear layers only
    """
    require_module("collapse", model)
    stack = [(name, layer) for name, layer in model.named_modules(remove_duplicate=False)]
    stack = [(name, layer) for name, layer in stack if not isinstance(layer, (nn.Sequential, nn.Identity))]
    for name, layer in stack:
        if type(layer) is not nn.Linear:
            raise ValueError(
                f'[collapse] layer "{name}" is a {type(layer).__name__}, which is not linear; expected '
                "nn.Linear layers only"
            )
    if not stack:
        raise ValueError("[collapse] got a model without layers; expected at least one nn.Linear")
    first, dtype = stack[0][1], stack[0][1].weight.dtype
    exact = copy.deepcopy(model).double()
    with random.using(random.Generator().manual_seed(seed)), no_grad():
        x = randn(samples, first.in_features, dtype=np.float64)
        weight, bias = np.eye(first.in_features), np.zeros(first.in_features)
        size = np.abs(x._array)  # the sums in the stack, if all terms had one sign
        for _, layer in stack:
            w = layer.weight._array.astype(np.float64)
            b = np.zeros(len(w)) if layer.bias is None else layer.bias._array.astype(np.float64)
            weight, bias, size = w @ weight, w @ bias + b, size @ np.abs(w).T + np.abs(b)
        one = nn.Linear(weight.shape[1], weight.shape[0], dtype=np.float64)
        one.load_state_dict({"weight": weight, "bias": bias})
        difference = float(np.abs(exact(x)._array - one(x)._array).max())
    terms = sum(layer.in_features + 1 for _, layer in stack) + first.in_features + 2
    bound = float(terms * np.finfo(np.float64).eps * size.max())
    return Collapsed(one.to(dtype), difference, bound)
