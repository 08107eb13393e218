"""Estimators for scikit-learn's users: its interface, trained by :class:`ranvier.Trainer`.

scikit-learn is loaded at the first use of an estimator.

>>> from ranvier.sklearn import MLPClassifier
>>> from sklearn.datasets import load_iris
>>> X, y = load_iris(return_X_y=True)
>>> MLPClassifier(max_iter=300, learning_rate_init=0.01, random_state=0).fit(X, y).score(X, y) > 0.95
True
"""

from __future__ import annotations

import importlib as _importlib
import typing as _typing

from ranvier.extension import optional as _optional

if _typing.TYPE_CHECKING:
    from ranvier.sklearn.mlp import MLPClassifier, MLPRegressor
    from ranvier.sklearn.net import NeuralNetClassifier, NeuralNetRegressor
    from ranvier.sklearn.tabular import TabularClassifier, TabularRegressor

__all__ = [
    "MLPClassifier", "MLPRegressor", "NeuralNetClassifier", "NeuralNetRegressor",
    "TabularClassifier", "TabularRegressor",
]  # fmt: skip

_DEFINED_IN = {
    "MLPClassifier": "mlp",
    "MLPRegressor": "mlp",
    "NeuralNetClassifier": "net",
    "NeuralNetRegressor": "net",
    "TabularClassifier": "tabular",
    "TabularRegressor": "tabular",
}


def __getattr__(name: str) -> _typing.Any:
    if name not in _DEFINED_IN:
        raise AttributeError(f"module 'ranvier.sklearn' has no attribute {name!r}")
    _optional("sklearn", f"[{name}] needs scikit-learn: pip install 'ranvier[sklearn]'")
    value = getattr(_importlib.import_module(f"ranvier.sklearn.{_DEFINED_IN[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
