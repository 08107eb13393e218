"""Small tables: the sets that scikit-learn has and problems that it makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import datasets

Problem = tuple[np.ndarray, np.ndarray]


def _bundled(load: Callable[..., Any]) -> Callable[[], Problem]:
    return lambda: load(return_X_y=True)


def _made(make: Callable[..., Any], *args: Any, **settings: Any) -> Callable[[], Problem]:
    def problem() -> Problem:
        x, y = make(*args, random_state=0, **settings)
        return x, y

    return problem


CLASSES: dict[str, Callable[[], Problem]] = {
    "iris": _bundled(datasets.load_iris),
    "wine": _bundled(datasets.load_wine),
    "breast_cancer": _bundled(datasets.load_breast_cancer),
    "digits": _bundled(datasets.load_digits),
    "make_classification": _made(
        datasets.make_classification, 1000, 20, n_informative=10, n_classes=3, flip_y=0.05
    ),
    "make_moons": _made(datasets.make_moons, 1000, noise=0.3),
    "make_circles": _made(datasets.make_circles, 1000, noise=0.15, factor=0.5),
    "make_gaussian_quantiles": _made(
        datasets.make_gaussian_quantiles, n_samples=1000, n_features=5, n_classes=3
    ),
    "make_hastie_10_2": _made(datasets.make_hastie_10_2, 2000),
}

VALUES: dict[str, Callable[[], Problem]] = {
    "diabetes": _bundled(datasets.load_diabetes),
    "make_friedman1": _made(datasets.make_friedman1, 1000, noise=1.0),
    "make_friedman2": _made(datasets.make_friedman2, 1000, noise=50.0),
    "make_friedman3": _made(datasets.make_friedman3, 1000, noise=0.1),
    "make_regression": _made(datasets.make_regression, 1000, 20, n_informative=10, noise=20.0),
    "make_sparse_uncorrelated": _made(datasets.make_sparse_uncorrelated, 1000),
}
