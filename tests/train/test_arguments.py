"""What Trainer is given: refused with its remedy where it would be wrong, or have no effect."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim
from support.refused import refused
from support.training import X, Y, classifier, trainer_of, weights_of


def values_trainer(loss=None):
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    return rv.Trainer(model, loss or nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1))


class Frame:
    """A table with named columns, as pandas has it."""

    def __init__(self, columns, values):
        self.columns, self.values = columns, values

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)

    def __iter__(self):
        return iter(self.columns)

    def __len__(self):
        return len(self.values)


@pytest.mark.parametrize("loss", [nn.MSELoss(), nn.L1Loss(), nn.HuberLoss(), nn.BCEWithLogitsLoss()])
def test_targets_without_the_axis_of_outputs(loss):
    trainer = values_trainer(loss)
    remedy = r"expected equal shapes; the model gives \(32, 1\) and y is \(32,\): pass y\[\.\.\., None\]"
    with pytest.raises(ValueError, match=remedy):
        trainer.fit(X, Y.astype(np.float32), epochs=1)
    trainer.fit(X, Y.astype(np.float32)[..., None], epochs=1)
    with pytest.raises(
        ValueError, match=r"the model gives \(40, 1\) and y is \(40, 1, 1\): pass y\[\.\.\., 0\]"
    ):
        trainer.evaluate(X, Y.reshape(-1, 1, 1))


@pytest.mark.parametrize(
    ("y", "remedy"),
    [
        (Y[:, None], r"class indices have one axis: pass y\.ravel\(\)"),
        (Y.astype(float), r"class indices are integers: pass y\.astype\(int\)"),
        (Y.astype(bool), r"class indices are integers: pass y\.astype\(int\)"),
        (np.eye(2, dtype=int)[Y], r"of one-hot rows pass y\.argmax\(1\), or floats as probabilities"),
    ],
)
def test_targets_of_classes(y, remedy):
    with pytest.raises(ValueError, match=rf"\[cross_entropy\] got .*; {remedy}"):
        trainer_of(classifier()).fit(X, y, epochs=1)


def test_classes_of_one_output():
    model = nn.Sequential(nn.Linear(3, 1))
    with pytest.raises(ValueError, match=r"one class is always 0; expected .* or BCEWithLogitsLoss"):
        trainer_of(model).fit(X, Y * 0, epochs=1)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool])
def test_samples_of_integers(dtype):
    trainer, x = trainer_of(classifier()), (X > 0).astype(dtype)
    remedy = rf"\[matmul\] got a .*; the model takes floats and x is {x.dtype}: pass x.astype\(np.float32\)"
    for call in (
        lambda: trainer.fit(x, Y, epochs=1),
        lambda: trainer.predict(x),
        lambda: trainer.evaluate(x, Y),
    ):
        with pytest.raises(TypeError, match=remedy):
            call()


def test_errors_of_the_user_are_not_changed():
    class Odd(ValueError):
        def __init__(self, a, b):
            super().__init__(a, b)

    def loss(output, y):
        raise Odd(1, 2)

    with pytest.raises(Odd):
        trainer_of(classifier(), loss=loss).fit(X, Y, epochs=1)


def test_frames_and_tensors_of_others():
    trainer = trainer_of(classifier())
    frame = Frame(["a", "b", "c"], X)
    trainer.fit(frame, Y, epochs=1)
    assert np.array_equal(trainer.predict(frame), trainer.predict(X))
    other = Frame(["b", "a", "c"], X[:, [1, 0, 2]])
    for call in (lambda: trainer.predict(other), lambda: trainer.evaluate(other, Y)):
        refused(ValueError, "got the columns b, a, c; expected a, b, c, as fit was given them", call)
    torch = pytest.importorskip("torch")
    assert np.array_equal(trainer.predict(torch.tensor(X, requires_grad=True)), trainer.predict(X))
    with pytest.raises(
        TypeError, match=r"\[Trainer\.fit\] got x of type Tensor and no y; expected both, or a loader"
    ):
        trainer.fit(torch.tensor(X), epochs=1)


def test_one_sample_is_not_a_batch():
    with pytest.raises(ValueError, match=r"x of shape \(3,\) and an output of shape \(1,\); .* is x\[None\]"):
        values_trainer().predict(X[0])


def test_an_optimizer_of_another_model():
    model = classifier()
    trainer = trainer_of(model, optim.SGD(classifier().parameters(), lr=0.1))
    refused(ValueError, "an optimizer that has none of the model's parameters", trainer.fit, X, Y, epochs=1)
    before = weights_of(model)
    trainer_of(model, optim.SGD(model[0].parameters(), lr=0.1)).fit(X, Y, epochs=1)  # some of them will do
    assert not np.array_equal(before[0], weights_of(model)[0])


def test_arguments_without_effect():
    trainer = trainer_of(classifier())
    refused(TypeError, "got shuffle 'no'; expected True or False", trainer.fit, X, Y, epochs=1, shuffle="no")
    for label in (5, "0"):
        with pytest.raises(
            ValueError, match=rf"class_weight for label {label!r}, which does not occur; .* of 0, 1"
        ):
            trainer.fit(X, Y, epochs=1, class_weight={label: 2.0})


def test_callbacks_that_would_not_be_called_or_twice():
    class Late(rv.Callback):
        def on_epoch_ended(self, epoch, logs):
            pass

    class Keras(rv.Callback):
        def on_train_batch_end(self, batch, logs):
            pass

    class Fine(rv.Callback):
        def on_success(self):
            pass

    trainer, stopping = trainer_of(classifier()), rv.EarlyStopping()
    for callbacks, error, message in (
        ([Late()], TypeError, "Late has a method on_epoch_ended, which nothing calls; expected on_epoch_end"),
        ([Keras()], TypeError, "Keras has a method on_train_batch_end, which nothing calls"),
        ([stopping, stopping], ValueError, "got a callback twice; expected each once"),
        (stopping, TypeError, "got callbacks EarlyStopping; expected a sequence of them"),
    ):
        with pytest.raises(error, match=message):
            trainer.fit(X, Y, epochs=1, callbacks=callbacks)
    trainer.fit(X, Y, epochs=1, callbacks=[Fine()])


def test_metrics_of_one_name():
    with pytest.raises(ValueError, match="two quantities called '<lambda>'"):
        trainer_of(classifier(), metrics=[lambda y, p: 0.0, lambda y, p: 1.0])

    def loss(y, p):
        return 0.0

    refused(ValueError, "two quantities called 'loss'", trainer_of, classifier(), metrics=["accuracy", loss])
