"""A whole training run gives the same bits on any number of threads, and from run to run."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim
from ranvier.data import datasets


def cnn():
    return nn.Sequential(
        *(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3),
            nn.ReLU(),
            nn.Dropout(0.2),
        ),
        *(nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)),
    )


def mlp():
    return nn.Sequential(
        *(nn.Flatten(), nn.Linear(64, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 128), nn.Tanh()),
        nn.Linear(128, 10),
    )


def run(make, threads):
    """Everything a run leaves: weights, history and predictions."""
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
        weights = [p.numpy(force=True).copy() for p in model.parameters()]
        return weights, history.to_dict(), trainer.predict_proba(valid[0])
    finally:
        rv.set_num_threads(before)


@pytest.fixture(scope="module", params=[cnn, mlp], ids=["cnn", "mlp"])
def first(request):
    return request.param, run(request.param, 1)


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
def test_a_whole_run_is_bitwise_equal(first, threads):
    make, (weights, history, probabilities) = first
    other_weights, other_history, other_probabilities = run(make, threads)
    assert all(np.array_equal(p, q) for p, q in zip(weights, other_weights, strict=True))
    assert history == other_history
    assert np.array_equal(probabilities, other_probabilities)
