"""Penalties on the size of the weights, L1 and L2."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

import ranvier._core as _core
from ranvier.autograd import wrap
from ranvier.autograd.memory import filled, numbers
from ranvier.autograd.recording import current, value_read

__all__ = ["Penalty", "require_strength"]

Array = npt.NDArray[Any]
Strength = float | Mapping[str, float]


class Penalty:
    """sum over the penalised weights of l1 |w| + l2 w^2, which is added to the loss, as Keras's L1L2.

    A number penalises every parameter of two or more dimensions: the weights of layers, not biases and not
    the scales of norms, which have one. A mapping says it for each module or parameter by name, as
    `{"features": 1e-4, "head.weight": 1e-3}`: the longest name that fits decides, 0 leaves out, and a
    parameter named in full is penalised whatever its dimensions are. Frozen parameters are left out.

    The gradient is l1 sign(w) + 2 l2 w, added by one kernel call for all parameters.
    """

    def __init__(self, model: Any, parameters: list[Any], l1: Strength, l2: Strength) -> None:
        if l1 == l2 == 0:
            self._strengths, self._active = [(p, 0.0, 0.0) for p in parameters], False
            return
        named = list(model.named_parameters())
        l1s, l2s = (
            {id(p): _strength(s, name, p) for name, p in named}
            for s in (_checked("l1", l1, named), _checked("l2", l2, named))
        )
        self._strengths = [(p, l1s.get(id(p), 0.0), l2s.get(id(p), 0.0)) for p in parameters]
        self._active = any(a or b for _, a, b in self._strengths)

    def value(self) -> float:
        """The penalty of the weights as they are."""
        value = self.measure()
        return _number(value)

    def measure(self) -> Array | None:
        """The same as an array of one element, or None where there is none."""
        return self._run(False) if self._active else None

    def add_gradients(self) -> float:
        """Add the penalty's gradients to those of the loss, and return the penalty."""
        value = self.penalise()
        return _number(value)

    def penalise(self, scale: Array | None = None) -> Array | None:
        """Multiply all gradients by `scale`, one number that the kernel reads, and add the penalty's to them.

        Returns the penalty as an array of one element, or None where there is none.
        """
        return self._run(True, scale) if self._active or scale is not None else None

    def _run(self, with_gradients: bool, scale: Array | None = None) -> Array | None:
        by_dtype: dict[Any, list[tuple[Any, float, float]]] = {}
        for p, l1, l2 in self._strengths:
            penalised = p.requires_grad and (l1 or l2)
            if penalised or (scale is not None and p.grad is not None):
                by_dtype.setdefault(p.dtype, []).append((p, l1, l2) if penalised else (p, 0.0, 0.0))
        factor = numbers(1.0) if scale is None else scale
        total = None
        for part in by_dtype.values():
            parameters, l1s, l2s = zip(*part, strict=True)
            gradients = [_gradient(p) for p in parameters] if with_gradients else None
            arrays = [p._array for p in parameters]
            value = _core.weight_penalty(arrays, gradients, numbers(*l1s), numbers(*l2s), factor)
            total = value if total is None else _core.add(total, value)
        return total


def require_strength(name: str, value: Any) -> None:
    """Raise unless `value` is a number of at least 0, or a mapping from names to such."""
    for number in value.values() if isinstance(value, Mapping) else [value]:
        if isinstance(number, bool) or not isinstance(number, (int, float, np.integer, np.floating)):
            raise TypeError(
                f"[Trainer] got {name} of type {type(number).__name__}; expected a number or a mapping from "
                "names to numbers"
            )
        if not 0 <= number < math.inf:
            raise ValueError(f"[Trainer] got {name} {number}; expected a finite number of at least 0")


def _checked(name: str, strength: Strength, named: list[tuple[str, Any]]) -> Strength:
    if isinstance(strength, Mapping):
        for key in strength:
            if not any(_fits(key, parameter) for parameter, _ in named):
                raise ValueError(
                    f"[Trainer] got {name} for '{key}', which is neither a module with parameters nor a "
                    f"parameter of the model; its parameters are {', '.join(n for n, _ in named)}"
                )
    return strength


def _fits(key: str, parameter: str) -> bool:
    return key in ("", parameter) or parameter.startswith(key + ".")


def _strength(strength: Strength, name: str, parameter: Any) -> float:
    if not isinstance(strength, Mapping):
        return float(strength) if parameter.ndim >= 2 else 0.0
    keys = [key for key in strength if _fits(key, name)]
    if not keys or (parameter.ndim < 2 and name not in keys):
        return 0.0
    return float(strength[max(keys, key=len)])


def _number(value: Array | None) -> float:
    value_read("the penalty as a number")
    return 0.0 if value is None else float(value[0])


def _gradient(p: Any) -> Any:
    if p.grad is None:  # the loss does not depend on it: its gradient is the penalty's alone
        if (recording := current()) is not None:  # `recordings` has those of other threads too
            recording.gets_gradient(p)
        p.grad = wrap(filled(0, p.shape, p.dtype))
    return p.grad._array
