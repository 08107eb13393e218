"""The tables, labels and targets that estimators take: limits of numbers; errors with a remedy.

Each input is given to an estimator of each kind (MLP..., NeuralNet..., Tabular...), which must refuse it with
the text that stands beside it, or fit as with plain numbers.
"""

import datetime
import operator
from decimal import Decimal

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import ranvier as rv
from ranvier.sklearn import (
    MLPClassifier,
    MLPRegressor,
    NeuralNetClassifier,
    NeuralNetRegressor,
    TabularClassifier,
    TabularRegressor,
)
from support.refused import refused

pd = pytest.importorskip("pandas", reason="pandas is not installed")

N = 60
X = np.random.default_rng(0).normal(size=(N, 3))
WORDS = np.where(X[:, 0] > 0, "yes", "no").astype(object)
VALUES = 2 * X[:, 0] + 1
DAYS = [datetime.date(2020, 1, 1) + datetime.timedelta(i) for i in range(N)]


def mlp_classifier():
    return MLPClassifier((4,), max_iter=300, learning_rate_init=0.05, random_state=0)


def net_classifier():
    return NeuralNetClassifier(rv.nn.Linear(3, 2), max_epochs=1, random_state=0)


def tabular_classifier():
    return TabularClassifier(max_iter=20, n_members=2, random_state=0)


def mlp_regressor():
    return MLPRegressor(hidden_layer_sizes=(4,), max_iter=3, random_state=0)


def one_output():
    return rv.nn.Linear(3, 1)


def net_regressor():
    return NeuralNetRegressor(one_output, max_epochs=1, random_state=0)


def tabular_regressor():
    return TabularRegressor(max_iter=2, n_members=2, random_state=0)


# functions that make a new estimator of each kind
CLASSIFIERS = {"MLP": mlp_classifier, "Net": net_classifier, "Tabular": tabular_classifier}
REGRESSORS = {"MLP": mlp_regressor, "Net": net_regressor, "Tabular": tabular_regressor}
# the ends of messages, as regular expressions
MISSING = r"got y without a label at row 3 \(1 such rows\); expected a label for each sample"
DATE = "expected numbers: pass parts of dates"


def put(y, value, row=3):
    """A copy of the array with another value in this row."""
    y = y.copy()
    y[row] = value
    return y


BAD_LABELS = {
    "None": (put(WORDS, None), MISSING), "nan": (put(WORDS, np.nan), MISSING),
    "NA": (put(WORDS, pd.NA), MISSING), "list": (put(WORDS, None).tolist(), MISSING),
    "string": (pd.Series(put(WORDS, None), dtype="string"), MISSING),
    "category": (pd.Series(put(WORDS, None), dtype="category"), MISSING),
    "boolean": (pd.Series(WORDS == "yes", dtype="boolean").mask(np.arange(N) == 3), MISSING),
    "frame": (pd.DataFrame({"y": put(WORDS, None)}), MISSING),
    "float": (put((WORDS == "yes").astype(float), np.nan), MISSING),
    "number": (put(WORDS, 1), "of the types int, str, such as 1 at row 3; expected labels of one type: y.as"),
    "bool": (put(WORDS, True), "of the types bool, str, such as True at row 3; expected labels of one type"),
    "dates": (np.array(DAYS, object), DATE), "dates of NumPy": (np.array(DAYS, "M8[D]"), DATE),
    "periods": (pd.Series(pd.period_range("2020-01-01", periods=N)), DATE),
    "sets": (
        np.array([frozenset([i % 2]) for i in range(N)]), "of type frozenset; expected words or numbers",
    ),
}  # fmt: skip


@pytest.mark.parametrize("labels", BAD_LABELS)
@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_labels_that_are_refused(kind, labels):
    y, message = BAD_LABELS[labels]
    model = CLASSIFIERS[kind]()
    owner = rf"\[{type(model).__name__}\] got .*"
    with pytest.raises((TypeError, ValueError), match=owner + message.removeprefix("got ")):
        model.fit(X, y)
    if hasattr(model, "partial_fit"):
        with pytest.raises((TypeError, ValueError), match=owner + message.removeprefix("got ")):
            model.partial_fit(X, y, classes=["no", "yes"])
    if labels in ("None", "number"):
        model.fit(X, WORDS)
        with pytest.raises((TypeError, ValueError), match=owner + message.removeprefix("got ")):
            model.score(X, y)
    if kind == "MLP":
        with pytest.raises((TypeError, ValueError), match=owner + message.removeprefix("got ")):
            MLPClassifier((4,), max_iter=2).fit(X, WORDS, validation_data=(X, y))


@pytest.mark.parametrize("kind", CLASSIFIERS)
@pytest.mark.parametrize(
    "y",
    [
        pd.Series(WORDS == "yes", dtype="boolean"), pd.Series(WORDS == "yes", dtype="Int64"),
        (WORDS == "yes").astype(object), pd.Series(WORDS, dtype="category"), pd.DataFrame({"y": WORDS}),
        WORDS.tolist(),
    ],
    ids=["boolean", "Int64", "objects", "category", "frame", "list"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:A column-vector y was passed", "ignore:.*has not converged")
def test_labels_keep_their_kind(kind, y):
    found = CLASSIFIERS[kind]().fit(X, y).predict(X)
    assert set(found.tolist()) <= set(np.asarray(y).ravel().tolist())
    if kind != "Net":
        assert (found == np.asarray(y).ravel()).mean() > 0.9


BAD_VALUES = {
    "words": (WORDS, "got y with '(yes|no)' at row 0; expected numbers: .*Classifier takes words as labels"),
    "words of NumPy": (WORDS.astype(str), "got y with '(yes|no)' at row 0; expected numbers"),
    "word": (put(VALUES.astype(object), "a"), "got y with 'a' at row 3"),
    "None": (put(VALUES.astype(object), None), "got y with nan at row 3; expected finite numbers"),
    "NA": (put(VALUES.astype(object), pd.NA), "got y with nan at row 3"),
    "nan": (
        put(VALUES, np.nan),
        r"got y with nan at row 3; expected finite numbers: [\w ]+, or leave the rows out$",
    ),
    "Float64": (pd.Series(VALUES, dtype="Float64").mask(np.arange(N) == 3), "got y with nan at row 3"),
    "dates": (np.array(DAYS, object), DATE),
    "dates of NumPy": (np.array(DAYS, "M8[D]"), DATE),
    "durations": (pd.Series(pd.to_timedelta(range(N), "D")), DATE),
}


@pytest.mark.parametrize("values", BAD_VALUES)
@pytest.mark.parametrize("kind", REGRESSORS)
def test_values_that_are_refused(kind, values):
    y, message = BAD_VALUES[values]
    model = REGRESSORS[kind]()
    for call in (model.fit, getattr(model, "partial_fit", model.fit)):
        with pytest.raises((TypeError, ValueError), match=rf"\[{type(model).__name__}\] .*{message}"):
            call(X, y)


@pytest.mark.parametrize("kind", ["MLP", "Net"])
def test_numbers_beyond_float32(kind):
    model = REGRESSORS[kind]()
    with pytest.raises(ValueError, match=r"got y with 1e[+]39 at row 3.*of at most 3.4e[+]38"):
        model.fit(X, put(VALUES, 1e39))
    with pytest.raises(ValueError, match=r"1e[+]39 at row 3|too large for dtype.'float32'"):
        model.fit(put(X, 1e39), VALUES)


@pytest.mark.filterwarnings("ignore:.*has not converged", "ignore:.*is reached")
def test_values_as_text_and_objects():
    for make in (REGRESSORS["MLP"], REGRESSORS["Tabular"]):
        expected = make().fit(X, VALUES).predict(X)
        for y in (
            VALUES.astype(str),
            [Decimal(v) for v in VALUES.tolist()],
            pd.Series(VALUES, dtype="Float64"),
        ):
            np.testing.assert_array_equal(make().fit(X, y).predict(X), expected)


def columns_of_dates():
    """Columns of dates, times and durations, of each type that pandas has."""
    stamps = pd.to_datetime(DAYS)
    yield from (stamps, stamps.tz_localize("UTC"), DAYS, pd.period_range("2020-01-01", periods=N))
    yield from (
        pd.to_timedelta(range(N), "D"),
        pd.Categorical(DAYS),
        pd.Categorical(stamps),
        [None, *DAYS[1:]],
    )
    yield from ([datetime.time(i % 24) for i in range(N)], [datetime.timedelta(i) for i in range(N)])


def refused_dates(table):
    """Require that all classifiers and a Trainer refuse the table for its dates."""
    for make in CLASSIFIERS.values():
        with pytest.raises(TypeError, match=DATE):
            make().fit(table, WORDS)
    trainer = rv.Trainer(rv.nn.Linear(3, 2), "cross_entropy", "adam")
    with pytest.raises(TypeError, match=DATE):
        trainer.fit(table, WORDS, epochs=1)


@pytest.mark.parametrize("column", range(10))
def test_columns_of_dates(column):
    held = list(columns_of_dates())[column]
    refused_dates(pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "day": held}))


def test_arrays_of_dates():
    refused_dates(np.array([DAYS] * 3, "M8[D]").T)
    refused_dates(np.array([DAYS] * 3, object).T)
    refused_dates([[1.0, 2.0, day] for day in DAYS])


@pytest.mark.parametrize(
    "column",
    [
        DAYS,
        [datetime.datetime(2020, 1, d.day) for d in DAYS],
        [datetime.timedelta(i) for i in range(N)],
        [datetime.time(i % 24) for i in range(N)],
    ],
    ids=["Date", "Datetime", "Duration", "Time"],
)
def test_dates_of_polars(column):
    pl = pytest.importorskip("polars", reason="polars is not installed")
    refused_dates(pl.DataFrame({"a": X[:, 0], "b": X[:, 1], "day": column}))
    for make in REGRESSORS.values():
        with pytest.raises(TypeError, match=DATE):
            make().fit(X, pl.Series(column))


def test_lazy_frames_of_polars():
    pl = pytest.importorskip("polars", reason="polars is not installed")
    for make in CLASSIFIERS.values():
        with pytest.raises(TypeError, match=r"got X of type LazyFrame; .* X.collect\(\)"):
            make().fit(pl.LazyFrame(X), WORDS)


@pytest.mark.parametrize("kind", ["MLP", "Net"])
@pytest.mark.parametrize("dtype", ["object", "category", "string"])
def test_words_in_a_column(kind, dtype):
    table = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "town": pd.Series(WORDS, dtype=dtype)})
    with pytest.raises(TypeError, match=r"got X .*; expected numbers: convert text that holds numbers by"):
        CLASSIFIERS[kind]().fit(table, WORDS)


def test_a_table_or_labels_of_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x = torch.tensor(X, requires_grad=True)
    y = torch.tensor((WORDS == "yes").astype(int))
    for make in CLASSIFIERS.values():
        assert set(make().fit(x, y).predict(x).tolist()) <= {0, 1}


def refused_of_pytorch(function, *args, **settings):
    """Require the TypeError for something of PyTorch that ranvier has itself."""
    with pytest.raises(TypeError, match=r"of PyTorch .*; expected ranvier's: the same program with"):
        function(*args, **settings)


def test_what_of_pytorch_is_refused_by_estimators():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    layer = torch.nn.Linear(3, 2)
    own = type("Own", (torch.nn.Module,), {})
    weight = torch.zeros(2, 3)
    linear = rv.nn.Linear(3, 2)
    y = (WORDS == "yes").astype(int)

    def make_layer():
        return layer

    def make_optimizer(parameters):
        return torch.optim.Adam([weight])

    for module in (layer, own, make_layer):
        refused_of_pytorch(NeuralNetClassifier(module, max_epochs=1).fit, X, y)
    for estimator in (
        NeuralNetClassifier(linear, torch.nn.CrossEntropyLoss),
        NeuralNetClassifier(linear, torch.nn.CrossEntropyLoss()),
        NeuralNetClassifier(linear, optimizer=torch.optim.Adam),
        NeuralNetClassifier(linear, optimizer=make_optimizer),
        MLPClassifier((4,), loss=torch.nn.CrossEntropyLoss),
        MLPClassifier((4,), solver=torch.optim.Adam),
        MLPClassifier((4,), activation=torch.nn.ReLU),
        TabularClassifier(activation=torch.nn.ReLU()),
    ):
        refused_of_pytorch(estimator.fit, X, y)
    refused_of_pytorch(NeuralNetRegressor(rv.nn.Linear(3, 1), torch.nn.MSELoss).fit, X, VALUES)


def test_what_of_pytorch_is_refused_by_functions():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    layer = torch.nn.Linear(3, 2)
    own = type("Own", (torch.nn.Module,), {})
    weight = torch.zeros(2, 3)
    linear = rv.nn.Linear(3, 2)
    scheduler = torch.optim.lr_scheduler.StepLR
    l1_loss = torch.nn.functional.l1_loss
    refused_of_pytorch(rv.Trainer, own, "mse", "adam")
    refused_of_pytorch(rv.Trainer, linear, "cross_entropy", "adam", metrics=[l1_loss])
    optimizer = torch.optim.SGD(layer.parameters(), 0.1)
    refused_of_pytorch(rv.optim.SGD, layer.parameters(), 0.1)
    refused_of_pytorch(rv.Schedule, scheduler(optimizer, 1))
    refused_of_pytorch(rv.optim.lr_scheduler.StepLR, optimizer, 1)
    refused_of_pytorch(rv.nn.Sequential, layer)
    refused_of_pytorch(rv.nn.functional.linear, rv.zeros(1, 3), weight)
    refused_of_pytorch(rv.nn.ModuleList, [layer])
    refused_of_pytorch(rv.nn.ModuleList().append, layer)
    refused_of_pytorch(rv.nn.ModuleDict, {"a": layer})
    refused_of_pytorch(rv.nn.ParameterList, [weight])
    refused_of_pytorch(linear.register_module, "a", layer)
    refused_of_pytorch(rv.nn.utils.clip_grad_norm_, layer.parameters(), 1.0)
    refused_of_pytorch(rv.nn.utils.parameters_to_vector, layer.parameters())
    refused_of_pytorch(rv.nn.init.zeros_, weight)
    refused_of_pytorch(rv.summary, layer, (3,))
    refused_of_pytorch(rv.summary, linear, (3,), dtype=torch.float32)
    refused_of_pytorch(rv.compile, layer)
    refused_of_pytorch(rv.zeros, 3, dtype=torch.float32)
    refused_of_pytorch(linear.to, torch.float32)
    refused_of_pytorch(operator.add, rv.zeros(2, 3), weight)
    refused_of_pytorch(rv.sum, weight)
    refused_of_pytorch(rv.func.functional_call, layer, {}, (weight,))
    refused_of_pytorch(rv.mlp, [2, 3, 1], activation=torch.nn.ReLU)
    refused_of_pytorch(rv.save, layer.state_dict(), "unused")
    refused_of_pytorch(rv.export.c, layer, "unused.c", rv.zeros(1, 3))


def test_saving_a_trainer_names_its_own_method(tmp_path):
    refused(TypeError, "trainer.save", rv.save, rv.Trainer(rv.nn.Linear(1, 1), "mse", "adam"), tmp_path / "a")


def arrow_table(kind, columns):
    """The columns as a table of another library than pandas: "polars", or a type of pyarrow."""
    if kind == "polars":
        return pytest.importorskip("polars", reason="polars is not installed").DataFrame(columns)
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    if kind == "Table":
        return table
    return table.to_batches()[0]  # "RecordBatch"


@pytest.mark.parametrize("kind", ["Table", "RecordBatch", "polars"])
def test_tables_of_arrow_are_frames(kind):
    columns = {"a": [*X[:-1, 0].tolist(), None], "b": X[:, 1].tolist(), "town": WORDS.tolist()}
    table = arrow_table(kind, columns)
    frame = pd.DataFrame(columns)
    tabular = CLASSIFIERS["Tabular"]().fit(table, WORDS)
    assert tabular.feature_names_in_.tolist() == ["a", "b", "town"]
    expected = CLASSIFIERS["Tabular"]().fit(frame, WORDS).predict_proba(frame)
    np.testing.assert_array_equal(tabular.predict_proba(table), expected)
    for name in ("MLP", "Net"):
        refused(TypeError, "got X with text in column 'town'", CLASSIFIERS[name]().fit, table, WORDS)
        refused(ValueError, "contains NaN", CLASSIFIERS[name]().fit, table.select(["a", "b"]), WORDS)
