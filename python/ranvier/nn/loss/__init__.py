"""Losses as layers. Formulas, shapes and sources: :mod:`ranvier.ops.loss`.

``reduction``: 'mean' (the sum divided by the number of losses), 'sum' or 'none'. Predictions and targets of
different shapes raise ValueError; they are not broadcast. Weights may be Tensors, arrays or sequences of
numbers; they are stored as buffers.
"""

from __future__ import annotations

import inspect
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

import ranvier.ops as ops
from ranvier.autograd.creation import empty, tensor
from ranvier.autograd.dtypes import default
from ranvier.autograd.tensor import Tensor
from ranvier.extension import belongs_to
from ranvier.nn.layer import OneOp, forward_of
from ranvier.nn.loss.functional import FORMS, parameters_of
from ranvier.ops.loss.base import reduction_of

_OBSOLETE = ("size_average", "reduce")


class Loss(OneOp):
    """The layer of a loss: the settings of its form in ``nn.functional`` are attributes, weights buffers.

    ``_op`` in a class of this package is its declaration.
    """

    _kind: ClassVar[Any] = Parameter.POSITIONAL_OR_KEYWORD  # of the settings
    _weights: ClassVar[tuple[str, ...]] = ("weight", "pos_weight")
    _inputs: ClassVar[tuple[str, ...]]

    if TYPE_CHECKING:

        def __init__(self, *args: Any, **settings: Any) -> None: ...
        def __getattr__(self, name: str) -> Any: ...

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if "_op" in vars(cls) and belongs_to(cls.__module__, "ranvier.nn"):
            of_op = parameters_of(getattr(ops, cls._op))
            every = signature(FORMS[cls._op]).parameters if cls._op in FORMS else of_op
            cls._inputs = tuple(name for name, p in of_op.items() if p.default is Parameter.empty)
            passed = [name for name in of_op if name not in cls._inputs]
            cls._declare(
                p.replace(kind=cls._kind, default="mean" if name == "reduction" else p.default)
                for name, p in every.items()
                if name in passed or name in _OBSOLETE
            )
            if "forward" not in vars(cls):
                cls.forward = forward_of(cls, passed, cls._inputs)  # type: ignore[method-assign]
        super().__init_subclass__(**kwargs)

    def _set(self, settings: dict[str, Any]) -> None:
        """The settings, with the reduction that PyTorch's obsolete ones mean."""
        average, reduce = settings.pop("size_average", None), settings.pop("reduce", None)
        settings["reduction"] = reduction_of(type(self).__name__, average, reduce, settings["reduction"])
        weights = {name: settings.pop(name) for name in self._weights if name in settings}
        super()._set(settings)
        for name, value in weights.items():
            self._register_weight(name, value)

    def _example(self) -> tuple[Any, ...]:
        return (empty(0, 1),) * len(self._inputs)

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
            value = tensor(array.astype(default.dtype))  # as tensor(list)
        self.register_buffer(name, value)


class WeightedLoss(Loss):
    """A loss with a weight of each class or element."""


for _kind, _names in ((Loss, ()), (WeightedLoss, ("weight",))):
    _kind._declare(signature(FORMS["bce"]).parameters[name] for name in (*_names, *_OBSOLETE, "reduction"))
