"""Trainer, and the history that it gives.

A fit is compared with a loop written by hand; sums over batches with NumPy. X, Y, Z: 40 samples of three
features, their class, 0 or 1, and a value (support/training.py).
"""

import json
import math

import numpy as np
import pandas as pd
import pytest
import ranvier as rv
from ranvier import nn, optim
from ranvier.train import History
from support.refused import refused
from support.training import X, Y, Z, assert_equal_weights, classifier, trainer_of, weights_of

# --- fit


def test_equals_a_loop_written_by_hand():
    model, by_hand = classifier(), classifier()
    trainer = trainer_of(model, metrics=["accuracy"])
    history = trainer.fit(X, Y, epochs=3, batch_size=16, shuffle=False, validation_data=(X[:10], Y[:10]))

    loss_of, optimizer = nn.CrossEntropyLoss(), optim.Adam(by_hand.parameters(), lr=0.05)
    for epoch in range(3):
        losses, right = [], 0
        for start in range(0, 40, 16):
            x, y = X[start : start + 16], Y[start : start + 16]
            optimizer.zero_grad()
            output = by_hand(x)
            loss = loss_of(output, y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item() * len(y))
            right += (output.numpy(force=True).argmax(1) == y).sum()
        assert history["loss"][epoch] == sum(losses) / 40
        assert history["accuracy"][epoch] == right / 40
    assert_equal_weights(model, by_hand)
    assert history["val_loss"][-1] == loss_of(by_hand(X[:10]), Y[:10]).item()


def test_fit_again_continues():
    whole, parts = classifier(), classifier()
    rv.manual_seed(1)
    trainer_of(whole).fit(X, Y, epochs=5)
    rv.manual_seed(1)
    trainer = trainer_of(parts)
    trainer.fit(X, Y, epochs=2)
    history = trainer.fit(X, Y, epochs=3)
    assert_equal_weights(whole, parts)
    assert history.epochs == 5
    assert trainer.history is history


def test_the_seed_decides():
    def run(seed):
        model = classifier(nn.Dropout(0.5), seed=seed)
        trainer_of(model).fit(X, Y, epochs=2, batch_size=8)
        return weights_of(model)

    first, again, other = run(1), run(1), run(2)
    assert all(np.array_equal(p, q) for p, q in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_modes_and_gradients_are_left_as_they_were():
    model = classifier(nn.Dropout(0.5))
    model[2].eval()
    modes = [m.training for m in model.modules()]
    trainer = trainer_of(model)
    trainer.fit(X, Y, epochs=1, validation_data=(X, Y))
    assert [m.training for m in model.modules()] == modes
    model.eval()
    trainer.evaluate(X, Y)
    trainer.predict(X)
    assert not any(m.training for m in model.modules())
    assert rv.is_grad_enabled()


def test_modes_come_back_after_an_error():
    model = classifier()
    trainer = trainer_of(model)
    refused(ValueError, "linear", trainer.predict, X[:, :2])
    assert model.training
    assert rv.is_grad_enabled()


# --- weights


def test_sample_weights_are_a_weighted_mean():
    weights = np.random.default_rng(1).uniform(0, 2, 40)
    model, by_hand = classifier(), classifier()
    history = trainer_of(model).fit(X, Y, epochs=1, batch_size=40, shuffle=False, sample_weight=weights)
    each = nn.CrossEntropyLoss(reduction="none")(by_hand(X), Y)
    loss = (each * (weights / weights.sum()).astype(np.float32)).sum()
    loss.backward()
    optim.Adam(by_hand.parameters(), lr=0.05).step()
    assert history["loss"][0] == pytest.approx(loss.item(), rel=1e-6)
    assert_equal_weights(model, by_hand)


def test_weights_of_one_change_little_and_zero_leaves_out():
    ones, plain, some, few = (classifier() for _ in range(4))
    trainer_of(ones).fit(X, Y, epochs=1, shuffle=False, sample_weight=np.ones(40))
    trainer_of(plain).fit(X, Y, epochs=1, shuffle=False)
    for p, q in zip(weights_of(ones), weights_of(plain), strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-4, atol=1e-6)
    kept = np.arange(40) < 10
    trainer_of(some).fit(X, Y, epochs=1, batch_size=40, shuffle=False, sample_weight=kept.astype(float))
    trainer_of(few).fit(X[kept], Y[kept], epochs=1, batch_size=40, shuffle=False)
    for p, q in zip(weights_of(some), weights_of(few), strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-4, atol=1e-6)


def test_weighted_regression_over_several_outputs():
    model = classifier(out=2)
    targets = np.concatenate([Z, -Z], axis=1)
    weights = np.random.default_rng(1).uniform(0.5, 2, 40)
    trainer = trainer_of(model, loss=nn.MSELoss())
    measured = trainer.evaluate(X, targets, sample_weight=weights, batch_size=7)
    errors = ((model(X).numpy(force=True) - targets) ** 2).mean(axis=1)
    assert measured["loss"] == pytest.approx((errors * weights).sum() / weights.sum(), rel=1e-5)


# --- prediction


def test_softmax_classification():
    model = classifier(out=3)
    trainer = trainer_of(model)
    p = trainer.predict_proba(X, batch_size=7)
    output = model(X).numpy(force=True)
    assert p.shape == (40, 3)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(p, np.exp(output) / np.exp(output).sum(1, keepdims=True), rtol=1e-5)
    labels = trainer.predict(X)
    assert labels.dtype == np.int64
    assert np.array_equal(labels, output.argmax(1))


@pytest.mark.parametrize("with_logits", [True, False])
def test_binary_classification(with_logits):
    model = classifier(out=1) if with_logits else nn.Sequential(classifier(out=1), nn.Sigmoid())
    trainer = trainer_of(
        model, loss=nn.BCEWithLogitsLoss() if with_logits else nn.BCELoss(), metrics=["accuracy"]
    )
    history = trainer.fit(X, Y[:, None], epochs=30, batch_size=8)  # integer targets take the model's dtype
    p = trainer.predict_proba(X)
    assert p.shape == (40, 1)
    assert ((p >= 0) & (p <= 1)).all()
    assert np.array_equal(trainer.predict(X), (p > 0.5).astype(np.int64))
    assert history["accuracy"][-1] > 0.9


def test_regression():
    model = classifier(out=1)
    trainer = trainer_of(model, loss=nn.MSELoss(), metrics=["mae", "r2"])
    trainer.fit(X, Z, epochs=40, batch_size=8)
    assert trainer.evaluate(X, Z)["r2"] > 0.9
    values = trainer.predict(X)
    assert isinstance(values, np.ndarray)
    assert values.dtype == np.float32
    assert values.shape == (40, 1)
    refused(ValueError, "[Trainer.predict_proba] MSELoss gives no probabilities", trainer.predict_proba, X)


def test_a_loss_of_the_user():
    def absolute(output, target):
        return (output - target).abs().mean()

    model = classifier(out=1)
    trainer = trainer_of(model, loss=absolute)
    history = trainer.fit(X, Z, epochs=20)
    assert history["loss"][-1] < history["loss"][0]
    assert trainer.predict(X).shape == (40, 1)
    with pytest.raises(ValueError, match="need a loss with reduction='mean' or 'sum'; got absolute"):
        trainer.fit(X, Z, epochs=1, sample_weight=np.ones(40))


def test_no_samples_to_predict():
    assert trainer_of(classifier()).predict(X[:0]).shape == (0,)


# --- metrics


def test_metrics_are_computed_over_all_samples():
    def share_of_ones(y_true, y_pred):
        assert y_true.shape == y_pred.shape == (40,)
        return y_pred.mean()

    trainer = trainer_of(classifier(), metrics=["accuracy", share_of_ones])
    measured = trainer.evaluate(X, Y, batch_size=7)
    labels = trainer.predict(X)
    assert measured["accuracy"] == (labels == Y).mean()
    assert measured["share_of_ones"] == labels.mean()


def test_sklearns_metrics_work():
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    trainer = trainer_of(classifier(), metrics=[sklearn.f1_score])
    assert trainer.evaluate(X, Y)["f1_score"] == sklearn.f1_score(Y, trainer.predict(X))


# --- errors


LOADER = {"x": [(X, Y)], "y": None}


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"epochs": 0}, ValueError, "got epochs 0; expected at least 1"),
        ({"epochs": 1.5}, TypeError, "got epochs 1.5; expected a whole number"),
        ({"batch_size": 0}, ValueError, "got batch_size 0"),
        ({"x": X[:0], "y": Y[:0]}, ValueError, "got no samples"),
        ({"y": Y[:39]}, ValueError, "got 40 samples in x and 39 targets in y"),
        ({"x": [["a"] * 3] * 40}, TypeError, "got x of dtype <U1; expected numbers"),
        ({"x": [[1, 2], [3]]}, ValueError, "got x that is no array"),
        ({"x": 3.0}, ValueError, "got x that is a number"),
        ({"y": ["a"] * 40}, ValueError, "got the label a for all samples; expected samples of two labels"),
        ({"y": [None, *"a" * 39]}, ValueError, r"got y without a label at row 0 \(1 such rows\)"),
        ({"sample_weight": np.ones(39)}, ValueError, r"got sample_weight of shape \(39,\); expected \(40,\)"),
        ({"sample_weight": -np.ones(40)}, ValueError, "got a sample_weight below 0"),
        ({"sample_weight": np.full(40, np.nan)}, ValueError, "got a sample_weight below 0, not finite"),
        ({"class_weight": [1.0]}, ValueError, "expected one weight for each label 0 to 1"),
        ({"class_weight": "even"}, ValueError, "got class_weight 'even'"),
        ({"validation_data": X}, ValueError, r"got ndarray; expected \(x, y\) or \(x, y, sample_weight\)"),
        ({"validation_data": (X[:0], Y[:0])}, ValueError, "validation_data.* got no samples"),
        ({"validation_data": (X, Y[:1])}, ValueError, "got 40 samples in x and 1 targets in y"),
        ({"callbacks": [print]}, TypeError, "expected rv.Callback"),
        ({"x": 3, "y": None}, TypeError, "got y None and x of type int; expected arrays x and y, or a"),
        (LOADER | {"x": [X, Y, X, Y]}, ValueError, "got a loader whose batches are ndarray; expected"),
        (LOADER | {"x": []}, ValueError, "got a loader without batches"),
        (LOADER | {"sample_weight": np.ones(40)}, ValueError, "got sample_weight with a loader"),
        (LOADER | {"class_weight": "balanced"}, ValueError, "got class_weight 'balanced' with a loader"),
        (LOADER | {"validation_split": 0.1}, ValueError, "got validation_split with a loader"),
        (LOADER | {"x": [(X, Y[:3])]}, ValueError, "got 40 samples in x and 3 targets in y"),
        ({"validation_split": 1.0}, ValueError, "got validation_split 1.0; expected a share"),
        ({"validation_split": 0.99}, ValueError, "got validation_split 0.99 of 40 samples"),
        (
            {"validation_split": 0.1, "validation_data": (X, Y)},
            ValueError,
            "got validation_split and validation_data; expected one of them",
        ),
    ],
)
def test_errors_come_before_the_first_step(arguments, kind, message):
    model = classifier()
    before = weights_of(model)
    trainer = trainer_of(model)
    given = {"x": X, "y": Y, "epochs": 1, **arguments}
    with pytest.raises(kind, match=rf"\[Trainer\.fit.*{message}"):
        trainer.fit(given.pop("x"), given.pop("y"), **given)
    assert all(np.array_equal(p, q) for p, q in zip(before, weights_of(model), strict=True))
    assert trainer.history.epochs == 0


def test_losses_do_not_broadcast():
    with pytest.raises(ValueError, match=r"\(32,\).*\(32, 2\)|\(32, 2\).*\(32,\)"):
        trainer_of(classifier(out=2), loss=nn.MSELoss()).fit(X, Z[:, 0], epochs=1)


def test_a_loss_that_names_its_link():
    loss = nn.MSELoss()
    loss.link = "identity"
    assert trainer_of(classifier(out=1), loss=loss).predict(X).dtype == np.int64
    loss.link = "logit"
    refused(ValueError, "got a loss with link 'logit'", trainer_of(classifier(out=1), loss=loss).predict, X)


@pytest.mark.quick
def test_lazy_layers_take_their_sizes_from_the_data(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 1, 6, 6)).astype(np.float32)
    y = np.arange(60) % 3
    runs = []
    for first in (nn.LazyConv2d(4, 3), nn.Conv2d(1, 4, 3)):
        rv.manual_seed(0)
        model = nn.Sequential(first, nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))
        trainer = rv.Trainer(model, "cross_entropy", "adam", metrics=["accuracy"])
        callbacks = [rv.Checkpoint(tmp_path / type(first).__name__), rv.train.EarlyStopping(patience=3)]
        runs.append(trainer.fit(x, y, epochs=2, validation_split=0.2, callbacks=callbacks))
        assert type(model[4]) is nn.Linear
        assert model[4].in_features == 64
    assert len(runs[0]["val_loss"]) == 2


# History: equal lengths, a mapping, plain data for JSON.


def test_mapping():
    history = History()
    history.append(loss=1.0, accuracy=0.5)
    history.append(loss=0.5, accuracy=0.75)
    assert list(history) == ["loss", "accuracy"]
    assert dict(history) == {"loss": [1.0, 0.5], "accuracy": [0.5, 0.75]}
    assert history.last() == {"loss": 0.5, "accuracy": 0.75}
    assert json.loads(json.dumps(history)) == history.to_dict() == dict(history)
    assert pd.DataFrame(history).to_numpy().tolist() == [[1.0, 0.5], [0.5, 0.75]]
    assert repr(history) == "<History of 2 epochs: loss 0.5, accuracy 0.75>"
    assert "val_loss" not in history
    refused(KeyError, "no 'val_loss'; measured were loss, accuracy", lambda: history["val_loss"])


def test_quantities_that_come_late_or_go():
    history = History()
    history.append(loss=1.0)
    history.append(loss=0.5, val_loss=0.6)
    history.append(loss=0.4)
    assert math.isnan(history["val_loss"][0])
    assert history["val_loss"][1] == 0.6
    assert math.isnan(history["val_loss"][2])
    assert history.last() == {"loss": 0.4}
    assert repr(history) == "<History of 3 epochs: loss 0.4>"
    assert History.from_dict(history.to_dict()).last() == {"loss": 0.4}
    history.append(loss=0.3, val_loss=math.nan)  # measured, and not a number
    assert repr(history) == "<History of 4 epochs: loss 0.3, val_loss nan>"


def test_a_second_fit_without_validation_data(capsys):
    trainer = trainer_of(classifier(), metrics=["accuracy"])
    trainer.fit(X, Y, epochs=2, validation_data=(X, Y))
    history = trainer.fit(X, Y, epochs=2, callbacks=[rv.train.ProgressBar()])
    assert list(history.last()) == ["loss", "accuracy"]
    assert "nan" not in repr(history) + capsys.readouterr().out


def test_times_are_not_in_the_values():
    history = History.from_dict({"loss": [1.0, 0.5]})
    history.append(loss=0.25)
    history.seconds[-1], history.samples[-1] = 0.5, 100.0
    assert dict(history) == {"loss": [1.0, 0.5, 0.25]}
    assert [math.isnan(value) for value in history.seconds] == [True, True, False]
    assert history.samples[2] / history.seconds[2] == 200.0


def test_empty():
    history = History()
    assert history.last() == {}
    assert repr(history) == "<History of 0 epochs>"
    refused(KeyError, "none yet", lambda: history["loss"])


def test_what_is_no_history():
    refused(ValueError, "expected lists of numbers by name", History.from_dict, [1])
    refused(ValueError, "could not convert", History.from_dict, {"loss": ["x"]})
    text = "got lists of lengths [0, 1]; expected equal lengths"
    refused(ValueError, text, History.from_dict, {"loss": [1], "accuracy": []})


def test_plot(tmp_path):
    panels = History.from_dict({"loss": [0.5, 0.25]}).plot(tmp_path / "run.png")
    assert len(panels) == 1
    assert (tmp_path / "run.png").read_bytes()[:4] == b"\x89PNG"
