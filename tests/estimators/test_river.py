"""River's own checks of estimators, and its evaluation."""

import copy
import sys

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from ranvier.sklearn import MLPClassifier, MLPRegressor


def of_river():
    river = pytest.importorskip("river", reason="river is not installed")
    from river import base, checks

    kinds = [
        type("OurClassifier", (MLPClassifier, base.Classifier), {"__doc__": "ours"})((8,), random_state=0),
        type("OurRegressor", (MLPRegressor, base.Regressor), {"__doc__": "ours"})(
            hidden_layer_sizes=(8,), random_state=0
        ),
    ]
    return river, checks, kinds


def test_rivers_checks(monkeypatch):
    _, checks, kinds = of_river()
    for model in kinds:
        monkeypatch.setattr(sys.modules[__name__], type(model).__name__, type(model), raising=False)  # pickle
        type(model).__module__ = __name__
        count = 0
        for check in checks.yield_checks(model):
            if check.__name__ != "check_bounded_memory_growth":  # many samples
                check(copy.deepcopy(model))
                count += 1
        assert count > 20


def test_rivers_evaluation():
    of_river()
    from river import datasets, evaluate, metrics, preprocessing

    model = MLPClassifier((8,), solver="sgd", momentum=0.0, learning_rate_init=0.05, random_state=0)
    scaled = preprocessing.StandardScaler() | model
    assert evaluate.progressive_val_score(datasets.Phishing(), scaled, metrics.ROCAUC()).get() > 0.93
    value = MLPRegressor(hidden_layer_sizes=(8,), learning_rate_init=0.01, random_state=0)
    scaled = preprocessing.StandardScaler() | value
    score = evaluate.progressive_val_score(datasets.TrumpApproval().take(300), scaled, metrics.MAE())
    assert score.get() < 30
