"""learn_one, predict_one, predict_proba_one: beside partial_fit, new features and labels, what is refused."""

import copy
import math
import pickle
import threading
from collections import OrderedDict
from decimal import Decimal
from types import MappingProxyType

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import ranvier as rv
from ranvier import nn
from ranvier.sklearn import CNNClassifier, MLPClassifier, MLPRegressor
from sklearn.base import clone

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 6)).astype(np.float32).astype(float)
NAMES = list("abcdef")
ROWS = [dict(zip(NAMES, row, strict=True)) for row in X.tolist()]
TWO = (X[:, 0] + RNG.normal(size=300) > 0).tolist()
THREE = np.array(["no", "perhaps", "yes"])[RNG.integers(0, 3, 300)].tolist()
VALUES = (3 * X[:, 0] + RNG.normal(size=300)).tolist()


def learnt(model, rows, ys):
    for x, y in zip(rows, ys, strict=False):
        assert model.learn_one(x, y) is None
    return model


def weights(model):
    return [w.tolist() for w in model.coefs_ + model.intercepts_]


@pytest.mark.parametrize(
    ("kind", "settings", "y"),
    [
        (MLPClassifier, {}, TWO),
        (MLPClassifier, {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1}, TWO),
        (MLPClassifier, {"dropout": 0.3, "dtype": "float64", "loss": nn.CrossEntropyLoss()}, TWO),
        (MLPClassifier, {"class_weight": {True: 3.0, False: 1.0}}, TWO),
        (MLPClassifier, {"callbacks": [rv.Callback()], "hidden_layer_sizes": ()}, TWO),
        (MLPRegressor, {}, VALUES),
        (MLPRegressor, {"loss": "poisson", "dropout": 0.2}, np.abs(VALUES).tolist()),
        (MLPRegressor, {"loss": "huber", "dtype": "float64", "alpha": 0.1}, VALUES),
    ],
)
def test_it_is_partial_fit(kind, settings, y):
    """The same weights to the bit, where the labels are known before."""
    ours, other = kind(random_state=0, **settings), kind(random_state=0, **settings)
    known = {"classes": [False, True]} if y is TWO else {}
    for model in (ours, other):
        model.partial_fit(X[:1], y[:1], **known)
    for i in range(1, 200):
        ours.learn_one(dict(enumerate(X[i].tolist())), y[i])
        other.partial_fit(X[i : i + 1], y[i : i + 1])
        assert (ours.loss_, ours.t_, ours.n_iter_) == (other.loss_, other.t_, other.n_iter_)
    assert weights(ours) == weights(other)
    assert ours.trainer_.updates == other.trainer_.updates


def test_predictions_are_those_of_arrays():
    model = learnt(MLPClassifier(random_state=0), ROWS, THREE)
    with pytest.warns(UserWarning, match="valid feature names"):
        p, labels = model.predict_proba(X), model.predict(X)
    for i in range(50):
        one = model.predict_proba_one(ROWS[i])
        assert list(one) == ["no", "perhaps", "yes"]
        assert math.isclose(sum(one.values()), 1.0)
        np.testing.assert_allclose(list(one.values()), p[i], 1e-6)
        assert model.predict_one(ROWS[i]) == labels[i]
    value = learnt(MLPRegressor(random_state=0), [dict(enumerate(row)) for row in X.tolist()], VALUES)
    assert [value.predict_one(dict(enumerate(row))) for row in X[:9].tolist()] == value.predict(
        X[:9]
    ).tolist()


def test_before_the_first_sample():
    assert MLPClassifier().predict_one({"a": 1}) is None
    assert MLPClassifier().predict_proba_one({"a": 1}) == {}
    assert MLPRegressor().predict_one({"a": 1}) == 0.0
    for model, y in ((MLPClassifier(), "yes"), (MLPRegressor(), 3.0)):
        assert model.learn_one({}, y) is None
        assert not hasattr(model, "module_")


def test_the_order_of_keys_does_not_matter():
    ours = learnt(MLPClassifier(random_state=0), ROWS[:150], THREE)
    turned = [dict(sorted(x.items(), key=lambda item: hash((item[0], i)))) for i, x in enumerate(ROWS[:150])]
    assert weights(learnt(MLPClassifier(random_state=0), turned, THREE)) == weights(ours)
    assert ours.predict_proba_one(turned[3]) == ours.predict_proba_one(ROWS[3])
    kinds = (OrderedDict, MappingProxyType)
    assert [ours.predict_proba_one(kind(ROWS[3])) for kind in kinds] == [ours.predict_proba_one(ROWS[3])] * 2


def test_new_and_missing_features():
    model = learnt(MLPClassifier(random_state=0, alpha=0.0), [{"b": 1.0}], ["no"])
    learnt(model, [{"b": x["b"]} for x in ROWS], THREE)
    before = model.predict_proba_one({"b": 0.5})
    first = model.coefs_[0].copy()
    assert model.predict_proba_one({"b": 0.5, "z": 1e30}) == before  # not known: left out
    assert model.n_features_in_ == 1
    model.learn_one({"a": 2.0, "c": -1.0}, "no")
    assert list(model.feature_names_in_) == ["b", "a", "c"]
    assert model.coefs_[0].shape == (3, 100)
    assert model.n_features_in_ == 3
    assert (model.coefs_[0][1:] != 0).any()
    np.testing.assert_allclose(model.coefs_[0][0], first[0], atol=0.01)
    assert model.predict_proba_one({}) == model.predict_proba_one({"a": 0, "b": 0.0, "c": False})
    learnt(model, ROWS, THREE)
    assert list(model.feature_names_in_) == ["b", "a", "c", "d", "e", "f"]
    other = learnt(copy.deepcopy(model), ROWS, THREE)
    assert weights(other) == weights(learnt(model, ROWS, THREE))


def test_a_column_of_zeros_changes_nothing():
    """A feature that is met late, as if it had been 0 before."""
    settings = {
        "random_state": 0,
        "alpha": 0.0,
        "solver": "adam",
        "hidden_layer_sizes": (),
        "dtype": "float64",
    }
    late, early = MLPClassifier(**settings), MLPClassifier(**settings)
    for model in (late, early):
        model.learn_one(ROWS[0], "no")
        model.learn_one(ROWS[1], "yes")
    early.learn_one({**ROWS[2], "z": 0.0}, "no")
    late.learn_one(ROWS[2], "no")
    for model in (late, early):
        learnt(model, [{**x, "z": x["a"]} for x in ROWS], THREE[:100])
    np.testing.assert_allclose(late.coefs_[0], early.coefs_[0], 1e-9)


@pytest.mark.parametrize("solver", ["adam", "sgd", "adamax", "rmsprop", "adagrad", "lion"])
@pytest.mark.parametrize("loss", ["log_loss", nn.CrossEntropyLoss()])
@pytest.mark.parametrize("order", ["abcd", "dcba", "badc", "cdab"])
def test_new_labels_keep_the_ratios_of_the_others(solver, loss, order):
    model = MLPClassifier((9,), solver=solver, loss=loss, random_state=0, learning_rate_init=0.01)
    for k, label in enumerate(order):
        if k > 1:
            before = model.predict_proba_one(ROWS[7])
            trained = copy.deepcopy(model)
            trained._add_label(label)
            after = trained.predict_proba_one(ROWS[7])
            assert list(after) == sorted(order[: k + 1])
            total = 1 - after[label]
            np.testing.assert_allclose([after[c] / total for c in before], list(before.values()), 1e-5)
        model.learn_one(ROWS[k], label)
        assert model.classes_.tolist() == sorted(order[: k + 1])
        learnt(model, ROWS[:20], order[: k + 1] * 20)
        assert all(np.isfinite(w).all() for w in model.coefs_)
    assert model.n_outputs_ == 4
    assert model.out_activation_ == "softmax"
    del model.feature_names_in_  # which scikit-learn would miss in arrays
    assert set(model.predict(X[:5])) <= set(order)
    model.partial_fit(X[:5], [*order, "a"])


def test_a_label_is_learnt():
    """After a new label each of several is still told from the others."""
    model = MLPClassifier((16,), learning_rate_init=0.02, random_state=0)
    for _ in range(150):
        for label in ("b", "c", "a"):
            model.learn_one({label: 1.0, "z": 1.0}, label)
    assert [model.predict_one({label: 1, "z": 1}) for label in "abc"] == list("abc")


def test_kinds_of_labels():
    for labels in (
        [True, False],
        [np.True_, np.False_],
        [3, -1, 2],
        ["x", "long text"],
        [2.5, 1.5],
        [10**30, 1],
    ):
        model = learnt(MLPClassifier((4,), random_state=0), ROWS, labels * 20)
        p = model.predict_proba_one(ROWS[0])
        assert set(p) == set(labels)
        assert model.predict_one(ROWS[0]) in labels
    one = learnt(MLPClassifier((4,), random_state=0), ROWS, ["only"] * 90)
    assert one.predict_proba_one(ROWS[0]) == {"only": 1.0}
    for wrong in (None, math.nan, [1], 3):
        state = weights(one), one.classes_.tolist()
        with pytest.raises((TypeError, ValueError)):
            one.learn_one(ROWS[0], wrong)
        assert (weights(one), one.classes_.tolist()) == state
    for wrong in (None, math.nan, [1]):
        with pytest.raises((TypeError, ValueError)):
            MLPClassifier().learn_one(ROWS[0], wrong)


@pytest.mark.parametrize(("x", "y"), [({"new": 1.0}, None), ({"new": 1.0}, 3), ({"b": "text"}, "new"),
                                      ({"new": math.nan}, "new"), ({"new": 1.0}, [1])])  # fmt: skip
def test_what_is_refused_lets_nothing_grow(x, y):
    for model in (learnt(MLPClassifier((4,), random_state=0), ROWS, THREE),
                  learnt(MLPRegressor(hidden_layer_sizes=(4,), random_state=0), ROWS, VALUES)):  # fmt: skip
        if y == 3 and "Regressor" in type(model).__name__:
            continue
        state = weights(model), model.n_features_in_, model.n_outputs_
        with pytest.raises((TypeError, ValueError)):
            model.learn_one({**ROWS[0], **x}, y)
        assert (weights(model), model.n_features_in_, model.n_outputs_) == state
    binary = learnt(MLPClassifier((4,), loss=nn.BCEWithLogitsLoss(), random_state=0), ROWS, TWO)
    with pytest.raises(ValueError, match="third label"):
        binary.learn_one({**ROWS[0], "new": 1.0}, 5)
    assert binary.n_features_in_ == 6


def test_kinds_of_features():
    model = learnt(MLPClassifier((4,), random_state=0), ROWS, TWO)
    plain = {"a": 1, "b": 2.5, "c": 1, "d": 0, "e": 3, "f": 0.25}
    same = {
        "a": True, "b": Decimal("2.5"), "c": np.True_, "d": np.float32(0), "e": np.int8(3),
        "f": np.array(0.25),
    }  # fmt: skip
    assert model.predict_proba_one(same) == model.predict_proba_one(plain)
    for names in ([1, 2], [("a", 1), ("b",)], [None, "a", 3], [1.5, "1.5"]):
        mixed = learnt(MLPClassifier((4,), random_state=0), [dict.fromkeys(names, 1.0)] * 90, TWO)
        assert mixed.n_features_in_ == len(names)
        assert not hasattr(mixed, "feature_names_in_")
        assert mixed.predict_proba_one(dict.fromkeys(reversed(names), 1.0))[True] > 0


@pytest.mark.parametrize(
    ("value", "kind"),
    [("1", TypeError), (None, TypeError), (math.nan, ValueError), (-math.inf, ValueError), (1e39, ValueError),
     (10**400, ValueError), ([1.0], TypeError), (1j, TypeError), (b"1", TypeError)],
)  # fmt: skip
@pytest.mark.parametrize("name", ["b", "new"])
def test_wrong_features_change_nothing(value, kind, name):
    for model in (
        learnt(MLPClassifier((4,), random_state=0), ROWS, TWO),
        learnt(MLPRegressor(hidden_layer_sizes=(4,), random_state=0), ROWS, VALUES),
    ):
        state = weights(model), model.t_, model.n_features_in_
        with pytest.raises(kind, match=rf"\[{type(model).__name__}\] got feature '{name}'"):
            model.learn_one({**ROWS[0], name: value}, 1)
        if name == "b":
            with pytest.raises(kind, match="got feature"):
                model.predict_one({**ROWS[0], name: value})
        assert (weights(model), model.t_, model.n_features_in_) == state
        fresh = clone(model)
        with pytest.raises(kind, match="got feature"):
            fresh.learn_one({"b": value}, 1)
        assert not hasattr(fresh, "module_")


@pytest.mark.parametrize("x", [[1, 2], "ab", None, 3, np.ones(6), {"a"}])
def test_what_is_no_dict(x):
    for model in (MLPClassifier(), learnt(MLPClassifier(random_state=0), [{0: 1.0, 1: 2.0}] * 3, TWO)):
        with pytest.raises(TypeError, match="expected a dict"):
            model.learn_one(x, True)
    with pytest.raises(TypeError, match="expected a dict"):
        model.predict_one(x)


@pytest.mark.parametrize("y", ["a", None, math.nan, math.inf, 1e39, [1, 2]])
def test_wrong_values(y):
    for model in (MLPRegressor(), learnt(MLPRegressor(random_state=0), ROWS, VALUES)):
        with pytest.raises((TypeError, ValueError), match=r"\[MLPRegressor\] got"):
            model.learn_one(ROWS[0], y)
    with pytest.raises(ValueError, match="below 0"):
        learnt(MLPRegressor(loss="poisson", random_state=0), ROWS, [1.0] * 90).learn_one(ROWS[0], -1)


def test_after_other_fits():
    """A fit begins anew, and its features and labels are known; learn_one goes on."""
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pd.DataFrame(X, columns=NAMES)
    model = learnt(MLPClassifier((8,), max_iter=3, random_state=0), [{"z": 1.0}], ["other"])
    model.fit(frame, THREE)
    assert model._feature_names() == NAMES
    assert model.predict_one(ROWS[0]) == model.predict(frame[:1])[0]
    model.learn_one({**ROWS[0], "new": 1.0}, "a new label")
    assert model.classes_.tolist() == ["a new label", "no", "perhaps", "yes"]
    assert model.predict(frame.assign(new=0.0)).shape == (300,)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame)
    model.partial_fit(frame.assign(new=0.0), THREE)
    several = MLPClassifier(max_iter=2).fit(X, np.stack([TWO, TWO], axis=1).astype(int))
    with pytest.raises(ValueError, match="several labels"):
        several.predict_one(dict(enumerate(X[0])))
    two = MLPRegressor(max_iter=2).fit(X, np.stack([VALUES, VALUES], axis=1))
    for call in (lambda: two.predict_one({0: 1.0}), lambda: two.learn_one({0: 1.0}, 3.0)):
        with pytest.raises(ValueError, match="2 outputs"):
            call()
    with pytest.raises(ValueError, match="lbfgs"):
        MLPClassifier(solver="lbfgs").learn_one(ROWS[0], 1)
    images = CNNClassifier(max_iter=1, channels=(2,), image_shape=(2, 3)).fit(X, TWO)
    images.learn_one(dict(enumerate(X[0].tolist())), True)
    with pytest.raises(ValueError, match="features"):
        images.learn_one({9: 1.0}, True)


def test_changes_are_noticed():
    model = learnt(MLPClassifier((8,), random_state=0), ROWS, TWO)
    model.coefs_[0][...] = 0
    model.intercepts_[0][...] = 0
    model.intercepts_[1][...] = -100
    assert model.predict_one(ROWS[0]) is False
    for settings in (
        {"alpha": 5.0},
        {"dropout": 0.5},
        {"verbose": True},
        {"class_weight": {True: 0.5, False: 1.0}},
    ):
        ours, other = (learnt(MLPClassifier((8,), random_state=0), ROWS[:90], TWO) for _ in range(2))
        for m in (ours, other):
            m.set_params(**settings)
        del other.feature_names_in_
        for x, y in zip(ROWS[:5], TWO, strict=False):
            ours.learn_one(x, y)
            other.partial_fit([list(x.values())], [y])
        assert weights(ours) == weights(other)
    with pytest.raises(ValueError, match="alpha"):
        model.set_params(alpha=-1).learn_one(ROWS[0], True)
    with pytest.raises(ValueError, match="early_stopping"):
        model.set_params(alpha=0, early_stopping=True).learn_one(ROWS[0], True)


def test_copies_and_pickles_go_on():
    model = learnt(MLPClassifier((8,), random_state=0), ROWS[:150], THREE)
    others = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    expected = weights(learnt(model, [{**x, "g": 1.0} for x in ROWS], THREE))
    for other in others:
        assert other.n_features_in_ == 6
        assert weights(learnt(other, [{**x, "g": 1.0} for x in ROWS], THREE)) == expected
    fresh = clone(model)
    assert fresh.predict_one(ROWS[0]) is None
    assert weights(learnt(fresh, ROWS[:150], THREE)) != expected


def test_a_step_that_is_not_finite():
    model = MLPRegressor(solver="sgd", learning_rate_init=1e20, hidden_layer_sizes=(4,), random_state=0)
    with pytest.raises(rv.train.NonFiniteError):
        learnt(model, ROWS, VALUES)


def test_threads():
    """Predictions beside steps: no error but the one that says so, and the network is as it should be."""
    model = learnt(MLPClassifier((8,), random_state=0), ROWS, THREE)
    errors = []

    def predict():
        for x in ROWS * 3:
            try:
                assert math.isclose(sum(model.predict_proba_one(x).values()), 1.0)
            except BaseException as error:
                errors.append(error)

    threads = [threading.Thread(target=predict) for _ in range(3)]
    for t in threads:
        t.start()
    for x, y in zip(ROWS, THREE, strict=True):
        try:
            model.learn_one(x, y)
        except RuntimeError as error:
            errors.append(error)
    for t in threads:
        t.join()
    assert all(type(e) is RuntimeError and "thread" in str(e) for e in errors), errors
    assert all(m.training for m in model.module_.modules())
