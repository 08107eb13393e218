"""NeuralNetClassifier and NeuralNetRegressor: shapes, parameters, files."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from ranvier import nn
from ranvier.sklearn import NeuralNetClassifier, NeuralNetRegressor
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from support.refused import refused

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, Y = load_iris(return_X_y=True)
DIGITS = load_digits()
FAST = {"max_epochs": 2, "random_state": 0}


def test_parameters_of_the_parts():
    net = NeuralNetClassifier(
        nn.Linear, module__in_features=4, module__out_features=3, optimizer="adam", **FAST
    )
    net.set_params(optimizer__weight_decay=0.5, criterion__label_smoothing=0.1)
    net = clone(net).fit(X, Y)
    assert net.optimizer_.param_groups[0]["weight_decay"] == 0.5
    assert net.criterion_.label_smoothing == 0.1
    assert net.get_params()["module__in_features"] == 4
    assert len(net.history_["val_loss"]) == net.n_iter_ == 2
    refused(ValueError, "Invalid parameter 'widht'", net.set_params, widht=3)
    silent = {"verbose": 0, "device": "cpu", "warm_start": False}  # of skorch
    assert "verbose" not in NeuralNetClassifier(nn.Linear, **silent).set_params(verbose=0).get_params()
    for name, value, text in (
        ("widht", 3, "got widht; expected parameters such as module__width"),
        ("verbose", 1, "(verbose=0 only; callbacks=[rv.ProgressBar()] prints a line an epoch)"),
        ("device", "cuda", "got device; expected"),
    ):
        refused(TypeError, text, NeuralNetClassifier, nn.Linear, **{name: value})
    refused(ValueError, "Invalid parameter 'verbose'", net.set_params, verbose=1)


def test_binary_logits_of_both_shapes():
    flat = nn.Sequential(nn.Linear(4, 1), nn.Flatten(0))
    for module in (nn.Linear(4, 1), flat):
        net = NeuralNetClassifier(
            module, nn.BCEWithLogitsLoss, optimizer="adam", lr=0.05, max_epochs=20, batch_size=8
        )
        assert net.set_params(random_state=0).fit(X, Y > 0).score(X, Y > 0) > 0.95
        np.testing.assert_allclose(net.predict_proba(X).sum(axis=1), 1, 1e-5)


def test_images_and_indices():
    images = DIGITS.images[:, None].astype(np.float32)
    convolutional = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
    net = NeuralNetClassifier(convolutional, optimizer="adam", lr=0.01, max_epochs=3, random_state=0)
    assert net.fit(images, DIGITS.target).score(images, DIGITS.target) > 0.8
    rows = np.random.default_rng(0).integers(0, 9, (300, 3))
    words = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 2))
    net = NeuralNetClassifier(words, optimizer="adam", lr=0.1, max_epochs=10, random_state=0)
    assert net.fit(rows, rows[:, 0] > 4).score(rows, rows[:, 0] > 4) > 0.9


@pytest.mark.parametrize(
    ("net", "y", "message"),
    [
        (NeuralNetClassifier(nn.Linear(4, 2)), Y, "for 3 classes and CrossEntropyLoss"),
        (
            NeuralNetClassifier(nn.Linear(4, 1), nn.BCEWithLogitsLoss),
            Y,
            "for 3 classes and BCEWithLogitsLoss",
        ),
        (NeuralNetClassifier(nn.Linear(4, 3), nn.MSELoss), Y, "expected a classification loss"),
        (NeuralNetClassifier(nn.Linear(4, 3), module__bias=False), Y, "that is made already"),
        (NeuralNetRegressor(nn.Linear(4, 2)), Y * 1.0, "expected equal shapes"),
    ],
)
def test_what_does_not_fit_is_refused(net, y, message):
    with pytest.raises(ValueError, match=message):
        net.fit(X, y)
