"""The estimators in scikit-learn's tools: pipelines, searches, calibration, copies."""

import pickle
import subprocess
import sys
import textwrap

import numpy as np
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
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import shuffle
from support.python import printed

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


def test_a_search_with_processes_neither_hangs_nor_takes_more_threads():
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
    import os

    program = textwrap.dedent(program).replace("PROCESSES", str(max(2, os.cpu_count() or 2)))
    env = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}  # joblib obeys it
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=200, env=env
    )
    assert run.stdout.strip() == "2", run.stderr


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
