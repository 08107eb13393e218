"""Arguments of Trainer: refused with a remedy if they are wrong or have no effect.

Other forms of the same data must give the same history, weights and predictions; what is wrong must raise
this error before anything is trained. X, Y: 40 samples of three features, and their class, 0 or 1.
"""

from decimal import Decimal

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim
from support.refused import refused
from support.training import X, Y, classifier, trainer_of, weights_of


def values_trainer(loss=None):
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    return rv.Trainer(model, loss or nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1))


def test_predictions_have_a_dtype_of_numpy():
    model = nn.Linear(3, 2)
    for p in model.parameters():
        p.data = p.data.bfloat16()
    assert rv.Trainer(model, "mse").predict(np.ones((2, 3), np.float32)).dtype == np.float32


def test_a_trainer_without_an_optimizer_predicts_and_evaluates():
    given = values_trainer()
    trainer = rv.Trainer(given.model, "mse")
    y = X[:, :1]
    assert np.array_equal(trainer.predict(X[:, :3]), given.predict(X[:, :3]))
    assert trainer.evaluate(X[:, :3], y) == given.evaluate(X[:, :3], y)
    refused(TypeError, "[Trainer.fit] got no optimizer", trainer.fit, X[:, :3], y, epochs=1)
    refused(TypeError, "[Trainer.save] got no optimizer", trainer.save, "trainer.safetensors")
    assert "no optimizer" in repr(trainer)


def test_probabilities_are_wanted_by_bce():
    model = nn.Sequential(nn.Linear(3, 1), nn.LeakyReLU())
    x, y = X[:, :3], (X[:, :1] > 0).astype(np.float32)
    said = "BCELoss takes probabilities, and the model gives other numbers: end it with nn.Sigmoid()"
    refused(ValueError, said, rv.Trainer(model, "bce", "sgd").fit, x, y[:, 0], epochs=1)


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


def classes(**settings):
    return lambda: trainer_of(classifier(), metrics=["accuracy"], **settings)


def of_values(loss):
    return lambda: rv.Trainer(nn.Linear(3, 1), loss, "sgd", lr=0.01, metrics=["mae"])


F, VALUES, NAMES = Y.astype(np.float32), (X @ [1.0, 2.0, 3.0]).astype(np.float32), np.array(["no", "yes"])[Y]
HOT, SIGNS = np.eye(2, dtype=int)[Y], (X > 0).astype(np.float32)
DECIMALS = [[Decimal(float(value)) for value in row] for row in X]
FORMS = {  # what makes the trainer, samples and targets, and these in other forms
    "dtypes": (classes(), (X, Y), (X.astype(np.float64), Y.astype(np.int32))),
    "lists": (classes(), (X, Y), (X.tolist(), Y.tolist())),
    "Tensors": (classes(), (X, Y), (rv.tensor(X), rv.tensor(Y))),
    "decimals": (classes(), (X, Y), (DECIMALS, Y)),
    "whole samples": (classes(), (SIGNS, Y), *[(SIGNS.astype(d), Y) for d in (np.int64, np.uint8, bool)]),
    "columns of classes": (classes(), (X, Y), *[(X, y) for y in (Y[:, None], HOT, HOT.astype(np.uint8))]),
    "columns of labels": (classes(), (X, NAMES), (X, NAMES[:, None])),
    **{
        f"columns for {loss}": (of_values(loss), (X, y), (X, y[:, None]), (X, y.reshape(-1, 1, 1)))
        for loss, y in (
            *(("mse", F), ("l1", F), ("huber", VALUES), ("bce_with_logits", F), ("poisson_nll", abs(VALUES))),
        )
    },
}


def fitted(make, x, y):
    """The state after a fit, and the trainer's scores on the same data."""
    rv.manual_seed(0)
    trainer = make()
    history = dict(trainer.fit(x, y, epochs=2))
    found = np.asarray(trainer.predict(x)).reshape(len(Y)).tolist(), trainer.evaluate(x, y)
    return history, [w.tolist() for w in weights_of(trainer.model)], found, rv.get_rng_state().tolist()


@pytest.mark.parametrize("name", FORMS)
def test_data_in_other_forms(name):
    make, (x, y), *others = FORMS[name]
    expected = fitted(make, x, y)
    for other in others:
        assert fitted(make, *other) == expected


@pytest.mark.parametrize("shape", [(40,), (40, 1)])
def test_predictions_have_the_axes_of_targets(shape):
    trainer = values_trainer()
    trainer.fit(X, VALUES.reshape(shape), epochs=1)
    assert trainer.predict(X).shape == shape


@pytest.mark.parametrize(
    ("y", "remedy"),
    [
        (Y.astype(float), r"class indices are integers: pass y\.astype\(int\)"),
        (Y + 1, r"labels that count from 1: pass y - 1"),
        (2 * Y - 1, r"labels -1 and 1: pass y > 0"),
        (3 * Y, r"for the classes 0 to 3 the last layer needs 4 outputs"),
        (1000 * Y, r"labels that are names of classes: pass y\.astype\(str\), which numbers them"),
        (np.eye(2, dtype=int)[Y][:, ::-1] + [0, 1], r"class indices of shape .*"),
    ],
)
def test_targets_of_classes(y, remedy):
    with pytest.raises(ValueError, match=rf"\[cross_entropy\] got .*{remedy}"):
        trainer_of(classifier()).fit(X, y, epochs=1)


def test_classes_of_one_output():
    model = nn.Sequential(nn.Linear(3, 1))
    with pytest.raises(ValueError, match=r"one class is always 0; expected .* or BCEWithLogitsLoss"):
        trainer_of(model).fit(X, Y, epochs=1)


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
    with pytest.raises(TypeError, match=r"\[Trainer\.fit\] got x of type Tensor and no y; expected both, or"):
        trainer.fit(torch.tensor(X), epochs=1)


def test_one_sample_is_not_a_batch():
    with pytest.raises(ValueError, match=r"x of shape \(3,\) and an output of shape \(1,\); .* is x\[None\]"):
        values_trainer().predict(X[0])


def test_an_optimizer_of_another_model():
    model = classifier()
    trainer = trainer_of(model, optim.SGD(classifier().parameters(), lr=0.1))
    refused(ValueError, "an optimizer that has none of the model's parameters", trainer.fit, X, Y, epochs=1)
    before = weights_of(model)
    some = trainer_of(model, optim.SGD(model[0].parameters(), lr=0.1))
    with pytest.warns(
        rv.train.HintWarning, match=r"2 of the model's 4 parameters \(2.weight, 2.bias\) are not"
    ):
        some.fit(X, Y, epochs=1)  # some of them will do
    some.fit(X, Y, epochs=1)  # said once
    assert not np.array_equal(before[0], weights_of(model)[0])


def test_arguments_without_effect():
    trainer = trainer_of(classifier())
    refused(TypeError, "got shuffle 'no'; expected True or False", trainer.fit, X, Y, epochs=1, shuffle="no")
    for label in (5, "0"):
        with pytest.raises(ValueError, match=rf"class_weight for label {label!r}, which does not occur; .*"):
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


def test_an_optimizer_may_be_a_class_or_a_function_of_the_parameters():
    for made in (optim.SGD, lambda parameters: optim.SGD(parameters)):
        assert isinstance(trainer_of(classifier(), optimizer=made).optimizer, optim.SGD)
    refused(TypeError, "expected lr inside the function", trainer_of, classifier(), optimizer=made, lr=0.1)


def test_metrics_of_one_name():
    with pytest.raises(ValueError, match="two quantities called '<lambda>'"):
        trainer_of(classifier(), metrics=[lambda y, p: 0.0, lambda y, p: 1.0])

    def loss(y, p):
        return 0.0

    refused(ValueError, "two quantities called 'loss'", trainer_of, classifier(), metrics=["accuracy", loss])


WRONG = [
    ("metrics", "accuracy", TypeError, "got metrics 'accuracy'; expected a sequence such as"),
    ("metrics", ["acc"], ValueError, "got metric 'acc'; expected a function or one of accuracy"),
    ("metrics", ["acuracy"], ValueError, "got metric 'acuracy'; did you mean 'accuracy'?"),
    ("metrics", [3], TypeError, "got metric of type int"),
    ("model", 5, TypeError, "got model of type int; expected a Module"),
    ("model", nn.Linear, TypeError, "got the class Linear as model"),
    ("loss", 3, TypeError, "got loss of type int"),
    ("loss", "cross_entrpy", ValueError, "got loss 'cross_entrpy'; did you mean 'cross_entropy'?"),
    ("loss", "triplet_margin", ValueError, "got loss 'triplet_margin'"),
    ("loss", nn.MSELoss, TypeError, "got the class MSELoss as loss; expected MSELoss()"),
    ("optimizer", 3, TypeError, "got optimizer of type int"),
    ("optimizer", len, TypeError, "got optimizer len, which gives int; expected a function"),
    ("optimizer", "addam", ValueError, "got optimizer 'addam'; did you mean 'adam'?"),
    ("accumulate", 0, ValueError, "got accumulate 0; expected at least 1"),
    ("l1", -1, ValueError, "got l1 -1; expected a finite number of at least 0"),
    ("l2", np.inf, ValueError, "got l2 inf; expected a finite number"),
    ("l2", "much", TypeError, "got l2 of type str; expected a number or a mapping"),
    ("l2", {"0": -1.0}, ValueError, "got l2 -1.0"),
    ("l1", {"head": 1.0}, ValueError, "got l1 for 'head', which is neither a module with parameters nor"),
    ("clip_grad_norm", 0, ValueError, "got clip_grad_norm 0"),
    ("clip_grad_norm", -2, ValueError, "got clip_grad_norm -2; expected a finite number"),
    ("clip_grad_value", "x", TypeError, "got clip_grad_value of type str"),
    ("on_nonfinite", "stop", ValueError, "got on_nonfinite 'stop'; expected 'raise', 'warn' or"),
    ("compile", 1, TypeError, "got compile 1; expected True or False"),
]


@pytest.mark.parametrize(("name", "wrong", "error", "text"), WRONG, ids=[f"{w[0]} {w[1]}" for w in WRONG])
def test_settings_are_checked_by_the_constructor_and_where_they_are_changed(name, wrong, error, text):
    settings = {"model": classifier(), "loss": "mse", "optimizer": "sgd", name: wrong}
    refused(error, f"[Trainer] {text}", rv.Trainer, **settings)
    refused(error, f"[Trainer] {text}", setattr, trainer_of(classifier()), name, wrong)


CHANGES = {  # a value in other words: that of the constructor
    "metrics": ["accuracy"],
    "loss": "cross_entropy",
    "optimizer": "sgd",
    "accumulate": np.int64(2),
    "l2": {"0": 0.5},
    "clip_grad_norm": 1,
    "clip_grad_value": 1,
    "on_nonfinite": "warn",
    "compile": False,
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_setting_that_is_changed_holds_from_then_on(name):
    trainer, value = trainer_of(classifier()), CHANGES[name]
    setattr(trainer, name, value)
    rv.manual_seed(1)
    changed = trainer.fit(X, Y, epochs=2)
    model = classifier()
    settings = {"loss": "cross_entropy", "optimizer": optim.Adam(model.parameters(), lr=0.05), name: value}
    rv.manual_seed(1)
    assert dict(rv.Trainer(model, **settings).fit(X, Y, epochs=2)) == dict(changed)


def test_settings_stay_during_a_fit():
    trainer = trainer_of(classifier(), l2=0.25)

    def change(epoch):
        trainer.l2 = 0.5

    with pytest.raises(RuntimeError, match=r"\[Trainer\] got a new l2 while a fit is running"):
        trainer.fit(X, Y, epochs=1, callbacks=[rv.LambdaCallback(on_epoch_begin=change)])
    change(0)
    assert trainer.l2 == 0.5
