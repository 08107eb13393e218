"""Metrics: functions `(y_true, y_pred)` on NumPy arrays with scikit-learn's names and results.

`Trainer(metrics=["accuracy", "f1_macro"])` finds them by the names in `METRICS` and computes them once per
epoch over all samples. It also takes any other function of `(y_true, y_pred)`, such as scikit-learn's, and
its scorers. A function receives labels, unless its second parameter is called `y_score`, `y_prob`, `y_proba`
or the like: then probabilities as scikit-learn has them, (n,) of the second class where there are two, else
(n, classes). It says so itself by an attribute `scored`: "labels", "positive" (as these) or "probabilities"
(always the result of `predict_proba`). An attribute `greater_is_better` tells callbacks its direction.
"""

import typing as _typing

import ranvier.first_use as _first_use

if _typing.TYPE_CHECKING:
    from ranvier.metrics.classification import *
    from ranvier.metrics.named import *
    from ranvier.metrics.ranking import *
    from ranvier.metrics.regression import *

_MODULES = {
    "classification": """
        accuracy_score binary_accuracy classification_report confusion_matrix f1_score precision_score
        recall_score
    """,
    "named": "METRICS",
    "ranking": "log_loss roc_auc_score top_k_accuracy_score",
    "regression": "mean_absolute_error mean_squared_error r2_score root_mean_squared_error",
}
__getattr__ = _first_use.FirstUse(__name__, _MODULES)
__dir__ = __getattr__.directory

if not _typing.TYPE_CHECKING:
    __all__ = [*__getattr__.names]
