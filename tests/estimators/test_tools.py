"""The estimators in scikit-learn's tools and checks: pipelines, searches, calibration, copies, files.

A clone, a copy and a pickle must predict with the bits of the first fit.
"""

import os
import pickle
import textwrap

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import ranvier as rv
from ranvier import nn
from ranvier.sklearn import (
    MLPClassifier,
    MLPRegressor,
    NeuralNetClassifier,
    NeuralNetRegressor,
    TabularClassifier,
    TabularRegressor,
)
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits, load_iris
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks, shuffle
from sklearn.utils.estimator_checks import parametrize_with_checks
from support.python import printed
from support.refused import refused

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = shuffle(*load_iris(return_X_y=True), random_state=0)
FAST = {"max_iter": 15, "random_state": 0}


class Network(rv.nn.Sequential):
    def __init__(self, n_features, n_outputs, width=16):
        super().__init__(rv.nn.Linear(n_features, width), rv.nn.ReLU(), rv.nn.Linear(width, n_outputs))


NET = {"optimizer": rv.optim.Adam, "lr": 0.03, "max_epochs": 15, "batch_size": 32, "random_state": 0}
ESTIMATORS = [
    MLPClassifier(learning_rate_init=0.01, batch_size=16, **FAST),
    MLPRegressor(learning_rate_init=0.01, batch_size=16, **FAST),
    NeuralNetClassifier(Network, module__width=20, **NET),
    NeuralNetRegressor(Network, **NET),
    TabularClassifier(n_members=2, **FAST),
    TabularRegressor(n_members=2, **FAST),
]
CLASSIFIERS = [e for e in ESTIMATORS if "Classifier" in type(e).__name__]


def name_of(estimator):
    return type(estimator).__name__


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=name_of)
def test_copies_predict_the_same(estimator):
    fitted = clone(estimator).fit(X, Y)
    again = clone(estimator).fit(X, Y)
    copy = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(fitted.predict(X), again.predict(X))
    np.testing.assert_array_equal(fitted.predict(X), copy.predict(X))
    assert type(clone(fitted)) is type(estimator)
    assert not hasattr(clone(fitted), "module_")
    if hasattr(copy, "partial_fit"):
        copy.partial_fit(X, Y)
        fitted.partial_fit(X, Y)
        np.testing.assert_array_equal(fitted.predict(X), copy.predict(X))


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=name_of)
def test_the_random_numbers_of_the_library_are_left_alone(estimator):
    state = rv.get_rng_state()
    clone(estimator).fit(X, Y)
    assert rv.equal(rv.get_rng_state(), state)


@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=name_of)
def test_in_a_pipeline_calibrated(estimator):
    pipeline = make_pipeline(StandardScaler(), estimator)
    assert cross_val_score(pipeline, X, Y, cv=3).mean() > 0.85
    calibrated = CalibratedClassifierCV(pipeline, cv=2).fit(X, Y)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1, 1e-5)
    assert calibrated.score(X, Y) > 0.85


def test_a_search_with_processes_neither_hangs_nor_takes_more_threads(monkeypatch):
    program = """
    import warnings; warnings.simplefilter("ignore")
    import ranvier as rv
    from ranvier.sklearn import MLPClassifier
    from sklearn.datasets import load_iris
    from sklearn.model_selection import GridSearchCV

    class Threads(rv.Callback):
        def on_train_begin(self):
            assert rv.get_num_threads() == 1, rv.get_num_threads()

    if __name__ == "__main__":
        X, y = load_iris(return_X_y=True)
        MLPClassifier(max_iter=2).fit(X, y)  # the team of this process is there before the others start
        found = GridSearchCV(MLPClassifier(max_iter=5, callbacks=[Threads()]), {"alpha": [0.0, 0.1]}, cv=2,
                             n_jobs=PROCESSES, refit=False, error_score="raise").fit(X, y)
        print(len(found.cv_results_["params"]))
    """
    program = textwrap.dedent(program).replace("PROCESSES", str(max(2, len(os.sched_getaffinity(0)))))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)  # joblib obeys it
    assert printed("-c", program) == "2\n"


def test_without_scikit_learn_the_error_says_what_to_install():
    program = """
    import sys
    sys.modules["sklearn"] = None
    import ranvier.sklearn
    try:
        from ranvier.sklearn import MLPClassifier
    except ImportError as error:
        print(error)
    """
    text = printed("-c", textwrap.dedent(program))
    assert text == "[MLPClassifier] needs scikit-learn: pip install 'ranvier[sklearn]'\n"


def test_importing_ranvier_does_not_load_scikit_learn():
    program = "import sys, ranvier, ranvier.sklearn; print('sklearn' in sys.modules)"
    assert printed("-c", program) == "False\n"


# scikit-learn's own checks of estimators.


class CheckedNetwork(rv.nn.Sequential):
    """A class, whose name in the tests' ids is the same in each process of xdist."""

    def __init__(self, n_features, n_outputs):
        super().__init__(rv.nn.Linear(n_features, 20), rv.nn.ReLU(), rv.nn.Linear(20, n_outputs))


CHECKED_NET = {"optimizer": rv.optim.Adam, "lr": 0.03, "max_epochs": 15, "batch_size": 32}
CHECKED = [
    MLPClassifier(max_iter=25, learning_rate_init=0.01),
    MLPRegressor(max_iter=40, learning_rate_init=0.01),
    NeuralNetClassifier(CheckedNetwork, **CHECKED_NET),
    NeuralNetRegressor(CheckedNetwork, **CHECKED_NET),
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
    """{name of a check that fails: why}, for `parametrize_with_checks`."""
    if type(estimator) in (MLPClassifier, MLPRegressor):
        reason = ROUNDING
    else:
        reason = BATCHES
    return dict.fromkeys(SAMPLE_WEIGHTS, reason)


@parametrize_with_checks(CHECKED, expected_failed_checks=expected)
def test_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("name", SAMPLE_WEIGHTS)
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_a_weight_of_two_is_a_sample_twice(kind, solver, name):
    """In float64, for data that are one batch."""
    estimator = kind(max_iter=30, learning_rate_init=0.01, solver=solver, dtype="float64")
    getattr(estimator_checks, name)(kind.__name__, clone(estimator))


# NeuralNetClassifier and NeuralNetRegressor: shapes, parameters, files.


IRIS, KINDS = load_iris(return_X_y=True)
DIGITS = load_digits()
TWO_EPOCHS = {"max_epochs": 2, "random_state": 0}


def test_parameters_of_the_parts():
    net = NeuralNetClassifier(
        nn.Linear, module__in_features=4, module__out_features=3, optimizer="adam", **TWO_EPOCHS
    )
    net.set_params(optimizer__weight_decay=0.5, criterion__label_smoothing=0.1)
    net = clone(net).fit(IRIS, KINDS)
    assert net.optimizer_.param_groups[0]["weight_decay"] == 0.5
    assert net.criterion_.label_smoothing == 0.1
    assert net.get_params()["module__in_features"] == 4
    assert len(net.history_["val_loss"]) == net.n_iter_ == 2
    refused(ValueError, "Invalid parameter 'widht'", net.set_params, widht=3)
    silent = {"verbose": 0, "device": "cpu", "warm_start": False}  # settings of skorch
    assert "verbose" not in NeuralNetClassifier(nn.Linear, **silent).set_params(verbose=0).get_params()
    for name, value, text in (
        ("widht", 3, "got widht; expected parameters such as module__width"),
        ("verbose", 1, "(verbose=0 only; callbacks=[rv.ProgressBar()] prints a line an epoch)"),
        ("device", "cuda", "got device; expected"),
    ):
        refused(TypeError, text, NeuralNetClassifier, nn.Linear, **{name: value})
    refused(ValueError, "Invalid parameter 'verbose'", net.set_params, verbose=1)


def test_binary_logits_of_both_shapes():
    flat = nn.Sequential(nn.Linear(4, 1), nn.Flatten(0))
    for module in (nn.Linear(4, 1), flat):
        net = NeuralNetClassifier(
            module, nn.BCEWithLogitsLoss, optimizer="adam", lr=0.05, max_epochs=20, batch_size=8
        )
        assert net.set_params(random_state=0).fit(IRIS, KINDS > 0).score(IRIS, KINDS > 0) > 0.95
        np.testing.assert_allclose(net.predict_proba(IRIS).sum(axis=1), 1, 1e-5)


def test_images_and_indices():
    images = DIGITS.images[:, None].astype(np.float32)
    convolutional = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
    net = NeuralNetClassifier(convolutional, optimizer="adam", lr=0.01, max_epochs=3, random_state=0)
    assert net.fit(images, DIGITS.target).score(images, DIGITS.target) > 0.8
    rows = np.random.default_rng(0).integers(0, 9, (300, 3))
    words = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 2))
    net = NeuralNetClassifier(words, optimizer="adam", lr=0.1, max_epochs=10, random_state=0)
    assert net.fit(rows, rows[:, 0] > 4).score(rows, rows[:, 0] > 4) > 0.9


def test_what_does_not_fit_is_refused():
    def wrong(text, net, y=KINDS):
        refused(ValueError, text, net.fit, IRIS, y)

    wrong("for 3 classes and CrossEntropyLoss", NeuralNetClassifier(nn.Linear(4, 2)))
    wrong("for 3 classes and BCEWithLogitsLoss", NeuralNetClassifier(nn.Linear(4, 1), nn.BCEWithLogitsLoss))
    wrong("expected a classification loss", NeuralNetClassifier(nn.Linear(4, 3), nn.MSELoss))
    wrong("that is made already", NeuralNetClassifier(nn.Linear(4, 3), module__bias=False))
    wrong("expected equal shapes", NeuralNetRegressor(nn.Linear(4, 2)), KINDS * 1.0)
