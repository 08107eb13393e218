"""scikit-learn's own checks of estimators."""

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import ranvier as rv
from ranvier.sklearn import (
    MLPClassifier,
    MLPRegressor,
    NeuralNetClassifier,
    NeuralNetRegressor,
    TabularClassifier,
    TabularRegressor,
)
from sklearn.base import clone
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class Network(rv.nn.Sequential):
    """A class, whose name in the tests' ids is the same in each process of xdist."""

    def __init__(self, n_features, n_outputs):
        super().__init__(rv.nn.Linear(n_features, 20), rv.nn.ReLU(), rv.nn.Linear(20, n_outputs))


NET = {"optimizer": rv.optim.Adam, "lr": 0.03, "max_epochs": 15, "batch_size": 32}
ESTIMATORS = [
    MLPClassifier(max_iter=25, learning_rate_init=0.01),
    MLPRegressor(max_iter=40, learning_rate_init=0.01),
    NeuralNetClassifier(Network, **NET),
    NeuralNetRegressor(Network, **NET),
    TabularClassifier((16,), n_members=2, max_iter=15, learning_rate=0.02),
    TabularRegressor((16,), n_members=2, max_iter=20, learning_rate=0.02),
]
ROUNDING = "the sums of float32 of a sample twice and of one with weight two are rounded differently"
BATCHES = "a repeated sample is in other batches, or weighs more in batch norms, quartiles and splits"
SAMPLE_WEIGHTS = (
    "check_sample_weight_equivalence_on_dense_data",
    "check_sample_weight_equivalence_on_sparse_data",
)


def expected(estimator):
    reason = ROUNDING if type(estimator) in (MLPClassifier, MLPRegressor) else BATCHES
    return dict.fromkeys(SAMPLE_WEIGHTS, reason)


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected)
def test_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("name", SAMPLE_WEIGHTS)
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_a_weight_of_two_is_a_sample_twice(kind, solver, name):
    """In float64, for data that are one batch."""
    estimator = kind(max_iter=30, learning_rate_init=0.01, solver=solver, dtype="float64")
    getattr(estimator_checks, name)(kind.__name__, clone(estimator))
