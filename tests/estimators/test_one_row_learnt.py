"""partial_fit with one row: bits, warnings and errors of the full path, after any change between calls."""

import copy

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import ranvier as rv
from estimators.test_one_row import CHANGES, ODD, THREE, TWO, VALUES, X, count_replays, outcome
from ranvier import nn, optim
from ranvier.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

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
    assert "fit" in model._one_row._latest
    return model


def same_step(change, *args, **settings):
    """A step after a change beside one on the full path; then two more, and a prediction."""
    ours, other = learner(), learner()
    other._learn_row = lambda *_: False
    for model in (ours, other):
        change(model)
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
    seen = []
    model = learner(callbacks=(callbacks := []))
    callbacks.append(rv.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch)))
    model.partial_fit(X[90:91], TWO[90:91])
    assert len(seen) == 1


def _rate(model):
    model.trainer_.optimizer.param_groups[0]["lr"] = 0.5


def _momentum(model):
    model.trainer_.optimizer.add_param_group({"params": [nn.Parameter(rv.zeros(2))]})


STEP_CHANGES = {
    **{
        name: CHANGES[name]
        for name in sorted(CHANGES.keys() - {"no trainer", "fit of other labels", "a hook"})
    },
    "the rate": _rate, "a group": _momentum, "l1": lambda m: setattr(m.trainer_, "l1", 0.1),
    "l2": lambda m: setattr(m.trainer_, "l2", 0.1),
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
    same_step(lambda model: None, x, y, **more)


TARGETS = [
    [3], [3.0], np.array([3]), np.array([1e39]), np.array([np.nan]), ["a"], [[3.0]], [True], [10**40],
    [-1e300], np.array([3.0], np.float16), np.array([[1.0, 2.0]]),
]  # fmt: skip


@pytest.mark.parametrize("y", TARGETS)
@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_values_as_on_the_full_path(y, loss):
    model, other = (learner(np.abs(VALUES), MLPRegressor, loss=loss) for _ in range(2))
    other._learn_row = lambda *_: False
    assert outcome(model, "partial_fit", X[:1], y) == outcome(other, "partial_fit", X[:1], y)
    assert repr(state_of(model)) == repr(state_of(other))


def test_errors_of_numbers_are_the_same():
    """A loss that is not finite, and a parameter."""
    model = learner(VALUES, MLPRegressor, solver="sgd", nesterovs_momentum=False, learning_rate_init=1e-3)
    _rate(model)
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
