"""The attributes of a Trainer: what is set has an effect, what nothing reads cannot be set."""

import copy
import pickle

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim
from support.training import X, Y, classifier, trainer_of, weights_of


def two_rates():
    model = classifier()
    groups = [{"params": model[0].parameters()}, {"params": model[2].parameters(), "lr": 0.5}]
    return rv.Trainer(model, "cross_entropy", optim.SGD(groups, lr=0.1))


def test_an_attribute_of_a_callback_is_checked_under_its_names():
    bar = rv.ProgressBar()
    with pytest.raises(ValueError, match=r"\[ProgressBar\] got every 0"):
        bar.every = 0


def test_lr_is_the_rate_of_all_groups():
    trainer = two_rates()
    assert trainer.lr == [0.1, 0.5]
    trainer.lr = 0.25
    assert [group["lr"] for group in trainer.optimizer.param_groups] == [0.25, 0.25]
    assert trainer.lr == 0.25
    assert rv.Trainer(classifier(), "mse").lr is None
    del trainer.optimizer.param_groups[0]["lr"]
    assert trainer.lr == 0.25  # that of the groups that have one


@pytest.mark.parametrize("when", ["between two fits", "in a callback"])
def test_a_rate_that_is_set_is_that_of_the_next_steps(when):
    """The steps are compiled: their programs get the new rate."""

    def weights(change):
        rv.manual_seed(0)
        trainer = trainer_of(classifier(), lr=None)
        hooks = [rv.LambdaCallback(on_epoch_begin=lambda epoch: epoch == 30 and change(trainer))]
        if when == "in a callback":
            trainer.fit(X, Y, epochs=60, batch_size=20, callbacks=hooks)
        else:
            trainer.fit(X, Y, epochs=30, batch_size=20)
            change(trainer)
            trainer.fit(X, Y, epochs=30, batch_size=20)
        return weights_of(trainer.model)

    by_attribute = weights(lambda trainer: setattr(trainer, "lr", 1e-3))
    by_group = weights(lambda trainer: trainer.optimizer.param_groups[0].update(lr=1e-3))
    unchanged = weights(lambda trainer: None)
    assert all(map(np.array_equal, by_attribute, by_group))
    assert not np.array_equal(by_attribute[0], unchanged[0])


def test_wrong_rates():
    trainer = trainer_of(classifier())
    for wrong, error in ((-1, ValueError), (np.inf, ValueError), ("0.1", TypeError), (True, TypeError)):
        with pytest.raises(error, match=r"\[Trainer\] got lr"):
            trainer.lr = wrong
    without = rv.Trainer(classifier(), "mse")
    with pytest.raises(ValueError, match="got lr and no optimizer"):
        without.lr = 0.1
    with pytest.raises(ValueError, match=r"got lr 0.1 and no optimizer; expected an optimizer or its name"):
        rv.Trainer(classifier(), "mse", lr=0.1)


UNKNOWN = {
    "learning_rate": "lr",
    "criterion": "loss",
    "clip_norm": "clip_grad_norm",
    "metric": "metrics",
    "on_nan": None,
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_attribute_is_an_error_that_names_the_nearest(name):
    trainer = trainer_of(classifier())
    near = UNKNOWN[name]
    meant = f": did you mean '{near}'" if near else ""
    with pytest.raises(AttributeError, match=rf"\[Trainer\] got a new attribute '{name}'.*{meant}"):
        setattr(trainer, name, 1)


REPORTED = ["updates", "last_epoch", "steps_per_epoch", "interrupted", "resumed_from", "epoch", "batch",
            "classes_", "leads"]  # fmt: skip


@pytest.mark.parametrize("name", REPORTED)
def test_what_a_run_reports_cannot_be_set(name):
    trainer = trainer_of(classifier())
    with pytest.raises(AttributeError):
        setattr(trainer, name, getattr(trainer, name))


def test_stop_training_is_set_while_a_fit_runs():
    trainer = trainer_of(classifier())
    with pytest.raises(RuntimeError, match="got a new stop_training between two fits"):
        trainer.stop_training = True


def test_history_is_replaced_by_a_history():
    trainer = trainer_of(classifier())
    trainer.fit(X, Y, epochs=2)
    with pytest.raises(TypeError, match="got history of type dict"):
        trainer.history = {}
    trainer.history = rv.train.History()
    assert trainer.epoch == 0


def test_a_subclass_has_its_own_attributes_unless_they_are_close_to_a_known_one():
    class Noisy(rv.Trainer):
        def __init__(self, *args, noise, **settings):
            super().__init__(*args, **settings)
            self.noise = noise

    trainer = Noisy(classifier(), "mse", "sgd", noise=0.5)
    assert trainer.noise == 0.5
    with pytest.raises(
        AttributeError, match=r"\[Noisy\] got a new attribute 'metric'.*did you mean 'metrics'"
    ):
        trainer.metric = []


def test_settings_of_processes():
    for wrong in (0, 3, True, "8"):
        with pytest.raises(ValueError, match=r"\[Trainer\] got shards .*; expected a power of two"):
            rv.Trainer(classifier(), "mse", "sgd", shards=wrong)
    for settings in ({"shards": 4}, {"deterministic": False}):
        with pytest.raises(ValueError, match="without distributed=True"):
            rv.Trainer(classifier(), "mse", "sgd", **settings)


def test_copies_and_pickles_keep_their_settings():
    trainer = rv.Trainer(classifier(), "cross_entropy", "adam", lr=0.5, l2=0.1)
    trainer.fit(X, Y, epochs=1)
    for copied in (copy.deepcopy(trainer), pickle.loads(pickle.dumps(trainer))):
        assert (copied.lr, copied.l2, copied.updates) == (0.5, 0.1, trainer.updates)
        copied.lr = 0.1
        assert (copied.lr, trainer.lr) == (0.1, 0.5)


# --- layers that are replaced

MAKERS = {"name": "adam", "class": optim.SGD, "function": lambda p: optim.Adam(p, lr=0.1), "lbfgs": "lbfgs"}


@pytest.mark.parametrize("name", MAKERS)
def test_a_trainer_that_made_its_optimizer_trains_a_replaced_layer(name):
    rv.manual_seed(0)
    model = classifier()
    settings = {"lr": 0.1} if name != "function" else {}
    trainer = rv.Trainer(model, "cross_entropy", MAKERS[name], l2=1e-3, **settings)
    trainer.fit(X, Y, epochs=5, batch_size=40)
    model[2] = nn.Linear(8, 2)
    model[0].bias = nn.Parameter(rv.zeros(8))
    before = weights_of(model)
    trainer.fit(X, Y, epochs=60 if name != "lbfgs" else 5, batch_size=40)
    assert not any(map(np.array_equal, before, weights_of(model)))
    assert {id(p) for p in trainer.optimizer.param_groups[0]["params"]} == {id(p) for p in model.parameters()}
    assert trainer.evaluate(X, Y)["loss"] < 0.6


@pytest.mark.parametrize("settings", [{}, {"l2": 0.1, "accumulate": 2}, {"clip_grad_norm": 1.0}])
def test_a_layer_that_a_callback_replaces(settings):
    """The rest of the fit is that of a Trainer with the new layer from then on."""

    def run(way):
        rv.manual_seed(0)
        model = classifier()
        trainer = rv.Trainer(model, "cross_entropy", "sgd", lr=0.1, **settings)
        new = nn.Linear(8, 2)

        def replace():
            model[2] = new

        hook = rv.LambdaCallback(on_epoch_begin=lambda epoch: replace() if epoch == 30 else None)
        arguments = {"batch_size": 10, "shuffle": False}
        if way == "callback":
            trainer.fit(X, Y, epochs=60, callbacks=[hook], **arguments)
        else:
            trainer.fit(X, Y, epochs=30, **arguments)
            replace()
            trainer.fit(X, Y, epochs=30, **arguments)
        return weights_of(model), dict(trainer.history)

    weights, history = run("callback")
    expected, other = run("two fits")
    assert all(map(np.array_equal, weights, expected))
    assert history == other


def test_another_model_and_a_loss_that_learns():
    trainer = rv.Trainer(classifier(), "cross_entropy", "adam", lr=0.1)
    trainer.fit(X, Y, epochs=3)

    class Learning(nn.Module):
        link = "softmax"

        def __init__(self):
            super().__init__()
            self.temperature = nn.Parameter(rv.ones(1))

        def forward(self, output, target):
            return nn.functional.cross_entropy(output * self.temperature, target)

    trainer.model = classifier(seed=1)
    trainer.loss = Learning()
    before = weights_of(trainer.model)
    trainer.fit(X, Y, epochs=3)
    assert not any(map(np.array_equal, before, weights_of(trainer.model)))
    assert trainer.loss.temperature.item() != 1


def test_moments_of_what_stays_are_kept():
    model = classifier()
    trainer = rv.Trainer(model, "cross_entropy", "adam")
    trainer.fit(X, Y, epochs=2)
    old = model[2].weight
    model[2] = nn.Linear(8, 2)
    trainer.fit(X, Y, epochs=1)
    state = trainer.optimizer.state
    assert old not in state
    steps = {name: float(state[p]["step"]) for name, p in model.named_parameters()}
    assert steps["0.weight"] == trainer.updates
    assert steps["2.weight"] == trainer.updates / 3


@pytest.mark.parametrize("made", ["given", "of several groups"])
def test_an_optimizer_that_lacks_parameters_gives_a_hint(made):
    model = classifier()
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    if made == "of several groups":
        optimizer = lambda p: optim.Adam([{"params": p[:2]}, {"params": p[2:], "lr": 0.1}])  # noqa: E731
    trainer = rv.Trainer(model, "cross_entropy", optimizer)
    trainer.fit(X, Y, epochs=1)
    model[2] = nn.Linear(8, 2)
    with pytest.warns(
        rv.train.HintWarning, match=r"2 of the model's 4 parameters \(2.weight, 2.bias\) are not"
    ):
        trainer.fit(X, Y, epochs=1)
    trainer.fit(X, Y, epochs=1)  # once
    model[2] = nn.Linear(8, 2)
    model[2].requires_grad_(False)
    trainer.fit(X, Y, epochs=1)  # it is meant


def test_a_loaded_trainer_still_owns_its_optimizer(tmp_path):
    trainer = rv.Trainer(classifier(), "cross_entropy", "adam")
    trainer.fit(X, Y, epochs=1)
    trainer.save(tmp_path / "trainer.safetensors")
    loaded = rv.Trainer.load(tmp_path / "trainer.safetensors")
    loaded.model[2] = nn.Linear(8, 2)
    before = weights_of(loaded.model)
    loaded.fit(X, Y, epochs=1)
    assert not any(map(np.array_equal, before, weights_of(loaded.model)))
