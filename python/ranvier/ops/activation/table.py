"""The table of the element-wise activations, with the properties of each.

A row is a decorator, ``@activation(...)``, above the function. These follow from the table: the layers in
`ranvier.nn`, the tests of functions and layers (tests/reference has each formula again, in NumPy), the list
of layers that a distributed Trainer computes on all parts of a batch in one pass, and rows of
docs/toolbox.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class Activation(NamedTuple):
    """The properties of an activation y = f(x)."""

    layer: str  # its name in ranvier.nn
    limits: tuple[float, float]  # the values at infinity and at -infinity
    kinks: Callable[..., tuple[float, ...]]  # from the settings, the x without a derivative
    inner: float  # the size of the largest terms that cancel in f or f', for x up to 9


TABLE: dict[str, Activation] = {}


def activation(
    layer: str,
    limits: tuple[float, float],
    kinks: tuple[float, ...] | Callable[..., tuple[float, ...]] = (),
    inner: float = 0.0,
) -> Callable[[F], F]:
    """A decorator that enters a function in the table. kinks: numbers, or a function of the settings that
    gives the numbers. The other arguments are those of `Activation`.

    >>> @activation("Cube", limits=(float("inf"), -float("inf")))
    ... def cube(input): ...
    >>> TABLE.pop("cube").layer
    'Cube'
    """

    def kinks_with(*settings: float) -> tuple[float, ...]:
        if callable(kinks):
            return kinks(*settings)
        return kinks

    def enter(function: F) -> F:
        TABLE[function.__name__] = Activation(layer, limits, kinks_with, inner)
        return function

    return enter
