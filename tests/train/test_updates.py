"""Accumulated, clipped and searched updates, and where batches come from."""

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
    """Of losses that weight or ignore classes: accumulated, reported and evaluated as one large batch."""
    large, small = (nn.Sequential(*classifier(), *[Twice()] * (y.ndim - 1)).double() for _ in range(2))
    one = trainer_of(large, sgd(large), loss)
    several = trainer_of(small, sgd(small), loss, accumulate=3, compile=compiled)
    for shuffle in (False, True):
        data = (
            [DataLoader(TensorDataset(rv.tensor(X.astype(float)), rv.tensor(y)), 14)] if shuffle else [X, y]
        )
        several.fit(*data, epochs=1, **({} if shuffle else {"batch_size": 14, "shuffle": False}))
        one.fit(X, y, epochs=1, batch_size=40)
        np.testing.assert_allclose(several.history["loss"], one.history["loss"], rtol=LIMIT)
    assert_close_weights(large, small, LIMIT)
    losses = [several.evaluate(X, y, batch_size=size)["loss"] for size in (3, 14, 40)]
    np.testing.assert_allclose(losses, losses[0], rtol=LIMIT)


def test_an_accumulated_penalty_counts_once():
    large, small = classifier().double(), classifier().double()
    trainer_of(large, sgd(large), l1=0.1, l2=0.1).fit(X, Y, epochs=2, batch_size=40)
    history = trainer_of(small, sgd(small), l1=0.1, l2=0.1, accumulate=4).fit(X, Y, epochs=2, batch_size=10)
    assert_close_weights(large, small, LIMIT)
    assert history["loss"][0] > 0


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


def test_a_loader_gives_what_its_arrays_give():
    weights = np.linspace(0.5, 2, 40)
    for extra in ((), (weights,)):
        model, other = classifier(), classifier()
        rv.manual_seed(1)
        expected = trainer_of(model, metrics=["accuracy"]).fit(
            X, Y, epochs=3, batch_size=7, validation_data=(X, Y), sample_weight=extra[0] if extra else None
        )
        rv.manual_seed(1)
        trainer = trainer_of(other, metrics=["accuracy"])
        history = trainer.fit(loader_of(X, Y, *extra, shuffle=True), epochs=3, validation_data=(X, Y))
        assert_equal_weights(model, other)
        assert dict(history) == dict(expected)
        assert trainer.evaluate(loader_of(X, Y))["accuracy"] == trainer.evaluate(X, Y)["accuracy"]


def test_a_batch_need_not_have_every_class_nor_a_weight():
    by_class = [(X[label == Y], Y[label == Y]) for label in (0, 1)]
    model, by_weights = classifier(), classifier()
    trainer_of(model).fit(by_class, epochs=2, class_weight={0: 0.0, 1: 2.0})
    weighted = [(x, y, np.full(len(y), 2.0 * y[0])) for x, y in by_class]
    trainer_of(by_weights).fit(weighted, epochs=2)
    assert_equal_weights(model, by_weights)


def test_validation_data_with_weights():
    weights, trainer = np.linspace(0, 2, 40), trainer_of(classifier())
    history = trainer.fit(X, Y, epochs=1, validation_data=(X, Y, weights))
    assert history["val_loss"][0] == trainer.evaluate(X, Y, sample_weight=weights)["loss"]
    assert history["val_loss"][0] != trainer.evaluate(X, Y)["loss"]


def test_class_weights_of_a_loader():
    model, other = classifier(), classifier()
    settings = {"epochs": 2, "class_weight": {0: 0.0, 1: 2.0}}
    trainer_of(model).fit(X, Y, batch_size=7, shuffle=False, **settings)
    trainer_of(other).fit(loader_of(X, Y), **settings)
    assert_equal_weights(model, other)


def test_batches_of_no_known_number():
    class Stream:
        def __iter__(self):
            for start in range(0, 40, 7):
                yield X[start : start + 7], Y[start : start + 7]

    model, other = classifier(), classifier()
    trainer_of(model, accumulate=4).fit(X, Y, epochs=2, batch_size=7, shuffle=False)
    trainer = trainer_of(other, accumulate=4)
    trainer.fit(Stream(), epochs=2)
    assert_equal_weights(model, other)
    assert (trainer.updates, trainer.steps_per_epoch) == (4, 0)


def test_predictions_of_a_loader():
    trainer = trainer_of(classifier())
    valid = trainer.fit(loader_of(X, Y), epochs=1, validation_data=loader_of(X, Y))["val_loss"][-1]
    assert valid == trainer.evaluate(X, Y, batch_size=7)["loss"]
    assert np.array_equal(trainer.predict(loader_of(X)), trainer.predict(X))
    assert np.array_equal(trainer.predict_proba(loader_of(X, Y)), trainer.predict_proba(X, batch_size=7))


def test_validation_split():
    model, other = classifier(), classifier()
    history = trainer_of(model).fit(X, Y, epochs=2, shuffle=False, validation_split=0.25)
    expected = trainer_of(other).fit(
        X[:30], Y[:30], epochs=2, shuffle=False, validation_data=(X[30:], Y[30:])
    )
    assert dict(history) == dict(expected)
    assert_equal_weights(model, other)


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ({"x": 3}, TypeError, "got y None and x of type int; expected arrays x and y, or a loader"),
        ({"x": [X, Y, X, Y]}, ValueError, "got a loader whose batches are ndarray; expected"),
        ({"x": []}, ValueError, "got a loader without batches"),
        ({"x": [(X, Y)], "sample_weight": np.ones(40)}, ValueError, "got sample_weight with a loader"),
        (
            {"x": [(X, Y)], "class_weight": "balanced"},
            ValueError,
            "got class_weight 'balanced' with a loader",
        ),
        ({"x": [(X, Y)], "validation_split": 0.1}, ValueError, "got validation_split with a loader"),
        ({"x": [(X, Y[:3])]}, ValueError, "got 40 samples in x and 3 targets in y"),
        ({"y": Y, "validation_split": 1.0}, ValueError, "got validation_split 1.0; expected a share"),
        ({"y": Y, "validation_split": 0.99}, ValueError, "got validation_split 0.99 of 40 samples"),
        (
            {"y": Y, "validation_split": 0.1, "validation_data": (X, Y)},
            ValueError,
            "got validation_split and validation_data; expected one of them",
        ),
    ],
)
def test_errors_of_data(given, kind, message):
    model = classifier()
    before = weights_of(model)
    with pytest.raises(kind, match=rf"\[Trainer\.fit(?: batch 0)?\] {message}"):
        trainer_of(model).fit(given.pop("x", X), given.pop("y", None), epochs=1, **given)
    assert all(np.array_equal(p, q) for p, q in zip(before, weights_of(model), strict=True))
