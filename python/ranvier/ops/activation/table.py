"""The table of the element-wise activations, with the properties of each.

A row is a decorator, ``@activation(...)``, above the function. These follow from the table: the layers in
`ranvier.nn`, the tests of functions and layers (tests/reference has each formula again, in NumPy), the list
of layers that a distributed Trainer computes on all parts of a batch in one pass, and rows of
docs/toolbox.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class Activation:
    """The properties of an activation y = f(x).

    layer: its name in ranvier.nn. limits: the values at infinity and at -infinity. kinks: gives the x without
    a derivative, from the settings. inner: the size of the largest terms that cancel in f or f', for x up to
    9.
    """

    def __init__(
        self,
        layer: str,
        limits: tuple[float, float],
        kinks: Callable[..., tuple[float, ...]],
        inner: float,
    ) -> None:
        self.layer = layer
        self.limits = limits
        self.kinks = kinks
        self.inner = inner


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
