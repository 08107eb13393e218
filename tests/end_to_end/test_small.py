"""Small problems from beginning to end: iris, two moons (XOR: nn/test_mlp.py)."""

import numpy as np
import ranvier as rv
from ranvier import nn, optim
from ranvier.data import Standardize, datasets, train_test_split


def test_iris_4_8_3():
    rv.manual_seed(0)
    x, y = datasets.load_iris()
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.3, random_state=0, stratify=y)
    scores = Standardize().fit(x)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    trainer = rv.Trainer(model, nn.CrossEntropyLoss(), optimizer, metrics=["accuracy"])
    trainer.fit(scores.transform(x), y, epochs=60, batch_size=16)
    assert trainer.evaluate(scores.transform(x_test), y_test)["accuracy"] > 0.9


def two_moons(n, noise, seed):
    """Two half circles that reach into each other, n points on each, as scikit-learn's make_moons."""
    rng = np.random.default_rng(seed)
    angle = np.linspace(0, np.pi, n)
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    lower = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], axis=1)
    x = np.concatenate([upper, lower]) + rng.normal(0, noise, (2 * n, 2))
    return x, np.repeat([0, 1], n)


def test_two_moons():
    rv.manual_seed(0)
    x, y = two_moons(500, 0.1, seed=1)
    x_test, y_test = two_moons(500, 0.1, seed=2)
    model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    trainer = rv.Trainer(model, nn.BCEWithLogitsLoss(), optimizer, metrics=["accuracy"])
    trainer.fit(x, y[:, None], epochs=40, batch_size=32)
    assert trainer.evaluate(x_test, y_test[:, None])["accuracy"] > 0.99
