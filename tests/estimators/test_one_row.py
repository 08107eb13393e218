"""One row at a time: answers, steps, warnings and errors of the full path, after any change. A program
answers a row without that path: scikit-learn's checks, and the Trainer. Copies have no program."""

import copy
import functools
import pickle
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import ranvier as rv
import ranvier.sklearn.one_row as one_row
from ranvier import nn, optim
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


@functools.cache
def warmed(kind):
    """An estimator of this kind that predicts by a program."""
    estimator, y = next(pair for pair in ESTIMATORS if type(pair[0]).__name__ == kind)
    return clone(estimator).fit(X, y)


def on_full_path(estimator, method, *args, **settings):
    """The result of a copy, which has no programs, and its warnings and error."""
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
    model = warm(warmed(kind))
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


LAYER = nn.Linear(6, 100)
CHANGES = {
    "coefs_": lambda m: m.coefs_[0].__imul__(-1), "intercepts_": lambda m: m.intercepts_[-1].__iadd__(3),
    "fit": lambda m: m.set_params(random_state=3).fit(X, TWO),
    "fit of other labels": lambda m: m.fit(X, THREE), "partial_fit": lambda m: m.partial_fit(X[:9], TWO[:9]),
    "load_state_dict": lambda m: m.module_.load_state_dict(
        {k: -np.asarray(v) for k, v in m.module_.state_dict().items()},
    ),
    "a layer": lambda m: m.module_.__setitem__(0, copy.deepcopy(LAYER)),
    "a weight": lambda m: setattr(m.module_[0], "weight", nn.Parameter(rv.zeros(100, 6))),
    "a hook": lambda m: m.module_[0].register_forward_hook(lambda layer, inputs, output: output * 0),
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

    def work(k):
        for i in [*range(50)] * 20:
            row = X[i : i + 1]
            p = model.predict_proba(row.tolist() if k % 4 == i % 10 == 0 else row)  # the full path beside it
            assert (p == rows[i]).all()

    in_threads(8, work)
    assert all(m.training for m in model.module_.modules())
    np.testing.assert_allclose(np.concatenate(rows), expected, 1e-5)


# --- partial_fit with one row
STEPS = [
    (MLPClassifier, {}, TWO),
    (MLPClassifier, {"dropout": 0.3, "batch_size": 1}, THREE),
    (MLPClassifier, {"hidden_layer_sizes": (), "shuffle": False, "alpha": 0.0}, TWO),
    (MLPClassifier, {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1}, THREE),
    (MLPClassifier, {"activation": "gelu", "solver": "adamw", "dtype": "float64"}, THREE),
    (MLPRegressor, {}, VALUES),
    (MLPRegressor, {"loss": "poisson"}, VALUES**2 / 100),
    (MLPRegressor, {"loss": "huber"}, np.stack([VALUES, -VALUES], axis=1)),
]


def state_of(model):
    """All that a user sees of a fit."""
    own = {k: v for k, v in vars(model).items() if k[-1] == "_" and k not in ("module_", "trainer_")}
    trainer = vars(model.trainer_)
    names = "l2", "updates", "last_epoch", "steps_per_epoch", "stop_training", "interrupted", "resumed_from"
    own |= {name: trainer[name] for name in names}
    own |= {"history": model.history_.to_dict(), "samples": model.history_.samples}
    own |= {str(k): np.asarray(v).tolist() for k, v in model.module_.state_dict().items()}
    own["stream"] = model._stream().state.tolist()
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in own.items()}


def stream_of_rows(model, y, n=150):
    known = {"classes": np.unique(y)} if y.dtype.kind in "iU" else {}
    for i in range(n):
        row = X[i : i + 1] if i % 7 else X[i : i + 1].astype(np.float32)
        model.partial_fit(row, y[i : i + 1], **({} if i % 3 else known))
        if i == 100:
            model.partial_fit(X[:5], y[:5])  # a batch, and a list
            model.partial_fit(X[:1].tolist(), y[:1].tolist())
    return model


@pytest.mark.parametrize(("kind", "settings", "y"), STEPS)
def test_rows_are_learnt_as_on_the_full_path(kind, settings, y, monkeypatch):
    rows = count_replays(monkeypatch)
    ours = stream_of_rows(kind(random_state=0, **settings), y)
    assert rows[0] > 30
    monkeypatch.setattr(kind, "_learn_row", lambda *args: False)
    assert state_of(ours) == state_of(stream_of_rows(kind(random_state=0, **settings), y))


def learner(y=TWO, kind=MLPClassifier, **settings):
    """One that learns rows by a program."""
    model = kind(random_state=0, **settings)
    known = {"classes": np.unique(y)} if y.dtype.kind in "iU" else {}
    for i in range(80):
        model.partial_fit(X[i : i + 1], y[i : i + 1], **known)
    assert learns_rows(model)
    return model


def learns_rows(model):
    """By a program, from finite weights."""
    by_program = model._one_row is not None and "fit" in model._one_row._latest
    return by_program and np.isfinite(model.coefs_[0]).all()


@functools.cache
def pair():
    """A learner, and one that never learns by a program; steps that change nothing else share them."""
    ours, other = learner(), learner()
    other._learn_row = lambda *_: False
    return ours, other


def same_step(change, *args, **settings):
    """A step after a change beside one on the full path; then two more, and a prediction."""
    if change or not learns_rows(pair()[0]):
        pair.cache_clear()
    ours, other = pair()
    if change:
        change(ours), change(other)
        pair.cache_clear()
    assert outcome(ours, "partial_fit", *args, **settings) == outcome(other, "partial_fit", *args, **settings)
    for x in (X[95:96], X[96:97]):
        assert repr(state_of(ours)) == repr(state_of(other))
        assert outcome(ours, "partial_fit", x, TWO[:1]) == outcome(other, "partial_fit", x, TWO[:1])
    assert repr(state_of(ours)) == repr(state_of(other))
    assert outcome(ours, "predict_proba", X[:1]) == outcome(other, "predict_proba", X[:1])


SETTINGS = {
    "alpha": {"alpha": 0.5}, "a wrong alpha": {"alpha": -1}, "learning_rate_init": {"learning_rate_init": 1},
    "wrong learning_rate": {"learning_rate": "fast"}, "batch_size": {"batch_size": 7},
    "shuffle": {"shuffle": False}, "a wrong shuffle": {"shuffle": 1},
    "early_stopping": {"early_stopping": True},
    "class_weight": {"class_weight": {0: 3.0}}, "balanced": {"class_weight": "balanced"},
    "verbose": {"verbose": True}, "random_state": {"random_state": 5}, "a wrong one": {"random_state": "a"},
    "loss": {"loss": nn.CrossEntropyLoss()}, "dtype": {"dtype": "float64"}, "dropout": {"dropout": 0.5},
    "warm_start": {"warm_start": True}, "callbacks": {"callbacks": [rv.Callback()]},
}  # fmt: skip


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_is_noticed(name):
    same_step(lambda model: model.set_params(**SETTINGS[name]), X[90:91], TWO[90:91])


def test_a_list_of_callbacks_that_grows_is_noticed():
    seen, callbacks = [], []
    model = learner(callbacks=callbacks)
    callbacks.append(rv.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch)))
    model.partial_fit(X[90:91], TWO[90:91])
    assert len(seen) == 1


OF_PREDICTIONS = ("no trainer", "fit of other labels", "a hook")
STEP_CHANGES = {
    **{name: change for name, change in CHANGES.items() if name not in OF_PREDICTIONS},
    "the rate": lambda m: m.trainer_.optimizer.param_groups[0].update(lr=0.5),
    "a group": lambda m: m.trainer_.optimizer.add_param_group({"params": [nn.Parameter(rv.zeros(2))]}),
    "l1": lambda m: setattr(m.trainer_, "l1", 0.1), "l2": lambda m: setattr(m.trainer_, "l2", 0.1),
    "clip": lambda m: setattr(m.trainer_, "clip_grad_norm", 1e-3),
    "metrics": lambda m: setattr(m.trainer_, "metrics", {"accuracy": rv.metrics.METRICS["accuracy"]}),
    "on_nonfinite": lambda m: setattr(m.trainer_, "on_nonfinite", "warn"),
    "optimizer": lambda m: setattr(m.trainer_, "optimizer", optim.SGD(m.module_.parameters(), lr=0.1)),
    "frozen": lambda m: m.module_[0].requires_grad_(False), "offset": lambda m: setattr(m, "_offset", 3.0),
}  # fmt: skip


@pytest.mark.parametrize("name", STEP_CHANGES)
def test_a_step_notices_a_change(name):
    same_step(STEP_CHANGES[name], X[90:91], TWO[90:91])


@pytest.mark.parametrize(
    ("x", "y", "more"),
    [(x, TWO[:1], {}) for x in ODD.values()]
    + [(X[:1], y, {}) for y in (
        [1], ["1"], [True], [1.0], [np.nan], [None], 1, [[1]], [[0, 1]], np.array([7]), np.array([1.0]),
        np.array([np.inf]), np.array([1], np.uint8), np.array([1], object), np.array(["1"]), [], None, (1,),
    )]
    + [(X[:1], TWO[:1], more) for more in (
        {"sample_weight": [2.0]}, {"sample_weight": [0.0]}, {"classes": [0, 1]}, {"classes": [1, 0]},
        {"classes": np.array([0, 1])}, {"classes": np.array([0, 1, 2])}, {"classes": [0, "1"]},
        {"classes": 3},
    )],
)  # fmt: skip
def test_a_step_with_anything_else_takes_the_full_path(x, y, more):
    same_step(None, x, y, **more)


@pytest.mark.parametrize("y", [
    [3], [3.0], np.array([3]), np.array([1e39]), np.array([np.nan]), ["a"], [[3.0]], [True], [10**40],
    [-1e300], np.array([3.0], np.float16), np.array([[1.0, 2.0]]),
])  # fmt: skip
@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_values_as_on_the_full_path(y, loss):
    model, other = (learner(np.abs(VALUES), MLPRegressor, loss=loss) for _ in range(2))
    other._learn_row = lambda *_: False
    assert outcome(model, "partial_fit", X[:1], y) == outcome(other, "partial_fit", X[:1], y)
    assert repr(state_of(model)) == repr(state_of(other))


def test_errors_of_numbers_are_the_same():
    """A loss that is not finite, and a parameter."""
    model = learner(VALUES, MLPRegressor, solver="sgd", nesterovs_momentum=False, learning_rate_init=1e-3)
    model.trainer_.optimizer.param_groups[0]["lr"] = 1e30
    other = copy.deepcopy(model)
    other._learn_row = lambda *_: False
    failed = 0
    for i in range(20):
        ours = outcome(model, "partial_fit", X[i : i + 1], VALUES[i : i + 1])
        assert ours == outcome(other, "partial_fit", X[i : i + 1], VALUES[i : i + 1])
        assert repr(state_of(model)) == repr(state_of(other))
        failed += ours[0] is not None
    assert failed
