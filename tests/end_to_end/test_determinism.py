"""Whole training runs: the same bits on any number of threads and from run to run; batch norm is learned."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim
from ranvier.data import datasets, train_test_split


def cnn():
    convolutions = [
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3),
        nn.ReLU(),
    ]
    head = [nn.Dropout(0.2), nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)]
    return nn.Sequential(*convolutions, *head)


def mlp():
    first = [nn.Flatten(), nn.Linear(64, 256), nn.ReLU(), nn.Dropout(0.5)]
    return nn.Sequential(*first, nn.Linear(256, 128), nn.Tanh(), nn.Linear(128, 10))


def normed():
    first = [nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)]
    second = [nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten()]
    head = [nn.Linear(512, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10)]
    return nn.Sequential(*first, *second, *head)


def run(make, threads):
    """Everything a run leaves: weights, statistics, history and predictions."""
    before = rv.get_num_threads()
    rv.set_num_threads(threads)
    try:
        rv.manual_seed(3)
        x, y = datasets.load_digits()
        x, y, valid = x[:800], y[:800], (x[800:1000], y[800:1000])
        model = make()
        optimizer = optim.Adam(model.parameters(), lr=2e-3)
        trainer = rv.Trainer(model, nn.CrossEntropyLoss(), optimizer, metrics=["accuracy"])
        history = trainer.fit(x, y, epochs=2, batch_size=64, validation_data=valid)
        weights = [value.numpy(force=True).copy() for value in model.state_dict().values()]
        return weights, history.to_dict(), trainer.predict_proba(valid[0])
    finally:
        rv.set_num_threads(before)


@pytest.fixture(scope="module", params=[cnn, mlp, normed], ids=lambda make: make.__name__)
def first(request):
    return request.param, run(request.param, 1)


@pytest.mark.parametrize("threads", [2, 3, 4])
def test_a_whole_run_is_bitwise_equal(first, threads):
    make, (weights, history, probabilities) = first
    other_weights, other_history, other_probabilities = run(make, threads)
    assert all(np.array_equal(p, q) for p, q in zip(weights, other_weights, strict=True))
    assert history == other_history
    assert np.array_equal(probabilities, other_probabilities)


def train(seed):
    """A separate loop on its own model: nothing here draws from the global generator."""
    rng = np.random.default_rng(seed)
    model = nn.Sequential(nn.Linear(300, 256), nn.ReLU(), nn.Linear(256, 10))
    model.load_state_dict(
        {k: rng.normal(0, 0.1, v.shape).astype(np.float32) for k, v in model.state_dict().items()}
    )
    optimizer, loss = optim.Adam(model.parameters(), lr=1e-3), nn.CrossEntropyLoss()
    x, y = rng.standard_normal((64, 300), dtype=np.float32), rng.integers(0, 10, 64)
    for _ in range(60):
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()
    return [p.numpy(force=True) for p in model.parameters()]


def test_two_python_threads_train_at_once():
    alone = [train(0), train(1)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(train, [0, 1]))
    for one, other in zip(alone, together, strict=True):
        assert all(np.array_equal(p, q) for p, q in zip(one, other, strict=True))


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
