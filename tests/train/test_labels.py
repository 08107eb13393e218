"""Labels and tables of other libraries: what `fit` learns of them, and what `predict` and `save` keep.

X, Y: 40 samples of three features, and their class, 0 or 1 (support/training.py).
"""

import copy
import warnings

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.refused import refused
from support.training import X, Y, classifier, trainer_of

NAMES = np.array(["no", "yes"])


class Column:
    """A series of values with missing ones, as pandas has it."""

    def __init__(self, values):
        self.values = values

    def to_numpy(self):
        return np.asarray(self.values, object)

    def __len__(self):
        return len(self.values)


class Table:
    """A data frame of columns; iterating over it gives their names."""

    def __init__(self, **columns):
        self.columns, self._columns = list(columns), columns

    def to_numpy(self):
        return np.stack([np.asarray(c, object) for c in self._columns.values()], axis=1)

    def __getitem__(self, name):
        return Column(self._columns[name])

    def __iter__(self):
        return iter(self.columns)


def binary():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    return rv.Trainer(model, "bce_with_logits", "sgd", lr=0.1, metrics=["accuracy"])


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (NAMES[Y], NAMES),
        (NAMES[Y].tolist(), NAMES),
        (NAMES[Y].astype(object), NAMES),
        (Column(NAMES[Y].tolist()), NAMES),
        (Table(y=NAMES[Y].tolist()), NAMES),
        (Y.astype(bool), [False, True]),
        (Column(Y.astype(bool).tolist()), [False, True]),
    ],
)
def test_labels_are_numbered_in_sorted_order(y, classes):
    found = []
    for targets in (Y, y):
        rv.manual_seed(0)
        trainer = trainer_of(classifier(), metrics=["accuracy"])
        trainer.fit(X, targets, epochs=3, validation_split=0.2)
        found.append((dict(trainer.history), trainer.predict(X), trainer.evaluate(X, targets)))
    assert np.array_equal(trainer.classes_, classes)
    assert found[0][0] == found[1][0]
    assert found[0][2] == found[1][2]
    assert np.array_equal(np.asarray(classes)[found[0][1]], found[1][1])


def test_labels_of_a_binary_loss():
    rv.manual_seed(0)
    trainer = binary()
    trainer.fit(X, NAMES[Y], epochs=60)
    assert trainer.predict(X).shape == (40,)
    assert (trainer.predict(X) == NAMES[Y]).mean() == trainer.evaluate(X, NAMES[Y])["accuracy"] > 0.8
    text = "got 3 different labels"
    refused(ValueError, text, binary().fit, X, np.array(["a", "b", "c"])[np.arange(40) % 3], epochs=1)


def test_labels_that_do_not_fit():
    trainer = trainer_of(classifier())
    fit, names = trainer.fit, NAMES[Y]
    text = "for MSELoss; expected numbers"
    refused(TypeError, text, rv.Trainer(classifier(), "mse", "sgd").fit, X, names, epochs=1)
    refused(TypeError, "the labels are not known before", fit, [(X, names)], epochs=1)
    text = "got label maybe; expected one of no, yes"
    refused(ValueError, text, fit, X, names, epochs=1, validation_data=(X, ["maybe"] * 40))
    assert trainer.classes_ is None
    refused(ValueError, "got class_weight for label", fit, X, names, epochs=1, class_weight={"maybe": 2.0})
    three = np.array(["a", "b", "c"])[np.arange(40) % 3]
    refused(ValueError, "got 3 different labels and an output of shape (32, 2)", fit, X, three, epochs=1)
    fit(X, names, epochs=1, class_weight={"yes": 2.0})
    refused(ValueError, "expected one of no, yes, the labels of fit", trainer.evaluate, X, Y)
    fit([(X, names)], epochs=1)  # the labels are known


def test_tables_with_several_dtypes():
    table = Table(a=X[:, 0].tolist(), b=(X[:, 1] > 0).tolist(), c=[None, *X[1:, 2].tolist()])
    trainer = trainer_of(classifier())
    refused(ValueError, "got x with nan at row 0, column 'c'", trainer.fit, table, Y, epochs=1)
    table._columns["c"][0] = 1.0
    trainer.fit(table, Y, epochs=1)
    array = np.stack([X[:, 0], X[:, 1] > 0, np.r_[np.float32(1), X[1:, 2]]], axis=1).astype(np.float32)
    assert np.array_equal(trainer.predict(table), trainer.predict(array))
    refused(ValueError, "expected a, b, c, as fit", trainer.predict, Table(b=[1.0], a=[1.0], c=[1.0]))
    text = Table(a=["x"] * 40, b=X[:, 1], c=["y"] * 40)
    refused(TypeError, "got x with text in column 'a' and 1", trainer_of(classifier()).fit, text, Y, epochs=1)
    refused(TypeError, "Table and no y; expected both", trainer_of(classifier()).fit, table, epochs=1)
    dates = np.full((40, 3), "2020-01-01", "M8[D]")
    refused(TypeError, "expected numbers: pass parts of dates", trainer.predict, dates)


def test_pandas():
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pd.DataFrame(X, columns=list("abc"))
    for y in (pd.Series(NAMES[Y]), pd.Series(NAMES[Y], dtype="category"), pd.Series(Y == 1, dtype="boolean")):
        trainer = trainer_of(classifier())
        trainer.fit(frame.convert_dtypes(), y, epochs=1)
        assert set(trainer.predict(frame)) <= set(y.tolist())
    lists = frame.assign(a=[[1.0, 2.0]] * 40)
    message = "with lists in column 'a'; expected numbers: make a column for each entry"
    refused(TypeError, message, trainer_of(classifier()).fit, lists, Y, epochs=1)
    hole = frame.convert_dtypes()
    hole.loc[3, "b"] = pd.NA
    text = "x with nan at row 3, column 'b'; expected"
    refused(ValueError, text, trainer_of(classifier()).fit, hole, Y, epochs=1)
    refused(
        ValueError,
        "got y with nan at row 0",
        lambda: trainer_of(classifier()).fit(frame, pd.Series([pd.NA, *Y[1:]], dtype="Int64"), epochs=1),
    )


def test_targets_outside_0_to_1():
    for y, remedy in (
        (Y + 1.0, "1 to 2 for BCEWithLogitsLoss; .*: pass y - 1"),
        (2 * Y - 1, "-1 to 1 .*: pass y > 0"),
    ):
        with pytest.raises(ValueError, match=remedy):
            binary().fit(X, y, epochs=1)
    refused(ValueError, "CrossEntropyLoss takes more classes", binary().fit, X, 3 * Y, epochs=1)
    two = rv.Trainer(classifier(), "bce_with_logits", "sgd")
    refused(ValueError, "a binary loss takes one output for each target", two.fit, X, Y, epochs=1)


def test_containers_that_are_no_arrays():
    fit = trainer_of(classifier()).fit
    refused(TypeError, "of type dict; expected an array: np.stack", fit, {"a": X[:, 0]}, Y, epochs=1)
    refused(TypeError, "got y of type set; expected an array", fit, X, {0, 1}, epochs=1)
    refused(TypeError, "structured_to_unstructured", fit, np.zeros(40, [("a", "f4")]), Y, epochs=1)
    twice = Table(a=X[:, 0], b=X[:, 1])
    twice.columns = ["a", "b", "a"]
    refused(ValueError, "got x with two columns 'a'", fit, twice, Y, epochs=1)


def test_a_generator_is_read_once():
    text = "which can be read only once"
    refused(TypeError, text, trainer_of(classifier()).fit, (row for row in X), Y, epochs=1)
    batches = ((X, Y) for _ in range(2))
    refused(ValueError, "a generator gives them once", trainer_of(classifier()).fit, batches, epochs=2)
    refused(ValueError, "keys are 'x', 'y'", trainer_of(classifier()).fit, [{"x": X, "y": Y}], epochs=1)
    refused(TypeError, "expected x and y as two arguments", trainer_of(classifier()).fit, (X, Y), epochs=1)
    refused(TypeError, "x comes before y", trainer_of(classifier()).fit, Y, X, epochs=1)


def one(hint, data=(X, Y), model=None, **settings):
    """`fit` gives this hint, and no other warning."""
    trainer = rv.Trainer(model or classifier(), settings.pop("loss", "cross_entropy"), "sgd", **settings)
    with pytest.warns(rv.train.HintWarning, match=rf"\[Trainer\.fit\] {hint}") as said:
        trainer.fit(*data, epochs=1)
    trainer.fit(*data, epochs=1)
    assert len(said) == 1


def test_hints():
    one("x has values up to .*Standardize", (200 * X, Y))
    one(
        "x has values up to 255.*divide by 255",
        (np.full((4, 1, 2, 2), 255, np.uint8), [0, 1, 0, 1]),
        nn.Sequential(nn.Flatten(), nn.Linear(4, 2)),
    )
    one("all 40 samples have the label 0", (X, Y * 0))
    one(
        r"label 1 is 1 % of the samples, .*class_weight='balanced'",
        (np.resize(X, (200, 3)), (np.arange(200) < 2).astype(int)),
    )
    one("3 samples are few for 2 labels: fewer than two for each", (X[:3], ["a", "b", "a"]))
    prices = np.arange(40) % 25  # 25 different whole numbers
    hint = r"40 samples are few for 25 class indices \(values need a loss such as MSELoss\)"
    one(hint, (X, prices), nn.Linear(3, 25))
    one(
        "the model ends with Softmax, which CrossEntropyLoss applies again",
        model=nn.Sequential(nn.Linear(3, 2), nn.Softmax(1)),
    )
    one(
        "the model ends with Sigmoid",
        model=nn.Sequential(nn.Linear(3, 1), nn.Sigmoid()),
        loss="bce_with_logits",
    )
    rv.Trainer(classifier(), "cross_entropy", "sgd").fit(200 * X, Y, epochs=1, verbose=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=rv.train.HintWarning)
        rv.Trainer(classifier(), "cross_entropy", "sgd").fit(200 * X, Y, epochs=1, verbose=2)
    quiet = rv.Trainer(nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2)), "cross_entropy", "sgd")
    quiet.fit(200 * X, Y, epochs=1)
    rv.Trainer(classifier(), "cross_entropy", "sgd").fit(
        np.resize(X, (200, 3)), np.arange(200) < 2, epochs=1, class_weight="balanced"
    )


def test_hints_about_what_was_learnt():
    """A rate that is far too large or small, and predictions before any fit; none of a fit that learns."""
    for loss, y, rate, hint in (
        ("cross_entropy", Y, 1e3, r"the loss is .*, where a constant answer gives 0\.693: the learning rate"),
        ("mse", 3.0 * Y[:, None], 1e3, r"the loss is .* a constant answer gives .* likely too large"),
        ("cross_entropy", Y, 1e-9, r"the loss is .* in all 3 epochs: the learning rate 1e-09 is likely too"),
    ):
        model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2 if loss == "cross_entropy" else 1))
        with pytest.warns(rv.train.HintWarning, match=hint):
            rv.Trainer(model, loss, "adam", lr=rate).fit(X, y, epochs=3)
    loaded, written = nn.Linear(3, 2), nn.Linear(3, 2)
    loaded.load_state_dict(written.state_dict())
    with nn.init.skipped():  # as a model file does it
        drawn = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    drawn.load_state_dict(nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2)).state_dict())
    nn.utils.vector_to_parameters(rv.zeros(8), written.parameters())
    trainer = rv.Trainer(nn.Linear(3, 2), "cross_entropy", "adam")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with pytest.warns(
            rv.train.HintWarning, match=r"\[Trainer.predict\] no fit was made, and no weights were loaded"
        ):
            trainer.predict(X)
        with pytest.warns(rv.train.HintWarning, match=r"\[Trainer.predict_proba\] no fit was made"):
            trainer.predict_proba(X)
        warnings.simplefilter("error")
        for known in (loaded, drawn, written, copy.deepcopy(loaded)):
            rv.Trainer(known, "cross_entropy", "adam").predict(X)
        trainer.fit(X, Y, epochs=3)
        trainer.predict(X)
        rv.Trainer(nn.Linear(3, 2), "cross_entropy").predict(X)


@pytest.mark.parametrize(
    ("layers", "remedy"),
    [
        ([nn.Linear(64, 10)], r"put nn.Flatten\(\) before the layer: each sample becomes a row of 64"),
        ([nn.Conv2d(1, 4, 3), nn.Linear(144, 10)], r"before the layer: each sample becomes a row of 144"),
        ([nn.Linear(8, 10)], r"the model gives \(32, 1, 8, 10\) for one target a sample: put nn.Flatten\(\)"),
    ],
)
def test_a_forgotten_flatten_is_named(layers, remedy):
    images, digits = np.zeros((40, 1, 8, 8), np.float32), np.arange(40) % 10
    with pytest.raises(ValueError, match=remedy):
        rv.Trainer(nn.Sequential(*layers), "cross_entropy", "adam").fit(images, digits, epochs=1)
    with pytest.raises(ValueError, match=r"the model gives \(32, 1, 8, 1\) for one target a sample"):
        rv.Trainer(nn.Linear(8, 1), "mse", "adam").fit(images, digits * 1.0, epochs=1)
