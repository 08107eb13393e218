"""Cross-validated scores on small tables: ``python -m benchmarks.estimators.scores [-k name] [--json file]``.

Accuracy or R^2, the mean of five folds (of five times as many for less than 600 samples), for
TabularClassifier and TabularRegressor, and for scikit-learn's MLP, gradient boosting and random forest with
their defaults. The MLP gets standardised features and targets, without which it learns little on some of
these problems, and 500 iterations. The last column is the difference between Tabular and MLP, fold by fold,
with its standard error, which takes into account that training parts of different folds overlap (Nadeau and
Bengio, "Inference for the generalization error", 2003).
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import RepeatedKFold, RepeatedStratifiedKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.estimators.problems import CLASSES, VALUES


def estimators(of_classes: bool) -> dict[str, Any]:
    from ranvier.sklearn import TabularClassifier, TabularRegressor

    if of_classes:
        return {
            "tabular": TabularClassifier(random_state=0),
            "MLP": make_pipeline(StandardScaler(), MLPClassifier(max_iter=500, random_state=0)),
            "boosting": HistGradientBoostingClassifier(random_state=0),
            "forest": RandomForestClassifier(random_state=0),
        }
    mlp = make_pipeline(StandardScaler(), MLPRegressor(max_iter=500, random_state=0))
    return {
        "tabular": TabularRegressor(random_state=0),
        "MLP": TransformedTargetRegressor(mlp, transformer=StandardScaler()),
        "boosting": HistGradientBoostingRegressor(random_state=0),
        "forest": RandomForestRegressor(random_state=0),
    }


def score(estimator: Any, name: str, repeats: int = 0) -> tuple[list[float], float]:
    """The score of each fold, and the seconds of one fit."""
    of_classes = name in CLASSES
    x, y = (CLASSES if of_classes else VALUES)[name]()
    repeats = repeats or (5 if len(x) < 600 else 1)
    kind = RepeatedStratifiedKFold if of_classes else RepeatedKFold
    measure = accuracy_score if of_classes else r2_score
    scores, seconds = [], 0.0
    for train, test in kind(n_splits=5, n_repeats=repeats, random_state=0).split(x, y):
        start = time.process_time()
        fitted = clone(estimator).fit(x[train], y[train])
        seconds += time.process_time() - start
        scores.append(measure(y[test], fitted.predict(x[test])))
    return [float(value) for value in scores], seconds / len(scores)


def difference(ours: list[float], theirs: list[float]) -> tuple[float, float]:
    """The mean of the differences of folds, four fifths of the samples to train, and its standard error."""
    found = np.subtract(ours, theirs)
    return float(found.mean()), float(np.sqrt((1 / len(found) + 1 / 4) * found.var(ddof=1)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-k", default="", help="only problems whose name contains this")
    parser.add_argument("--only", default="", help="only this estimator")
    parser.add_argument(
        "--repeats", type=int, default=0, help="of the folds; 5 for less than 600 samples, else 1"
    )
    parser.add_argument("--json", help="a file for the figures")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    found: dict[str, dict[str, Any]] = {}
    for name in (*CLASSES, *VALUES):
        if arguments.k not in name:
            continue
        found[name] = {
            title: score(estimator, name, arguments.repeats)
            for title, estimator in estimators(name in CLASSES).items()
            if arguments.only in ("", title)
        }
        cells = "  ".join(f"{title} {np.mean(s):.4f} ({t:.2f} s)" for title, (s, t) in found[name].items())
        if {"tabular", "MLP"} <= {*found[name]}:
            mean, error = difference(found[name]["tabular"][0], found[name]["MLP"][0])
            cells += f"  tabular - MLP {mean:+.4f} +- {error:.4f}"
        print(f"{name:26}{cells}", flush=True)
        if arguments.json:
            with open(arguments.json, "w") as file:
                json.dump(found, file)


if __name__ == "__main__":
    main()
