"""What the layers of losses share: their arguments, their weights, and how repr shows them.

``size_average`` and ``reduce`` are PyTorch's obsolete arguments; they change ``reduction``. The base `Module`
reads `_example`, which gives inputs without elements: a new loss is called with them once, so that wrong
settings are refused at once.
"""

from __future__ import annotations

import inspect

import numpy as np

from ranvier.nn.module import Module
from ranvier.ops.loss.base import reduction_of
from ranvier.ops.making.creation import empty, tensor
from ranvier.tensors.dtypes import default
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import ArrayLike

_OBSOLETE = ("size_average", "reduce")


class Loss(Module):
    """The layer of a loss. The settings of the function in ``nn.functional`` are attributes; weights are
    buffers.

    ``forward`` calls the op of the loss, which saves a fifth of the time of a small loss (1.2 us in place of
    1.5) beside the function in ``nn.functional``. If a program has replaced that function, it calls the
    program's.
    """

    def __init__(
        self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
    ) -> None:
        super().__init__()
        # The program's line is after the frames of reduction_of and of the constructors of the library's
        # classes, each of which has another frame, for the check of its arguments (nn/arguments.py).
        losses = [cls for cls in type(self).__mro__ if issubclass(cls, Loss)]
        own = [cls for cls in losses if cls.__module__.startswith("ranvier.nn.")]
        stacklevel = 2 + 2 * sum("__init__" in vars(cls) for cls in own)
        self.reduction = reduction_of(type(self).__name__, size_average, reduce, reduction, stacklevel)

    def _example(self) -> tuple[Tensor, ...] | None:
        x = empty(0, 1)
        return x, x

    def extra_repr(self) -> str:
        """The settings that are not the defaults; weights are shown by their shape."""
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

    def _register_weight(self, name: str, value: ArrayLike | None) -> None:
        """Registers a weight (a Tensor, numbers or None) as a buffer."""
        if value is not None and not isinstance(value, Tensor):
            array = np.asarray(value)
            if array.dtype.kind not in "biuf":  # bools, integers, floats
                raise TypeError(f"[{type(self).__name__}] got {name} {value!r}; expected a Tensor or numbers")
            value = tensor(array.astype(default.dtype))  # Like tensor(list), it has the default dtype.
        self.register_buffer(name, value)


class WeightedLoss(Loss):
    """A loss with a weight for each class or element."""

    weight: Tensor | None

    def __init__(
        self,
        weight: ArrayLike | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self._register_weight("weight", weight)
