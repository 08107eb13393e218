"""Batches, iterations and epochs counted, and one step before and after."""

import math

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.explore import count_steps, one_step
from support.refused import refused


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize(("samples", "batch_size"), [(1000, 100), (1000, 32), (5, 8), (1, 1), (64, 64)])
def test_counts_are_those_of_a_loader(samples, batch_size, drop_last):
    loader = rv.data.DataLoader(
        rv.data.TensorDataset(np.zeros((samples, 1), np.float32)), batch_size=batch_size, drop_last=drop_last
    )
    sizes = [len(batch[0]) for batch in loader]
    found = count_steps(samples, batch_size, epochs=3, drop_last=drop_last)
    assert found == (len(sizes), sizes[-1] if sizes else 0, 3 * len(sizes))


def test_an_epoch_of_a_thousand_by_hundreds():
    assert count_steps(1000, 100).batches == 10
    assert count_steps(1000, 1).batches == 1000  # stochastic
    assert count_steps(1000, 1000).batches == 1  # batch


def test_counts_are_those_of_a_trainer():
    x, y = np.zeros((70, 2), np.float32), np.zeros((70, 1), np.float32)
    model = nn.Linear(2, 1)
    trainer = rv.Trainer(model, nn.MSELoss(), rv.optim.SGD(model.parameters(), lr=0.1))
    trainer.fit(x, y, epochs=3, batch_size=32)
    assert trainer.updates == count_steps(70, 32, 3).updates


def test_wrong_counts():
    refused(ValueError, "[count_steps]", count_steps, 10, 0)


def network():
    model = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    model[0].weight.data.fill_(1.5)
    model[0].bias.data.fill_(0.5)
    return model


def test_one_step_by_hand():
    model, x = network(), np.array([[1.0], [2.0], [3.0], [4.0]])
    step = one_step(model, nn.MSELoss(), rv.optim.SGD(model.parameters(), lr=0.1), x, 2 * x)
    assert step.before.ravel().tolist() == [2.0, 3.5, 5.0, 6.5]
    assert step.loss_before == 0.875
    assert model[0].weight.item() == pytest.approx(2.0)  # dw = -5
    assert model[0].bias.item() == pytest.approx(0.65)  # db = -1.5
    np.testing.assert_allclose(step.after, 2 * x + 0.65, rtol=1e-6)
    assert step.loss_after == pytest.approx(0.65**2)
    assert str(step).splitlines()[0] == "loss 0.875 -> 0.4225"


def test_predictions_are_in_evaluation_mode_and_the_mode_stays():
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2))
    optimizer = rv.optim.SGD(model.parameters(), lr=0.0)
    step = one_step(model, nn.CrossEntropyLoss(), optimizer, np.ones((3, 4)), [0, 1, 0])
    assert np.array_equal(step.before, step.after)
    assert model.training
    assert math.isclose(step.loss_before, step.loss_after)
