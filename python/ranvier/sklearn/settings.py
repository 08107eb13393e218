"""Settings of the estimators: numbers in their ranges, and names of optimizers and losses."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import numpy as np

import ranvier.nn as nn
import ranvier.optim as optim
from ranvier.autograd import Tensor
from ranvier.autograd.data import refuse_torch

__all__ = [
    "HalfSquaredError", "LogLoss", "flag", "hidden_sizes", "make_loss", "make_optimizer", "number", "one_of",
    "whole",
]  # fmt: skip


def hidden_sizes(estimator: Any, least: int = 0) -> list[int]:
    """`hidden_layer_sizes` as a list; a number is one layer."""
    hidden = estimator.hidden_layer_sizes
    sizes = list(hidden) if hasattr(hidden, "__iter__") else [hidden]
    real = all(isinstance(size, Real) and not isinstance(size, bool) for size in sizes)
    if not real or not all(size >= 1 and float(size).is_integer() for size in sizes) or len(sizes) < least:
        several = ", one or more" * bool(least)
        raise ValueError(
            f"[{type(estimator).__name__}] got hidden_layer_sizes {hidden!r}; expected whole numbers of at "
            f"least 1{several}"
        )
    return [int(size) for size in sizes]


def _refusal(owner: Any, name: str, expected: str) -> ValueError:
    got = f"{name} {getattr(owner, name)!r}"
    return ValueError(f"[{type(owner).__name__}] got {got}; expected {expected}")


def number(owner: Any, name: str, low: float = 0.0, high: float = math.inf, *, above: bool = False) -> float:
    """The number `owner.name`, which has to be in [low, high]; in (low, high] if `above`.

    Raises ValueError: any other value.
    """
    value = getattr(owner, name)
    right = isinstance(value, Real) and not isinstance(value, bool) and low <= float(value) <= high
    if not right or (above and value == low):
        bounds = f"above {low:g}" if above else f"of at least {low:g}"
        bounds += f" and at most {high:g}" if high < math.inf else ""
        raise _refusal(owner, name, f"a number {bounds}")
    return float(value)


def whole(owner: Any, name: str, low: int = 1) -> int:
    """The whole number `owner.name`, at least `low`.

    Raises ValueError: any other value.
    """
    value = getattr(owner, name)
    if not isinstance(value, Integral) or isinstance(value, bool) or value < low:
        raise _refusal(owner, name, f"a whole number of at least {low}")
    return int(value)


def flag(owner: Any, name: str) -> bool:
    """The bool `owner.name`.

    Raises ValueError: any other value, such as "no", which is true.
    """
    value = getattr(owner, name)
    if not isinstance(value, (bool, np.bool_)):
        raise _refusal(owner, name, "True or False")
    return bool(value)


def one_of(owner: Any, name: str, choices: tuple[str, ...]) -> str:
    """The string `owner.name`, one of `choices`.

    Raises ValueError: any other value.
    """
    value = getattr(owner, name)
    if not isinstance(value, str) or value not in choices:
        raise _refusal(owner, name, f"one of {', '.join(map(repr, choices))}")
    return value


_OPTIMIZERS = {
    name.lower(): getattr(optim, name) for name in optim.__all__ if isinstance(getattr(optim, name), type)
}


def make_optimizer(owner: str, kind: Any, parameters: list[Any], **settings: Any) -> Any:
    """An optimizer by its name in `rv.optim` in any case, by its class, or from a function of the parameters.

    Raises ValueError: no such name. TypeError: neither a name nor something that can be called.
    """
    if isinstance(kind, str):
        name = kind.lower()
        if name not in _OPTIMIZERS or name == "optimizer":
            expected = ", ".join(sorted(set(_OPTIMIZERS) - {"optimizer"}))
            raise ValueError(f"[{owner}] got the optimizer {kind!r}; expected one of {expected}")
        kind = _OPTIMIZERS[name]
    refuse_torch(owner, "an optimizer", kind)
    if not callable(kind):
        raise TypeError(
            f"[{owner}] got an optimizer of type {type(kind).__name__}; expected a name, a class of "
            "ranvier.optim or a function of a list of parameters"
        )
    made = kind(parameters, **settings) if isinstance(kind, type) else kind(parameters)
    refuse_torch(owner, "an optimizer", made)
    return made


class LogLoss(nn.BCEWithLogitsLoss):
    """The sum over the outputs of their binary cross-entropies, averaged over the samples.

    >>> import ranvier as rv
    >>> from ranvier.sklearn.settings import LogLoss
    >>> LogLoss()(rv.zeros(1, 2), rv.ones(1, 2))
    tensor(1.3863)
    """

    def forward(self, x: Any, target: Any) -> Tensor:
        loss = super().forward(x, target)
        return loss if x.shape[1] == 1 else loss * float(x.shape[1])


class HalfSquaredError(nn.MSELoss):
    """Half the sum over the outputs of their squared errors, averaged over the samples.

    >>> import ranvier as rv
    >>> from ranvier.sklearn.settings import HalfSquaredError
    >>> HalfSquaredError()(rv.zeros(1, 2), rv.ones(1, 2))
    tensor(1.)
    """

    def forward(self, x: Any, target: Any) -> Tensor:
        return super().forward(x, target) * (0.5 * x.shape[1])


def make_loss(owner: Any, named: dict[str, type]) -> Any:
    """`owner.loss`: a loss by name, an object of `rv.nn` or its class.

    Raises ValueError: no such name. TypeError: something that cannot be called.
    """
    loss = owner.loss
    if isinstance(loss, str):
        return named[one_of(owner, "loss", tuple(named))]()
    refuse_torch(type(owner).__name__, "a loss", loss)
    if not callable(loss):
        raise TypeError(
            f"[{type(owner).__name__}] got loss of type {type(loss).__name__}; expected a name, a loss of "
            "ranvier.nn or a function"
        )
    return loss() if isinstance(loss, type) else loss
