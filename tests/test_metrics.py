"""The metrics: golden values, scikit-learn's numbers, and errors instead of broadcasting."""

import math

import numpy as np
import pytest
from ranvier import metrics

RNG = np.random.default_rng(0)
TRUE, PRED = RNG.normal(size=40), RNG.normal(size=40)


def test_golden_mse():
    assert metrics.mse([3, -0.5, 2, 7], [2.5, 0.0, 2, 8]) == 0.375


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("mse", "mean_squared_error"),
        ("rmse", "root_mean_squared_error"),
        ("mae", "mean_absolute_error"),
        ("r2", "r2_score"),
    ],
)
def test_regression_equals_sklearn(name, theirs):
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    ours = metrics.METRICS[name](TRUE, PRED)
    assert math.isclose(ours, getattr(sklearn, theirs)(TRUE, PRED), rel_tol=1e-12)


def test_accuracy():
    assert metrics.accuracy([0, 1, 2], [0, 1, 1]) == pytest.approx(2 / 3)
    assert metrics.accuracy([0.0, 1.0], [0, 1]) == 1  # labels as floats, as a binary loss needs them
    assert metrics.accuracy([[0.1, 0.9], [0.8, 0.2]], [1, 1]) == 0.5  # probabilities as targets
    assert metrics.accuracy([[0.0], [1.0]], [[1], [1]]) == 0.5


def test_binary_accuracy():
    assert metrics.binary_accuracy([0, 1, 1], [0.4, 0.6, 0.4]) == pytest.approx(2 / 3)
    assert metrics.binary_accuracy([1], [0.4], threshold=0.3) == 1


def test_errors():
    for name in ("accuracy", "binary_accuracy", "mse", "mae", "rmse", "r2"):
        metric = metrics.METRICS[name]
        with pytest.raises(
            ValueError, match=rf"\[{name}\] got y_true of shape \(2,\) and y_pred of shape \(2, 1\)"
        ):
            metric(np.array([0, 1]), np.array([[0], [1]]))
        with pytest.raises(ValueError, match=rf"\[{name}\] got no samples"):
            metric(np.zeros(0, int), np.zeros(0, int))
    with pytest.raises(
        TypeError, match=r"\[accuracy\] got predictions of dtype float64; .* see binary_accuracy"
    ):
        metrics.accuracy([0, 1], [0.2, 0.7])


def test_r2_of_constant_targets():
    assert math.isnan(metrics.r2([1, 1], [1, 2]))
