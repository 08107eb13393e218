"""Updates: accumulated, clipped and searched; frozen parameters.

Updates are compared with those of one large batch, or of a loop by hand, in float64 up to rounding, and in
equal bits where both do the same operations.
"""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim
from ranvier.data import DataLoader, TensorDataset
from support.tolerance import tolerance
from support.training import (
    X,
    Y,
    assert_close_weights,
    assert_equal_weights,
    classifier,
    trainer_of,
    weights_of,
)

LIMIT = tolerance("float64", 200)


def sgd(model):
    return optim.SGD(model.parameters(), lr=0.1)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("weights", [None, np.linspace(0, 2, 40)])
def test_accumulated_batches_are_one_large_batch(reduction, weights):
    """Also where the last batch, and the last update, have fewer."""
    large, small = classifier().double(), classifier().double()
    loss = nn.CrossEntropyLoss(reduction=reduction)
    settings = {"epochs": 3, "shuffle": False, "sample_weight": weights}
    trainer_of(large, sgd(large), loss).fit(X, Y, batch_size=21, **settings)
    trainer = trainer_of(small, sgd(small), loss, accumulate=3)
    trainer.fit(X, Y, batch_size=7, **settings)
    assert_close_weights(large, small, LIMIT)
    assert trainer.updates == 3 * 2


LABELS = np.where(np.arange(40) % 3 == np.arange(40) // 14, -100, Y)  # batches that ignore many, or few
MEANS = [
    (nn.CrossEntropyLoss(), LABELS),
    (nn.CrossEntropyLoss([0.1, 3.0], label_smoothing=0.2), LABELS),
    (nn.CrossEntropyLoss([0.1, 3.0]), np.stack([Y, LABELS], 1)),
]


class Twice(nn.Module):
    """Scores (N, C, 2)."""

    def forward(self, x):
        return rv.stack([x, 2 * x], 2)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(("loss", "y"), MEANS)
def test_batches_count_by_what_their_means_are_divided_by(loss, y, compiled):
    """Losses that weight or ignore classes are accumulated, reported and evaluated as for one large batch."""
    large, small = (nn.Sequential(*classifier(), *[Twice()] * (y.ndim - 1)).double() for _ in range(2))
    one = trainer_of(large, sgd(large), loss)
    several = trainer_of(small, sgd(small), loss, accumulate=3, compile=compiled)
    for loads in (False, True):
        data = [DataLoader(TensorDataset(rv.tensor(X.astype(float)), rv.tensor(y)), 14)] if loads else [X, y]
        several.fit(*data, epochs=1, **({} if loads else {"batch_size": 14, "shuffle": False}))
        one.fit(X, y, epochs=1, batch_size=40)
        np.testing.assert_allclose(several.history["loss"], one.history["loss"], rtol=LIMIT)
    assert_close_weights(large, small, LIMIT)
    losses = [several.evaluate(X, y, batch_size=size)["loss"] for size in (3, 14, 40)]
    np.testing.assert_allclose(losses, losses[0], rtol=LIMIT)


def test_an_accumulated_penalty_counts_once():
    large, small = classifier().double(), classifier().double()
    one = trainer_of(large, sgd(large), l1=0.1, l2=0.1).fit(X, Y, epochs=2, batch_size=40)
    parts = trainer_of(small, sgd(small), l1=0.1, l2=0.1, accumulate=4).fit(X, Y, epochs=2, batch_size=10)
    assert_close_weights(large, small, LIMIT)
    np.testing.assert_allclose(parts["loss"], one["loss"], rtol=LIMIT)


def test_clipping():
    model, by_hand = classifier(), classifier()
    trainer_of(model, sgd(model), clip_grad_value=0.05, clip_grad_norm=0.1).fit(
        X, Y, epochs=1, batch_size=40, shuffle=False
    )
    nn.CrossEntropyLoss()(by_hand(X), Y).backward()
    nn.utils.clip_grad_value_(by_hand.parameters(), 0.05)
    nn.utils.clip_grad_norm_(by_hand.parameters(), 0.1)
    sgd(by_hand).step()
    assert_equal_weights(model, by_hand)


@pytest.mark.parametrize("mode", ["raise", "ignore"])
def test_an_optimizer_with_a_step_of_its_own_is_called(mode):
    class Own(optim.SGD):
        def step(self, closure=None):
            return super().step(closure)

    model, other = classifier(), classifier()
    settings = {"epochs": 2, "batch_size": 8, "shuffle": False}
    own = trainer_of(model, Own(model.parameters(), lr=0.1), on_nonfinite=mode, compile=False)
    own.fit(X, Y, **settings)
    trainer_of(other, sgd(other)).fit(X, Y, **settings)
    assert_equal_weights(model, other)


def test_lbfgs():
    model = classifier().double()
    trainer = trainer_of(model, optim.LBFGS(model.parameters(), lr=0.5, line_search_fn="strong_wolfe"))
    first = trainer.evaluate(X, Y)["loss"]
    history = trainer.fit(X, Y, epochs=5, batch_size=40)
    assert history["loss"][0] == pytest.approx(first, rel=1e-12)
    assert history["loss"][-1] < first / 20
    with pytest.raises(ValueError, match="got accumulate with LBFGS"):
        trainer_of(model, optim.LBFGS(model.parameters()), accumulate=2).fit(X, Y, epochs=1)


# --- loaders


def loader_of(*arrays, **settings):
    return DataLoader(TensorDataset(*arrays), 7, **settings)


class Stream:
    """Batches of no known number."""

    def __iter__(self):
        for start in range(0, 40, 7):
            yield X[start : start + 7], Y[start : start + 7]


def given(*data, **settings):
    return data, settings


WEIGHTS, OF_CLASSES, IN_ORDER = np.linspace(0.5, 2, 40), {0: 0.0, 1: 2.0}, {"batch_size": 7, "shuffle": False}
BY_CLASS = [(X[label == Y], Y[label == Y]) for label in (0, 1)]  # a batch need not have every class
BY_WEIGHT = [(x, y, np.full(len(y), 2.0 * y[0])) for x, y in BY_CLASS]  # ... nor a weight
BATCHES, VALID, BALANCED = {"batch_size": 7}, {"validation_data": (X, Y)}, 40 / (2 * np.bincount(Y))
THREES = {0: 1.0, 1: 3.0}, {1: 3.0}, [1.0, 3.0]
SAME = {  # fits that are the same
    "a loader": (given(X, Y, **BATCHES, **VALID), given(loader_of(X, Y, shuffle=True), **VALID)),
    "a loader with weights": (
        given(X, Y, **BATCHES, **VALID, sample_weight=WEIGHTS),
        given(loader_of(X, Y, WEIGHTS, shuffle=True), **VALID),
    ),
    "a loader with classes": (
        given(X, Y, **IN_ORDER, class_weight=OF_CLASSES),
        given(loader_of(X, Y), class_weight=OF_CLASSES),
    ),
    "batches of one class": (given(BY_CLASS, class_weight=OF_CLASSES), given(BY_WEIGHT)),
    "a stream": (given(X, Y, **IN_ORDER), given(Stream())),
    "a split": (
        given(X, Y, shuffle=False, validation_split=0.25),
        given(X[:30], Y[:30], shuffle=False, validation_data=(X[30:], Y[30:])),
    ),
    "classes": (
        given(X, Y, sample_weight=np.where(Y == 1, 3.0, 1.0)),
        *[given(X, Y, class_weight=weights) for weights in THREES],
    ),
    "balanced": (given(X, Y, class_weight="balanced"), given(X, Y, class_weight=BALANCED)),
}


@pytest.mark.parametrize("accumulate", [1, 4])
@pytest.mark.parametrize("name", SAME)
def test_fits_that_are_the_same(name, accumulate):
    found = []
    for data, settings in SAME[name]:
        model = classifier()
        trainer = trainer_of(model, metrics=["accuracy"], accumulate=accumulate)
        history = trainer.fit(*data, epochs=2, **settings)
        assert (trainer.steps_per_epoch == 0) == isinstance(data[0], Stream)
        found.append((dict(history), [w.tolist() for w in weights_of(model)], trainer.updates))
    assert all(other == found[0] for other in found)


def test_validation_data_with_weights():
    weights, trainer = np.linspace(0, 2, 40), trainer_of(classifier())
    history = trainer.fit(X, Y, epochs=1, validation_data=(X, Y, weights))
    assert history["val_loss"][0] == trainer.evaluate(X, Y, sample_weight=weights)["loss"]
    assert history["val_loss"][0] != trainer.evaluate(X, Y)["loss"]


def test_predictions_of_a_loader():
    trainer = trainer_of(classifier())
    valid = trainer.fit(loader_of(X, Y), epochs=1, validation_data=loader_of(X, Y))["val_loss"][-1]
    assert valid == trainer.evaluate(X, Y, batch_size=7)["loss"]
    assert np.array_equal(trainer.predict(loader_of(X)), trainer.predict(X))
    assert np.array_equal(trainer.predict_proba(loader_of(X, Y)), trainer.predict_proba(X, batch_size=7))


# Frozen parameters in a Trainer: a body that stays, a new head, groups with rates of their own.


IMAGES, DIGITS = rv.data.datasets.load_digits()
SOURCE, TARGET = DIGITS < 7, DIGITS >= 7


class Network(nn.Module):
    """A body of convolutions, and a head for this number of classes."""

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
    return trainer.fit(IMAGES[chosen], DIGITS[chosen] - first, epochs=epochs, batch_size=64)


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
    trainer.fit(IMAGES[TARGET], DIGITS[TARGET] - 7, epochs=2)
    assert moved(model, before) == {"head.weight", "head.bias"}
    model.features.requires_grad_(True)
    optimizer.add_param_group({"params": list(model.features.parameters()), "lr": 0.01})
    trainer.fit(IMAGES[TARGET], DIGITS[TARGET] - 7, epochs=2)
    assert moved(model, before) >= set(before) - {"features.0.bias"}  # which the norm after it removes
