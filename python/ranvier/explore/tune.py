"""Hyperparameters: grid search, random search and ablation."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ranvier.autograd import random
from ranvier.data.sampler import positive
from ranvier.explore.table import text_table

__all__ = ["Results", "Trial", "ablate", "grid_search", "log_uniform", "randomized_search", "uniform"]

Score = Callable[..., float]


@dataclass(frozen=True)
class Trial:
    """One call of the score function.

    Attributes:
        parameters: its keyword arguments.
        score: its result; NaN if it failed.
        error: the error, or "".
        seconds: the time of the call.
    """

    parameters: dict[str, Any]
    score: float
    error: str
    seconds: float


class Results(Sequence[Trial]):
    """The trials, best first, failed ones last; `str()` of it is a table."""

    def __init__(self, trials: Iterable[Trial], maximize: bool) -> None:
        def place(trial: Trial) -> float:
            return math.inf if math.isnan(trial.score) else -trial.score if maximize else trial.score

        self._trials = sorted(trials, key=place)

    @property
    def best(self) -> Trial:
        """The best trial. Raises RuntimeError if every trial failed."""
        if math.isnan(self._trials[0].score):
            raise RuntimeError(f"[search] every trial failed; the first with {self._trials[0].error}")
        return self._trials[0]

    def __len__(self) -> int:
        return len(self._trials)

    def __getitem__(self, index: Any) -> Any:
        return self._trials[index]

    def __str__(self) -> str:
        rows = [(*self._trials[0].parameters, "score", "seconds")]
        for trial in self:
            values = (f"{v:.4g}" if isinstance(v, float) else str(v) for v in trial.parameters.values())
            rows.append((*values, trial.error or f"{trial.score:.5g}", f"{trial.seconds:.2f}"))
        return text_table(rows)


def _trial(score: Score, parameters: dict[str, Any], seed: int) -> Trial:
    """One call with its own random stream, so that its result does not depend on other calls."""
    start = time.perf_counter()
    try:
        with random.using(random.Generator().manual_seed(seed)):
            found, error = float(score(**parameters)), ""
        error = "" if math.isfinite(found) else f"score {found}"
    except Exception as failure:  # a failed combination does not end the search
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
        score: called with keyword arguments, returns a number, such as the accuracy on validation data. An
            exception, a NaN or an infinity is a failed trial.
        grid: the values for each keyword.
        maximize: whether larger is better.
        seed: of the random stream of each call, the same for all calls.

    Raises TypeError: score is not a function, or grid not a mapping; ValueError: a keyword without values.

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
    combinations = itertools.product(*columns.values())
    return Results([_trial(score, dict(zip(columns, c, strict=True)), seed) for c in combinations], maximize)


def randomized_search(
    score: Score, space: Mapping[str, Any], trials: int, *, maximize: bool = True, seed: int = 0
) -> Results:
    """Call a function with random arguments: better than a grid if few of them matter.

    Args:
        score, maximize: as in `grid_search`.
        space: for each keyword, a list to choose from, or a function of a NumPy Generator that draws a value:
            `log_uniform(1e-4, 1e-1)`, `uniform(0, 0.5)`, `lambda g: int(g.integers(1, 5))`.
        trials: the number of calls.
        seed: of the draws, and of the random stream of each call.

    Raises TypeError: score is not a function, or space not a mapping.
    Raises ValueError: trials below 1, or a keyword without values.

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
    draws = {name: given if callable(given) else _choice(list(given)) for name, given in space.items()}
    if not draws:
        raise ValueError("[randomized_search] got no keywords; expected lists or functions by keyword")
    generator = np.random.default_rng(seed)
    settings = ({name: draw(generator) for name, draw in draws.items()} for _ in range(trials))
    return Results([_trial(score, each, seed) for each in settings], maximize)


def _choice(values: list[Any]) -> Callable[[np.random.Generator], Any]:
    if not values:
        raise ValueError("[randomized_search] got a keyword without values; expected a list or a function")
    return lambda generator: values[int(generator.integers(len(values)))]


def uniform(low: float, high: float) -> Callable[[np.random.Generator], float]:
    """Uniform numbers from low to high, for `randomized_search`."""
    if not low < high:
        raise ValueError(f"[uniform] got {low} and {high}; expected low < high")
    return lambda generator: float(generator.uniform(low, high))


def log_uniform(low: float, high: float) -> Callable[[np.random.Generator], float]:
    """Numbers from low to high with a uniform logarithm, for learning rates and penalties."""
    if not 0 < low < high:
        raise ValueError(f"[log_uniform] got {low} and {high}; expected 0 < low < high")
    return lambda generator: float(np.exp(generator.uniform(math.log(low), math.log(high))))


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
        found = []
        for i in range(repeats):
            with random.using(random.Generator().manual_seed(seed + i)):
                found.append(float(score(**{name: name != without for name in names})))
        return float(np.mean(found))

    whole = mean()
    return {"all": whole, **{name: mean(name) - whole for name in names}}
