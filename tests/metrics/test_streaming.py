"""Metrics over batches: what the function gives for all samples at once, and what a Trainer makes of them."""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv
from ranvier import metrics, nn, optim
from support.metric_cases import (
    FOUR,
    FOUR_FOUND,
    PROBA,
    REAL,
    REAL_FOUND,
    TABLE,
    TABLE_FOUND,
    TIED,
    TWO,
    TWO_FOUND,
    WEIGHTS,
    WORDS,
    plain,
)

CASES = [
    (metrics.Accuracy(), metrics.accuracy_score, {}, (FOUR, FOUR_FOUND)),
    (metrics.TopKAccuracy(k=2), metrics.top_k_accuracy_score, {"k": 2}, (FOUR, PROBA)),
    (metrics.LogLoss(), metrics.log_loss, {}, (FOUR, PROBA)),
    (metrics.ConfusionMatrix(), metrics.confusion_matrix, {}, (FOUR, FOUR_FOUND)),
    (metrics.ClassificationReport(), metrics.classification_report, {}, (WORDS[FOUR], WORDS[FOUR_FOUND])),
    (metrics.Precision(), metrics.precision_score, {}, (TWO, TWO_FOUND)),
    (metrics.Recall(average=None), metrics.recall_score, {"average": None}, (FOUR, FOUR_FOUND)),
    (metrics.F1(average="weighted"), metrics.f1_score, {"average": "weighted"}, (FOUR, FOUR_FOUND)),
    (metrics.RocAuc(), metrics.roc_auc_score, {}, (TWO, TIED)),
    (metrics.RocAuc(), metrics.roc_auc_score, {"multi_class": "ovr"}, (FOUR, PROBA)),
    (metrics.MSE(), metrics.mean_squared_error, {}, (REAL, REAL_FOUND)),
    (metrics.RMSE(), metrics.root_mean_squared_error, {}, (TABLE, TABLE_FOUND)),
    (
        metrics.MAE(multioutput="raw_values"),
        metrics.mean_absolute_error,
        {"multioutput": "raw_values"},
        (TABLE, TABLE_FOUND),
    ),
    (metrics.R2(), metrics.r2_score, {}, (TABLE + 1e3, TABLE_FOUND + 1e3)),
]


def assert_close(got, want):
    if isinstance(want, str):
        assert got == want
    else:
        np.testing.assert_allclose(plain(got), plain(want), rtol=1e-10)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case[0]))
def test_over_batches(case, weighted):
    """Batches of unequal size and with different labels; a second pass after reset."""
    metric, function, settings, (true, found) = case
    want = function(true, found, **settings, **({"sample_weight": WEIGHTS} if weighted else {}))
    for cuts in ([1, 20, 21, 50], [30]):
        metric.reset()
        for part in np.split(np.arange(len(true)), cuts):
            metric.update(true[part], found[part], WEIGHTS[part] if weighted else None)
        assert_close(metric.compute(), want)
    assert_close(metric(true, found, WEIGHTS if weighted else None), want)
    assert_close(metric.compute(), want)  # a call keeps the state


@pytest.mark.parametrize("metric", [case[0] for case in CASES], ids=repr)
def test_without_samples(metric):
    metric.reset()
    with pytest.raises(ValueError, match=r"\[\w+\] got no samples; expected at least one"):
        metric.compute()


def test_a_refused_batch_is_not_added():
    metric = metrics.F1()
    metric.update([0, 1], [0, 1])
    with pytest.raises(ValueError, match=r"\[f1\] got y_true of shape \(2,\) and y_pred of shape \(3,\)"):
        metric.update([0, 1], [0, 1, 1])
    assert metric.samples == 2
    assert metric.compute() == 1


def test_names():
    assert metrics.F1().__name__ == "f1"
    assert metrics.F1(average="macro").__name__ == "f1_macro"
    assert metrics.TopKAccuracy(k=5).__name__ == "top_5_accuracy"
    assert metrics.RocAuc(multi_class="ovo").__name__ == "roc_auc_ovo"
    assert metrics.RMSE().__name__ == "rmse"
    assert repr(metrics.TopKAccuracy(k=5)) == "TopKAccuracy(k=5, labels=None)"
    for name, metric in metrics.METRICS.items():
        assert metric.__name__ == name or metric in vars(metrics).values()


def trained(loss, outputs, y, *names, last=None):
    x = np.random.default_rng(0).normal(size=(len(y), 3)).astype(np.float32)
    rv.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, outputs), last or nn.Identity())
    trainer = rv.Trainer(model, loss, optim.SGD(model.parameters(), lr=0.1), metrics=list(names))
    trainer.fit(x, y, epochs=1, batch_size=16)
    return trainer, x, trainer.evaluate(x, y, batch_size=7)


def test_in_a_trainer_of_classes():
    """Labels and probabilities are given to those that want them."""
    names = ("accuracy", "f1_macro", "top_2_accuracy", "roc_auc", "log_loss", metrics.Recall(average="micro"))
    trainer, x, measured = trained(nn.CrossEntropyLoss(), 4, FOUR, *names)
    labels, p = trainer.predict(x), trainer.predict_proba(x)
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


def test_a_trainer_takes_numbers_only():
    model = nn.Linear(3, 4)
    for metric in (
        metrics.ConfusionMatrix(),
        metrics.F1(average=None),
        metrics.MSE(multioutput="raw_values"),
    ):
        with pytest.raises(TypeError, match=r"\[Trainer\] got metric .*, which gives no single number"):
            rv.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1), metrics=[metric])


def test_the_base_class_is_no_metric():
    with pytest.raises(NotImplementedError, match=r"\[StreamingMetric\] .*; expected a subclass"):
        metrics.StreamingMetric()
