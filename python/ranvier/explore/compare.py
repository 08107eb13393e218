"""Comparisons as tables: optimizers on a surface, a training run without one part after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ranvier.autograd import random
from ranvier.data.sampler import positive
from ranvier.explore.search import Objective, Path, evaluate, gradient_descent
from ranvier.explore.surfaces import Surface
from ranvier.optim import SGD, Adam, RMSprop

__all__ = [
    "Comparison", "ablate", "compare_learning_rates", "compare_optimizers", "judge_descent",
]  # fmt: skip


def text_table(rows: Sequence[Sequence[str]], left: Collection[int] = (), rule: bool = True) -> str:
    """Rows of equal length in aligned columns; `left`: left-aligned columns; `rule`: underline the first row.

    >>> print(text_table([("name", "n"), ("a", "10")], left=[0]))
    name   n
    --------
    a     10
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(f"{cell:{'<' if i in left else '>'}{widths[i]}}" for i, cell in enumerate(row)).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], *["-" * len(lines[0])] * rule, *lines[1:]])


OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "SGD": lambda p: SGD(p, lr=0.01),
    "momentum": lambda p: SGD(p, lr=0.01, momentum=0.9),
    "RMSprop": lambda p: RMSprop(p, lr=0.1),
    "Adam": lambda p: Adam(p, lr=0.1),
}
"""The optimizers that `compare_optimizers` compares by default."""


class Comparison(dict[Any, Path]):
    """Name -> Path; printed, it is a table of the first and last values.

    Attributes:
        minimum: the value that the verdicts assume to be the least.
    """

    minimum: float = math.nan

    @property
    def best(self) -> Any:
        """The name of the path with the lowest last value."""
        return min(self, key=lambda name: np.nan_to_num(self[name].values[-1], nan=np.inf))

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [("", "steps", "first", "last", "least", "verdict")]
        for name, path in self.items():
            numbers = (f"{v:.4g}" for v in (path.values[0], path.values[-1], path.best_value))
            rows.append((str(name), str(path.steps), *numbers, path.verdict))
        return text_table(rows, left=(0, 5), rule=False)


def judge_descent(path: Path, minimum: float) -> str:
    """The outcome of a descent in one word; `minimum` is the least value of the function.

    - diverged: the last value is above the first, or not finite.
    - good: at most 1% of the descent is left, and the value hardly falls.
    - slow: the value still falls.
    - unstable: the value oscillates above a lower one.
    - stuck: the value no longer falls, above the minimum: at another minimum or a saddle.

    The last quarter of the steps shows whether the value rests, falls or oscillates.

    >>> from ranvier.explore import Path
    >>> from ranvier.explore.compare import judge_descent
    >>> judge_descent(Path([[3.0], [2.0], [1.5], [1.0], [0.8]], [9.0, 4.0, 2.25, 1.0, 0.64]), 0.0)
    'slow'
    """
    values = path.values
    whole, left = values[0] - minimum, values[-1] - minimum
    if not np.isfinite(values).all() or left > whole:
        return "diverged"
    tail = values[-(len(values) // 4) - 2 :]
    fell, rose = tail[0] - tail[-1], np.diff(tail).max(initial=0.0)
    if whole <= 0 or (left <= 0.01 * whole and fell <= 0.1 * whole):
        return "good"
    if rose > 0.01 * whole:
        return "unstable"
    return "slow" if fell > 0.01 * left else "stuck"


def compare_learning_rates(
    f: Objective,
    start: npt.ArrayLike,
    rates: Iterable[float] = (0.001, 0.01, 0.1, 1.0),
    steps: int = 50,
    optimizer: Callable[..., Any] | None = None,
    minimum: float | None = None,
) -> Comparison:
    """A descent from the same point with each learning rate, and its verdict.

    Args:
        f, start, steps, optimizer: as in :func:`gradient_descent`.
        rates: the learning rates.
        minimum: the least value of f; by default that of a Surface, else the least value found.

    Returns: rate -> Path, in the order of the rates, each with its verdict (:func:`judge_descent`).

    Raises ValueError: no rate.

    >>> from ranvier import explore
    >>> found = explore.compare_learning_rates(explore.surfaces.bowl, (-2, 2), (0.005, 0.1, 0.6), steps=30)
    >>> [path.verdict for path in found.values()]
    ['slow', 'good', 'diverged']
    """
    if not isinstance(rates, Iterable) or not (rates := list(rates)):
        raise ValueError(f"[compare_learning_rates] got rates {rates!r}; expected at least one")
    paths = {rate: gradient_descent(f, start, rate, steps, optimizer) for rate in rates}
    return _judged(f, {rate: replace(path, name=f"rate {rate:g}") for rate, path in paths.items()}, minimum)


def compare_optimizers(
    f: Objective,
    start: npt.ArrayLike | None = None,
    optimizers: Mapping[str, Callable[..., Any]] | None = None,
    steps: int = 50,
    minimum: float | None = None,
) -> Comparison:
    """A descent from the same point with each optimizer.

    Args:
        f, steps: as in :func:`gradient_descent`.
        start: the first point; by default that of a Surface.
        optimizers: name -> function that makes an optimizer from a list of parameters, such as
            `{"Nesterov": lambda p: rv.optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True)}`. By default SGD
            and momentum with rate 0.01, RMSprop and Adam with rate 0.1.
        minimum: the least value of f; by default that of a Surface, else the least value found.

    Returns: name -> Path, in the order of the optimizers, each with its verdict (:func:`judge_descent`).

    Raises ValueError: no optimizer, or no start and f is not a Surface.

    >>> from ranvier import explore
    >>> found = explore.compare_optimizers(explore.surfaces.ripples)
    >>> list(found), found.best
    (['SGD', 'momentum', 'RMSprop', 'Adam'], 'RMSprop')
    """
    if start is None:
        if not isinstance(f, Surface):
            raise ValueError("[compare_optimizers] got no start; expected one, as f is not a Surface")
        start = f.start
    optimizers = OPTIMIZERS if optimizers is None else optimizers
    if not isinstance(optimizers, Mapping) or not optimizers:
        raise ValueError(
            f"[compare_optimizers] got optimizers {optimizers!r}; expected at least one name -> optimizer"
        )
    paths = {name: gradient_descent(f, start, steps=steps, optimizer=o) for name, o in optimizers.items()}
    return _judged(f, {name: replace(path, name=name) for name, path in paths.items()}, minimum)


def _judged(f: Objective, paths: Mapping[Any, Path], minimum: float | None) -> Comparison:
    if minimum is None:
        if isinstance(f, Surface) and f.minima:
            minimum = evaluate(f, f.minima[0])
        else:
            minimum = min(path.best_value for path in paths.values())
    comparison = Comparison(
        {name: replace(path, verdict=judge_descent(path, minimum)) for name, path in paths.items()}
    )
    comparison.minimum = minimum
    return comparison


Score = Callable[..., float]


def ablate(score: Score, parts: Iterable[str], *, repeats: int = 1, seed: int = 0) -> dict[str, float]:
    """The effect of each part of a network: the score without it, minus that of the whole network.

    Args:
        score: called as `score(convolution=True, pooling=False, ...)`, with a keyword for each part: builds
            the network with the parts that are True, trains it and returns a number.
        parts: their names.
        repeats: calls for each variant, with the random streams of seed, seed + 1 ...; the mean is used.
            Differences below the spread between seeds are chance.
        seed: of the first call.

    Returns: The score of "all", then the difference without each part.

    Raises ValueError: no parts, or repeats below 1.

    >>> import ranvier as rv
    >>> rv.explore.ablate(lambda a, b: 0.5 + 0.25 * a + 0.125 * b, ["a", "b"])
    {'all': 0.875, 'a': -0.25, 'b': -0.125}
    """
    names = list(parts)
    repeats = positive("ablate", "repeats", repeats)
    if not names:
        raise ValueError("[ablate] got no parts; expected the names of some")

    def mean(without: str = "") -> float:
        scores = []
        for i in range(repeats):
            with random.using(random.Generator().manual_seed(seed + i)):
                scores.append(float(score(**{name: name != without for name in names})))
        return float(np.mean(scores))

    whole = mean()
    return {"all": whole, **{name: mean(name) - whole for name in names}}
