"""Metrics of scores and probabilities: ROC AUC, top-k accuracy, log loss."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from ranvier.metrics.checks import distinct, targets
from ranvier.tensors.errors import one_of, own_errors
from ranvier.tensors.failures import require_dtype
from ranvier.tensors.memory import Array

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["log_loss", "roc_auc_score", "top_k_accuracy_score"]


def score_arrays(name: str, y_true: npt.ArrayLike, y_score: npt.ArrayLike) -> tuple[Array, Array]:
    """Labels (n,) and scores (n,) or (n, classes)."""
    true, score = targets(name, y_true, y_score)
    require_dtype(name, "y_true", true, "biufUSO", "labels")
    require_dtype(name, "scores", score, "biuf", "numbers")
    if score.ndim == 2 and score.shape[1] == 1:
        score = score.reshape(-1)
    if true.ndim == 2 and true.shape[1] == 1:
        true = true.reshape(-1)
    if true.ndim == 2 and true.shape == score.shape and true.dtype.kind == "f":
        true = true.argmax(axis=1)  # probabilities
    if true.ndim != 1 or score.ndim not in (1, 2) or len(true) != len(score):
        raise ValueError(
            f"[{name}] got y_true of shape {true.shape} and scores of shape {score.shape}; "
            "expected (n,) and (n,) or (n, classes)"
        )
    if len(true) == 0:
        raise ValueError(f"[{name}] got no samples; expected at least one")
    if not np.isfinite(score).all():
        raise ValueError(f"[{name}] got scores that are not finite")
    return true, score


def binary_auc(positive: Array, score: Array) -> float:
    """The area under the ROC curve: the share of pairs of one positive and one negative sample in which the
    positive one has the larger score. A tie counts half. NaN if one class is missing."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, True)  # the last of equal scores
    true = np.cumsum(positive[order])[last]
    false = np.cumsum(~positive[order])[last]
    if not (true[-1] and false[-1]):
        return float("nan")
    heights = np.append(0, true)
    area = np.sum(np.diff(false, prepend=0) * (heights[1:] + heights[:-1])) / 2
    return float(area / true[-1] / false[-1])


def roc_auc_score(
    y_true: npt.ArrayLike,
    y_score: npt.ArrayLike,
    *,
    average: str = "macro",
    multi_class: str = "raise",
    labels: npt.ArrayLike | None = None,
) -> float:
    """Area under the ROC curve: how often a sample of a class has a larger score than one of another class.

    Args:
        y_true: labels (n,).
        y_score: for two labels, scores (n,) of the larger one, or (n, 2); else probabilities (n, classes).
        average: for more than two labels: "macro" or "weighted" by their frequency.
        multi_class: for more than two labels: "ovr" compares each with the rest, "ovo" each pair.
        labels: the labels of the columns; those that occur if None.

    Returns: NaN if only one label occurs. A label of no sample is left out of "ovo" and of "weighted".

    Raises:
        ValueError: shapes that do not fit, no samples, scores that are not probabilities, or more than two
            labels with multi_class "raise".

    Source: Hand and Till, "A Simple Generalisation of the Area Under the ROC Curve for Multiple Class
    Classification Problems" (2001), for "ovo".

    >>> import ranvier as rv
    >>> rv.metrics.roc_auc_score([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    true, score = score_arrays("roc_auc_score", y_true, y_score)
    present = distinct("roc_auc_score", true)
    if score.ndim == 1 or (score.shape[1] == 2 and len(present) <= 2):
        if len(present) > 2:
            raise ValueError(
                f"[roc_auc_score] got {len(present)} labels and scores of shape {score.shape}; "
                "expected (n, classes)"
            )
        if labels is None:
            largest = present[-1]
        else:
            largest = np.sort(np.asarray(labels))[-1]
        score_of_largest = score if score.ndim == 1 else score[:, 1]
        return binary_auc(true == largest, score_of_largest)
    one_of("roc_auc_score", "multi_class", multi_class, ("ovr", "ovo"))
    one_of("roc_auc_score", "average", average, ("macro", "weighted"))
    if labels is None:
        columns = present
    else:
        columns = np.asarray(labels).reshape(-1)
    if len(columns) != score.shape[1] or not np.isin(present, columns).all():
        raise ValueError(
            f"[roc_auc_score] got {score.shape[1]} columns for the labels {columns.tolist()}; "
            "expected one for each"
        )
    if not np.allclose(score.sum(axis=1), 1):
        raise ValueError("[roc_auc_score] got scores whose rows do not add up to 1; expected probabilities")
    if multi_class == "ovo":
        return _one_against_one(true, score, columns, average)
    return _one_against_rest(true, score, columns, average)


def _one_against_rest(true: Array, score: Array, labels: Array, average: str) -> float:
    positive = true[:, None] == labels  # (n, classes)
    areas = np.array([binary_auc(positive[:, k], score[:, k]) for k in range(len(labels))])
    if average == "macro":
        return float(areas.mean())
    share = positive.sum(axis=0)
    areas[share == 0] = 0.0  # classes that do not occur; their NaN times the weight 0 would be NaN
    return float(np.average(areas, weights=share))


def _one_against_one(true: Array, score: Array, labels: Array, average: str) -> float:
    areas = []
    shares = []
    for a, b in combinations(np.flatnonzero(np.isin(labels, true)), 2):
        is_a = true == labels[a]
        is_b = true == labels[b]
        pair = is_a | is_b  # the samples of one of these two labels
        area = binary_auc(is_a[pair], score[pair, a]) + binary_auc(is_b[pair], score[pair, b])
        areas.append(area / 2)
        shares.append(pair.mean())
    if not areas:
        return float("nan")
    weights = shares if average == "weighted" else None
    return float(np.average(areas, weights=weights))


def _labels_of_columns(name: str, true: Array, labels: npt.ArrayLike | None, columns: int) -> Array:
    """The labels of the columns: the given ones, those that occur if there are as many, or 0, 1, ..."""
    present = distinct(name, true)
    if labels is None:
        of_columns = present
    else:
        of_columns = np.sort(np.asarray(labels).reshape(-1))
    if labels is None and len(present) != columns and present.dtype.kind in "iubf":
        of_columns = np.arange(columns)
    if len(of_columns) != columns or not np.isin(present, of_columns).all():
        raise ValueError(
            f"[{name}] got {columns} columns of scores for the labels {of_columns.tolist()} and samples of "
            f"{present.tolist()}; expected a column for each (see labels=)"
        )
    return of_columns


def top_k_accuracy_score(
    y_true: npt.ArrayLike, y_score: npt.ArrayLike, *, k: int = 2, labels: npt.ArrayLike | None = None
) -> float:
    """Share of samples whose label is among the k with the largest scores. Of equal scores the later column
    counts as larger, as in scikit-learn.

    Args:
        y_true: labels (n,).
        y_score: scores (n, classes) of any kind, or (n,) of the larger of two labels.
        k: the number of largest scores.
        labels: the labels of the columns; if None, those that occur, or 0, 1 ... if some do not.

    Raises ValueError: shapes that do not fit, no samples, or k below 1.

    >>> import ranvier as rv
    >>> rv.metrics.top_k_accuracy_score([0, 1, 2], [[0.5, 0.2, 0.2], [0.3, 0.4, 0.2], [0.7, 0.2, 0.1]], k=2)
    0.6666666666666666
    """
    true, score = score_arrays("top_k_accuracy_score", y_true, y_score)
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise ValueError(f"[top_k_accuracy_score] got k {k!r}; expected a whole number of at least 1")
    if score.ndim == 1:
        columns = _labels_of_columns("top_k_accuracy_score", true, labels, 2)
        middle = 0.5 if score.min() >= 0 and score.max() <= 1 else 0
        if k == 1:
            hits = (score > middle) == (true == columns[1])
        else:
            hits = np.ones(len(true), bool)
    else:
        columns = _labels_of_columns("top_k_accuracy_score", true, labels, score.shape[1])
        best = np.argsort(score, axis=1, kind="stable")[:, ::-1][:, :k]
        hits = (np.searchsorted(columns, true)[:, None] == best).any(axis=1)
    return float(hits.mean())


def log_loss(y_true: npt.ArrayLike, y_proba: npt.ArrayLike, *, labels: npt.ArrayLike | None = None) -> float:
    """Mean of -log of the probability of the true label. Probabilities are clipped to [eps, 1 - eps] with the
    eps of their dtype.

    Args:
        y_true: labels (n,).
        y_proba: probabilities (n, classes), or (n,) of the larger of two labels.
        labels: the labels of the columns; if None, those that occur, or 0, 1 ... if some do not.

    Raises ValueError: shapes that do not fit, no samples, or values outside [0, 1].

    >>> import ranvier as rv
    >>> round(rv.metrics.log_loss([1, 0, 0, 1], [[0.1, 0.9], [0.9, 0.1], [0.8, 0.2], [0.35, 0.65]]), 5)
    0.21616
    """
    true, proba = score_arrays("log_loss", y_true, y_proba)
    if proba.dtype.kind != "f":
        proba = proba.astype(np.float64)
    if proba.min() < 0 or proba.max() > 1:
        raise ValueError("[log_loss] got values outside [0, 1]; expected probabilities")
    if proba.ndim == 1:
        proba = np.stack([1 - proba, proba], axis=1)
    columns = _labels_of_columns("log_loss", true, labels, proba.shape[1])
    eps = np.finfo(proba.dtype).eps
    of_label = proba[np.arange(len(true)), np.searchsorted(columns, true)]
    losses = -np.log(np.clip(of_label, eps, 1 - eps)).astype(np.float64)
    return float(losses.mean())


own_errors(globals(), __all__)
