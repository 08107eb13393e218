"""Each setting of an estimator has an effect on what it learns, or is refused.

An estimator is fitted without and with a setting: answers, dtype, epochs or what it prints must differ.
`With` (support/effects.py) is a value that needs other settings to have its effect.
"""

import contextlib
import io
import warnings

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
from support.effects import With, require_effect, require_rows

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 4)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] > 0.3).astype(int)
VALUES = (X[:, 0] + X[:, 1] ** 2).astype(np.float32)


class Stopping(rv.Callback):
    """Ends a fit after its second epoch."""

    def on_epoch_end(self, epoch, logs):
        self.trainer.stop_training = epoch == 1


SGD = {"solver": "sgd", "learning_rate_init": 0.05}
EARLY = {"early_stopping": True, "max_iter": 40, "learning_rate_init": 0.05}
CONVERGES = {"max_iter": 60, "learning_rate_init": 0.01}
MLP = {
    "hidden_layer_sizes": (5,),
    "activation": "tanh",
    "solver": "sgd",
    "alpha": 1.0,
    "batch_size": 37,
    "learning_rate": With("invscaling", SGD),
    "learning_rate_init": 0.05,
    "power_t": With(0.9, {**SGD, "learning_rate": "invscaling"}),
    "max_iter": 3,
    "shuffle": False,
    "random_state": 7,
    "tol": With(1.0, CONVERGES),
    "verbose": True,
    "warm_start": True,
    "momentum": With(0.1, SGD),
    "nesterovs_momentum": With(False, SGD),
    "early_stopping": With(True, CONVERGES),
    "validation_fraction": With(0.4, EARLY),
    "beta_1": 0.1,
    "beta_2": 0.1,
    "epsilon": 0.5,
    "n_iter_no_change": With(1, {**CONVERGES, "tol": 0.05}),
    "max_fun": With(3, {"solver": "lbfgs"}),
    "dropout": 0.5,
    "callbacks": [Stopping()],
    "dtype": "float64",
}
TABULAR = {
    "hidden_layer_sizes": (5,),
    "n_members": 3,
    "bins": 4,
    "activation": "tanh",
    "dropout": 0.5,
    "learning_rate": 0.05,
    "weight_decay": 3.0,
    "max_iter": 2,
    "batch_size": 64,
    "validation_fraction": 0.4,
    "n_iter_no_change": With(1, {"max_iter": 40, "learning_rate": 0.05}),
    "categorical_features": [3],
    "callbacks": [Stopping()],
    "random_state": 7,
}


class Net(nn.Module):
    def __init__(self, units=4, outputs=2):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, units), nn.Tanh(), nn.Linear(units, outputs))

    def forward(self, x):
        return self.layers(x)


class Other(Net):
    def forward(self, x):
        return self.layers(x) * 2


NET = {
    "module": With(Other, {}, Net),
    "optimizer": rv.optim.Adam,
    "lr": 0.3,
    "max_epochs": 3,
    "batch_size": 37,
    "train_split": None,
    "callbacks": [Stopping()],
    "random_state": 7,
    "module__units": 9,
}
# name: (class, settings of all its fits, a value of each setting that has to change the fit)
ESTIMATORS = {
    "MLPClassifier": (MLPClassifier, {"max_iter": 5}, {**MLP, "loss": "hinge", "class_weight": {0: 5.0}}),
    "MLPRegressor": (MLPRegressor, {"max_iter": 5}, {**MLP, "loss": "absolute_error"}),
    "TabularClassifier": (
        TabularClassifier,
        {"max_iter": 4},
        {**TABULAR, "label_smoothing": 0.4, "class_weight": {0: 5.0}},
    ),
    "TabularRegressor": (TabularRegressor, {"max_iter": 4}, TABULAR),
    "NeuralNetClassifier": (
        NeuralNetClassifier,
        {"module": Net, "max_epochs": 5, "lr": 0.1},
        {**NET, "criterion": nn.CrossEntropyLoss(label_smoothing=0.4)},
    ),
    "NeuralNetRegressor": (
        NeuralNetRegressor,
        {"module": Net, "max_epochs": 5, "lr": 0.1, "module__outputs": 1},
        {**NET, "criterion": nn.L1Loss()},
    ),
}
ROWS = []
for _name, (_, _, _values) in ESTIMATORS.items():
    ROWS += [(_name, _setting) for _setting in _values]


def learned(kind, fits=1, **settings):
    """What an estimator predicts after its fits, after how many epochs, and what it prints."""
    x = X.copy()
    if kind.__name__.startswith("Tabular"):
        x[:, 3] = np.arange(len(x)) % 3  # which may be numbers or categories
    y = Y if "Classifier" in kind.__name__ else VALUES
    out = io.StringIO()
    rv.manual_seed(0)
    with warnings.catch_warnings(), contextlib.redirect_stdout(out):
        warnings.simplefilter("ignore")
        model = kind(**{"random_state": 0, **settings})
        for _ in range(fits):
            model.fit(x, y)
        if hasattr(model, "predict_proba"):
            answers = model.predict_proba(x)
        else:
            answers = model.predict(x)
    return np.asarray(answers), answers.dtype.name, len(model.history_["loss"]), bool(out.getvalue())


@pytest.mark.parametrize("name", ESTIMATORS)
def test_each_setting_of_an_estimator_has_a_row(name):
    kind, _, rows = ESTIMATORS[name]
    require_rows(kind.__init__, {n: v for n, v in rows.items() if not n.startswith("module__")})


@pytest.mark.parametrize(("name", "setting"), ROWS)
def test_a_setting_of_an_estimator(name, setting):
    kind, base, rows = ESTIMATORS[name]
    fits = 2 if setting == "warm_start" else 1

    def outcome(**settings):
        return learned(kind, fits, **settings)

    require_effect(outcome, setting, rows[setting], base)


@pytest.mark.parametrize(("name", "setting"), ROWS)
def test_a_setting_of_an_estimator_that_is_set_later(name, setting):
    """By an attribute, in place of set_params: `fit` reads it, as scikit-learn's do."""
    kind, base, rows = ESTIMATORS[name]
    row = rows[setting]
    if setting == "random_state" or (kind, setting) == (MLPClassifier, "loss"):
        pytest.skip("set for all, or refused")
    value, more = row[:2] if isinstance(row, With) else (row, {})
    given = {**base, **more}

    class Later(kind):
        def fit(self, x, y):
            if self._later:
                self.set_params(**{setting: value})
            return super().fit(x, y)

        _later = False

    Later.__name__ = kind.__name__
    fits = 2 if setting == "warm_start" else 1
    without = {n: v for n, v in given.items() if n != setting}
    if setting == "module":
        without = given
    expected = learned(kind, fits, **{**without, setting: value})
    Later._later = True
    found = learned(Later, fits, **without)
    np.testing.assert_array_equal(found[0], expected[0])


SAMPLE = ("MLPClassifier", "MLPRegressor", "TabularClassifier", "TabularRegressor")


@pytest.mark.parametrize("name", SAMPLE)
def test_weights_of_samples(name):
    kind, base, _ = ESTIMATORS[name]
    y = Y if "Classifier" in name else VALUES

    def outcome(weight=None):
        model = kind(random_state=0, **base)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(X, y, sample_weight=weight)
        return model.predict_proba(X) if "Classifier" in name else model.predict(X)

    assert not np.array_equal(outcome(), outcome(np.linspace(0, 2, len(X))))
