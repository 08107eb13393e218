"""Searches for the least value of a function: descents and their paths; gradients beside differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ranvier import rand
from ranvier.autograd import Tensor, enable_grad, no_grad, value_and_grad, wrap
from ranvier.data.sampler import positive
from ranvier.optim import SGD

__all__ = ["Differences", "Path", "finite_differences", "gradient_descent", "random_search"]

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


Objective = Callable[[Tensor], Any]
"""A function of one vector (d,) of float64 whose result is a Tensor of one element (or a number)."""


def evaluate(f: Objective, point: npt.ArrayLike) -> float:
    """f at one point, as a float.

    >>> from ranvier.explore.search import evaluate
    >>> evaluate(lambda w: (w * w).sum(), [3.0, 4.0])
    25.0
    """
    with no_grad():
        return float(_value("evaluate", f(wrap(vector_of("evaluate", "point", point)))))


def random_search(
    f: Objective, low: npt.ArrayLike, high: npt.ArrayLike, trials: int = 1000, dimensions: int | None = None
) -> Path:
    """Evaluates random points, each coordinate uniform in [low, high), and records them all.

    To be within a share s of the side of the box from the minimum in all d coordinates, about s^-d trials are
    needed. So random search fails with more than a few parameters, and networks use gradients. It is useful
    to choose a few settings.

    Args:
        f: a function of a vector (d,), such as a Surface or a ParameterLoss.
        low, high: the box: vectors (d,), or numbers for all coordinates.
        trials: the number of points.
        dimensions: d, if low and high are both numbers.

    Returns: The Path of all points in order; its `best` is the result.

    The numbers come from the library's stream: `rv.manual_seed` repeats them.

    Raises ValueError: trials below 1, low above high, or shapes that do not fit.
    Raises TypeError: f is not a function, or does not return one number.

    Source: Bergstra and Bengio, "Random Search for Hyper-Parameter Optimization" (2012).

    >>> import ranvier as rv
    >>> _ = rv.manual_seed(0)
    >>> path = rv.explore.random_search(lambda w: ((w - 1) ** 2).sum(), [-3, -3], [3, 3], trials=500)
    >>> path.points.shape, path.best_value < 0.1
    ((500, 2), True)
    """
    name = "random_search"
    function_of(name, f)
    low, high = numbers_of(name, "low", low), numbers_of(name, "high", high)
    trials = positive(name, "trials", trials)
    dimensions_shape = () if dimensions is None else (positive(name, "dimensions", dimensions),)
    try:
        shape = np.broadcast_shapes(low.shape, high.shape, dimensions_shape)
    except ValueError:
        shape = ()
    if len(shape) != 1 or not shape[0]:
        raise ValueError(
            f"[{name}] got low of shape {low.shape}, high of shape {high.shape} and dimensions = "
            f"{dimensions}; expected vectors of one length, or numbers and dimensions"
        )
    if not (low <= high).all():
        raise ValueError(f"[{name}] got low = {low} and high = {high}; expected low <= high")
    points = low + (high - low) * rand(trials, *shape, dtype=np.float64).numpy()
    with no_grad():
        values = [float(_value(name, f(wrap(point)))) for point in points]
    return Path(points, np.array(values), "random search", linked=False)


def gradient_descent(
    f: Objective,
    start: npt.ArrayLike,
    lr: float | None = None,
    steps: int = 100,
    optimizer: Callable[..., Any] | None = None,
) -> Path:
    """Descends along the gradient of f from a point and records every step: w <- w - lr f'(w).

    Args:
        f: a function of a vector (d,) made of ranvier's operations, such as a Surface or a ParameterLoss.
        start: the first point, (d,), or a number for d = 1.
        lr: the learning rate; by default 0.1, or that of the optimizer.
        steps: the number of steps.
        optimizer: makes an optimizer from a list of parameters: a class of `rv.optim`, or a function such as
            `lambda p: rv.optim.SGD(p, lr=0.01, momentum=0.9)`. None is plain gradient descent.

    Returns:
        The Path of steps + 1 points; it ends earlier at a point with a value or gradient that is not finite.

    Raises ValueError: steps below 0, or a start that is not a vector.
    Raises TypeError: f does not return a Tensor of one element that depends on the vector.

    Source: Cauchy, "Méthode générale pour la résolution des systèmes d'équations simultanées" (1847).

    >>> import ranvier as rv
    >>> path = rv.explore.gradient_descent(lambda w: ((w - 2) ** 2).sum(), 5.0, lr=0.1, steps=20)
    >>> path.points[:3, 0].round(2).tolist(), round(path.end.item(), 3)
    ([5.0, 4.4, 3.92], 2.035)
    """
    function_of("gradient_descent", f)
    steps = positive("gradient_descent", "steps", steps, 0)
    w = wrap(vector_of("gradient_descent", "start", start).copy(), requires_grad=True)
    moving = _optimizer(w, lr, optimizer)

    def closure() -> Tensor:
        moving.zero_grad()
        with enable_grad():
            value = _value("gradient_descent", f(w))
            if not isinstance(value, Tensor) or not value.requires_grad:
                raise TypeError(
                    "[gradient_descent] got a function whose result does not depend on its vector through "
                    "ranvier's operations; expected one that gradients can follow"
                )
            value.backward()
        return value

    points, values = [], []
    for _ in range(steps):
        points.append(w.detach().numpy().copy())
        values.append(float(moving.step(closure)))
        if not (np.isfinite(values[-1]) and np.isfinite(w.detach().numpy()).all()):
            break
    else:
        points.append(w.detach().numpy().copy())
        values.append(evaluate(f, points[-1]))
    name = type(moving).__name__ if optimizer else "gradient descent"
    return Path(np.array(points), np.array(values), name)


def _optimizer(w: Tensor, lr: float | None, optimizer: Callable[..., Any] | None) -> Any:
    if optimizer is None:
        return SGD([w], lr=0.1 if lr is None else lr)
    return optimizer([w]) if lr is None else optimizer([w], lr=lr)


def function_of(name: str, f: Any) -> None:
    """Raises TypeError unless f is callable."""
    if not callable(f):
        raise TypeError(f"[{name}] got f of type {type(f).__name__}; expected a function of a vector")


def numbers_of(name: str, what: str, values: Any) -> Array:
    """values as an array of float64; raises TypeError if they are not numbers."""
    array = np.asarray(getattr(values, "_array", values))
    if array.dtype.kind not in "biuf":
        raise TypeError(f"[{name}] got {what} of type {type(values).__name__}; expected numbers")
    return array.astype(np.float64)


def vector_of(name: str, what: str, values: Any) -> Array:
    """values as a vector (d,) of float64; a number becomes a vector of length 1."""
    array = np.atleast_1d(numbers_of(name, what, values))
    if array.ndim != 1 or not array.size:
        raise ValueError(f"[{name}] got {what} of shape {array.shape}; expected a vector (d,)")
    return array


def _value(name: str, value: Any) -> Any:
    size = value.numel() if isinstance(value, Tensor) else np.size(value)
    if size != 1 or not isinstance(value, (Tensor, float, int, np.generic, np.ndarray)):
        got = f"shape {tuple(value.shape)}" if hasattr(value, "shape") else type(value).__name__
        raise TypeError(f"[{name}] got a function that returned {got}; expected one number")
    return value.reshape(()) if isinstance(value, Tensor) and value.ndim else value


@dataclass(frozen=True)
class Differences:
    """The result of :func:`finite_differences`; printed, it is a table.

    Attributes:
        point: x, (d,).
        value: f(x).
        index: the measured coordinates, (n,).
        autograd: the gradient at these, (n,).
        forward: (f(x + h) - f(x)) / h, (n,).
        central: (f(x + h) - f(x - h)) / 2h, (n,).
        h: the step.
        evaluations: of f for the differences; autograd needs one and a backward pass for all d coordinates.
    """

    point: Array
    value: float
    index: npt.NDArray[np.int64]
    autograd: Array
    forward: Array
    central: Array
    h: float
    evaluations: int

    @property
    def error(self) -> float:
        """The largest difference between autograd and the central differences."""
        return float(abs(self.autograd - self.central).max())

    def __str__(self) -> str:
        rows = [f"{'i':>5} {'x_i':>12} {'autograd':>14} {'central':>14} {'forward':>14} {'difference':>11}"]
        for k, i in enumerate(self.index):
            numbers = f"{self.autograd[k]:14.8g} {self.central[k]:14.8g} {self.forward[k]:14.8g}"
            gap = abs(self.autograd[k] - self.central[k])
            rows.append(f"{i:5d} {self.point[i]:12.5g} {numbers} {gap:11.1e}")
        rows.append(
            f"f = {self.value:.8g}, h = {self.h:g}, {self.evaluations} evaluations for the differences"
        )
        return "\n".join(rows)


def finite_differences(
    f: Objective, point: npt.ArrayLike, h: float = 1e-5, entries: int | None = None
) -> Differences:
    """The gradient of f by autograd, compared with finite differences.

    The error of the forward difference is about h f'' / 2, that of the central one h^2 f''' / 6; the rounding
    of f adds eps |f| / h to both, so a very small h is worse. With d parameters they need 2 d + 1 evaluations
    of f, autograd one and a backward pass.

    Args:
        f: a function of a vector (d,) made of ranvier's operations, such as a Surface or a ParameterLoss
            (preferably of a model in float64).
        point: x, (d,).
        h: the step.
        entries: measure so many coordinates, evenly spaced; None for all.

    Raises ValueError: h that is not above 0, entries below 1, or a point that is not a vector.

    >>> import ranvier as rv
    >>> found = rv.explore.finite_differences(lambda x: (x**2 + 3 * x + 2).sum(), [-1.0, 0.0, 2.0])
    >>> found.autograd.tolist(), found.error < 1e-9
    ([1.0, 3.0, 7.0], True)
    """
    x = vector_of("finite_differences", "point", point)
    if not h > 0 or (entries is not None and entries < 1):
        raise ValueError(
            f"[finite_differences] got h = {h} and entries = {entries}; expected h > 0, entries >= 1"
        )
    value, gradient = value_and_grad(f)(wrap(x.copy()))
    index = np.linspace(0, x.size - 1, x.size if entries is None else min(entries, x.size)).astype(np.int64)
    right, left = np.empty(len(index)), np.empty(len(index))
    for k, i in enumerate(index):
        for side, sign in ((right, 1), (left, -1)):
            moved = x.copy()
            moved[i] += sign * h
            side[k] = evaluate(f, moved)
    evaluate(f, x)  # a ParameterLoss writes its vector into the model: restore it
    here = value.item()
    forward, central = (right - here) / h, (right - left) / (2 * h)
    return Differences(x, here, index, gradient.numpy()[index], forward, central, h, 2 * len(index) + 1)
