"""The table of the element-wise activations: the properties of each, beside its formula.

A row stands above the function. The layer, the tests of both (tests/reference has the formula again, in
NumPy), the layers that a distributed Trainer takes in one pass, and rows of docs/toolbox.md follow from it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class Activation(NamedTuple):
    layer: str  # its name in ranvier.nn
    limits: tuple[float, float]  # the values at infinity and at -infinity
    kinks: Callable[..., tuple[float, ...]]  # from the settings, the x without a derivative
    inner: float  # the size of the largest terms that cancel in f or f', for x up to 9


TABLE: dict[str, Activation] = {}


def activation(
    layer: str, limits: tuple[float, float], kinks: Any = (), inner: float = 0.0
) -> Callable[[F], F]:
    """Enters a function in the table. kinks: numbers, or a function of the settings that gives them."""
    where = kinks if callable(kinks) else lambda *settings: kinks

    def enter(function: F) -> F:
        TABLE[function.__name__] = Activation(layer, limits, where, inner)
        return function

    return enter
