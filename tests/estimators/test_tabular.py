"""TabularClassifier and TabularRegressor: columns, categories, missing values.

Tables of known effects must be predicted; scaled columns are compared with their formula.
"""

import math
import re

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import ranvier as rv
from ranvier.sklearn import MLPRegressor, NeuralNetRegressor, TabularClassifier, TabularRegressor
from ranvier.sklearn.tabular_network import Columns
from sklearn.base import clone
from sklearn.preprocessing import RobustScaler
from support.refused import refused

FAST = {"max_iter": 20, "n_members": 2, "random_state": 0}


def test_numbers_are_scaled_by_quartiles_and_clipped_smoothly():
    rng = np.random.default_rng(0)
    table = rng.normal(5, 3, (99, 3))
    table[0, 0] = 1e6
    table[:, 2] = np.where(np.arange(99) == 7, 3.0, 1.0)  # equal quartiles: 2 / (max - min)
    columns = Columns(table, np.zeros(3, bool))
    found = columns.apply(table)
    scaled = RobustScaler().fit_transform(table[:, :2])
    np.testing.assert_allclose(found[:, :2], scaled / np.sqrt(1 + (scaled / 3) ** 2), 1e-5)
    assert np.abs(found).max() <= 3
    assert found[7, 2] == pytest.approx(2 / np.sqrt(1 + 4 / 9))
    constant = Columns(np.full((5, 1), 4.0), np.zeros(1, bool))
    assert not constant.apply(np.array([[4.0], [9.0]])).any()


def test_missing_numbers_get_a_column():
    table = np.array([[1.0, 5.0], [np.nan, 6.0], [3.0, 7.0], [4.0, 8.0]])
    columns = Columns(table, np.zeros(2, bool))
    found = columns.apply(table)
    assert (columns.numbers, columns.plain, found.shape) == (2, 1, (4, 3))
    assert found[:, 2].tolist() == [0, 1, 0, 0]
    assert found[1, 0] == 0
    assert np.isfinite(columns.apply(np.full((1, 2), np.nan))).all()


def test_categories():
    table = np.array([[0, 0, i] for i in range(10)] + [[1, 2, 3], [0, 1, 3], [-1, -1, -1]], float)
    columns = Columns(table, np.ones(3, bool))
    assert (columns.numbers, columns.plain, columns.categories) == (0, 4, [11])
    found = columns.apply(np.array([[1, 2, 3], [0, 5, 99], [-1, -1, -1]], float))
    assert found.tolist() == [[1, 0, 0, 1, 4], [-1, 0, 0, 0, 0], [0, 0, 0, 0, 0]]


def table(n=400, seed=0):
    """Columns of words and numbers, some missing, and a price that depends on all of them."""
    rng = np.random.default_rng(seed)
    city = rng.choice([f"city {i}" for i in range(12)], n)
    kind = rng.choice(["a", "b", "c"], n)
    size = rng.normal(100, 30, n)
    price = size + 50 * (kind == "b") + 10 * np.array([int(c.split()[1]) for c in city]) + rng.normal(0, 3, n)
    size[rng.random(n) < 0.05] = np.nan
    return {"city": city, "kind": kind, "size": size}, price


def test_categories_by_index_in_an_array():
    columns, price = table()
    X = np.stack([columns["city"], columns["kind"], columns["size"].astype(object)], axis=1)
    model = TabularRegressor(categorical_features=[0, 1], **FAST).fit(X[:300], price[:300])
    assert model.score(X[300:], price[300:]) > 0.8
    # unknown and missing
    X[300, 0] = "elsewhere"
    X[301, 1] = None
    assert np.isfinite(model.predict(X[300:])).all()


def test_a_data_frame_with_categories():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    columns, price = table()
    X = pandas.DataFrame(columns).astype({"kind": "category"})
    X["large"] = X["size"] > 100
    model = TabularRegressor(**FAST).fit(X[:300], price[:300])
    assert model.score(X[300:], price[300:]) > 0.8
    assert model.feature_names_in_.tolist() == ["city", "kind", "size", "large"]
    refused(ValueError, "feature names", model.predict, X[["kind", "city", "size", "large"]])
    labels = TabularClassifier(**FAST).fit(X[:300], price[:300] > 150)
    assert labels.score(X[300:], price[300:] > 150) > 0.8
    named = TabularRegressor(categorical_features=["city"], **FAST)
    assert named.fit(X[["city", "size"]], price).n_features_in_ == 2


def test_nullable_columns_and_columns_of_objects():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    columns, price = table()
    plain = pandas.DataFrame(columns)
    plain["large"] = plain["size"] > 100
    y = price > 150
    model = TabularClassifier(**FAST)
    expected = model.fit(plain, y).predict_proba(plain)
    other = plain.astype({"size": object, "city": "string", "large": "boolean"})
    np.testing.assert_array_equal(TabularClassifier(**FAST).fit(other, y).predict_proba(other), expected)
    np.testing.assert_array_equal(model.predict_proba(other), expected)
    other.loc[[3, 5], "large"] = pandas.NA
    missing = TabularClassifier(**FAST).fit(other, y).predict_proba(other)
    assert np.isfinite(missing).all()


def test_columns_of_other_kinds_than_in_fit():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    columns, price = table()
    X = pandas.DataFrame(columns)
    X["large"] = X["size"] > 100
    model = TabularRegressor(**FAST).fit(X, price)
    with pytest.raises(TypeError, match="column 'large' of type str; expected bool as in fit"):
        model.predict(X.astype({"large": str}))
    with pytest.raises(TypeError, match="column 'city' of type float; expected str as in fit"):
        model.predict(X.assign(city=1.5))
    refused(TypeError, "column 'size' of dtype <U1; expected numbers", model.predict, X.assign(size="x"))
    with pytest.raises(TypeError, match="column 'parts' with list objects"):
        TabularRegressor(**FAST).fit(X.assign(parts=[[1]] * len(X)), price)
    for days in (pandas.date_range("2020-01-01", periods=len(X)), ["2020-01-01"] * len(X)):
        day = pandas.to_datetime(pandas.Series(days), utc=isinstance(days, list))
        for frame in (X.assign(day=day), X[["size"]].assign(day=day)):
            with pytest.raises(TypeError, match=r"column 'day' of .*: pass parts of dates"):
                TabularRegressor(**FAST).fit(frame, price)


def test_predictions_stay_within_the_range_of_the_targets():
    x = np.linspace(0, 1, 100)[:, None]
    model = TabularRegressor(**FAST).fit(x, 3 * x[:, 0])
    assert model.predict([[100.0], [-100.0]]).tolist() == pytest.approx(
        np.clip(model.predict([[100.0], [-100.0]]), 0, 3).tolist()
    )


def dispersed(n=600):
    """Products of effects: targets of very different orders, with a few zeros."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 4))
    y = np.exp(1.5 * x[:, 0] - x[:, 1] + 0.3 * rng.normal(size=n)) * (rng.random(n) > 0.02)
    return x, y


def test_dispersed_targets_are_learnt_as_logarithms():
    x, y = dispersed()
    assert y[:400].std() > y[:400].mean()
    model = TabularRegressor(random_state=0).fit(x[:400], y[:400])
    found = model.predict(x[400:])
    z = model.trainer_.predict(model._validated(x[400:]))[:, 0]  # the network's output
    expected = np.clip(np.exp(z.astype(np.float64)) * y[:400].mean(), y[:400].min(), y[:400].max())
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    shifted = TabularRegressor(random_state=0).fit(x[:400], y[:400] - 1e-6)  # below 0: as they are
    assert model.score(x[400:], y[400:]) > shifted.score(x[400:], y[400:]) + 0.05
    huge = TabularRegressor(random_state=0).fit(x[:400], y[:400] * 2.0**900)
    np.testing.assert_allclose(huge.predict(x[400:]) / 2.0**900, found, rtol=1e-6)
    both = np.stack([y, 2 * y], axis=1)
    assert TabularRegressor(**FAST).fit(x, both).predict(x).min() >= 0
    np.testing.assert_allclose(model.predict(x[:1]), model.predict(x[:5])[:1], rtol=1e-6)


def test_automatic_dropout_is_for_noisy_targets():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    clean = x[:, 0]
    noisy = x[:, 0] + 2 * rng.normal(size=400)
    for chosen, rows, y, expected in [
        ("auto", 400, clean, 0.0),
        ("auto", 400, noisy, 0.1),
        ("auto", 300, clean, 0.1),  # too few rows for a forest
        (0.3, 400, clean, 0.3),
        (0, 400, noisy, 0.0),
    ]:
        model = TabularRegressor(dropout=chosen, max_iter=1, random_state=0).fit(x[:rows], y[:rows])
        shares = {layer.p for layer in model.module_.body if isinstance(layer, rv.nn.Dropout)}
        assert (shares or {0.0}) == {expected}


def test_two_values_are_not_learnt_as_logarithms():
    x, y = dispersed(120)
    model = TabularRegressor(**FAST).fit(x, y > 3)
    z = model.trainer_.predict(model._validated(x))[:, 0]
    y = (y > 3).astype(float)
    expected = np.clip(z * y.std() + y.mean(), 0, 1)
    np.testing.assert_allclose(model.predict(x), expected, rtol=1e-5, atol=1e-6)


def test_several_outputs_and_weights():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4))
    y = np.stack([X[:, 0], X[:, 1] * 100], axis=1)
    assert TabularRegressor(**FAST).fit(X, y).predict(X).shape == (200, 2)
    weighted = TabularRegressor(**FAST).fit(X, np.where(X[:, 0] > 0, 1.0, -1.0), sample_weight=X[:, 0] > 0)
    assert weighted.predict(X).mean() > 0.9


def test_strings_that_are_not_marked():
    with pytest.raises(ValueError, match=r"could not convert string.*categorical_features"):
        TabularClassifier().fit(np.array([["a"], ["b"]], object), [0, 1])
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pd.DataFrame({"price": ["1.50", None, "1.234,5"]})
    text = "got column 'price' of text that holds numbers"
    refused(ValueError, text, TabularRegressor().fit, frame, [0, 1, 2])
    codes = pd.DataFrame({"zip": ["01234", "10115", None, "00501"] * 20, "size": np.arange(80.0)})
    by_code = TabularClassifier(max_iter=30, random_state=0).fit(codes, codes["zip"] == "01234")
    assert by_code._is_category.tolist() == [True, False]
    assert by_code.score(codes, codes["zip"] == "01234") > 0.95
    model = TabularRegressor(categorical_features=["price"], max_iter=1)
    assert model.fit(frame, [0, 1, 2])._is_category.all()
    assert TabularRegressor(max_iter=1).fit(frame.astype("category"), [0, 1, 2])._is_category.all()


def test_one_hidden_layer_by_its_size():
    model = TabularClassifier(hidden_layer_sizes=7, max_iter=1).fit([[1.0], [2.0]], [0, 1])
    assert any(7 in parameter.shape for parameter in model.module_.parameters())


WRONG_SIZES = ([0], None, True, [[4]], math.nan, "100", 2.5)


@pytest.mark.parametrize("sizes", WRONG_SIZES, ids=repr)
def test_wrong_sizes_of_hidden_layers(sizes):
    message = f"{re.escape(repr(sizes))}; expected whole numbers of at least 1"
    with pytest.raises(ValueError, match=message):
        TabularClassifier(hidden_layer_sizes=sizes).fit([[1.0], [2.0]], [0, 1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_members": 0}, "n_members 0"),
        ({"dropout": -1}, "dropout -1"),
        ({"dropout": "none"}, "dropout 'none'"),
        ({"hidden_layer_sizes": ()}, r"hidden_layer_sizes \(\); expected whole numbers of at least 1, one"),
        ({"learning_rate": 0}, "learning_rate 0"),
        ({"max_iter": 0}, "max_iter 0"),
        ({"bins": -1}, "bins -1"),
        ({"n_iter_no_change": 0}, "n_iter_no_change 0"),
        ({"validation_fraction": 1}, "validation_fraction 1"),
        ({"categorical_features": ["city"]}, "category column 'city'"),
        ({"categorical_features": [4]}, "category column 4 for X of 1 columns"),
        ({"categorical_features": [True, False]}, "2 booleans for X of 1 columns"),
        ({"activation": "rely"}, "'rely'"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        TabularClassifier(**settings).fit([[1.0], [2.0]], [0, 1])


def seeded_network():
    """Targets of many digits are centred: the training differs a little, as the starting weights say."""
    with rv.random.fork_rng():
        rv.manual_seed(0)
        return rv.mlp([3, 16, 1])


@pytest.mark.parametrize("offset", [0.0, 1.7e9, 1e10])
@pytest.mark.parametrize(
    "model",
    [
        TabularRegressor(max_iter=20, random_state=0),
        MLPRegressor(max_iter=20, random_state=0, learning_rate_init=0.01),
        NeuralNetRegressor(seeded_network(), optimizer="adam", lr=0.02, max_epochs=20, random_state=0),
    ],
    ids=["Tabular", "MLP", "NeuralNet"],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_targets_of_float64_keep_their_digits(model, offset):
    """Seconds since 1970 have more digits than float32."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    y = x @ [1.0, 2.0, 3.0]
    found = clone(model).fit(x[:300], y[:300] + offset).predict(x[300:])
    near = clone(model).fit(x[:300], y[:300]).predict(x[300:])
    np.testing.assert_allclose(found - offset, near, rtol=0, atol=0.05)
    assert offset == 0 or found.dtype == np.float64


def test_the_held_out_part_stops_the_training_and_all_rows_end_it():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 4))
    noise = rng.integers(2, size=600)
    clean = (x[:, 0] * x[:, 1] > 0).astype(int)
    lengths = {}
    for name, y in (("noise", noise), ("clean", clean)):
        history = TabularClassifier(random_state=0, n_iter_no_change=8).fit(x, y).history_
        held_out = np.isfinite(history["val_loss"])
        lengths[name] = held_out.sum()
        best = int(np.nanargmin(history["val_loss"]))
        assert history.epochs == held_out.sum() + max((best + 1) // 2, 2)
        assert history.samples[-1] >= 600 > history.samples[0]  # the second phase has all rows
    assert lengths["noise"] < lengths["clean"]
    small = TabularClassifier(random_state=0, max_iter=3).fit(x[:300], clean[:300])
    assert small.n_iter_ == 3
    assert "val_loss" not in small.history_
    assert TabularClassifier(validation_fraction=0, max_iter=3).fit(x, clean).n_iter_ == 3


def test_a_callback_that_stops_the_training_ends_both_phases():
    class Stop(rv.Callback):
        def on_epoch_end(self, epoch, logs):
            self.trainer.stop_training = epoch == 4

    x = np.random.default_rng(0).normal(size=(500, 3))
    assert TabularRegressor(callbacks=[Stop()], random_state=0).fit(x, x[:, 0]).n_iter_ == 5


def test_every_step_runs_the_captured_program():
    x = np.random.default_rng(0).normal(size=(701, 3))  # 595 and 701 rows fill no batches
    model = TabularRegressor(random_state=0, max_iter=30).fit(x, x[:, 0])
    assert len(model.trainer_.programs()) == 1


def test_feature_importances():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 4))
    x[:, 1] = rng.integers(12, size=500)
    x[:, 2] = rng.integers(3, size=500)
    x[rng.random(500) < 0.2, 3] = np.nan
    y = rng.normal(size=12)[x[:, 1].astype(int)] + 2 * np.isnan(x[:, 3])
    model = TabularRegressor(categorical_features=[1, 2], random_state=0)
    assert not hasattr(model, "feature_importances_")
    shares = model.fit(x, y).feature_importances_
    assert shares.shape == (4,)
    assert shares.sum() == pytest.approx(1)
    assert min(shares[1], shares[3]) > 0.2 > 0.05 > max(shares[0], shares[2])
    np.testing.assert_array_equal(shares, model.feature_importances_)
    assert model.fit(x, x[:, 0]).feature_importances_[0] > 0.9
    assert not model.fit(np.ones((40, 4)), np.ones(40)).feature_importances_.any()


@pytest.mark.parametrize("rows", [60, 500])
def test_the_same_random_state_gives_the_same_bits(rows):
    x = np.random.default_rng(0).normal(size=(rows, 3))
    models = [TabularClassifier(random_state=3, max_iter=12).fit(x, x[:, 0] > 0) for _ in range(2)]
    np.testing.assert_array_equal(*[model.predict_proba(x) for model in models])
    assert (
        TabularClassifier(random_state=4, max_iter=12).fit(x, x[:, 0] > 0).predict_proba(x)
        != models[0].predict_proba(x)
    ).any()


def test_one_class_constant_columns_and_thousands_of_categories():
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.integers(3000, size=500), np.ones(500), np.full(500, np.nan)])
    model = TabularClassifier(categorical_features=[0], max_iter=3).fit(x, np.zeros(500))
    np.testing.assert_array_equal(model.predict_proba(x), np.ones((500, 1)))
    values = TabularRegressor(categorical_features=[0], max_iter=3).fit(x, x[:, 0])
    x[0] = 9999, 7, 5  # a new category, other values
    assert np.isfinite(values.predict(x)).all()


def test_a_row_has_the_same_prediction_alone_and_with_others():
    x = np.random.default_rng(0).normal(size=(64, 5))
    values = TabularRegressor(random_state=0, max_iter=5).fit(x, x[:, 0])
    labels = TabularClassifier(random_state=0, max_iter=5).fit(x, x[:, 0] > 0)
    for rows in (1, 3, 17, 60):
        np.testing.assert_array_equal(values.predict(x[:rows]), values.predict(x)[:rows])
        np.testing.assert_array_equal(labels.predict_proba(x[:rows]), labels.predict_proba(x)[:rows])
