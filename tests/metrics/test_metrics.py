"""The metrics: golden values, scikit-learn's numbers, and errors instead of broadcasting."""

import math

import numpy as np
import pytest
from ranvier import metrics
from support.refused import refused

RNG = np.random.default_rng(0)
TRUE, PRED = RNG.normal(size=40), RNG.normal(size=40)


def test_golden_mse():
    assert metrics.mean_squared_error([3, -0.5, 2, 7], [2.5, 0.0, 2, 8]) == 0.375


def test_accuracy():
    assert metrics.accuracy_score([0, 1, 2], [0, 1, 1]) == pytest.approx(2 / 3)
    assert metrics.accuracy_score([0.0, 1.0], [0, 1]) == 1  # labels as floats, as a binary loss needs them
    assert metrics.accuracy_score([[0.1, 0.9], [0.8, 0.2]], [1, 1]) == 0.5  # probabilities as targets
    assert metrics.accuracy_score([[0.0], [1.0]], [[1], [1]]) == 0.5


def test_binary_accuracy():
    assert metrics.binary_accuracy([0, 1, 1], [0.4, 0.6, 0.4]) == pytest.approx(2 / 3)
    assert metrics.binary_accuracy([1], [0.4], threshold=0.3) == 1


def test_errors():
    for metric in (
        metrics.accuracy_score,
        metrics.binary_accuracy,
        metrics.mean_squared_error,
        metrics.mean_absolute_error,
        metrics.root_mean_squared_error,
        metrics.r2_score,
    ):
        name = metric.__name__
        with pytest.raises(
            ValueError, match=rf"\[{name}\] got y_true of shape \(2,\) and y_pred of shape \(2, 1\)"
        ):
            metric(np.array([0, 1]), np.array([[0], [1]]))
        refused(ValueError, f"[{name}] got no samples", metric, np.zeros(0, int), np.zeros(0, int))
    with pytest.raises(
        TypeError, match=r"\[accuracy_score\] got predictions of dtype float64; .* see binary_accuracy"
    ):
        metrics.accuracy_score([0, 1], [0.2, 0.7])
    refused(TypeError, "[accuracy_score] got y_true of dtype object", metrics.accuracy_score, None, None)
    refused(TypeError, "[r2_score] got y_true of dtype <U1; expected numbers", metrics.r2_score, ["a"], ["a"])


def test_r2_of_constant_targets():
    assert metrics.r2_score([1, 1], [1, 2]) == 0
    assert metrics.r2_score([1, 1], [1, 1]) == 1
    assert math.isnan(metrics.r2_score([1, 1], [1, 1], force_finite=False))
    assert math.isnan(metrics.r2_score([1], [1]))


def test_errors_of_labels_and_scores():
    two, three = np.array([0, 1, 1]), np.array([0, 1, 2])
    with pytest.raises(ValueError, match=r"\[f1_score\] got 3 labels and average 'binary'; expected another"):
        metrics.f1_score(three, three)
    with pytest.raises(ValueError, match=r"\[f1_score\] got pos_label 7; expected one of \[0, 1\]"):
        metrics.f1_score(two, two, pos_label=7)
    with pytest.raises(ValueError, match=r"\[recall_score\] got average 'mean'; expected 'binary', 'macro'"):
        metrics.recall_score(two, two, average="mean")
    with pytest.raises(
        ValueError, match=r"\[precision_score\] got zero_division 2; expected 0, 1, nan or 'warn'"
    ):
        metrics.precision_score(two, two, zero_division=2)
    with pytest.raises(ValueError, match=r"\[f1_score\] got y_pred that is no label; expected whole numbers"):
        metrics.f1_score(two, two + 0.5)
    with pytest.raises(
        ValueError, match=r"\[f1_score\] got labels of dtype int64 and <U1; expected the same kind"
    ):
        metrics.f1_score(two, np.array(["a", "b", "c"]))
    with pytest.raises(ValueError, match=r"\[roc_auc_score\] got multi_class 'raise'; expected 'ovr', 'ovo'"):
        metrics.roc_auc_score(three, np.eye(3))
    with pytest.raises(ValueError, match=r"\[roc_auc_score\] got scores whose rows do not add up to 1"):
        metrics.roc_auc_score(three, 2 * np.eye(3), multi_class="ovr")
    with pytest.raises(ValueError, match=r"\[roc_auc_score\] got 3 labels and scores of shape \(3,\)"):
        metrics.roc_auc_score(three, np.arange(3.0))
    with pytest.raises(ValueError, match=r"\[top_k_accuracy_score\] got k 0; expected a whole number of"):
        metrics.top_k_accuracy_score(three, np.eye(3), k=0)
    with pytest.raises(ValueError, match=r"\[log_loss\] got values outside \[0, 1\]; expected probabilities"):
        metrics.log_loss(three, 2 * np.eye(3))
    with pytest.raises(ValueError, match=r"\[log_loss\] got 2 columns of scores for the labels"):
        metrics.log_loss(three, np.full((3, 2), 0.5))
    with pytest.raises(
        ValueError, match=r"\[mean_squared_error\] got sample_weight of shape \(2,\); expected \(3,\)"
    ):
        metrics.mean_squared_error(two, two, sample_weight=[1, 2])


def test_columns_and_probabilities_as_labels():
    """What a Trainer has: columns (n, 1), labels as floats, targets that are probabilities."""
    found = np.array([[1], [1], [0]])
    assert metrics.f1_score(np.array([[1.0], [0.0], [0.0]]), found) == pytest.approx(2 / 3)
    assert metrics.f1_score([[0.1, 0.9], [0.8, 0.2], [0.6, 0.4]], found.ravel()) == pytest.approx(2 / 3)
    assert metrics.roc_auc_score([[0.0], [1.0]], [[0.2], [0.7]]) == 1
    assert metrics.top_k_accuracy_score([0, 3], np.eye(4)[[0, 3]], k=1) == 1  # labels 1 and 2 do not occur
