"""Small problems from beginning to end: two moons, digits (XOR: nn/test_mlp.py)."""

import numpy as np
import ranvier as rv
from ranvier import nn, optim
from ranvier.data import datasets, train_test_split


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


def normed():
    first = [nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)]
    second = [nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten()]
    head = [nn.Linear(512, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10)]
    return nn.Sequential(*first, *second, *head)


def test_digits_with_batch_norm_are_learned(tmp_path):
    rv.manual_seed(5)
    x, y = datasets.load_digits()
    x, xv, y, yv = train_test_split(x, y, test_size=397, random_state=0, stratify=y)
    model = normed()
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    trainer = rv.Trainer(model, nn.CrossEntropyLoss(), optimizer, metrics=["accuracy"])
    history = trainer.fit(x, y, epochs=10, batch_size=64, validation_data=(xv, yv))
    assert history["val_accuracy"][-1] >= 0.98
    assert model[1].num_batches_tracked.item() == 10 * 22  # evaluation does not count
    rv.save(model, tmp_path / "digits.safetensors")
    back = rv.load(tmp_path / "digits.safetensors").eval()
    again = rv.softmax(back(xv), 1).numpy(force=True)
    np.testing.assert_allclose(again, trainer.predict_proba(xv), rtol=0, atol=1e-6)
