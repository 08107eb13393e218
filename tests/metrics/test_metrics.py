"""The metrics: scikit-learn's numbers, stored and live, errors, and what a Trainer makes of them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import ranvier as rv
from ranvier import metrics, nn, optim
from support.grouped import grouped
from support.metric_cases import CASES, EXPECTED, FOUR, plain, theirs
from support.metric_cases import TWO as PAIR
from support.refused import refused


def test_accuracy():
    assert metrics.accuracy_score([0, 1, 2], [0, 1, 1]) == pytest.approx(2 / 3)
    assert metrics.accuracy_score([0.0, 1.0], [0, 1]) == 1  # labels as floats, as a binary loss needs them
    assert metrics.accuracy_score([[0.1, 0.9], [0.8, 0.2]], [1, 1]) == 0.5  # probabilities as targets
    assert metrics.accuracy_score([[0.0], [1.0]], [[1], [1]]) == 0.5


def test_binary_accuracy():
    assert metrics.binary_accuracy([0, 1, 1], [0.4, 0.6, 0.4]) == pytest.approx(2 / 3)
    assert metrics.binary_accuracy([1], [0.4], threshold=0.3) == 1


def test_errors():
    for metric in (
        metrics.accuracy_score,
        metrics.binary_accuracy,
        metrics.mean_squared_error,
        metrics.mean_absolute_error,
        metrics.root_mean_squared_error,
        metrics.r2_score,
    ):
        name = metric.__name__
        with pytest.raises(
            ValueError, match=rf"\[{name}\] got y_true of shape \(2,\) and y_pred of shape \(2, 1\)"
        ):
            metric(np.array([0, 1]), np.array([[0], [1]]))
        refused(ValueError, f"[{name}] got no samples", metric, np.zeros(0, int), np.zeros(0, int))
    with pytest.raises(
        TypeError, match=r"\[accuracy_score\] got predictions of dtype float64; .* see binary_accuracy"
    ):
        metrics.accuracy_score([0, 1], [0.2, 0.7])
    refused(TypeError, "[accuracy_score] got y_true of dtype object", metrics.accuracy_score, None, None)
    refused(TypeError, "[r2_score] got y_true of dtype <U1; expected numbers", metrics.r2_score, ["a"], ["a"])


def test_r2_of_constant_targets():
    assert metrics.r2_score([1, 1], [1, 2]) == 0
    assert metrics.r2_score([1, 1], [1, 1]) == 1
    assert math.isnan(metrics.r2_score([1], [1]))


TWO, THREE = np.array([0, 1, 1]), np.array([0, 1, 2])


@pytest.mark.parametrize(
    ("name", "arrays", "settings", "text"),
    [
        ("f1_score", (THREE, THREE), {}, "got 3 labels and average 'binary'; expected another"),
        ("f1_score", (TWO, TWO), {"pos_label": 7}, "got pos_label 7; expected one of [0, 1]"),
        ("recall_score", (TWO, TWO), {"average": "mean"}, "got average 'mean'; expected 'binary', 'macro'"),
        ("f1_score", (TWO, TWO + 0.5), {}, "got y_pred that is no label; expected whole numbers"),
        ("f1_score", (TWO, np.array(["a", "b", "c"])), {}, "got labels of dtype int64 and <U1; expected the"),
        ("f1_score", ([0, "a", None], [0, 1, 2]), {}, "got labels of dtype"),
        ("roc_auc_score", (THREE, np.eye(3)), {}, "got multi_class 'raise'; expected 'ovr' or 'ovo'"),
        ("roc_auc_score", (THREE, 2 * np.eye(3)), {"multi_class": "ovr"}, "got scores whose rows do not add"),
        ("roc_auc_score", (THREE, np.arange(3.0)), {}, "got 3 labels and scores of shape (3,)"),
        ("roc_auc_score", (THREE, np.full(3, np.nan)), {}, "got scores that are not finite"),
        ("top_k_accuracy_score", (THREE, np.eye(3)), {"k": 0}, "got k 0; expected a whole number of"),
        ("log_loss", (THREE, 2 * np.eye(3)), {}, "got values outside [0, 1]; expected probabilities"),
        ("log_loss", (THREE, np.full((3, 2), 0.5)), {}, "got 2 columns of scores for the labels"),
        ("confusion_matrix", (TWO, TWO), {"labels": [8]}, "got labels that are not in y_true"),
        ("classification_report", (TWO, TWO), {"target_names": ["a"]}, "got 1 target_names for 2 labels"),
    ],
)
def test_errors_of_labels_and_scores(name, arrays, settings, text):
    refused(ValueError, f"[{name}] {text}", getattr(metrics, name), *arrays, **settings)


def test_columns_and_probabilities_as_labels():
    """What a Trainer has: columns (n, 1), labels as floats, targets that are probabilities."""
    found = np.array([[1], [1], [0]])
    assert metrics.f1_score(np.array([[1.0], [0.0], [0.0]]), found) == pytest.approx(2 / 3)
    assert metrics.f1_score([[0.1, 0.9], [0.8, 0.2], [0.6, 0.4]], found.ravel()) == pytest.approx(2 / 3)
    assert metrics.roc_auc_score([[0.0], [1.0]], [[0.2], [0.7]]) == 1
    assert metrics.top_k_accuracy_score([0, 3], np.eye(4)[[0, 3]], k=1) == 1  # labels 1 and 2 do not occur


def trained(loss, outputs, y, *names, last=None):
    x = np.random.default_rng(0).normal(size=(len(y), 3)).astype(np.float32)
    rv.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, outputs), last or nn.Identity())
    trainer = rv.Trainer(model, loss, optim.SGD(model.parameters(), lr=0.1), metrics=list(names))
    trainer.fit(x, y, epochs=1, batch_size=16)
    return trainer, x, trainer.evaluate(x, y, batch_size=7)


def test_in_a_trainer_of_classes():
    """Labels and probabilities are given to those that want them."""
    names = ("accuracy", "f1_macro", "top_2_accuracy", "roc_auc", "log_loss", "recall_micro")
    trainer, x, measured = trained(nn.CrossEntropyLoss(), 4, FOUR, *names)
    labels, p = trainer.predict(x), trainer.predict_proba(x)
    assert measured["f1_macro"] == metrics.f1_score(FOUR, labels, average="macro")
    assert measured["recall_micro"] == measured["accuracy"] == metrics.accuracy_score(FOUR, labels)
    assert measured["top_2_accuracy"] == metrics.top_k_accuracy_score(FOUR, p, k=2)
    assert measured["roc_auc"] == pytest.approx(metrics.roc_auc_score(FOUR, p, multi_class="ovr"))
    assert measured["log_loss"] == pytest.approx(measured["loss"], rel=1e-5)


def test_in_a_trainer_of_two_classes():
    y = PAIR.reshape(-1, 1)
    trainer, x, measured = trained(nn.BCEWithLogitsLoss(), 1, y, "f1", "precision", "roc_auc", "log_loss")
    assert measured["f1"] == metrics.f1_score(PAIR, trainer.predict(x).ravel())
    assert measured["roc_auc"] == pytest.approx(metrics.roc_auc_score(PAIR, trainer.predict_proba(x).ravel()))
    assert measured["log_loss"] == pytest.approx(measured["loss"], rel=1e-5)


@pytest.mark.parametrize("loss", [nn.NLLLoss(), nn.CrossEntropyLoss()], ids=repr)
def test_losses_that_give_labels(loss):
    last = nn.LogSoftmax(1) if isinstance(loss, nn.NLLLoss) else None
    trainer, x, measured = trained(loss, 4, FOUR, "accuracy", last=last)
    assert trainer.predict(x).shape == FOUR.shape
    assert 0 <= measured["accuracy"] <= 1


# Each metric gives scikit-learn's numbers: stored ones always, its own where it is installed.


STORED = json.loads(EXPECTED.read_text())
IDS = [f"{number}-{name}-{settings}" for number, (name, _, settings) in enumerate(CASES)]
numbered = grouped("number", range(len(CASES)), ids=[i[:60] for i in IDS])


def assert_same(got, want):
    """Equal texts, numbers to 12 digits and structures; NaN equals NaN."""
    if isinstance(want, dict):
        assert list(got) == list(want)
        for key in want:
            assert_same(got[key], want[key])
    elif isinstance(want, list):
        assert len(got) == len(want)
        for a, b in zip(got, want, strict=True):
            assert_same(a, b)
    elif isinstance(want, float):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
    else:
        assert got == want


def ours(number):
    name, arrays, settings = CASES[number]
    return plain(getattr(metrics, name)(*arrays, **settings))


def test_as_many_stored_as_cases():
    assert len(STORED) == len(CASES)


@numbered
def test_stored(number):
    assert_same(ours(number), STORED[number])


@numbered
def test_live(number):
    pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    assert_same(ours(number), theirs(CASES[number]))


def test_the_same_names():
    for name, _, _ in CASES:
        assert name in metrics.__all__
