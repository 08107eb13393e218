"""The metrics: scikit-learn's numbers, stored and live, errors, and what a Trainer makes of them.

`PYTHONPATH=python:tests python tests/metrics/test_metrics.py` stores what scikit-learn answers.
"""

from __future__ import annotations

import itertools
import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ranvier as rv
from ranvier import metrics, nn, optim
from support.grouped import grouped
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
    names = "accuracy_score binary_accuracy mean_squared_error mean_absolute_error r2_score"
    for name in (*names.split(), "root_mean_squared_error"):
        metric = getattr(metrics, name)
        message = rf"\[{name}\] got y_true of shape \(2,\) and y_pred of shape \(2, 1\)"
        with pytest.raises(ValueError, match=message):
            metric(np.array([0, 1]), np.array([[0], [1]]))
        refused(ValueError, f"[{name}] got no samples", metric, np.zeros(0, int), np.zeros(0, int))
    with pytest.raises(TypeError, match=r"\[accuracy_score\] got predictions of dtype float64; .* see"):
        metrics.accuracy_score([0, 1], [0.2, 0.7])
    refused(TypeError, "[accuracy_score] got y_true of dtype object", metrics.accuracy_score, None, None)
    refused(TypeError, "[r2_score] got y_true of dtype <U1; expected numbers", metrics.r2_score, ["a"], ["a"])


def test_r2_of_constant_targets():
    assert metrics.r2_score([1, 1], [1, 2]) == 0
    assert metrics.r2_score([1, 1], [1, 1]) == 1
    assert math.isnan(metrics.r2_score([1], [1]))


FEW = np.array([0, 1, 1])
THREE = np.array([0, 1, 2])


@pytest.mark.parametrize(
    ("name", "arrays", "settings", "text"),
    [
        ("f1_score", (THREE, THREE), {}, "got 3 labels and average 'binary'; expected another"),
        ("f1_score", (FEW, FEW), {"pos_label": 7}, "got pos_label 7; expected one of [0, 1]"),
        ("recall_score", (FEW, FEW), {"average": "mean"}, "got average 'mean'; expected 'binary', 'macro'"),
        ("f1_score", (FEW, FEW + 0.5), {}, "got y_pred that is no label; expected whole numbers"),
        ("f1_score", (FEW, np.array(["a", "b", "c"])), {}, "got labels of dtype int64 and <U1; expected the"),
        ("f1_score", ([0, "a", None], [0, 1, 2]), {}, "got labels of dtype"),
        ("roc_auc_score", (THREE, np.eye(3)), {}, "got multi_class 'raise'; expected 'ovr' or 'ovo'"),
        ("roc_auc_score", (THREE, 2 * np.eye(3)), {"multi_class": "ovr"}, "got scores whose rows do not add"),
        ("roc_auc_score", (THREE, np.arange(3.0)), {}, "got 3 labels and scores of shape (3,)"),
        ("roc_auc_score", (THREE, np.full(3, np.nan)), {}, "got scores that are not finite"),
        ("top_k_accuracy_score", (THREE, np.eye(3)), {"k": 0}, "got k 0; expected a whole number of"),
        ("log_loss", (THREE, 2 * np.eye(3)), {}, "got values outside [0, 1]; expected probabilities"),
        ("log_loss", (THREE, np.full((3, 2), 0.5)), {}, "got 2 columns of scores for the labels"),
        ("confusion_matrix", (FEW, FEW), {"labels": [8]}, "got labels that are not in y_true"),
        ("classification_report", (FEW, FEW), {"target_names": ["a"]}, "got 1 target_names for 2 labels"),
    ],
)
def test_errors_of_labels_and_scores(name, arrays, settings, text):
    refused(ValueError, f"[{name}] {text}", getattr(metrics, name), *arrays, **settings)


def test_columns_and_probabilities_as_labels():
    """The forms that a Trainer has: columns (n, 1), labels as floats, targets that are probabilities."""
    found = np.array([[1], [1], [0]])
    assert metrics.f1_score(np.array([[1.0], [0.0], [0.0]]), found) == pytest.approx(2 / 3)
    assert metrics.f1_score([[0.1, 0.9], [0.8, 0.2], [0.6, 0.4]], found.ravel()) == pytest.approx(2 / 3)
    assert metrics.roc_auc_score([[0.0], [1.0]], [[0.2], [0.7]]) == 1
    assert metrics.top_k_accuracy_score([0, 3], np.eye(4)[[0, 3]], k=1) == 1  # labels 1 and 2 do not occur


def trained(loss, outputs, y, *names, last=None):
    """A Trainer with metrics of these names after an epoch, its samples, and what it measures on them."""
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
    labels = trainer.predict(x)
    p = trainer.predict_proba(x)
    assert measured["f1_macro"] == metrics.f1_score(FOUR, labels, average="macro")
    assert measured["recall_micro"] == measured["accuracy"] == metrics.accuracy_score(FOUR, labels)
    assert measured["top_2_accuracy"] == metrics.top_k_accuracy_score(FOUR, p, k=2)
    assert measured["roc_auc"] == pytest.approx(metrics.roc_auc_score(FOUR, p, multi_class="ovr"))
    assert measured["log_loss"] == pytest.approx(measured["loss"], rel=1e-5)


def test_in_a_trainer_of_two_classes():
    y = TWO.reshape(-1, 1)
    trainer, x, measured = trained(nn.BCEWithLogitsLoss(), 1, y, "f1", "precision", "roc_auc", "log_loss")
    assert measured["f1"] == metrics.f1_score(TWO, trainer.predict(x).ravel())
    assert measured["roc_auc"] == pytest.approx(metrics.roc_auc_score(TWO, trainer.predict_proba(x).ravel()))
    assert measured["log_loss"] == pytest.approx(measured["loss"], rel=1e-5)


@pytest.mark.parametrize("loss", [nn.NLLLoss(), nn.CrossEntropyLoss()], ids=repr)
def test_losses_that_give_labels(loss):
    last = nn.LogSoftmax(1) if isinstance(loss, nn.NLLLoss) else None
    trainer, x, measured = trained(loss, 4, FOUR, "accuracy", last=last)
    assert trainer.predict(x).shape == FOUR.shape
    assert 0 <= measured["accuracy"] <= 1


# Each metric gives scikit-learn's numbers: stored ones always, its own where it is installed.


EXPECTED = Path(__file__).with_name("expected.json")
RNG = np.random.default_rng(5)
N = 60
TWO = RNG.integers(0, 2, N)
TWO_FOUND = RNG.integers(0, 2, N)
FOUR = RNG.integers(0, 4, N)
FOUR_FOUND = np.where(RNG.random(N) < 0.6, FOUR, RNG.integers(0, 4, N))
WORDS = np.array(["cat", "dog", "emu", "fox"])
TIED = np.round(RNG.random(N), 1)  # ten different values
PROBA = RNG.dirichlet(np.ones(4), N)
ROUGH = np.round(PROBA * 4) / 4  # ties; rows of any sum
REAL = RNG.normal(size=N)
REAL_FOUND = RNG.normal(size=N)
TABLE = RNG.normal(size=(N, 3))
TABLE_FOUND = RNG.normal(size=(N, 3))
NEVER = (np.array([0, 1, 2, 2]), np.array([0, 0, 0, 1]))  # 2 is never predicted
DISJOINT = (np.array([0, 0, 1]), np.array([2, 3, 3]))
ONE = (np.ones(5, int), np.ones(5, int))

Case = tuple[str, tuple[Any, ...], dict[str, Any]]  # metric, its arrays, its settings


def label_cases() -> list[Case]:
    cases: list[Case] = []
    for arrays in (
        (TWO, TWO_FOUND),
        (FOUR, FOUR_FOUND),
        (WORDS[FOUR], WORDS[FOUR_FOUND]),
        NEVER,
        DISJOINT,
        ONE,
    ):
        cases += [("accuracy_score", arrays, {}), ("confusion_matrix", arrays, {})]
        for average in ("macro", "micro", "weighted", None):
            for name in ("precision_score", "recall_score", "f1_score"):
                cases.append((name, arrays, {"average": average}))
        if arrays is not DISJOINT:  # its text has supports as floats in scikit-learn
            cases.append(("classification_report", arrays, {}))
    for name in ("precision_score", "recall_score", "f1_score"):
        cases += [(name, (TWO, TWO_FOUND), {}), (name, (TWO, TWO_FOUND), {"pos_label": 0})]
        cases.append((name, (np.zeros(3, int), np.zeros(3, int)), {}))
    chosen = {"labels": [2, 0], "target_names": ["two", "nothing at all"]}
    cases.append(("classification_report", (FOUR, FOUR_FOUND), chosen))
    cases.append(("confusion_matrix", (FOUR, FOUR_FOUND), {"labels": [3, 0, 9]}))
    return cases


def score_cases() -> list[Case]:
    cases: list[Case] = []
    for true in (TWO, 2 * TWO - 1, np.array(["no", "yes"])[TWO]):
        cases += [("roc_auc_score", (true, score), {}) for score in (REAL, TIED, np.zeros(N))]
    cases.append(("roc_auc_score", (np.ones(4, int), np.arange(4.0)), {}))
    for kind in ("ovr", "ovo"):
        for average in ("macro", "weighted"):
            settings = {"multi_class": kind, "average": average}
            cases.append(("roc_auc_score", (WORDS[FOUR], PROBA), settings))
            settings = {"labels": [0, 1, 2, 3], **settings}  # the last label has no sample
            cases.append(("roc_auc_score", (np.where(FOUR == 3, 0, FOUR), PROBA), settings))
    for k in (1, 2, 3, 4):
        cases += [("top_k_accuracy_score", (FOUR, score), {"k": k}) for score in (PROBA, ROUGH)]
    cases += [("top_k_accuracy_score", (TWO, score), {"k": 1}) for score in (TIED, REAL)]
    cases += [("log_loss", (FOUR, PROBA), {}), ("log_loss", (TWO, TIED), {})]
    cases.append(("log_loss", (np.zeros(4, int), PROBA[:4]), {"labels": [0, 1, 2, 3]}))
    cases.append(("log_loss", (np.array([0, 1, 0]), np.eye(2)[[0, 1, 1]]), {}))  # certain
    return cases


def value_cases() -> list[Case]:
    flat = np.full(4, 2.0)
    pairs = ((REAL, REAL_FOUND), (TABLE, TABLE_FOUND), (flat, flat), (flat, np.arange(4.0)), ([1.0], [2.0]))
    names = ("mean_squared_error", "root_mean_squared_error", "mean_absolute_error", "r2_score")
    return [(name, pair, {}) for name, pair in itertools.product(names, pairs)]


CASES: list[Case] = [*label_cases(), *score_cases(), *value_cases()]


def plain(value: Any) -> Any:
    """An answer as JSON holds it."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, (tuple, list, np.ndarray)):
        return [plain(part) for part in value]
    if value is None or isinstance(value, str):
        return value
    return float(value)


def theirs(case: Case) -> Any:
    """scikit-learn's answer."""
    from sklearn import metrics

    name, arrays, settings = case
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return plain(getattr(metrics, name)(*arrays, **settings))


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


if __name__ == "__main__":
    lines = ",\n".join(json.dumps(theirs(case)) for case in CASES)
    EXPECTED.write_text(f"[\n{lines}\n]\n")
