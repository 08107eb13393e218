"""Rare classes: balanced weights and balanced draws find them, where plain training passes them by."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim
from ranvier.data import DataLoader, TensorDataset, WeightedRandomSampler


def samples(common, rare, seed):
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(0, 1, (common, 2)), rng.normal((2, 1.4), 0.6, (rare, 2))])
    return x.astype(np.float32), np.repeat([0, 1], [common, rare])


X, Y = samples(950, 50, 0)
XT, YT = samples(1900, 100, 1)
BALANCED = len(Y) / (2 * np.bincount(Y))


def recalls(loss=None, arguments=None, **settings):
    """Of the two classes, on new samples."""
    rv.manual_seed(0)
    model = rv.mlp([2, 16, 2], activation="tanh")
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    trainer = rv.Trainer(model, loss or nn.CrossEntropyLoss(), optimizer)
    trainer.fit(*(arguments or (X, Y)), epochs=20, **settings)
    return rv.metrics.recall_score(YT, trainer.predict(XT), average=None)


def test_plain_training_misses_rare_samples():
    common, rare = recalls()
    assert common > 0.97
    assert rare < 0.7


@pytest.mark.parametrize("how", ["balanced", "mapping", "weights of the loss", "sampler"])
def test_balanced_training_finds_them(how):
    if how == "sampler":
        sampler = WeightedRandomSampler(1 / np.bincount(Y)[Y], len(Y), generator=0)
        found = recalls(arguments=(DataLoader(TensorDataset(X, Y), batch_size=32, sampler=sampler),))
    elif how == "weights of the loss":
        found = recalls(loss=nn.CrossEntropyLoss(weight=rv.tensor(BALANCED.astype(np.float32))))
    else:
        weight = "balanced" if how == "balanced" else dict(enumerate(BALANCED))
        found = recalls(class_weight=weight)
    assert found[0] > 0.85
    assert found[1] > 0.9


def test_a_balanced_draw_has_as_many_of_both():
    loader = DataLoader(
        TensorDataset(X, Y), batch_size=100, sampler=WeightedRandomSampler(1 / np.bincount(Y)[Y], 20_000)
    )
    share = np.mean([np.asarray(y).mean() for _, y in loader])
    assert share == pytest.approx(0.5, abs=5 * 0.5 / 20_000**0.5)  # five standard deviations
