"""Tables with numbers, objects and targets at the limits of what TabularClassifier and Regressor take."""

from decimal import Decimal

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from ranvier.sklearn import TabularClassifier, TabularRegressor
from ranvier.sklearn.tabular_network import Columns
from support.refused import refused

pandas = pytest.importorskip("pandas", reason="pandas is not installed")

FAST = {"max_iter": 20, "n_members": 2, "random_state": 0}
N = 60
A = np.random.default_rng(0).normal(size=N)


def regressor(frame, y=A):
    return TabularRegressor(**FAST).fit(frame, y)


@pytest.mark.parametrize(
    ("column", "scaled"),
    [
        (np.where(np.arange(N) == 3, 1.7e308, A), np.where(np.arange(N) == 3, 3.0, np.nan)),
        (np.where(np.arange(N) % 2, -1.7e308, 1.7e308), np.where(np.arange(N) % 2, -3.0, 3.0)),
        (A * 1e300, np.full(N, np.nan)),
        (A * 1e-310, np.full(N, np.nan)),
    ],
    ids=["one huge", "all huge", "wide", "subnormal"],
)
def test_numbers_near_the_limits_of_float64(column, scaled):
    with np.errstate(all="raise", under="ignore"):
        made = Columns(column[:, None], np.zeros(1, bool)).apply(column[:, None])[:, 0]
    assert np.abs(made).max() <= 3
    np.testing.assert_array_equal(made[~np.isnan(scaled)], scaled[~np.isnan(scaled)])


@pytest.mark.parametrize("power", [1000, -1000])
def test_targets_near_the_limits_of_float64(power):
    x = A[:, None]
    with np.errstate(all="raise", under="ignore"):
        values = regressor(x, np.ldexp(A, power)).predict(x)
    np.testing.assert_array_equal(values, np.ldexp(regressor(x).predict(x), power))


def test_numbers_as_objects():
    frame = pandas.DataFrame({"a": A, "b": np.arange(N) * 1e25, "c": ["x", "y"] * (N // 2)})
    expected = regressor(frame).predict(frame)
    objects = {"a": [Decimal(str(value)) for value in A.tolist()], "b": [int(v) for v in frame["b"].tolist()]}
    for columns in (["a", "b"], ["a", "b", "c"]):  # without and with categories
        frame_of_objects = frame.assign(**objects)[columns]
        assert [kind.char for kind in frame_of_objects.dtypes[:2]] == ["O", "O"]
        found = regressor(frame_of_objects).predict(frame_of_objects)
        np.testing.assert_array_equal(found, regressor(frame[columns]).predict(frame[columns]))
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match="column 'b' with a number that float64 cannot hold"):
        regressor(frame.assign(b=[10**400] * N))


def test_one_row_whose_numbers_are_missing():
    frame = pandas.DataFrame({"a": A, "c": ["x", "y"] * (N // 2)})
    model = regressor(frame)
    expected = model.predict(pandas.DataFrame({"a": [np.nan], "c": ["x"]}))
    for missing in (None, pandas.NA):
        row = pandas.DataFrame([{"a": missing, "c": "x"}])
        np.testing.assert_array_equal(model.predict(row), expected)


def test_what_is_no_table():
    frame = pandas.DataFrame({"a": A, "b": A})
    with pytest.raises(ValueError, match="Expected 2D array"):
        TabularClassifier(**FAST, categorical_features=[0]).fit(A[:, None], A > 0).predict(A)
    refused(ValueError, "2-dimensional container", regressor, frame["a"])
    with pytest.raises(ValueError, match=r"got columns \['a', 'a'\]; expected different names"):
        TabularClassifier().fit(frame.set_axis(["a", "a"], axis=1), A > 0)
    months = pandas.date_range("2020-01-01", periods=N).to_period("M")
    with pytest.raises(TypeError, match="column 'b' of dtype object that holds dates; expected numbers"):
        regressor(frame.assign(b=months))


def test_weights_of_held_out_rows_only():
    table, weights = np.random.default_rng(0).standard_normal((400, 3)), np.zeros(400)
    weights[np.random.RandomState(0).permutation(400)[:60]] = 1
    fitted = TabularRegressor(**FAST).fit(table, table[:, 0], sample_weight=weights)
    assert np.isfinite(fitted.predict(table)).all()


@pytest.mark.parametrize("rows", [20, 400])
def test_a_category_without_any_value(rows):
    frame = pandas.DataFrame({"a": pandas.Series([None] * rows, dtype="string")})
    with pytest.raises(ValueError, match="got columns without any category"):
        TabularClassifier(**FAST).fit(frame, np.arange(rows) % 2)


@pytest.mark.filterwarnings("error")
def test_a_class_for_each_few_rows():
    table = np.random.default_rng(0).standard_normal((400, 3))
    assert TabularClassifier(**{**FAST, "max_iter": 1}).fit(table, np.arange(400) % 180).predict(table).shape


def test_many_classes_of_few_rows():
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(340) % 32)
    x = 3 * rng.normal(size=(32, 14))[y] + rng.normal(size=(340, 14))
    names = np.array([f"species {i}" for i in range(32)])
    model = TabularClassifier(random_state=0).fit(x, names[y])
    assert model.predict_proba(x).shape == (340, 32)
    assert model.score(x, names[y]) > 0.95
    assert model.n_iter_ <= 150  # 100 epochs, then half of the best one's number


def test_categories_of_one_text_have_an_order():
    frame = pandas.DataFrame({"a": pandas.Series(["2", 2, 1, "1"] * 5, dtype=object)})
    fitted = TabularClassifier(**FAST).fit(frame, np.arange(20) % 2)
    assert [*fitted._codes[0]] == [1, "1", 2, "2"]
    assert [type(value) for value in fitted._codes[0]] == [int, str, int, str]
