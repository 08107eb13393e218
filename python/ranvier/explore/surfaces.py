"""Functions of two numbers with known minima, for descents.

>>> from ranvier.explore import surfaces
>>> surfaces.rosenbrock([1.0, 1.0]).item()
0.0
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import ranvier.ops as ops
from ranvier.autograd import Tensor, wrap

__all__ = ["SURFACES", "Surface"]


@dataclass(frozen=True)
class Surface:
    """A function f(x, y), called with a vector (2,); its result is a Tensor with a gradient.

    Attributes:
        name: its name in `SURFACES`.
        formula: f(x, y) as text.
        function: f on Tensors.
        minima: the points where f is least; empty if it has no minimum.
        start: a good start of a descent.
        low, high: the corners of the part for a picture.

    >>> import ranvier as rv
    >>> valley = rv.explore.surfaces.valley
    >>> valley([1.0, 1.0]).item(), rv.grad(valley)(rv.tensor([1.0, 1.0], dtype=rv.float64)).tolist()
    (10.5, [1.0, 20.0])
    """

    name: str
    formula: str
    function: Callable[[Any, Any], Any]
    minima: tuple[tuple[float, float], ...]
    start: tuple[float, float]
    low: tuple[float, float]
    high: tuple[float, float]

    def __call__(self, point: Any) -> Tensor:
        if not isinstance(point, Tensor):
            point = wrap(np.asarray(point, np.float64))
        if tuple(point.shape) != (2,):
            raise ValueError(f"[{self.name}] got a point of shape {tuple(point.shape)}; expected (2,)")
        return self.function(point[0], point[1])


# name, formula, function; minima, start, corners
bowl = Surface(
    "bowl", "(x - 1)² + 2 (y + 0.5)²", lambda x, y: (x - 1) ** 2 + 2 * (y + 0.5) ** 2,
    ((1.0, -0.5),), (-2.0, 2.0), (-3.0, -3.0), (3.0, 3.0),
)  # fmt: skip
valley = Surface(
    "valley", "x²/2 + 10 y²", lambda x, y: 0.5 * x**2 + 10 * y**2,
    ((0.0, 0.0),), (-4.0, 1.0), (-5.0, -2.0), (5.0, 2.0),
)  # fmt: skip
saddle = Surface(
    "saddle", "x² - y² + y⁴/4", lambda x, y: x**2 - y**2 + 0.25 * y**4,
    ((0.0, 2**0.5), (0.0, -(2**0.5))), (-2.0, 0.01), (-2.5, -2.5), (2.5, 2.5),
)  # fmt: skip
ripples = Surface(
    "ripples", "x² + y² + 0.3 sin(3x) cos(3y) + 0.1 (x + y)²",
    lambda x, y: x**2 + y**2 + 0.3 * ops.sin(3 * x) * ops.cos(3 * y) + 0.1 * (x + y) ** 2,
    ((-0.276878091827, 0.013206529288),), (2.0, 1.5), (-2.5, -2.5), (2.5, 2.5),
)  # fmt: skip
rosenbrock = Surface(
    "rosenbrock", "(1 - x)² + 100 (y - x²)²", lambda x, y: (1 - x) ** 2 + 100 * (y - x**2) ** 2,
    ((1.0, 1.0),), (-1.5, 2.0), (-2.0, -1.0), (2.0, 3.0),
)  # fmt: skip
himmelblau = Surface(
    "himmelblau", "(x² + y - 11)² + (x + y² - 7)²", lambda x, y: (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2,
    (
        (3.0, 2.0), (-2.805118086952745, 3.131312518250573),
        (-3.779310253377747, -3.283185991286170), (3.584428340330492, -1.848126526964404),
    ),
    (-0.5, -1.0), (-5.0, -5.0), (5.0, 5.0),
)  # fmt: skip

SURFACES = {surface.name: surface for surface in (bowl, valley, saddle, ripples, rosenbrock, himmelblau)}
"""All of them by name. Rosenbrock (1960) is a curved valley; Himmelblau (1972) has four equal minima."""
