"""Frozen parameters in a Trainer: a body that stays, a new head, groups with rates of their own."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim

X, Y = rv.data.datasets.load_digits()
SOURCE, TARGET = Y < 7, Y >= 7


class Network(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(8 * 36, classes)

    def forward(self, x):
        return self.head(self.features(x))


@pytest.fixture(scope="module")
def trained():
    rv.manual_seed(0)
    model = Network(7)
    fit(model, optim.Adam(model.parameters(), lr=0.01), SOURCE, 0)
    return model.state_dict()


def fit(model, optimizer, chosen, first, epochs=3, **settings):
    trainer = rv.Trainer(model, nn.CrossEntropyLoss(), optimizer, metrics=["accuracy"], **settings)
    return trainer.fit(X[chosen], Y[chosen] - first, epochs=epochs, batch_size=64)


def with_new_head(state):
    model = Network(7)
    model.load_state_dict(state)
    model.head = nn.Linear(8 * 36, 3)
    return model


def values(module):
    return {name: p.numpy(force=True).copy() for name, p in module.named_parameters()}


def moved(module, before):
    return {
        name for name, p in module.named_parameters() if not np.array_equal(p.numpy(force=True), before[name])
    }


OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "adamw": lambda p: optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.001, weight_decay=0.01),
}


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_frozen_parameters_do_not_move_and_the_head_learns(trained, name, compiled):
    """Though the optimizer has them, with weight decay, momentum and penalties."""
    model = with_new_head(trained)
    model.features.requires_grad_(False)
    before = values(model)
    optimizer = OPTIMIZERS[name](model.parameters())
    history = fit(model, optimizer, TARGET, 7, epochs=4, l2=1e-3, clip_grad_norm=1.0, compile=compiled)
    assert moved(model, before) == {"head.weight", "head.bias"}
    assert all(p.grad is None for p in model.features.parameters())
    assert history["accuracy"][-1] > max(0.9, history["accuracy"][0])


def test_parameter_groups_move_at_different_rates(trained):
    model = with_new_head(trained)
    before = values(model)
    groups = [{"params": model.features.parameters(), "lr": 1e-4}, {"params": model.head.parameters()}]
    history = fit(model, optim.Adam(groups, lr=1e-2), TARGET, 7)
    assert history["accuracy"][-1] > 0.9
    far = {name: np.abs(p.numpy(force=True) - before[name]).max() for name, p in model.named_parameters()}
    assert 0 < far["features.0.weight"] < 0.01 < far["head.weight"]


def test_thawed_in_the_middle_of_a_run(trained):
    """The compiled step of the frozen network must not be replayed for the thawed one."""
    model = with_new_head(trained)
    model.features.requires_grad_(False)
    optimizer = optim.SGD(model.head.parameters(), lr=0.1)
    trainer = rv.Trainer(model, nn.CrossEntropyLoss(), optimizer)
    before = values(model)
    trainer.fit(X[TARGET], Y[TARGET] - 7, epochs=2)
    assert moved(model, before) == {"head.weight", "head.bias"}
    model.features.requires_grad_(True)
    optimizer.add_param_group({"params": list(model.features.parameters()), "lr": 0.01})
    trainer.fit(X[TARGET], Y[TARGET] - 7, epochs=2)
    assert moved(model, before) >= set(before) - {"features.0.bias"}  # which the norm after it removes
