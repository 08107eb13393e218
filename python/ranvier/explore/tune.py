"""Hyperparameters: every combination of a grid, or random ones; and networks without one part each."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ranvier.autograd import random
from ranvier.data.loader import positive

__all__ = ["Results", "Trial", "ablate", "grid_search", "log_uniform", "randomized_search", "uniform"]

Score = Callable[..., float]


@dataclass(frozen=True)
class Trial:
    """One call: its keyword arguments, what came out, and how long it took.

    Attributes:
        parameters: the keyword arguments.
        score: what the function returned; NaN where it failed.
        error: what went wrong, or "".
        seconds: of the call.
    """

    parameters: dict[str, Any]
    score: float
    error: str
    seconds: float


class Results(Sequence[Trial]):
    """The trials, best first, failed ones last; `str()` of it is the table."""

    def __init__(self, trials: Iterable[Trial], maximize: bool) -> None:
        def place(trial: Trial) -> float:
            return math.inf if math.isnan(trial.score) else -trial.score if maximize else trial.score

        self._trials = sorted(trials, key=place)

    @property
    def best(self) -> Trial:
        """The first one.

        Raises:
            RuntimeError: every trial failed.
        """
        if math.isnan(self._trials[0].score):
            raise RuntimeError(f"[search] every trial failed; the first with {self._trials[0].error}")
        return self._trials[0]

    def __len__(self) -> int:
        return len(self._trials)

    def __getitem__(self, index: Any) -> Any:
        return self._trials[index]

    def __iter__(self) -> Iterator[Trial]:
        return iter(self._trials)

    def __str__(self) -> str:
        names = list(self._trials[0].parameters)
        rows = [(*names, "score", "seconds")]
        for trial in self:
            values = (_short(trial.parameters[name]) for name in names)
            rows.append((*values, trial.error or f"{trial.score:.5g}", f"{trial.seconds:.2f}"))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [
            "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows
        ]
        return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _trial(score: Score, parameters: dict[str, Any], seed: int) -> Trial:
    """One call under a random stream of its own, so that it gives the same alone and among others."""
    start = time.perf_counter()
    try:
        with random.using(random.Generator().manual_seed(seed)):
            found, error = float(score(**parameters)), ""
        error = "" if math.isfinite(found) else f"score {found}"
    except Exception as failure:  # one bad combination does not end the search
        found, error = math.nan, f"{type(failure).__name__}: {failure}"
    return Trial(parameters, found if not error else math.nan, error, time.perf_counter() - start)


def _require(name: str, score: Any, space: Any) -> None:
    if not callable(score):
        raise TypeError(f"[{name}] got score of type {type(score).__name__}; expected a function")
    if not isinstance(space, Mapping):
        raise TypeError(f"[{name}] got {type(space).__name__}; expected a mapping from keywords to values")


def grid_search(
    score: Score, grid: Mapping[str, Iterable[Any]], *, maximize: bool = True, seed: int = 0
) -> Results:
    """Call a function with every combination of the given values.

    Args:
        score: called with keyword arguments, gives a number, such as the accuracy on validation data. An
            exception, a NaN or an infinity is kept as a failed trial.
        grid: for each keyword, the values to try.
        maximize: whether larger is better.
        seed: of the random stream within each call, the same for all, so that they differ by their arguments
            only.

    Raises:
        TypeError: score is no function, grid no mapping.
        ValueError: a keyword without values.

    >>> import ranvier as rv
    >>> def loss(lr, steps): return (1 - 2 * lr) ** (2 * steps)  # of x^2 from 1, by gradient descent
    >>> found = rv.explore.grid_search(loss, {"lr": [0.01, 0.3, 1.1], "steps": [5, 10]}, maximize=False)
    >>> found.best.parameters, len(found)
    ({'lr': 0.3, 'steps': 10}, 6)
    """
    _require("grid_search", score, grid)
    columns = {name: list(values) for name, values in grid.items()}
    empty = [name for name, values in columns.items() if not values]
    if empty or not columns:
        raise ValueError(f"[grid_search] got no values for {', '.join(empty) or 'anything'}; expected some")
    combinations = (
        dict(zip(columns, values, strict=True)) for values in itertools.product(*columns.values())
    )
    return Results([_trial(score, parameters, seed) for parameters in combinations], maximize)


def randomized_search(
    score: Score, space: Mapping[str, Any], trials: int, *, maximize: bool = True, seed: int = 0
) -> Results:
    """Call a function with random arguments: better than a grid where few of them matter.

    Args:
        score, maximize: as in `grid_search`.
        space: for each keyword, a list to choose from, or a function of a NumPy Generator that draws a value:
            `log_uniform(1e-4, 1e-1)`, `uniform(0, 0.5)`, `lambda g: int(g.integers(1, 5))`.
        trials: how many calls.
        seed: of the draws, and of the random stream within each call.

    Raises:
        TypeError: score is no function, space no mapping.
        ValueError: trials below 1, or nothing to draw from.

    Source: J. Bergstra and Y. Bengio, "Random search for hyper-parameter optimization" (2012).

    >>> import ranvier as rv
    >>> def loss(lr, steps): return (1 - 2 * lr) ** (2 * steps)
    >>> space = {"lr": rv.explore.log_uniform(1e-3, 1.0), "steps": [5, 10]}
    >>> found = rv.explore.randomized_search(loss, space, 30, maximize=False)
    >>> 0.2 < found.best.parameters["lr"] < 0.8
    True
    """
    _require("randomized_search", score, space)
    trials = positive("randomized_search", "trials", trials)
    draws = {name: given if callable(given) else list(given) for name, given in space.items()}
    if not draws or any(not callable(given) and not given for given in draws.values()):
        raise ValueError("[randomized_search] got a keyword without values; expected a list or a function")
    generator = np.random.default_rng(seed)

    def draw() -> dict[str, Any]:
        return {
            name: given(generator) if callable(given) else given[int(generator.integers(len(given)))]
            for name, given in draws.items()
        }

    return Results([_trial(score, draw(), seed) for _ in range(trials)], maximize)


def uniform(low: float, high: float) -> Callable[[np.random.Generator], float]:
    """Numbers from low to high, each as likely: for `randomized_search`."""
    if not low < high:
        raise ValueError(f"[uniform] got {low} and {high}; expected low < high")
    return lambda generator: float(generator.uniform(low, high))


def log_uniform(low: float, high: float) -> Callable[[np.random.Generator], float]:
    """Numbers from low to high, each power of ten as likely: for learning rates and penalties."""
    if not 0 < low < high:
        raise ValueError(f"[log_uniform] got {low} and {high}; expected 0 < low < high")
    return lambda generator: float(np.exp(generator.uniform(math.log(low), math.log(high))))


def ablate(score: Score, parts: Iterable[str], *, repeats: int = 1, seed: int = 0) -> dict[str, float]:
    """What each part of a network is worth: the score without it, less that of the whole.

    Args:
        score: called as `score(convolution=True, pooling=False, ...)`, with one keyword for each part, builds
            the network with the parts that are True, trains it and gives a number.
        parts: their names.
        repeats: calls of each variant, over the random streams of seed, seed + 1 ..., of which the mean is
            taken: differences below the spread between seeds are chance.
        seed: of the first.

    Returns:
        "all" and its score, then the difference that each part's absence makes.

    Raises:
        ValueError: no parts, or repeats below 1.

    >>> import ranvier as rv
    >>> rv.explore.ablate(lambda a, b: 0.5 + 0.25 * a + 0.125 * b, ["a", "b"])
    {'all': 0.875, 'a': -0.25, 'b': -0.125}
    """
    names = list(parts)
    repeats = positive("ablate", "repeats", repeats)
    if not names:
        raise ValueError("[ablate] got no parts; expected the names of some")

    def mean(without: str = "") -> float:
        found = []
        for i in range(repeats):
            with random.using(random.Generator().manual_seed(seed + i)):
                found.append(float(score(**{name: name != without for name in names})))
        return float(np.mean(found))

    whole = mean()
    return {"all": whole, **{name: mean(name) - whole for name in names}}
