"""Path: the points of a search and their values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Path"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Path:
    """The points of a search, in order, and the value of the function at each.

    Attributes:
        points: (n, d), float64; the first is the start.
        values: (n,), float64.
        name: the name in a picture's legend.
        verdict: of a comparison ("good", "slow" ...), else empty.
        linked: whether each point depends on the one before; not those of a random search.

    Raises ValueError: other shapes, or no point.

    >>> from ranvier.explore import Path
    >>> path = Path([[2.0], [1.0], [-1.5]], [4.0, 1.0, 2.25])
    >>> path.steps, path.best.tolist(), path.best_value, path.best_so_far.tolist()
    (2, [1.0], 1.0, [4.0, 1.0, 1.0])
    """

    points: Array
    values: Array
    name: str = ""
    verdict: str = ""
    linked: bool = True

    def __post_init__(self) -> None:
        points, values = np.asarray(self.points, np.float64), np.asarray(self.values, np.float64)
        if points.ndim != 2 or values.shape != points.shape[:1] or not len(points):
            raise ValueError(
                f"[Path] got points of shape {points.shape} and values of shape {values.shape}; expected "
                "(n, d) and (n,), n > 0"
            )
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "values", values)

    @property
    def steps(self) -> int:
        """The number of moves from one point to the next."""
        return len(self.points) - 1

    @property
    def start(self) -> Array:
        """The first point, (d,)."""
        return self.points[0]

    @property
    def end(self) -> Array:
        """The last point, (d,)."""
        return self.points[-1]

    @property
    def best(self) -> Array:
        """The point of the least value, (d,)."""
        return self.points[self._best]

    @property
    def best_value(self) -> float:
        """The least value; NaN if all are NaN."""
        return float(self.values[self._best])

    @property
    def best_so_far(self) -> Array:
        """The least value up to each point, (n,)."""
        return np.fmin.accumulate(self.values)

    @property
    def _best(self) -> Any:
        return np.argmin(np.where(np.isnan(self.values), np.inf, self.values))

    def __repr__(self) -> str:
        name = f"{self.name!r}, " if self.name else ""
        return f"Path({name}{self.steps} steps, {self.values[0]:.4g} -> {self.values[-1]:.4g})"
