"""What the losses share: the class of the layers, and the arguments of ``nn.functional``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from ranvier.autograd.creation import empty, tensor
from ranvier.autograd.tensor import Tensor
from ranvier.nn.module import Module
from ranvier.ops.elementwise.dtypes import as_tensor
from ranvier.ops.loss.base import reduction_of

_OLD = ("size_average", "reduce")
_F = TypeVar("_F", bound=Callable[..., Any])


def documented_as(op: Callable[..., Any]) -> Callable[[_F], _F]:
    """Gives a form of ``nn.functional``, with PyTorch's arguments in its order, the docstring of its op."""

    def decorate(function: _F) -> _F:
        function.__doc__ = op.__doc__
        return function

    return decorate


def weighted(name: str, losses: Tensor, weight: Any, reduction: str) -> Tensor:
    """The losses of elements times their weights; a mean is divided by the sum of the weights, that of
    huber_loss by their number, as in PyTorch."""
    weight = as_tensor(name, weight)
    if weight.shape != losses.shape:
        raise ValueError(f"[{name}] got weight of shape {weight.shape}; expected {losses.shape}")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"[{name}] got reduction {reduction!r}; expected 'none', 'mean' or 'sum'")
    losses = losses * weight
    if reduction == "none":
        return losses
    if reduction == "mean":
        return losses.mean() if name == "huber_loss" else losses.sum() / weight.sum()
    return losses.sum()


class Loss(Module):
    """A loss with its reduction; attributes have the names of the arguments."""

    def __init__(self, size_average: Any = None, reduce: Any = None, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = reduction_of(type(self).__name__, size_average, reduce, reduction)
        recorded = self.__dict__["_arguments"]
        if recorded.keys() & {*_OLD}:
            recorded["reduction"] = self.reduction
            for name in _OLD:
                recorded.pop(name, None)

    def _example(self) -> tuple[Any, ...]:
        return (empty(0, 1), empty(0, 1))

    def extra_repr(self) -> str:
        """The settings that are not the defaults; for weights the shape."""
        shown = []
        for name, parameter in inspect.signature(type(self)).parameters.items():
            if name in _OLD:
                continue
            value = getattr(self, name)
            if isinstance(value, Tensor):
                shown.append(f"{name}={tuple(value.shape)}")
            elif value != parameter.default:
                shown.append(f"{name}={value!r}")
        return ", ".join(shown)

    def _register_weight(self, name: str, value: Any) -> None:
        """A buffer of constants, or None."""
        if value is not None and not isinstance(value, Tensor):
            array = np.asarray(value)
            if array.dtype.kind not in "biuf":
                raise TypeError(f"[{type(self).__name__}] got {name} {value!r}; expected a Tensor or numbers")
            value = tensor(array.astype(np.float32))  # as tensor(list)
        self.register_buffer(name, value)
