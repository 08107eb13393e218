"""Many fits at once, in threads and in processes: the bits of one after another.

Each tool of scikit-learn runs with `n_jobs=None` and with 2; all results must be equal. In processes
no fit may warn, but for ConvergenceWarning.
"""

import sys
import textwrap
import warnings
from functools import partial

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import joblib
import ranvier as rv
from ranvier.sklearn import MLPClassifier, MLPRegressor, NeuralNetClassifier, TabularClassifier
from sklearn.datasets import make_classification
from sklearn.ensemble import BaggingClassifier
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, cross_validate, learning_curve
from support.python import printed

pytestmark = [
    pytest.mark.filterwarnings("error"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]
X, Y = make_classification(600, 12, n_informative=8, n_classes=3, random_state=0)
CLASSIFIER = MLPClassifier((16,), batch_size=50, max_iter=4, dropout=0.2, random_state=0)
ESTIMATORS = [
    CLASSIFIER,
    MLPClassifier((16,), max_iter=6, early_stopping=True, n_iter_no_change=2, random_state=0),
    MLPRegressor(hidden_layer_sizes=(16,), batch_size=50, max_iter=4, solver="sgd", random_state=0),
    NeuralNetClassifier(
        rv.mlp([12, 16, 3]), optimizer=rv.optim.Adam, max_epochs=3, batch_size=50, random_state=0
    ),
    TabularClassifier(n_members=2, max_iter=3, random_state=0),
]


GRID = {"alpha": [1e-4, 1e-2], "hidden_layer_sizes": [(8,), (16,)]}

# Each function below runs a tool of scikit-learn with `n_jobs`, and returns its results by name.


def searched(search):
    search.fit(X, Y)
    found = {name: value for name, value in search.cv_results_.items() if name.endswith("_score")}
    return {**found, "predicted": search.predict_proba(X), "best": search.best_params_}


def grid_search(n_jobs):
    return searched(GridSearchCV(CLASSIFIER, GRID, cv=3, n_jobs=n_jobs))


def randomized_search(n_jobs):
    return searched(RandomizedSearchCV(CLASSIFIER, GRID, cv=3, n_jobs=n_jobs, random_state=0, n_iter=3))


def bagged(n_jobs):
    model = BaggingClassifier(CLASSIFIER, n_estimators=4, random_state=0, n_jobs=n_jobs).fit(X, Y)
    return {"predicted": model.predict_proba(X)}


def curve(n_jobs):
    names = "sizes", "train", "test"
    found = learning_curve(CLASSIFIER, X, Y, train_sizes=[0.3, 1.0], cv=3, n_jobs=n_jobs)
    return dict(zip(names, found, strict=True))


def validated(estimator, n_jobs):
    results = cross_validate(estimator, X, Y, cv=3, n_jobs=n_jobs)
    return {name: value for name, value in results.items() if not name.endswith("_time")}


TOOLS = {
    "GridSearchCV": grid_search,
    "RandomizedSearchCV": randomized_search,
    "BaggingClassifier": bagged,
    "learning_curve": curve,
}


TOOLS |= {f"cross_validate-{i}": partial(validated, e) for i, e in enumerate(ESTIMATORS)}


PICKLED = [name for name in TOOLS if name == "GridSearchCV" or name.startswith("cross")]  # each estimator


def allow_warnings():
    """For fits in threads: scikit-learn sets the filters of all threads in each of them, and one thread may
    search the list while another changes it. So the list has nothing that makes an error of a warning."""
    warnings.resetwarnings()
    warnings.simplefilter("ignore")


@pytest.mark.parametrize(
    ("tool", "backend"), [*((name, "threading") for name in TOOLS), *((name, "loky") for name in PICKLED)]
)
def test_results_are_those_of_one_fit_after_another(tool, backend):
    if backend == "threading":
        allow_warnings()
    alone = TOOLS[tool](None)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # threads alternate within a step
    try:
        with joblib.parallel_config(backend):
            several = TOOLS[tool](2)
    finally:
        sys.setswitchinterval(interval)
    assert alone.keys() == several.keys()
    for name, value in alone.items():
        np.testing.assert_array_equal(value, several[name], err_msg=name)


def test_threads_within_threads():
    """Bagging of searches: more fits at once than processors."""
    allow_warnings()
    search = GridSearchCV(CLASSIFIER, {"alpha": [1e-4, 1e-2]}, cv=2)
    bagging = BaggingClassifier(search, n_estimators=3, random_state=0)
    alone = bagging.fit(X, Y).predict_proba(X)
    with joblib.parallel_config("threading", n_jobs=3):
        bagging.set_params(estimator__n_jobs=2).fit(X, Y)
    np.testing.assert_array_equal(alone, bagging.predict_proba(X))


def test_a_fork_while_fits_run_in_threads():
    program = """
    import os, threading, warnings; warnings.simplefilter("ignore")
    from ranvier.sklearn import MLPClassifier
    from sklearn.datasets import load_digits
    import numpy as np

    X, Y = load_digits(return_X_y=True)
    model = lambda: MLPClassifier((64,), batch_size=32, max_iter=3, random_state=0).fit(X, Y).coefs_
    expected = model()
    ends = threading.Event()

    def fit():
        while not ends.is_set():
            model()

    threads = [threading.Thread(target=fit) for _ in range(2)]
    [thread.start() for thread in threads]
    for _ in range(5):
        child = os.fork()
        if child == 0:
            os._exit(0 if all(map(np.array_equal, model(), expected)) else 1)
        assert os.waitpid(child, 0)[1] == 0
    ends.set()
    [thread.join() for thread in threads]
    print("right")
    """
    assert printed("-c", textwrap.dedent(program)) == "right\n"
