"""Checks of an estimator's parameters, which begin `fit` (scikit-learn's constructors check nothing).

Each function reads the parameter `name` of an estimator, raises ValueError where its value is not one that is
allowed, and returns the value in the type that the rest of the code needs.
"""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

import ranvier.nn as nn
import ranvier.optim as optim
from ranvier.optim import Optimizer
from ranvier.sklearn.types import Loss, OptimizerLike
from ranvier.tensors.data import refuse_torch
from ranvier.tensors.memory import Array


def _refusal(owner: BaseEstimator, name: str, expected: str) -> ValueError:
    got = f"{name} {getattr(owner, name)!r}"
    return ValueError(f"[{type(owner).__name__}] got {got}; expected {expected}")


def check_number(
    owner: BaseEstimator, name: str, low: float = 0.0, high: float = math.inf, *, above: bool = False
) -> float:
    """A number in [low, high]; in (low, high] if `above`."""
    value = getattr(owner, name)
    in_range = isinstance(value, Real) and not isinstance(value, bool) and low <= float(value) <= high
    if not in_range or (above and value == low):
        bounds = f"above {low:g}" if above else f"of at least {low:g}"
        if high < math.inf:
            bounds += f" and at most {high:g}"
        raise _refusal(owner, name, f"a number {bounds}")
    return float(value)


def check_integer(owner: BaseEstimator, name: str, low: int = 1) -> int:
    """A whole number of at least `low`."""
    value = getattr(owner, name)
    if not isinstance(value, Integral) or isinstance(value, bool) or value < low:
        raise _refusal(owner, name, f"a whole number of at least {low}")
    return int(value)


def check_bool(owner: BaseEstimator, name: str) -> bool:
    """True or False; any other value, such as "no", which Python takes for true, is refused."""
    value = getattr(owner, name)
    if not isinstance(value, (bool, np.bool_)):
        raise _refusal(owner, name, "True or False")
    return bool(value)


def check_choice(owner: BaseEstimator, name: str, choices: tuple[str, ...]) -> str:
    """One of some words."""
    value = getattr(owner, name)
    if not isinstance(value, str) or value not in choices:
        raise _refusal(owner, name, f"one of {', '.join(map(repr, choices))}")
    return value


def check_hidden_sizes(owner: BaseEstimator, least: int = 0) -> list[int]:
    """`hidden_layer_sizes` as a list of at least `least` sizes; a number is one layer."""
    hidden = owner.hidden_layer_sizes
    sizes = list(hidden) if hasattr(hidden, "__iter__") else [hidden]
    if len(sizes) < least or not all(_is_size(size) for size in sizes):
        at_least_one = ", one or more" if least else ""
        raise ValueError(
            f"[{type(owner).__name__}] got hidden_layer_sizes {hidden!r}; expected whole numbers of at "
            f"least 1{at_least_one}"
        )
    return [int(size) for size in sizes]


def _is_size(size: Any) -> bool:
    """True for 1, 2, 3 ..., also as a float such as 8.0."""
    if not isinstance(size, Real) or isinstance(size, bool):
        return False
    return float(size) >= 1 and float(size).is_integer()


class _Zeros(np.random.SeedSequence):
    """Seeds a generator with zeros, which gets its state afterwards."""

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> Array:
        return np.zeros(n_words, dtype)


_ZEROS = _Zeros(0)


def make_random_state(owner: BaseEstimator) -> np.random.RandomState:
    """The RandomState that the parameter `random_state` means, as by scikit-learn's `check_random_state`.

    `RandomState(seed)` first draws a state from the system and mixes it, which takes 50 us; here it is zeros
    until the seed gives it.
    """
    seed = owner.random_state
    if type(seed) is not int:
        return check_random_state(seed)
    state = np.random.RandomState(np.random.MT19937(_ZEROS))
    state.seed(seed)
    return state


# The names of the optimizers by their lower-case names.
_OPTIMIZERS = {name.lower(): name for name in optim.__all__ if name[0].isupper()}


def make_optimizer(
    owner: BaseEstimator, optimizer: OptimizerLike, parameters: list[nn.Parameter], **settings: Any
) -> Optimizer:
    """An optimizer by its name in `rv.optim` in any case, by its class, or from a function of the parameters.

    settings: arguments of the class, such as lr; a function does not get them.

    Raises ValueError: no such name. TypeError: neither a name nor something that can be called.
    """
    estimator = type(owner).__name__
    if isinstance(optimizer, str):
        name = optimizer.lower()
        if name not in _OPTIMIZERS or name == "optimizer":
            expected = ", ".join(sorted(set(_OPTIMIZERS) - {"optimizer"}))
            raise ValueError(f"[{estimator}] got the optimizer {optimizer!r}; expected one of {expected}")
        optimizer_class: type[Any] = getattr(optim, _OPTIMIZERS[name])
        made_by_name: Optimizer = optimizer_class(parameters, **settings)
        return made_by_name
    refuse_torch(estimator, "an optimizer", optimizer)
    if not callable(optimizer):
        raise TypeError(
            f"[{estimator}] got an optimizer of type {type(optimizer).__name__}; expected a name, a class of "
            "ranvier.optim or a function of a list of parameters"
        )
    if isinstance(optimizer, type):
        made = optimizer(parameters, **settings)
    else:
        made = optimizer(parameters)
    refuse_torch(estimator, "an optimizer", made)
    return made


def make_loss(owner: BaseEstimator, by_name: dict[str, type[nn.Module]]) -> Loss:
    """The loss that the parameter `loss` means: one by name, an object of `rv.nn` or its class.

    Raises ValueError: no such name. TypeError: something that cannot be called.
    """
    loss = owner.loss
    if isinstance(loss, str):
        return by_name[check_choice(owner, "loss", tuple(by_name))]()
    refuse_torch(type(owner).__name__, "a loss", loss)
    if not callable(loss):
        raise TypeError(
            f"[{type(owner).__name__}] got loss of type {type(loss).__name__}; expected a name, a loss of "
            "ranvier.nn or a function"
        )
    if isinstance(loss, type):
        return loss()
    return loss
