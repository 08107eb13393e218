"""The network of TabularClassifier, its bins and splits; tables at the limits of what it takes.

The network is compared with its formula in NumPy (`reference`), its edges and splits with tables of known
effects.
"""

from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import ranvier as rv
from ranvier.autograd import gradcheck
from ranvier.sklearn import TabularClassifier, TabularRegressor
from ranvier.sklearn.tabular_network import (
    Columns,
    PiecewiseLinearEmbedding,
    TabularNetwork,
    forest_splits,
    quantile_edges,
    step_edges,
)
from support.refused import refused

pd = pytest.importorskip("pandas", reason="pandas is not installed")


def reference(model, edges, x):
    """The scores (N, outputs, members) of a TabularNetwork over numbers, in NumPy.

    edges: (columns, bins + 1), ascending. x: (N, columns).
    """
    state = {name: value.detach().numpy().astype(float) for name, value in model.state_dict().items()}
    weight = state["embedding.weight"]  # (columns, bins, width)
    linear = state["embedding.linear"]  # (columns, width)
    bias = state["embedding.bias"]
    embedded = []
    for i, column_edges in enumerate(edges):
        column = x[:, i]
        shares = np.zeros((len(x), len(column_edges) - 1))  # of each bin: how much of it lies below x
        for t, (low, high) in enumerate(pairwise(column_edges)):
            if high > low:
                shares[:, t] = np.clip((column - low) / (high - low), 0, 1)
        embedded.append(shares @ weight[i] + column[:, None] * linear[i] + bias[i])
    inputs = np.concatenate(embedded, axis=1)
    members = []
    for k in range(len(state["head"])):
        hidden = inputs * state["scale"][k]
        for layer in (0, 2):
            hidden = hidden @ state[f"body.{layer}.weight"].T + state[f"body.{layer}.bias"]
            hidden = np.maximum(hidden, 0)
        members.append(hidden @ state["head"][k] + state["bias"][k])
    return np.stack(members, axis=2)


def test_the_network_follows_its_formula():
    rv.manual_seed(0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 3)).astype(np.float32)
    x[:, 2] = rng.integers(3, size=50)  # fewer edges than the others
    edges = quantile_edges(x, 4)
    assert edges.shape == (3, 5)
    np.testing.assert_allclose(edges[0], np.quantile(x[:, 0], [0, 0.25, 0.5, 0.75, 1]))
    model = TabularNetwork(3, 0, [], 2, edges=edges, hidden=(6, 5), members=3, probabilities=True)
    model.embedding.weight.detach().numpy()[...] = rng.normal(size=(3, 4, 8))
    x[0] = 9  # beyond the edges
    x[1] = -9
    scores = reference(model, edges, x)
    np.testing.assert_allclose(model(rv.tensor(x)).detach().numpy(), scores, 1e-4, 1e-4)
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p = (p / p.sum(axis=1, keepdims=True)).mean(axis=2)
    np.testing.assert_allclose(np.exp(model.eval()(rv.tensor(x)).detach().numpy()), p, 1e-3, 1e-5)
    values = TabularNetwork(3, 0, [], 1, edges=edges, hidden=(6, 5), members=3)
    expected = reference(values, edges, x).mean(axis=2)
    np.testing.assert_allclose(values.eval()(rv.tensor(x)).detach().numpy(), expected, 1e-4, 1e-4)


def test_edges_of_constant_columns_and_of_none():
    assert quantile_edges(np.ones((5, 2)), 8).shape == (2, 2)
    assert quantile_edges(np.ones((5, 0)), 8) is None
    assert quantile_edges(np.ones((5, 2)), 0) is None
    layer = PiecewiseLinearEmbedding(np.ones((1, 2)), 3)
    layer.weight.detach().numpy()[...] = 1
    y = layer(rv.tensor([[1.0], [5.0]])).detach().numpy()
    np.testing.assert_allclose(y[1] - y[0], 4 * layer.linear.detach().numpy()[0, 0], 1e-5)


def test_gradients_of_the_network():
    rv.manual_seed(0)
    edges = np.array([[-1.0, 0.5, 1.0], [-2.0, -1.0, 1.0]])
    settings = {"edges": edges, "activation": "mish"}
    model = TabularNetwork(2, 1, [3], 2, hidden=(4,), members=2, **settings).double()
    x = rv.tensor([[0.3, -1.2, 1.0, 2.0], [1.1, 0.4, -1.0, 0.0]], dtype=rv.float64)
    names = [name for name, _ in model.named_parameters()]
    parameters = [p.detach().requires_grad_() for p in model.parameters()]

    def run(*values):
        for name, value in zip(names, values, strict=True):
            owner = model
            *path, last = name.split(".")
            for part in path:
                owner = getattr(owner, part)
            if last in owner._parameters:
                delattr(owner, last)
            setattr(owner, last, value)  # no Parameter: as for a plain attribute
        return model(x)

    assert gradcheck(run, parameters)


def splits_of(x, y, weights=None):
    return forest_splits(x.astype(np.float32), y, weights, np.random.RandomState(0))


@pytest.mark.parametrize("classes", [True, False])
def test_edges_on_both_sides_of_a_jump(classes):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 4)).astype(np.float32)
    values = 4.0 * (x[:, 1] > 0.3) - 2 + 0.5 * x[:, 2]
    chosen = rng.random(2000) < 1 / (1 + np.exp(-values))
    if classes:
        targets = chosen.astype(int)
    else:
        targets = (values + rng.normal(size=2000))[:, None]
    splits = splits_of(x, targets)
    edges = step_edges(x, splits)
    assert set(edges) == {1}  # none for the smooth column, nor for those without effect
    ordered = np.sort(x[:, 1])
    above = np.searchsorted(ordered, 0.3)
    places = np.searchsorted(ordered, edges[1])
    assert np.abs(places - above).min() <= 2
    np.testing.assert_array_equal(ordered[places], np.float32(edges[1]))
    np.testing.assert_array_equal(np.diff(places)[::2], 1)  # neighbours
    both = quantile_edges(x, 8, edges)
    np.testing.assert_array_equal(both[0][:9], np.quantile(x[:, 0], np.linspace(0, 1, 9)))
    assert np.isin(np.float32(edges[1]), np.float32(both[1])).all()


def test_splits_follow_the_weights_and_none_are_made_without_a_target():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3))
    halves = np.repeat([1.0, 0.0], 150)
    y = np.where(halves > 0, x[:, 0] > 0, x[:, 1] > 0).astype(int)
    for column, weights in ((0, halves), (1, 1 - halves)):
        splits = splits_of(x, y, weights * 1e300)
        gains = np.bincount(splits[:, 0].astype(int), splits[:, 2], 3)
        assert gains[column] > 0.8 * gains.sum()
    for constant in (np.zeros(300, int), np.zeros((300, 2))):
        splits = splits_of(x, constant)
        assert splits.shape == (0, 3)
        assert step_edges(x, splits) == {}


def test_shares_of_splits_say_how_much_the_forest_explains():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1000, 2))
    noise = rng.normal(size=1000)
    step = (x[:, 0] > 0.0).astype(float)
    assert splits_of(x, step[:, None])[:, 2].sum() == pytest.approx(1, abs=0.01)
    assert splits_of(x, 1e-3 * step[:, None], np.full(1000, 5.0))[:, 2].sum() == pytest.approx(1, abs=0.01)
    mixed = splits_of(x, (2 * step + noise)[:, None])[:, 2].sum()  # 1 of the variance of 2 is the step's
    assert 0.45 < mixed < 0.7


def test_shares_scale_the_columns_at_the_start():
    shares = np.array([0.7, 0.3, 0.0])  # a number, two plain columns; those of categories start as they are
    networks = []
    for given in (None, shares):
        rv.manual_seed(0)
        edges = np.array([[0.0, 1.0]])
        networks.append(TabularNetwork(1, 2, [3, 5], 1, edges=edges, members=2, shares=given))
    plain, scaled = [network.scale.detach().numpy() for network in networks]
    factor = np.sqrt(0.1 + 2.7 * np.append(np.repeat(shares, [8, 1, 1]), [1 / 3] * 5))
    np.testing.assert_allclose(scaled[:, 0], plain[:, 0] * factor, 1e-6)


def test_a_jump_between_quantiles_is_predicted_as_a_jump():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1500, 3))
    model = TabularClassifier(random_state=0).fit(x, (x[:, 0] > 0.1) != (rng.random(1500) < 0.02))
    sides = np.array([[0.09, 0, 0], [0.11, 0, 0]])
    low, high = model.predict_proba(sides)[:, 1]
    assert high - low > 0.8


# Tables with numbers, objects and targets at the limits of what TabularClassifier and Regressor take.


N = 60
FAST = {"max_iter": 20, "n_members": 2, "random_state": 0}
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
    frame = pd.DataFrame({"a": A, "b": np.arange(N) * 1e25, "c": ["x", "y"] * (N // 2)})
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
    frame = pd.DataFrame({"a": A, "c": ["x", "y"] * (N // 2)})
    model = regressor(frame)
    expected = model.predict(pd.DataFrame({"a": [np.nan], "c": ["x"]}))
    for missing in (None, pd.NA):
        row = pd.DataFrame([{"a": missing, "c": "x"}])
        np.testing.assert_array_equal(model.predict(row), expected)


def test_what_is_no_table():
    frame = pd.DataFrame({"a": A, "b": A})
    with pytest.raises(ValueError, match="Expected 2D array"):
        TabularClassifier(**FAST, categorical_features=[0]).fit(A[:, None], A > 0).predict(A)
    refused(ValueError, "2-dimensional container", regressor, frame["a"])
    with pytest.raises(ValueError, match=r"got columns \['a', 'a'\]; expected different names"):
        TabularClassifier().fit(frame.set_axis(["a", "a"], axis=1), A > 0)
    months = pd.date_range("2020-01-01", periods=N).to_period("M")
    with pytest.raises(TypeError, match="column 'b' of dtype object that holds dates; expected numbers"):
        regressor(frame.assign(b=months))


def test_weights_of_held_out_rows_only():
    table = np.random.default_rng(0).standard_normal((400, 3))
    weights = np.zeros(400)
    weights[np.random.RandomState(0).permutation(400)[:60]] = 1
    fitted = TabularRegressor(**FAST).fit(table, table[:, 0], sample_weight=weights)
    assert np.isfinite(fitted.predict(table)).all()


@pytest.mark.parametrize("rows", [20, 400])
def test_a_category_without_any_value(rows):
    frame = pd.DataFrame({"a": pd.Series([None] * rows, dtype="string")})
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
    frame = pd.DataFrame({"a": pd.Series(["2", 2, 1, "1"] * 5, dtype=object)})
    fitted = TabularClassifier(**FAST).fit(frame, np.arange(20) % 2)
    assert [*fitted._codes[0]] == [1, "1", 2, "2"]
    assert [type(value) for value in fitted._codes[0]] == [int, str, int, str]
