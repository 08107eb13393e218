"""One row at a time: `predict` and `partial_fit` give what the full path gives, after any change.

The full path is scikit-learn's checks and the Trainer. After some calls an estimator answers a row, or learns
from it, by a program in its place (`ranvier.sklearn.one_row`). A deep copy has no program, and takes the full
path: answers, states, warnings and errors are compared with those of a copy, to the bit.
"""

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
    """A list of one number, which grows with each row that a program alone answers or learns from."""
    counts = [0]
    run = one_row._run

    def counted(program, args):
        results = run(program, args)
        counts[0] += results is not None
        return results

    monkeypatch.setattr(one_row, "_run", counted)
    return counts


def warm(estimator, times=3000):
    """Predict with a fitted estimator until a program does it; returns the estimator."""
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
    """What a call gives, in a form that can be compared: (result, warnings).

    The result is None for the estimator itself, (dtype, values) for an array, (type, text) for an error.
    """
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
    methods = ["predict"]
    if hasattr(model, "predict_proba"):
        methods.append("predict_proba")
    for method in methods:
        for row in (X[5:6], X[6:7].astype(np.float32), np.asfortranarray(X)[7:8], X[8:9].copy("F")):
            assert outcome(model, method, row) == on_full_path(model, method, row)
        unpickled = pickle.loads(pickle.dumps(X[:1]))  # whose dtype is another object
        assert outcome(model, method, unpickled) == outcome(model, method, X[:1])
    assert rows[0] > before + 2 * len(methods)  # now and then a program is compared with an eager call


# rows that no program takes: of another type, dtype, shape or memory order, or with values that are refused
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

# Changes of a fitted estimator that the program of a row has to notice. Each is applied to one model or, in
# the tests of steps, to two equal models, so that what it makes is made anew for each.


def with_settings(**settings):
    """A change by `set_params`."""

    def change(model):
        model.set_params(**settings)

    return change


def with_attributes(**attributes):
    """A change of attributes of the estimator."""

    def change(model):
        for name, value in attributes.items():
            setattr(model, name, value)

    return change


def with_trainer_attributes(**attributes):
    """A change of attributes of the estimator's Trainer."""

    def change(model):
        for name, value in attributes.items():
            setattr(model.trainer_, name, value)

    return change


def negate_weights(model):
    weights = model.coefs_[0]
    weights *= -1


def shift_biases(model):
    biases = model.intercepts_[-1]
    biases += 3


def fit_with_another_seed(model):
    model.set_params(random_state=3).fit(X, TWO)


def fit_other_labels(model):
    model.fit(X, THREE)


def fit_a_batch(model):
    model.partial_fit(X[:9], TWO[:9])


def load_negated_state(model):
    state = model.module_.state_dict()
    model.module_.load_state_dict({name: -np.asarray(value) for name, value in state.items()})


def replace_first_layer(model):
    model.module_[0] = copy.deepcopy(LAYER)


def replace_first_weight(model):
    model.module_[0].weight = nn.Parameter(rv.zeros(100, 6))


def zeros(layer, inputs, output):
    return output * 0


def register_hook(model):
    model.module_[0].register_forward_hook(zeros)


def rename_first_class(model):
    model.classes_[0] = -7


def replace_loss(model):
    model.trainer_.loss = nn.BCELoss()


def replace_model(model):
    model.trainer_.model = rv.mlp([6, 3, 1], init="zeros")


def switch_to_evaluation(model):
    model.module_.eval()


def delete_trainer(model):
    del model.trainer_


CHANGES = {
    "coefs_": negate_weights,
    "intercepts_": shift_biases,
    "fit": fit_with_another_seed,
    "fit of other labels": fit_other_labels,
    "partial_fit": fit_a_batch,
    "load_state_dict": load_negated_state,
    "a layer": replace_first_layer,
    "a weight": replace_first_weight,
    "a hook": register_hook,
    "classes_": rename_first_class,
    "dtype": with_settings(dtype="float64"),
    "a wrong dtype": with_settings(dtype="float8"),
    "the trainer's loss": replace_loss,
    "the trainer's model": replace_model,
    "eval": switch_to_evaluation,
    "compile": with_trainer_attributes(compile=False),
    "n_features_in_": with_attributes(n_features_in_=4),
    "feature_names_in_": with_attributes(feature_names_in_=np.array(list("abcdef"), object)),
    "no trainer": delete_trainer,
}


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
            if k % 4 == i % 10 == 0:
                row = row.tolist()  # takes the full path, beside the program
            p = model.predict_proba(row)
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
    for name, value in own.items():
        if isinstance(value, np.ndarray):
            own[name] = value.tolist()
    return own


def classes_of(y):
    """The argument `classes` of `partial_fit`, for labels; none for values."""
    if y.dtype.kind in "iU":
        return {"classes": np.unique(y)}
    return {}


def learn_rows(model, y, n=150):
    """Fit the model to n rows, one by one, with some that are given in other ways; returns the model."""
    for i in range(n):
        row = X[i : i + 1]
        if i % 7 == 0:
            row = row.astype(np.float32)
        if i % 3 == 0:
            model.partial_fit(row, y[i : i + 1], **classes_of(y))
        else:
            model.partial_fit(row, y[i : i + 1])
        if i == 100:
            model.partial_fit(X[:5], y[:5])  # a batch, and a list
            model.partial_fit(X[:1].tolist(), y[:1].tolist())
    return model


@pytest.mark.parametrize(("kind", "settings", "y"), STEPS)
def test_rows_are_learnt_as_on_the_full_path(kind, settings, y, monkeypatch):
    rows = count_replays(monkeypatch)
    ours = learn_rows(kind(random_state=0, **settings), y)
    assert rows[0] > 30
    monkeypatch.setattr(kind, "_learn_row", never)
    on_path = learn_rows(kind(random_state=0, **settings), y)
    assert state_of(ours) == state_of(on_path)


def never(*args):
    """In place of `_learn_row`, which returns whether a program learnt the row."""
    return False


def learner(y=TWO, kind=MLPClassifier, **settings):
    """An estimator that learns rows by a program."""
    model = kind(random_state=0, **settings)
    for i in range(80):
        model.partial_fit(X[i : i + 1], y[i : i + 1], **classes_of(y))
    assert learns_rows(model)
    return model


def learns_rows(model):
    """True if the model learns by a program, and its weights are finite."""
    by_program = model._one_row is not None and "fit" in model._one_row._latest
    return by_program and np.isfinite(model.coefs_[0]).all()


@functools.cache
def pair():
    """A learner, and one that never learns by a program; steps that change nothing else share them."""
    ours = learner()
    other = learner()
    other._learn_row = never
    return ours, other


def require_same_step(change, *args, **settings):
    """Compare a step after a change with one on the full path; then two more steps, and a prediction.

    change: a function of the model, or None. args, settings: those of `partial_fit`.
    """
    if change:
        pair.cache_clear()
    ours, other = pair()
    if not learns_rows(ours):  # an earlier step ended the program
        pair.cache_clear()
        ours, other = pair()
    if change:
        change(ours)
        change(other)
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
    require_same_step(with_settings(**SETTINGS[name]), X[90:91], TWO[90:91])


def test_a_list_of_callbacks_that_grows_is_noticed():
    seen = []
    callbacks = []
    model = learner(callbacks=callbacks)

    def keep(epoch, logs):
        seen.append(epoch)

    callbacks.append(rv.LambdaCallback(on_epoch_end=keep))
    model.partial_fit(X[90:91], TWO[90:91])
    assert len(seen) == 1


def raise_learning_rate(model):
    model.trainer_.optimizer.param_groups[0].update(lr=0.5)


def add_parameter_group(model):
    model.trainer_.optimizer.add_param_group({"params": [nn.Parameter(rv.zeros(2))]})


def replace_optimizer(model):
    model.trainer_.optimizer = optim.SGD(model.module_.parameters(), lr=0.1)


def freeze_first_layer(model):
    model.module_[0].requires_grad_(False)


ONLY_FOR_PREDICTIONS = ("no trainer", "fit of other labels", "a hook")
STEP_CHANGES = {
    **{name: change for name, change in CHANGES.items() if name not in ONLY_FOR_PREDICTIONS},
    "the rate": raise_learning_rate,
    "a group": add_parameter_group,
    "l1": with_trainer_attributes(l1=0.1),
    "l2": with_trainer_attributes(l2=0.1),
    "clip": with_trainer_attributes(clip_grad_norm=1e-3),
    "metrics": with_trainer_attributes(metrics={"accuracy": rv.metrics.METRICS["accuracy"]}),
    "on_nonfinite": with_trainer_attributes(on_nonfinite="warn"),
    "optimizer": replace_optimizer,
    "frozen": freeze_first_layer,
    "offset": with_attributes(_offset=3.0),
}


@pytest.mark.parametrize("name", STEP_CHANGES)
def test_a_step_notices_a_change(name):
    require_same_step(STEP_CHANGES[name], X[90:91], TWO[90:91])


ODD_LABELS = [
    [1], ["1"], [True], [1.0], [np.nan], [None], 1, [[1]], [[0, 1]], np.array([7]), np.array([1.0]),
    np.array([np.inf]), np.array([1], np.uint8), np.array([1], object), np.array(["1"]), [], None, (1,),
]  # fmt: skip
FURTHER_ARGUMENTS = [
    {"sample_weight": [2.0]}, {"sample_weight": [0.0]}, {"classes": [0, 1]}, {"classes": [1, 0]},
    {"classes": np.array([0, 1])}, {"classes": np.array([0, 1, 2])}, {"classes": [0, "1"]}, {"classes": 3},
]  # fmt: skip
ODD_STEPS = [
    *((x, TWO[:1], {}) for x in ODD.values()),
    *((X[:1], y, {}) for y in ODD_LABELS),
    *((X[:1], TWO[:1], further) for further in FURTHER_ARGUMENTS),
]


@pytest.mark.parametrize(("x", "y", "further"), ODD_STEPS)
def test_a_step_with_anything_else_takes_the_full_path(x, y, further):
    require_same_step(None, x, y, **further)


@pytest.mark.parametrize("y", [
    [3], [3.0], np.array([3]), np.array([1e39]), np.array([np.nan]), ["a"], [[3.0]], [True], [10**40],
    [-1e300], np.array([3.0], np.float16), np.array([[1.0, 2.0]]),
])  # fmt: skip
@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_values_as_on_the_full_path(y, loss):
    model = learner(np.abs(VALUES), MLPRegressor, loss=loss)
    other = learner(np.abs(VALUES), MLPRegressor, loss=loss)
    other._learn_row = never
    assert outcome(model, "partial_fit", X[:1], y) == outcome(other, "partial_fit", X[:1], y)
    assert repr(state_of(model)) == repr(state_of(other))


def test_errors_of_numbers_are_the_same():
    """A loss that is not finite, and a parameter."""
    model = learner(VALUES, MLPRegressor, solver="sgd", nesterovs_momentum=False, learning_rate_init=1e-3)
    model.trainer_.optimizer.param_groups[0]["lr"] = 1e30
    other = copy.deepcopy(model)
    other._learn_row = never
    failed = 0
    for i in range(20):
        ours = outcome(model, "partial_fit", X[i : i + 1], VALUES[i : i + 1])
        assert ours == outcome(other, "partial_fit", X[i : i + 1], VALUES[i : i + 1])
        assert repr(state_of(model)) == repr(state_of(other))
        failed += ours[0] is not None
    assert failed
