"""A convolutional network with batch norm, from training to its file: accurate, and the same on any team."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim
from ranvier.data import datasets, train_test_split


def network():
    first = [nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)]
    second = [nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten()]
    head = [nn.Linear(512, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10)]
    return nn.Sequential(*first, *second, *head)


def split():
    x, y = datasets.load_digits()
    return train_test_split(x, y, test_size=397, random_state=0, stratify=y)


def trained(threads, epochs=2):
    before = rv.get_num_threads()
    rv.set_num_threads(threads)
    try:
        rv.manual_seed(5)
        x, xv, y, yv = split()
        model = network()
        trainer = rv.Trainer(
            model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=2e-3), metrics=["accuracy"]
        )
        history = trainer.fit(x, y, epochs=epochs, batch_size=64, validation_data=(xv, yv))
        state = {name: value.numpy().copy() for name, value in model.state_dict().items()}
        return model, state, history.to_dict(), trainer.predict_proba(xv)
    finally:
        rv.set_num_threads(before)


@pytest.fixture(scope="module")
def first():
    return trained(1)


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
def test_a_whole_run_is_bitwise_equal(first, threads):
    _, state, history, probabilities = first
    _, other_state, other_history, other_probabilities = trained(threads)
    assert list(state) == list(other_state)
    assert all(np.array_equal(state[name], other_state[name]) for name in state)
    assert history == other_history
    assert np.array_equal(probabilities, other_probabilities)


def test_digits_with_batch_norm_are_learned(tmp_path):
    model, state, history, probabilities = trained(2, epochs=10)
    assert history["val_accuracy"][-1] >= 0.98
    assert state["1.num_batches_tracked"] == 10 * 22  # evaluation does not count
    rv.save(model, tmp_path / "digits.safetensors")
    back = rv.load(tmp_path / "digits.safetensors").eval()
    again = rv.softmax(back(split()[1]), 1).numpy(force=True)
    np.testing.assert_allclose(again, probabilities, rtol=0, atol=1e-6)
