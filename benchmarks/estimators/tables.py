"""The tables' estimators beside others: ``python -m benchmarks.estimators.tables --data FOLDER``.

TabularClassifier, TabularRegressor and their peers have their defaults, and the folds are the same for all.
Categories are marked for the estimators that take them, and become columns of zeros and ones for
scikit-learn's MLP, which gets scaled numbers and targets. Estimators of libraries that are not installed are
left out. ``table_list`` says where the tables come from; those that FOLDER lacks are left out too.
``--half choosing`` takes the tables by which the defaults were chosen, ``further-reporting`` and
``further-choosing`` two halves of others, ``many-classes`` those of 24 and 32 classes.

Of each fold: accuracy or R^2, log loss, Brier score (the sum over the classes of squared errors of
probabilities), the processor seconds of `fit` and of the prediction; ``OMP_NUM_THREADS=1`` leaves out what
waiting threads take. ``--json FILE`` keeps them, and leaves out what the file has already; ``--only NAME``
measures one estimator.
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.impute import SimpleImputer
from sklearn.metrics import accuracy_score, log_loss, r2_score
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.estimators.table_list import HALVES, Table

BASE = "HistGradientBoosting"  # whose processor time is the unit
MODULES = {
    "Tabular": "ranvier.sklearn",
    BASE: "sklearn.ensemble",
    "RandomForest": "sklearn.ensemble",
    "LGBM": "lightgbm",
    "XGB": "xgboost",
    "CatBoost": "catboost",
    "MLP": "sklearn.neural_network",
}
MOST = 255  # categories that HistGradientBoosting takes as such


def _class(name: str, of_classes: bool) -> Any:
    """The class of an estimator, or None where its library is not installed."""
    try:
        module = importlib.import_module(MODULES[name])
    except ImportError:
        return None
    return getattr(module, name + ("Classifier" if of_classes else "Regressor"))


def fitted(name: str, table: Table, x: Any, y: Any) -> Any:
    """An estimator with its defaults, fitted to a part of the table; `prepared` makes X to predict."""
    make, marked = _class(name, table.of_classes), table.categories
    plain = [i for i in range(x.shape[1]) if i not in marked]
    if name == "Tabular":
        return make(categorical_features=marked, random_state=0).fit(x, y)
    if name == BASE:
        few = [i for i in marked if len(np.unique(table.x[:, i])) <= MOST]
        return make(categorical_features=few or None, random_state=0).fit(x, y)
    if name == "RandomForest":
        return make(random_state=0).fit(x, y)
    if name == "LGBM":
        return make(random_state=0, verbose=-1).fit(x, y, categorical_feature=marked)
    if name == "XGB":
        kinds = ["c" if i in marked else "q" for i in range(x.shape[1])]
        return make(random_state=0, enable_categorical=True, feature_types=kinds).fit(x, y)
    if name == "CatBoost":
        settings = {"cat_features": marked, "verbose": 0, "allow_writing_files": False, "random_state": 0}
        return make(**settings).fit(prepared(name, table, x), y)
    codes = make_pipeline(
        SimpleImputer(strategy="constant", fill_value=-1), OneHotEncoder(handle_unknown="ignore", dtype=float)
    )
    columns = ColumnTransformer(
        [("codes", codes, marked), ("plain", make_pipeline(SimpleImputer(), StandardScaler()), plain)]
    )
    pipeline = make_pipeline(columns, make(random_state=0))
    if not table.of_classes:
        pipeline = TransformedTargetRegressor(pipeline, transformer=StandardScaler())
    return clone(pipeline).fit(x, y)


def prepared(name: str, table: Table, x: Any) -> Any:
    """X in the form that an estimator takes."""
    if name != "CatBoost" or not table.categories:
        return x
    columns = x.astype(object)
    for i in table.categories:
        columns[:, i] = [str(code) for code in x[:, i]]
    return columns


def measure(name: str, table: Table, folds: int) -> list[list[float]]:
    """For each fold: accuracy or R^2, log loss, Brier score, seconds of fit, seconds of the prediction."""
    kind = StratifiedKFold if table.of_classes else KFold
    found = []
    for train, test in kind(folds, shuffle=True, random_state=0).split(table.x, table.y):
        start = time.process_time()
        model = fitted(name, table, table.x[train], table.y[train])
        middle = time.process_time()
        x, y = prepared(name, table, table.x[test]), table.y[test]
        if not table.of_classes:
            values = np.asarray(model.predict(x)).ravel()
            scores = [r2_score(y, values), float("nan"), float("nan")]
        else:
            p = np.clip(np.asarray(model.predict_proba(x), np.float64), 1e-7, 1)
            p /= p.sum(axis=1, keepdims=True)
            brier = ((p - (y[:, None] == model.classes_)) ** 2).sum(axis=1).mean()
            scores = [
                accuracy_score(y, model.classes_[p.argmax(axis=1)]),
                log_loss(y, p, labels=model.classes_),
                float(brier),
            ]
        found.append([*map(float, scores), middle - start, time.process_time() - middle])
    return found


def ranks(scores: Any) -> Any:
    """The rank of each column in each row, 1 the greatest; equals share the mean of their ranks."""
    above = (scores[:, None, :] > scores[:, :, None]).sum(axis=2)
    return above + (scores[:, None, :] == scores[:, :, None]).sum(axis=2) / 2 + 0.5


def _line(title: str, values: Any, form: str = ".3f") -> None:
    cells = [value if isinstance(value, str) else f"{value:{form}}" for value in values]
    print(f"| {title} | {' | '.join(cells)} |")


def report(found: dict[str, dict[str, Any]]) -> None:
    """The figures of each table, then the means and what they are beside those of Tabular."""
    names = [n for n in MODULES if all(n in row for row in found.values())]
    for title in ("accuracy", "R^2"):
        rows = [t for t, row in found.items() if np.isnan(row[names[0]][0][1]) == (title == "R^2")]
        if not rows:
            continue
        means = np.array([[np.mean(found[t][n], axis=0) for n in names] for t in rows])
        scores = means[:, :, 0]
        _line(title, names)
        print("|---" * (len(names) + 1) + "|")
        for table, row in zip(rows, scores, strict=True):
            _line(table, row)
        _line("mean", scores.mean(axis=0), ".4f")
        _line("mean rank", ranks(scores).mean(axis=0), ".2f")
        differences = scores[:, :1] - scores
        errors = differences.std(axis=0, ddof=min(1, len(rows) - 1)) / np.sqrt(len(rows))
        pairs = zip(differences.mean(axis=0), errors, strict=True)
        _line(f"{names[0]} less this", [f"{mean:+.4f} ± {error:.4f}" for mean, error in pairs])
        if title == "accuracy":
            _line("mean log loss", means[:, :, 1].mean(axis=0), ".4f")
            _line("mean rank of log loss", ranks(-means[:, :, 1]).mean(axis=0), ".2f")
            _line("mean Brier score", means[:, :, 2].mean(axis=0), ".4f")
        if BASE in names:
            for i, what in ((3, "fit"), (4, "prediction")):
                ratios = means[:, :, i] / means[:, [names.index(BASE)], i]
                _line(f"{what}, median of ratios", np.median(ratios, axis=0), ".2f")
        print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("."), help="the folder with the real tables")
    parser.add_argument("--half", choices=HALVES, default="reporting")
    parser.add_argument("--rows", type=int, default=3000, help="at most this many of each table")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("-k", default="", help="only tables whose name contains this")
    parser.add_argument("--only", default="", help="only these estimators, with commas")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    found = json.loads(arguments.json.read_text()) if arguments.json and arguments.json.exists() else {}
    for name, load in HALVES[arguments.half].items():
        if arguments.k not in name:
            continue
        try:
            table = load(arguments.data).sampled(arguments.rows)
        except FileNotFoundError as error:
            print(f"{name} is left out: {error.filename} is missing", flush=True)
            continue
        row = found.setdefault(name, {})
        for estimator in MODULES:
            chosen = estimator in (arguments.only or estimator).split(",")
            if chosen and estimator not in row and _class(estimator, table.of_classes) is not None:
                row[estimator] = measure(estimator, table, arguments.folds)
        if arguments.json:
            arguments.json.write_text(json.dumps(found))
    report(found)


if __name__ == "__main__":
    main()
