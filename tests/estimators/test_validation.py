"""Arrays of finite numbers are taken without scikit-learn's checks; results and errors are those of these."""

import copy
import pickle
import re
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from ranvier.sklearn import MLPClassifier
from ranvier.sklearn.labels import Labels
from ranvier.sklearn.parameters import make_random_state
from ranvier.sklearn.validation import validate
from sklearn.base import BaseEstimator
from sklearn.metrics import accuracy_score
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 3))
Y = np.arange(12) % 3
SETTINGS = {"accept_sparse": "csr", "multi_output": True, "dtype": "float32"}


def of(values, place=(5, 1)):
    """X with another value at one place."""
    changed = X.copy()
    changed[place] = values
    return changed


SAMPLES = {
    "float64": X, "float32": X.astype(np.float32), "float16": X.astype(np.float16), "int": X.astype(int),
    "bool": X > 0, "big endian": X.astype(">f8"), "Fortran": np.asfortranarray(X), "strided": X[:, ::-1],
    "longdouble": X.astype(np.longdouble), "list": X.tolist(), "objects": X.astype(object), "one row": X[:1],
    "large": of(3.3e38), "too large": of(1e39), "nan": of(np.nan), "infinite": of(-np.inf),
    "complex": X.astype(complex), "no samples": X[:0], "no columns": X[:, :0], "1-d": X[0], "3-d": X[None],
    "another width": X[:, :2], "words": X.astype(str),
}  # fmt: skip
TARGETS = {
    "int": Y, "float": Y + 0.5, "two columns": np.stack([Y, Y], 1), "bool": Y > 0, "words": Y.astype(str),
    "list": Y.tolist(), "nan": np.where(Y > 1, np.nan, Y), "infinite": np.where(Y > 1, np.inf, Y),
    "too few": Y[1:], "none": None, "3-d": np.stack([[Y, Y]], 2), "complex": Y.astype(complex),
    "no columns": np.zeros((12, 0)), "large": np.where(Y > 1, 1e300, Y),
}  # fmt: skip


class Fitted(BaseEstimator):
    """An estimator that was fitted with names of three columns, or with none."""

    def __init__(self, named=False):
        self.named = named
        self.n_features_in_ = 3
        if named:
            self.feature_names_in_ = np.array(["a", "b", "c"], object)


def outcome(function, *args, named, **settings):
    """What a function does: its results, its error, its warnings, and the attributes of the estimator."""
    estimator = Fitted(named)
    with warnings.catch_warnings(record=True) as caught, np.errstate(over="ignore"):
        warnings.simplefilter("always")
        try:
            results = function(estimator, *args, **settings)
        except (TypeError, ValueError) as error:
            results = type(error), str(error)
    names = [str(name) for name in vars(estimator).get("feature_names_in_", ())]
    return results, [str(w.message) for w in caught], estimator.n_features_in_, names


def require_equal(ours, theirs):
    assert ours[1:] == theirs[1:]
    ours, theirs = ours[0], theirs[0]
    if not isinstance(theirs, tuple):
        ours, theirs = (ours,), (theirs,)
    for a, b in zip(ours, theirs, strict=True):
        if isinstance(b, np.ndarray):
            assert type(a) is np.ndarray
            assert (a.dtype, a.shape, a.strides) == (b.dtype, b.shape, b.strides)
            np.testing.assert_array_equal(a, b)
        else:
            assert a == b


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64", "numeric"])
@pytest.mark.parametrize("samples", SAMPLES)
def test_samples_are_those_of_scikit_learn(samples, dtype, named):
    x = SAMPLES[samples]
    for settings in ({"reset": False}, {"reset": True}):
        settings |= {"dtype": dtype}
        ours = outcome(validate, x, named=named, **settings)
        require_equal(ours, outcome(validate_data, x, named=named, **settings))


@pytest.mark.parametrize("targets", TARGETS)
def test_targets_are_those_of_scikit_learn(targets):
    for x in (X, X.tolist()):
        args = x, TARGETS[targets]
        ours = outcome(validate, *args, named=True, **SETTINGS)
        require_equal(ours, outcome(validate_data, *args, named=True, **SETTINGS))


LABELS = {
    "few integers": Y, "unsigned": Y.astype(np.uint8), "one sample a class": np.arange(30),
    "not of the fit": Y + 1, "floats": Y.astype(float), "values": Y + 0.5, "too few": Y[1:],
    "list": Y.tolist(), "column": Y[:, None], "words": Y.astype(str), "bool": Y > 0,
}  # fmt: skip


def fitted():
    return MLPClassifier((4,), solver="lbfgs", random_state=0).fit(X, Y)


@pytest.mark.parametrize("labels", LABELS)
def test_the_score_is_scikit_learns(labels):
    y = LABELS[labels]
    x = np.resize(X, (max(len(y), 12), 3))
    model = fitted()
    predicted = model.predict(x)

    def ours(_):
        return model.score(x, y)

    def theirs(_):
        return accuracy_score(y, predicted)

    assert outcome(ours, named=False) == outcome(theirs, named=False)


def test_a_score_with_weights_is_scikit_learns():
    model = fitted()
    weights = np.arange(12.0)
    assert model.score(X, Y, weights) == accuracy_score(Y, model.predict(X), sample_weight=weights)


def test_labels_that_are_no_real_numbers_are_not_encoded():
    with pytest.raises(ValueError, match="Complex data not supported"):
        Labels(Y).encode(Y.astype(complex))


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, np.int64(7), np.random.RandomState(3)])
def test_the_random_state_is_scikit_learns(seed):
    estimator = MLPClassifier(random_state=copy.copy(seed))
    ours = pickle.loads(pickle.dumps(make_random_state(estimator)))
    theirs = check_random_state(copy.copy(seed))
    np.testing.assert_array_equal(ours.uniform(-1, 1, 2000), theirs.uniform(-1, 1, 2000))
    np.testing.assert_array_equal(ours.normal(size=3), theirs.normal(size=3))
    assert ours.randint(2**31 - 1) == theirs.randint(2**31 - 1)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "one"])
def test_wrong_random_states_have_scikit_learns_errors(seed):
    with pytest.raises(ValueError) as theirs:  # noqa: PT011
        check_random_state(seed)
    with pytest.raises(ValueError, match=re.escape(str(theirs.value))):
        make_random_state(MLPClassifier(random_state=seed))
