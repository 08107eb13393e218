"""Losses as layers. Formulas, shapes and sources: :mod:`ranvier.ops.loss`.

``reduction``: 'mean' (the sum divided by the number of losses), 'sum' or 'none'. Predictions and targets of
different shapes raise ValueError; they are not broadcast. Weights may be Tensors, arrays or sequences of
numbers; they are stored as buffers.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from ranvier.autograd.creation import empty, tensor
from ranvier.autograd.tensor import Tensor
from ranvier.nn.module import Module
from ranvier.ops.loss.base import reduction_of

_OBSOLETE = ("size_average", "reduce")


class Loss(Module):
    """A loss with its reduction; attributes have the names of the arguments."""

    def __init__(self, size_average: Any = None, reduce: Any = None, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = reduction_of(type(self).__name__, size_average, reduce, reduction)
        recorded = self.__dict__["_arguments"]
        if recorded.keys() & {*_OBSOLETE}:
            recorded["reduction"] = self.reduction
            for name in _OBSOLETE:
                recorded.pop(name, None)

    def _example(self) -> tuple[Any, ...]:
        return (empty(0, 1), empty(0, 1))

    def extra_repr(self) -> str:
        """The settings that are not the defaults; for weights the shape."""
        shown = []
        for name, parameter in inspect.signature(type(self)).parameters.items():
            if name in _OBSOLETE:
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
