"""Metrics by name: those that `Trainer` finds, and whether more of a quantity is better."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

import ranvier.metrics.regression as regression
from ranvier.metrics.classification import (
    accuracy_score,
    binary_accuracy,
    f1_score,
    precision_score,
    recall_score,
)
from ranvier.metrics.ranking import log_loss, roc_auc_score, top_k_accuracy_score
from ranvier.tensors.memory import Array

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["METRICS"]

Metric = Callable[[Array, Array], float]


class _WithSettings:
    """A metric with its settings, under the name that it has in a Trainer's history.

    scored: what `y_pred` holds, "labels" or "probabilities"; see the function `scored`.
    """

    def __init__(self, name: str, function: Callable[..., float], scored: str, **settings: Any) -> None:
        self.__name__ = name
        self.scored = scored
        self._function = function
        self._settings = settings

    def __call__(self, y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
        return self._function(y_true, y_pred, **self._settings)


METRICS: dict[str, Metric] = {
    "accuracy": accuracy_score,
    "binary_accuracy": binary_accuracy,
    "mae": regression.mean_absolute_error,
    "mse": regression.mean_squared_error,
    "r2": regression.r2_score,
    "rmse": regression.root_mean_squared_error,
    "precision": precision_score,
    "recall": recall_score,
    "f1": f1_score,
    "precision_macro": _WithSettings("precision_macro", precision_score, "labels", average="macro"),
    "recall_macro": _WithSettings("recall_macro", recall_score, "labels", average="macro"),
    "f1_macro": _WithSettings("f1_macro", f1_score, "labels", average="macro"),
    "precision_micro": _WithSettings("precision_micro", precision_score, "labels", average="micro"),
    "recall_micro": _WithSettings("recall_micro", recall_score, "labels", average="micro"),
    "f1_micro": _WithSettings("f1_micro", f1_score, "labels", average="micro"),
    "precision_weighted": _WithSettings("precision_weighted", precision_score, "labels", average="weighted"),
    "recall_weighted": _WithSettings("recall_weighted", recall_score, "labels", average="weighted"),
    "f1_weighted": _WithSettings("f1_weighted", f1_score, "labels", average="weighted"),
    "top_2_accuracy": _WithSettings("top_2_accuracy", top_k_accuracy_score, "probabilities", k=2),
    "top_3_accuracy": _WithSettings("top_3_accuracy", top_k_accuracy_score, "probabilities", k=3),
    "top_5_accuracy": _WithSettings("top_5_accuracy", top_k_accuracy_score, "probabilities", k=5),
    "roc_auc": _WithSettings("roc_auc", roc_auc_score, "probabilities", multi_class="ovr"),
    "roc_auc_ovo": _WithSettings("roc_auc_ovo", roc_auc_score, "probabilities", multi_class="ovo"),
    "log_loss": _WithSettings("log_loss", log_loss, "probabilities"),
}

# --- what a metric receives

# Words of the second parameter of a function that takes probabilities or scores: y_score, y_prob, y_proba ...
_SCORES = {"score", "scores", "prob", "probs", "proba", "probas", "probability", "probabilities"}
# Functions of scikit-learn that take probabilities as `y_pred`.
_TAKE_PROBABILITIES = {"log_loss", "d2_log_loss_score"}


class OfScorer:
    """A metric made of a scorer of scikit-learn (`make_scorer`), which has a function, its settings and what
    it receives; train/settings.py makes it. Its value is that of the scorer: negative where less of the
    function's is better."""

    def __init__(self, scorer: Any) -> None:
        self._function = scorer._score_func
        self._settings = dict(scorer._kwargs)
        self._sign = scorer._sign
        response = getattr(scorer, "_response_method", "predict")
        if response in ("predict", ("predict",), ["predict"]):
            self.scored = "labels"
        else:
            self.scored = "positive"
        name = self._function.__name__
        self.__name__ = name if self._sign > 0 else f"neg_{name}"
        self.greater_is_better = True  # for the callbacks that watch it (train/callbacks/control.py)

    def __call__(self, y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
        return float(self._sign * self._function(y_true, y_pred, **self._settings))


def is_scorer(metric: Any) -> bool:
    """True for a scorer of scikit-learn."""
    return all(hasattr(metric, name) for name in ("_score_func", "_kwargs", "_sign"))


def scored(metric: Callable[..., Any]) -> str:
    """What a metric receives as its second argument: "labels", "probabilities" (the result of
    `predict_proba`), or "positive": scikit-learn's convention, of two classes the probability of the second
    one, of more the result of `predict_proba`.

    A metric says it itself by an attribute `scored`, or `needs_proba`. scikit-learn's functions, and others,
    take scores if their second parameter is called `y_score`, `y_prob`, `y_proba` or the like. All others
    receive labels.

    Raises:
        ValueError: another word than these in `scored`, or a metric of decision values.

    >>> import ranvier as rv
    >>> def brier(y_true, y_prob):
    ...     return ((y_prob - y_true) ** 2).mean()
    >>> scored(brier), scored(rv.metrics.accuracy_score), scored(rv.metrics.roc_auc_score)
    ('positive', 'labels', 'probabilities')
    """
    declared = getattr(metric, "scored", None)
    if declared is not None:
        if declared not in ("labels", "probabilities", "positive"):
            raise ValueError(
                f"[Trainer] got a metric with scored {declared!r}; expected 'labels', 'probabilities' (the "
                "result of predict_proba) or 'positive' (of two classes those of the second)"
            )
        return str(declared)
    if getattr(metric, "needs_proba", False) or getattr(metric, "needs_threshold", False):
        return "positive"
    if isinstance(metric, functools.partial):
        return scored(metric.func)
    if isinstance(metric, Hashable):
        second = _cached_second_parameter(metric)
    else:
        second = _second_parameter(metric)
    name = getattr(metric, "__name__", "")
    if second == "pred_decision":
        raise ValueError(
            f"[Trainer] got metric {name}, which takes decision values; expected one of labels or "
            "probabilities, or a function of your own around it"
        )
    if _SCORES.isdisjoint(second.split("_")) and name not in _TAKE_PROBABILITIES:
        return "labels"
    if metric is log_loss or metric is roc_auc_score or metric is top_k_accuracy_score:
        return "probabilities"
    return "positive"


@functools.lru_cache(maxsize=256)
def _cached_second_parameter(metric: Callable[..., Any]) -> str:
    return _second_parameter(metric)


def _second_parameter(metric: Callable[..., Any]) -> str:
    """The name of the second parameter of a function; "" if it has none, or cannot say it."""
    try:
        names = list(inspect.signature(metric).parameters)
    except (TypeError, ValueError):
        return ""
    if len(names) > 1:
        return names[1]
    return ""


# --- whether more of a quantity is better

_ERRORS = {"mae", "mse", "rmse", "msle", "rmsle", "mape", "smape", "log_loss", "loss"}
# scikit-learn's names whose end says nothing, or something else.
_RISING = {
    "accuracy", "auc", "average_precision", "balanced_accuracy", "explained_variance", "matthews_corrcoef",
    "positive_likelihood_ratio", "r2",
}  # fmt: skip
_FALLING = {"brier_score", "davies_bouldin_score", "negative_likelihood_ratio"}
_FAMILIES = ("f1", "jaccard", "precision", "recall", "roc_auc")  # with an average: f1_macro, roc_auc_ovr
_AVERAGES = {"macro", "micro", "weighted", "samples", "ovr", "ovo"}


def direction(name: str) -> str | None:
    """ "max" or "min", which of a quantity is better, by its name; None if it is not known.

    Known are the names of `METRICS` and scikit-learn's, and its convention: "..._score" and "..._accuracy"
    rise, "..._loss", "..._error" and "..._deviance" fall.

    >>> direction("val_accuracy"), direction("f1_macro"), direction("loss"), direction("iou")
    ('max', 'max', 'min', None)
    """
    plain = name.removeprefix("val_")
    last_word = plain.split("_")[-1]
    if plain in _RISING or plain.startswith("neg_") or _is_in_family(plain):
        return "max"
    if plain in _ERRORS or plain in _FALLING or last_word in ("loss", "error", "deviance"):
        return "min"
    if plain.endswith(("_score", "_accuracy")):
        return "max"
    return None


def _is_in_family(plain: str) -> bool:
    """True for a name of `_FAMILIES`, alone or with its averages behind it."""
    for family in _FAMILIES:
        if plain == family:
            return True
        averages = plain.removeprefix(f"{family}_").split("_")
        if plain.startswith(f"{family}_") and _AVERAGES.issuperset(averages):
            return True
    return False
