"""Weight normalisation: a weight as a length and a direction, computed anew before each call of a layer."""

from __future__ import annotations

from typing import Any, TypeVar

import ranvier.ops as ops
from ranvier.autograd.mode import no_grad
from ranvier.autograd.tensor import Tensor
from ranvier.nn.module import Module
from ranvier.nn.parameter import Parameter
from ranvier.nn.utils.reweighted import Reweighting, add, remove

M = TypeVar("M", bound=Module)


def _length(v: Tensor, dim: int | None) -> Tensor:
    """The 2-norm over all dimensions but dim, which keep size 1; of all elements without dim."""
    axes = tuple(range(v.ndim)) if dim is None else tuple(d for d in range(v.ndim) if d != dim % v.ndim)
    return ops.norm(v, 2, axes, dim is not None) if axes else ops.abs(v)


class WeightNorm(Reweighting):
    """weight = g v / |v|, the norm over all dimensions but dim"""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name, self.dim = name, dim

    def start(self, module: Any) -> None:
        weight = module.__dict__[self.name]
        with no_grad():
            length = _length(weight, self.dim)
        delattr(module, self.name)
        setattr(module, self.name + "_g", Parameter(length.detach()))
        setattr(module, self.name + "_v", Parameter(weight.detach()))

    def weight(self, module: Any) -> Tensor:
        g, v = module.__dict__[self.name + "_g"], module.__dict__[self.name + "_v"]
        result: Tensor = v * (g / _length(v, self.dim))
        return result

    def end(self, module: Any) -> None:
        for part in ("_g", "_v"):
            delattr(module, self.name + part)


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """Replaces the parameter ``name`` of a layer by ``name_g``, its norms over all dimensions but dim, and
    ``name_v``, its direction; with dim None or -1 there is one norm. Returns the layer.

    Source: Salimans, Kingma: Weight Normalization, 2016. Raises ValueError if the layer has no such
    parameter, or it is normalised already.

    >>> import ranvier as rv
    >>> layer = rv.nn.utils.weight_norm(rv.nn.Linear(3, 2))
    >>> [(name, p.shape) for name, p in layer.named_parameters()]
    [('bias', (2,)), ('weight_g', (2, 1)), ('weight_v', (2, 3))]
    """
    return add("weight_norm", module, WeightNorm(name, None if dim == -1 else dim))


def remove_weight_norm(module: M, name: str = "weight") -> M:
    """Puts back one parameter, with the value in force. Returns the layer.

    >>> import ranvier as rv
    >>> layer = rv.nn.utils.remove_weight_norm(rv.nn.utils.weight_norm(rv.nn.Linear(3, 2)))
    >>> [name for name, _ in layer.named_parameters()]
    ['bias', 'weight']
    """
    return remove("remove_weight_norm", module, name, WeightNorm)
