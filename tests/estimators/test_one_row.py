"""One row at a time: the answers, warnings and errors of the full path, after any change between calls."""

import copy
import pickle
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import ranvier as rv
import ranvier.sklearn.one_row as one_row
from ranvier import nn
from ranvier.sklearn import (
    MLPClassifier,
    MLPRegressor,
    NeuralNetClassifier,
    NeuralNetRegressor,
    TabularClassifier,
    TabularRegressor,
)
from scipy.sparse import csr_matrix
from sklearn.base import clone
from support.threads import in_threads

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 6))
TWO = (X[:, 0] + RNG.normal(size=300) > 0).astype(int)
THREE = np.array(["no", "perhaps", "yes"])[RNG.integers(0, 3, 300)]
VALUES = 3 * X[:, 0] + 20 + RNG.normal(size=300)
FAST = {"max_iter": 3, "random_state": 0}


def network(n_features, n_outputs):
    return rv.mlp([n_features, 8, n_outputs])


ESTIMATORS = [
    (MLPClassifier(**FAST), TWO),
    (MLPClassifier((7, 5), dropout=0.2, dtype="float64", **FAST), THREE),
    (MLPClassifier(**FAST), np.stack([TWO, 1 - TWO, TWO], axis=1)),
    (MLPClassifier(**FAST), np.zeros(300, int)),
    (MLPRegressor(**FAST), VALUES),
    (MLPRegressor(loss="poisson", **FAST), np.stack([VALUES**2, VALUES**2], axis=1)),
    (MLPRegressor(**FAST), VALUES + 1e6),
    (TabularClassifier((8,), n_members=2, **FAST), THREE),
    (TabularRegressor((8,), n_members=2, **FAST), VALUES),
    (NeuralNetClassifier(network, max_epochs=2, random_state=0), THREE),
    (NeuralNetRegressor(network, max_epochs=2, random_state=0), VALUES),
]


def count_replays(monkeypatch):
    """The number of rows that programs alone will have answered or learnt, in a list."""
    counts = [0]
    run = one_row._run

    def counted(program, args):
        results = run(program, args)
        counts[0] += results is not None
        return results

    monkeypatch.setattr(one_row, "_run", counted)
    return counts


def warm(estimator, times=3000):
    """Predict until a program does it."""
    for _ in range(times):
        estimator.predict(X[:1])
        if estimator._one_row is not None and "predict" in estimator._one_row._latest:
            return estimator
    raise AssertionError("no program")


def on_full_path(estimator, method, *args, **settings):
    """What a copy, which has no programs, gives, and its warnings and error."""
    return outcome(copy.deepcopy(estimator), method, *args, **settings)


def outcome(estimator, method, *args, **settings):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = getattr(estimator, method)(*args, **settings)
            result = None if result is estimator else (result.dtype, result.tolist())
        except Exception as error:
            result = type(error), str(error)
    return result, [(w.category, str(w.message)) for w in caught]


@pytest.mark.parametrize(("estimator", "y"), ESTIMATORS, ids=lambda v: type(v).__name__)
def test_a_row_is_predicted_as_on_the_full_path(estimator, y, monkeypatch):
    rows = count_replays(monkeypatch)
    model = warm(clone(estimator).fit(X, y))
    before = rows[0]
    methods = ["predict", "predict_proba"] if hasattr(model, "predict_proba") else ["predict"]
    for method in methods:
        for row in (X[5:6], X[6:7].astype(np.float32), np.asfortranarray(X)[7:8], X[8:9].copy("F")):
            assert outcome(model, method, row) == on_full_path(model, method, row)
        unpickled = pickle.loads(pickle.dumps(X[:1]))  # whose dtype is another object
        assert outcome(model, method, unpickled) == outcome(model, method, X[:1])
    assert rows[0] > before + 2 * len(methods)  # now and then a program is compared with an eager call


ODD = {
    "list": X[:1].tolist(), "sparse": csr_matrix(X[:1]), "int": np.ones((1, 6), int),
    "half": X[:1].astype(np.float16), "big-endian": X[:1].astype(">f8"), "object": X[:1].astype(object),
    "text": np.full((1, 6), "a"), "NaN": np.where(np.arange(6) == 2, np.nan, X[:1]),
    "NaN32": np.where(np.arange(6) == 2, np.nan, X[:1]).astype(np.float32),
    "infinity": np.where(np.arange(6) == 2, -np.inf, X[:1]),
    "beyond float32": np.where(np.arange(6) == 2, 1e39, X[:1]),
    "near its largest": np.where(np.arange(6) == 2, 3.4e38, X[:1]),
    "large": np.where(np.arange(6) == 2, 1e30, X[:1]), "narrow": X[:1, :5], "wide": np.ones((1, 7)),
    "one axis": X[0], "no axis": X[0, 0], "three axes": X[:1, :, None], "no rows": X[:0], "two rows": X[:2],
    "every second column": np.repeat(X[:1], 2, axis=1)[:, ::2], "subclass": X[:1].view(np.recarray),
    "complex": X[:1].astype(complex), "masked": np.ma.masked_array(X[:1], X[:1] > 0),
    "record": np.zeros((1, 6), [("a", float)]), "nothing": None,
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize(
    "kind", ["MLPClassifier", "MLPRegressor", "TabularClassifier", "NeuralNetClassifier"]
)
def test_everything_else_takes_the_full_path(kind, name):
    estimator, y = next(pair for pair in ESTIMATORS if type(pair[0]).__name__ == kind)
    model = warm(clone(estimator).fit(X, y))
    assert outcome(model, "predict", ODD[name]) == on_full_path(model, "predict", ODD[name])


def test_feature_names_are_asked_for():
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pd.DataFrame(X, columns=list("abcdef"))
    model = MLPClassifier(**FAST).fit(frame, TWO)
    for _ in range(300):
        model.predict(frame[:1])
    for row in (X[:1], frame[:1], frame[:1][list("bacdef")]):
        assert outcome(model, "predict", row) == on_full_path(model, "predict", row)
    assert outcome(model, "predict", X[:1])[1]
    unnamed = warm(MLPClassifier(**FAST).fit(X, TWO))
    assert outcome(unnamed, "predict", frame[:1]) == on_full_path(unnamed, "predict", frame[:1])


def _new_layer(model):
    rv.manual_seed(0)
    model.module_[0] = nn.Linear(6, 100)


def _new_weight(model):
    model.module_[0].weight = nn.Parameter(rv.zeros(100, 6))


def _hook(model):
    model.module_[0].register_forward_hook(lambda layer, inputs, output: output * 0)


CHANGES = {
    "coefs_": lambda m: m.coefs_[0].__imul__(-1), "intercepts_": lambda m: m.intercepts_[-1].__iadd__(3),
    "fit": lambda m: m.set_params(random_state=3).fit(X, TWO),
    "fit of other labels": lambda m: m.fit(X, THREE), "partial_fit": lambda m: m.partial_fit(X[:9], TWO[:9]),
    "load_state_dict": lambda m: m.module_.load_state_dict(
        {k: -np.asarray(v) for k, v in m.module_.state_dict().items()},
    ),
    "a layer": _new_layer, "a weight": _new_weight, "a hook": _hook,
    "classes_": lambda m: m.classes_.__setitem__(0, -7), "dtype": lambda m: m.set_params(dtype="float64"),
    "a wrong dtype": lambda m: m.set_params(dtype="float8"),
    "the trainer's loss": lambda m: setattr(m.trainer_, "loss", nn.BCELoss()),
    "the trainer's model": lambda m: setattr(m.trainer_, "model", rv.mlp([6, 3, 1], init="zeros")),
    "eval": lambda m: m.module_.eval(), "compile": lambda m: setattr(m.trainer_, "compile", False),
    "n_features_in_": lambda m: setattr(m, "n_features_in_", 4),
    "feature_names_in_": lambda m: setattr(m, "feature_names_in_", np.array(list("abcdef"), object)),
    "no trainer": lambda m: delattr(m, "trainer_"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_noticed(name):
    model = warm(MLPClassifier(**FAST).fit(X, TWO))
    CHANGES[name](model)
    for method in ("predict_proba", "predict"):
        for _ in range(2):
            assert outcome(model, method, X[:1]) == on_full_path(model, method, X[:1])


def test_modes_are_restored():
    model = warm(MLPClassifier(dropout=0.5, **FAST).fit(X, TWO))
    for part in model.module_:
        part.eval()
    modes = [m.training for m in model.module_.modules()]
    assert sum(modes) == modes[0] == 1
    model.predict(X[:1])
    assert [m.training for m in model.module_.modules()] == modes


def test_copies_and_pickles_have_their_own():
    model = warm(MLPClassifier(**FAST).fit(X, TWO))
    expected = model.predict_proba(X[:1]).tolist()
    shallow = copy.copy(model)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), shallow):
        assert "_one_row" not in vars(other)
        assert warm(other).predict_proba(X[:1]).tolist() == expected
        if other is not shallow:
            other.coefs_[0][...] = 0
            assert other.predict_proba(X[:1]).tolist() != expected
        assert model.predict_proba(X[:1]).tolist() == expected
    assert clone(model)._one_row is None
    shallow.fit(X, THREE)
    assert shallow.predict_proba(X[:1]).shape == (1, 3)
    assert model.predict_proba(X[:1]).tolist() == expected


def test_threads_get_the_same():
    model = warm(MLPClassifier(dropout=0.2, **FAST).fit(X, THREE))
    expected = model.predict_proba(X[:50])
    rows = [model.predict_proba(X[i : i + 1]) for i in range(50)]
    wrong = []

    def work(k):
        for i in [*range(50)] * 20:
            if k % 4 == 0 and i % 10 == 0:  # the full path beside it
                p = model.predict_proba(X[i : i + 1].tolist())
            else:
                p = model.predict_proba(X[i : i + 1])
            if not (p == rows[i]).all():
                wrong.append(i)

    in_threads(8, work)
    assert wrong == []
    assert all(m.training for m in model.module_.modules())
    np.testing.assert_allclose(np.concatenate(rows), expected, 1e-5)
