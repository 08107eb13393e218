"""MLPClassifier and MLPRegressor beside scikit-learn's, and what they add.

`same_fit` fits both in float64 with the same settings and seed, and compares weights, losses and predictions.
"""

import pickle
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import ranvier as rv
import sklearn.neural_network as peer
from ranvier import nn, optim
from ranvier.sklearn import MLPClassifier, MLPRegressor
from scipy.sparse import csr_array, csr_matrix
from sklearn.base import clone
from sklearn.datasets import make_classification, make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning
from support.refused import refused

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def classes(n=200, k=3, seed=0):
    X, y = make_classification(n, 8, n_informative=6, n_classes=k, random_state=seed)
    return X, np.array(["no", "perhaps", "yes"])[y]


def values(n=200, outputs=1):
    X, y = make_regression(n, 8, n_targets=outputs, random_state=0)
    return X, y / np.abs(y).max()


OURS = {"MLPClassifier": MLPClassifier, "MLPRegressor": MLPRegressor}


def same_fit(kind, X, y, rtol=1e-5, **settings):
    """Fit both libraries' estimators in float64, without shuffling; compare what they learnt.

    kind: the name of the class. Returns both estimators, ours first.
    """
    common = {"shuffle": False, "random_state": 3, "batch_size": 50, "max_iter": 8, "epsilon": 1e-14}
    settings = {**common, **settings}  # epsilon is added at another place
    ours = OURS[kind](**settings, dtype="float64")
    theirs = getattr(peer, kind)(**settings)
    ours.fit(X, y)
    theirs.fit(X, y)
    for mine, other in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        assert mine.shape == other.shape
        np.testing.assert_allclose(mine, other, rtol, atol=rtol / 10)
    for name in ("n_iter_", "n_layers_", "n_outputs_", "out_activation_", "t_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name)
    if "loss_curve_" in vars(theirs):
        np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol)
        assert (ours.best_loss_ is None) == (theirs.best_loss_ is None)
    method = "predict_proba" if "Class" in kind else "predict"
    answers = getattr(ours, method)(X)
    expected = getattr(theirs, method)(X)
    np.testing.assert_allclose(answers, expected, rtol=1e-4, atol=1e-5)
    return ours, theirs


@pytest.mark.parametrize(
    "settings",
    [
        {}, {"activation": "logistic", "hidden_layer_sizes": (9, 7)}, {"activation": "tanh", "alpha": 0.5},
        {"activation": "identity", "hidden_layer_sizes": 5}, {"solver": "sgd", "learning_rate_init": 0.01},
        {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1},
        {"solver": "sgd", "learning_rate": "invscaling", "nesterovs_momentum": False, "batch_size": 60},
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.1, "n_iter_no_change": 2},
        {"early_stopping": True, "batch_size": 90, "max_iter": 30, "n_iter_no_change": 3},
        {"tol": 0.05, "n_iter_no_change": 3, "max_iter": 50},
    ],
)  # fmt: skip
@pytest.mark.parametrize("k", [2, 3])
def test_classifier_is_scikit_learns(settings, k):
    if k > 2 and "early_stopping" in settings:
        pytest.skip("scikit-learn stratifies the split of two classes only")
    X, y = classes(k=k)
    ours, theirs = same_fit("MLPClassifier", X, y, **settings)
    assert (ours.predict(X) == theirs.predict(X)).all()
    assert ours.validation_scores_ == theirs.validation_scores_
    assert ours.best_validation_score_ == theirs.best_validation_score_


def test_classifier_with_weights_is_scikit_learns():
    X, y = classes()
    weights = np.random.default_rng(0).uniform(0.1, 2, len(y))
    ours = MLPClassifier(shuffle=False, random_state=0, max_iter=5, alpha=0, epsilon=1e-14, dtype="float64")
    theirs = peer.MLPClassifier(shuffle=False, random_state=0, max_iter=5, alpha=0, epsilon=1e-14)
    ours.fit(X, y, sample_weight=weights)
    theirs.fit(X, y, sample_weight=weights)
    for mine, other in zip(ours.coefs_, theirs.coefs_, strict=True):
        np.testing.assert_allclose(mine, other, 1e-5, 1e-7)


def test_several_labels_are_scikit_learns():
    X, y = make_multilabel_classification(200, 10, n_classes=4, random_state=0)
    ours, theirs = same_fit("MLPClassifier", X, y)
    assert (ours.predict(X) == theirs.predict(X)).all()
    sparse = clone(ours).fit(X, csr_array(y))
    np.testing.assert_array_equal(sparse.predict(X), ours.predict(X))


@pytest.mark.parametrize("settings", [{}, {"solver": "sgd", "learning_rate_init": 0.01}, {"alpha": 1.0}])
def test_regressor_is_scikit_learns(settings):
    same_fit("MLPRegressor", *values(), **settings)


def test_poisson_is_scikit_learns():
    X, y = values()
    same_fit("MLPRegressor", X, np.random.default_rng(0).poisson(np.exp(y)).astype(float), loss="poisson")
    refused(ValueError, "y >= 0", MLPRegressor(loss="poisson").fit, X, y)


@pytest.mark.parametrize("weighted", [False, True])
def test_lbfgs_reaches_scikit_learns_loss(weighted):
    X, y = classes()
    weights = np.random.default_rng(0).integers(0, 3, len(y)) if weighted else None
    settings = {"solver": "lbfgs", "random_state": 0, "max_iter": 500, "alpha": 1.0, "hidden_layer_sizes": 10}
    ours = MLPClassifier(**settings).fit(X, y, sample_weight=weights)
    theirs = peer.MLPClassifier(**settings).fit(X, y, sample_weight=weights)
    assert 0.8 * theirs.loss_ < ours.loss_ < 1.05 * theirs.loss_  # another local minimum
    assert 1 < ours.n_iter_ <= 500
    with pytest.raises(AttributeError):
        ours.partial_fit(X, y)
    if weighted:  # a weight of two is two samples
        settings["max_iter"] = 10
        once = MLPClassifier(**settings)
        twice = MLPClassifier(**settings)
        once.fit(X, y, sample_weight=weights)
        twice.fit(np.repeat(X, weights, 0), np.repeat(y, weights))
        np.testing.assert_allclose(twice.loss_, once.loss_, 1e-6)


def test_the_same_random_state_gives_the_same_weights():
    X, y = classes()
    settings = {"max_iter": 5, "dropout": 0.2, "early_stopping": True}
    first = MLPClassifier(**settings, random_state=1).fit(X, y).coefs_
    same_seed = MLPClassifier(**settings, random_state=1).fit(X, y).coefs_
    other_seed = MLPClassifier(**settings, random_state=2).fit(X, y).coefs_
    no_seed = MLPClassifier(**settings, random_state=None).fit(X, y).coefs_
    assert all(map(np.array_equal, first, same_seed))
    assert not np.array_equal(first[0], other_seed[0])
    assert not np.array_equal(first[0], no_seed[0])
    assert not np.array_equal(other_seed[0], no_seed[0])


def test_a_sparse_matrix_gives_the_weights_of_a_dense_one():
    X, y = classes()
    X[np.abs(X) < 1] = 0
    valid = (csr_matrix(X[:50]), y[:50])
    settings = {"random_state": 0, "max_iter": 5}
    dense = MLPClassifier(**settings).fit(X, y, validation_data=valid)
    sparse = MLPClassifier(**settings).fit(csr_matrix(X), y, validation_data=valid)
    assert all(map(np.array_equal, dense.coefs_, sparse.coefs_))
    assert np.array_equal(dense.predict(X), sparse.predict(csr_array(X)))
    np.testing.assert_allclose(dense.validation_loss_curve_, sparse.validation_loss_curve_, 1e-6)
    lbfgs = MLPClassifier(solver="lbfgs", max_iter=20, random_state=0)
    assert clone(lbfgs).fit(csr_matrix(X), y).loss_ == pytest.approx(clone(lbfgs).fit(X, y).loss_)


def test_validation_data_and_its_loss():
    X, y = classes(400)
    model = MLPClassifier(
        max_iter=30, random_state=0, early_stopping=True, n_iter_no_change=5, learning_rate_init=0.02
    )
    model.fit(X[:300], y[:300], validation_data=(X[300:], y[300:]))
    assert len(model.validation_loss_curve_) == len(model.validation_scores_) == model.n_iter_
    assert model.score(X[300:], y[300:]) == pytest.approx(max(model.validation_scores_))
    assert model.best_validation_score_ == max(model.validation_scores_)
    plain = MLPClassifier(max_iter=3).fit(X[:300], y[:300], validation_data=(X[300:], y[300:]))
    assert len(plain.validation_loss_curve_) == 3
    assert plain.best_validation_score_ is None


def test_class_weights():
    X, y = make_classification(600, 8, weights=[0.95], flip_y=0.1, class_sep=0.5, random_state=0)
    plain = MLPClassifier(max_iter=30, random_state=0).fit(X, y)
    balanced = MLPClassifier(max_iter=30, random_state=0, class_weight="balanced").fit(X, y)
    assert (balanced.predict(X) == 1).sum() > 2 * (plain.predict(X) == 1).sum()
    named = MLPClassifier(max_iter=30, random_state=0, class_weight={"rare": 1e3, "frequent": 1e-3})
    labels = named.fit(X, np.where(y == 1, "rare", "frequent")).predict(X)
    assert (labels == "rare").mean() > 0.9
    refused(ValueError, "sample_weight below 0", named.fit, X, labels, sample_weight=-np.ones(600))


def test_wrong_validation_data():
    X, y = classes()
    for given, message in ((X, "got validation_data of type ndarray"), ((X, y, y, y), "of type tuple")):
        with pytest.raises(ValueError, match=message):
            MLPClassifier(max_iter=2).fit(X, y, validation_data=given)


def test_partial_fit():
    X, y = classes(300)
    model = MLPClassifier(random_state=0, learning_rate_init=0.01)
    refused(ValueError, "classes must be passed", model.partial_fit, X, y)
    for _ in range(20):
        for start in range(0, 300, 100):
            model.partial_fit(X[start : start + 100], y[start : start + 100], classes=np.unique(y))
    assert model.score(X, y) > 0.8
    assert len(model.loss_curve_) == 60
    refused(ValueError, "class 'other'", model.partial_fit, X[:2], ["other", "no"])
    refused(ValueError, "not the same", model.partial_fit, X, y, classes=["no", "yes"])


def test_partial_fit_with_several_labels():
    X, y = make_multilabel_classification(200, 10, n_classes=4, random_state=0)
    model = MLPClassifier(random_state=0, learning_rate_init=0.01)
    for _ in range(30):
        model.partial_fit(X[:100], y[:100]).partial_fit(X[100:], y[100:])
    assert model.predict(X).shape == y.shape
    assert model.score(X, y) > 0.4


def test_warm_start_continues():
    X, y = classes()
    model = MLPClassifier(random_state=0, max_iter=3, warm_start=True).fit(X, y)
    assert len(model.fit(X, y).loss_curve_) == 6
    refused(ValueError, "warm_start", model.fit, X, np.where(y == "no", "other", y))


def make_sgd(parameters):
    return optim.SGD(parameters, lr=0.05, momentum=0.9)


@pytest.mark.parametrize(
    "settings",
    [
        {"activation": "gelu", "dropout": 0.1},
        {"activation": nn.SiLU},
        {"loss": nn.CrossEntropyLoss},
        {"loss": nn.CrossEntropyLoss(label_smoothing=0.1)},
        {"solver": "AdamW"},
        {"solver": optim.RMSprop},
        {"solver": make_sgd},
    ],
)
def test_other_activations_losses_and_optimizers(settings):
    X, y = classes(300)
    model = MLPClassifier(max_iter=100, learning_rate_init=0.01, batch_size=32, random_state=0, **settings)
    assert model.fit(X, y).score(X, y) > 0.8
    assert len(model.coefs_) == len(model.intercepts_) == 2


@pytest.mark.parametrize("loss", ["absolute_error", "huber", nn.SmoothL1Loss, nn.MSELoss()])
def test_losses_of_values(loss):
    X, y = values()
    model = MLPRegressor(loss, max_iter=200, learning_rate_init=0.01, random_state=0)
    assert model.fit(X, y).score(X, y) > 0.9


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": -1}, "got alpha -1; expected a number of at least 0"),
        ({"max_iter": 0}, "got max_iter 0; expected a whole number"),
        ({"solver": "adamm"}, "got the optimizer 'adamm'"), ({"activation": "rely"}, "got 'rely'"),
        ({"loss": "squared"}, "expected one of 'log_loss'"), ({"loss": nn.MSELoss()}, "expected 'log_loss'"),
        ({"hidden_layer_sizes": (5, 0)}, "hidden_layer_sizes"), ({"dtype": "float16"}, "got dtype"),
        ({"batch_size": -1}, "got batch_size"), ({"dropout": 2}, "got dropout 2"),
        ({"shuffle": "no"}, "got shuffle 'no'; expected True or False"),
        ({"validation_fraction": 1.5}, "got validation_fraction 1.5"),
        ({"hidden_layer_sizes": "wide"}, "hidden_layer_sizes 'wide'; expected whole numbers"),
        ({"learning_rate": "none"}, "got learning_rate"),
        ({"solver": "SGD"}, "got solver 'SGD'; expected one of 'adam', 'lbfgs', 'sgd'"),
    ],
)  # fmt: skip
def test_wrong_settings(settings, message):
    X, y = classes()
    with pytest.raises(ValueError, match=message):
        MLPClassifier(**settings).fit(X, y)


def test_warnings():
    X, y = classes()
    with pytest.warns(ConvergenceWarning, match="maximum of 2 iterations"):
        MLPClassifier(max_iter=2).fit(X, y)
    with pytest.warns(UserWarning, match="got batch_size 500 for 200 samples"):
        MLPClassifier(max_iter=2, batch_size=500).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MLPClassifier(max_iter=500, tol=0.1, random_state=0).fit(X, y)


class Breaks(rv.Callback):
    """Puts NaN into the weights after the second epoch."""

    def on_epoch_end(self, epoch, logs):
        if epoch == 1:
            nn.init.constant_(self.trainer.model[0].weight, np.nan)


# what warns -> settings of the classifier
WARNS = {
    "maximum of 2 iterations": {"max_iter": 2},
    "lbfgs reached the maximum": {"max_iter": 2, "solver": "lbfgs"},
    "got batch_size 500": {"max_iter": 2, "batch_size": 500},
    "the best weights so far are kept": {"early_stopping": True, "callbacks": [Breaks()]},
}


@pytest.mark.parametrize("text", WARNS)
def test_warnings_name_the_line_of_the_program(text):
    X, y = classes()
    with pytest.warns(UserWarning, match=text) as caught:
        MLPClassifier(**WARNS[text]).fit(X, y)
    named = [warning.filename for warning in caught if text in str(warning.message)]
    assert named == [__file__]


class Wide(MLPClassifier):
    def __init__(self, width=8, max_iter=3):
        super().__init__((width,), max_iter=max_iter)
        self.width = width


def test_a_subclass_has_its_own_parameters():
    assert "hidden_layer_sizes" in MLPClassifier().get_params()
    assert Wide(9).get_params() == {"max_iter": 3, "width": 9}
    assert clone(Wide(5)).set_params(max_iter=1).get_params() == {"max_iter": 1, "width": 5}
    assert MLPClassifier().get_params().keys() == peer.MLPClassifier().get_params().keys() | {
        "loss", "class_weight", "dropout", "callbacks", "dtype",
    }  # fmt: skip


def test_a_fit_in_float64_forgets_the_mean_of_one_in_float32():
    X, y = values()
    model = MLPRegressor(max_iter=3, random_state=0).fit(X, y + 1e6)
    expected = clone(model).set_params(dtype="float64").fit(X, y).predict(X)
    assert (model.set_params(dtype="float64").fit(X, y).predict(X) == expected).all()


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
@pytest.mark.parametrize("whole", [False, True])
def test_predictions_follow_weights_that_are_assigned(kind, whole):
    X, y = make_classification(60, 6, random_state=0)
    rng = np.random.default_rng(0)
    theirs = getattr(peer, kind)(hidden_layer_sizes=(4,), max_iter=3)
    ours = OURS[kind](hidden_layer_sizes=(4,), max_iter=3)
    with warnings.catch_warnings(action="ignore"):
        theirs.fit(X, y)
        ours.fit(X, y)
    methods = ["predict"]
    if kind == "MLPClassifier":
        methods.append("predict_proba")
    for _ in range(3):
        weights = [rng.standard_normal(x.shape) for x in theirs.coefs_]
        biases = [0.5 * np.ones(4), np.ones(1)]
        for model in (theirs, ours):
            model.predict(X[:1])
            if whole:
                model.coefs_ = [x.copy() for x in weights]
                model.intercepts_ = [x.copy() for x in biases]
            else:
                for i, x in enumerate(weights):
                    model.coefs_[i] = x.copy()
                model.intercepts_[:] = [x.copy() for x in biases]
            model.coefs_[0][1] = 2.0
            model.coefs_[1] *= 3
        ours = pickle.loads(pickle.dumps(ours))
        for method in methods:
            for x in (X, X[:1]):
                answers = getattr(ours, method)(x)
                expected = getattr(theirs, method)(x)
                np.testing.assert_allclose(answers, expected, rtol=1e-4, atol=1e-5)
    model = ours
    before = model.coefs_[0].copy()
    model.partial_fit(X, y)
    assert 0 < np.abs(model.coefs_[0] - before).max() < 0.1
    refused(ValueError, f"[{kind}.coefs_] got arrays of shapes", model.coefs_.__setitem__, 0, [1.0, 2.0])
    refused(TypeError, f"[{kind}.intercepts_] got a change of its length", model.intercepts_.append, 1)


def test_predictions_follow_classes_that_are_assigned():
    X, y = make_classification(60, 6, random_state=0)
    model = MLPClassifier((4,), learning_rate_init=0.05, random_state=0).fit(X, y)
    codes = model.predict(X)
    model.classes_ = np.array(["no", "a yes"])
    assert (model.predict(X) == np.where(codes, "a yes", "no")).all()
    assert model.partial_fit(X, np.where(y, "a yes", "no")).score(X, np.where(y, "a yes", "no")) > 0.8
    model.classes_[0] = "none"
    assert set(model.predict(X)) == {"none", "a yes"}
    refused(ValueError, "[MLPClassifier] got classes_ of shape (3,)", setattr, model, "classes_", [1, 2, 3])
