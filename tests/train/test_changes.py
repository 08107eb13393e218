"""What a fit follows: groups, parameters, layers, penalties and losses that change between two fits or within
one.

A change is made after some epochs, between two fits or by a callback, and the weights must be those of a loop
by hand that makes the same change. The loop adds up gradients, penalties and updates by formulas of its own.
Compiled and not, the bits are equal.
"""

import copy

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim
from support.training import weights_of

RNG = np.random.default_rng(3)
X = RNG.standard_normal((48, 4)).astype(np.float32)
Y = RNG.integers(0, 3, 48)
BATCH = 8
LIMIT = 2e-5


class Thing:
    """A network, its loss, an optimizer of a part of it, and the strengths of its penalties."""

    def __init__(self, l1, l2):
        rv.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
        self.loss = nn.CrossEntropyLoss()
        trained = [*self.net[0].parameters(), *self.net[4].parameters()]
        self.optimizer = optim.SGD(trained, lr=0.1, momentum=0.5)
        self.l1 = copy.deepcopy(l1)
        self.l2 = copy.deepcopy(l2)


# --- the changes
def group_is_added(thing):
    thing.optimizer.add_param_group({"params": list(thing.net[2].parameters()), "lr": 0.05})


def group_goes(thing):
    group_is_added(thing)
    thing.optimizer.param_groups.pop(0)


def groups_are_replaced(thing):
    group = thing.optimizer.param_groups[0]
    thing.optimizer.param_groups = [{**group, "params": list(thing.net.parameters())}]


def parameter_is_replaced(thing):
    thing.net[0].weight = nn.Parameter(thing.net[0].weight.detach() * 0.5)
    thing.optimizer.param_groups[0]["params"][0] = thing.net[0].weight


def layer_is_replaced(thing):
    old = thing.net[4]
    thing.net[4] = nn.Linear(5, 3)
    params = thing.optimizer.param_groups[0]["params"]
    kept = [p for p in params if all(p is not other for other in old.parameters())]
    thing.optimizer.param_groups[0]["params"] = [*kept, *thing.net[4].parameters()]


def parameter_is_taken_away(thing):
    thing.optimizer.param_groups[0]["params"].pop(0)


def weight_is_frozen(thing):
    thing.net[0].weight.requires_grad_(False)


def layer_is_frozen_and_another_trained(thing):
    thing.net[0].requires_grad_(False)
    group_is_added(thing)


def settings_change(thing):
    thing.optimizer.param_groups[0].update(lr=0.03, momentum=0.2, weight_decay=0.01)


def nesterov_begins(thing):
    thing.optimizer.param_groups[0].update(nesterov=True)


def state_is_loaded(thing):
    state = copy.deepcopy(thing.optimizer.state_dict())
    state["param_groups"][0]["lr"] = 0.02
    thing.optimizer.load_state_dict(state)


def model_is_loaded(thing):
    thing.net.load_state_dict({name: p * 0.5 for name, p in thing.net.state_dict().items()})


def classes_are_weighted(thing):
    thing.loss.weight = rv.tensor([1.0, 2.0, 0.5])


def labels_are_smoothed(thing):
    thing.loss.label_smoothing = 0.1


def strengths_change(thing):
    for strength in (thing.l1, thing.l2):
        if isinstance(strength, dict):
            strength.update({"0": 0.03, "2": 0.02})


def weight_becomes_a_line(thing):
    """A parameter of one dimension has no penalty unless it is named."""
    thing.net[1] = Scaled(6)
    thing.optimizer.param_groups[0]["params"].append(thing.net[1].scale)


class Scaled(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.scale = nn.Parameter(rv.ones(features))

    def forward(self, x):
        return (x * self.scale).tanh()


CHANGES = [
    group_is_added, group_goes, groups_are_replaced, parameter_is_replaced, layer_is_replaced,
    parameter_is_taken_away, weight_is_frozen, layer_is_frozen_and_another_trained, settings_change,
    nesterov_begins, state_is_loaded, model_is_loaded, classes_are_weighted, labels_are_smoothed,
    strengths_change, weight_becomes_a_line,
]  # fmt: skip
SETTINGS = {
    "plain": {},
    "l2": {"l2": 0.05},
    "l1 and l2 by name": {"l1": {"0": 0.01, "4.weight": 0.02}, "l2": {"": 0.05, "2.bias": 0.1}},
    "accumulated": {"accumulate": 2},
    "accumulated with l2": {"accumulate": 3, "l2": {"": 0.05}},
    "clipped": {"clip_grad_norm": 0.3, "l2": 0.05},
    "clamped": {"clip_grad_value": 0.02},
}


# --- by hand
def strength_of(strength, name, p):
    if not isinstance(strength, dict):
        return strength if p.ndim > 1 else 0.0
    fitting = [key for key in strength if key in ("", name) or name.startswith(f"{key}.")]
    if not fitting or (p.ndim < 2 and name not in fitting):
        return 0.0
    return strength[max(fitting, key=len)]


def add_penalty(thing):
    updated = {id(p) for group in thing.optimizer.param_groups for p in group["params"]}
    for name, p in thing.net.named_parameters():
        l1 = strength_of(thing.l1, name, p)
        l2 = strength_of(thing.l2, name, p)
        if id(p) not in updated or not p.requires_grad or l1 == l2 == 0:
            continue
        gradient = l1 * p.detach().sign() + 2 * l2 * p.detach()
        p.grad = gradient if p.grad is None else p.grad + gradient


def clip(thing, clip_grad_norm, clip_grad_value):
    updated = [p for group in thing.optimizer.param_groups for p in group["params"] if p.grad is not None]
    if clip_grad_value is not None:
        for p in updated:
            p.grad = p.grad.clamp(-clip_grad_value, clip_grad_value)
    if clip_grad_norm is not None:
        norm = sum(float((p.grad * p.grad).sum()) for p in updated) ** 0.5
        for p in updated:
            p.grad = p.grad * min(1.0, clip_grad_norm / (norm + 1e-6))


def epochs_by_hand(thing, epochs, accumulate=1, clip_grad_norm=None, clip_grad_value=None):
    batches = [slice(i, i + BATCH) for i in range(0, len(X), BATCH)]
    for _ in range(epochs):
        for i in range(0, len(batches), accumulate):
            thing.optimizer.zero_grad()
            rows = slice(batches[i].start, batches[min(i + accumulate, len(batches)) - 1].stop)
            thing.loss(thing.net(rv.tensor(X[rows])), rv.tensor(Y[rows])).backward()
            add_penalty(thing)
            clip(thing, clip_grad_norm, clip_grad_value)
            thing.optimizer.step()


class Changing(rv.Callback):
    """Makes the change at the beginning of an epoch."""

    every_batch = False

    def __init__(self, change, epoch):
        self.change = change
        self.epoch = epoch

    def on_epoch_begin(self, epoch):
        if epoch == self.epoch:
            self.change()


FIRST = 12
SECOND = 3  # epochs; a fit replays its steps after 64 of them


def trained(change, settings, compiled, within):
    """The weights after a fit with the change within it, or after two fits with the change between them."""
    thing = Thing(settings.get("l1", 0.0), settings.get("l2", 0.0))
    more = {**settings, "l1": thing.l1, "l2": thing.l2}
    trainer = rv.Trainer(thing.net, thing.loss, thing.optimizer, compile=compiled, **more)
    of_fit = {"batch_size": BATCH, "shuffle": False, "verbose": 0}
    if within:
        callbacks = [Changing(lambda: change(thing), FIRST)]
        trainer.fit(X, Y, epochs=FIRST + SECOND, callbacks=callbacks, **of_fit)
    else:
        trainer.fit(X, Y, epochs=FIRST, **of_fit)
        change(thing)
        trainer.fit(X, Y, epochs=SECOND, **of_fit)
    if compiled:
        assert trainer.programs()
    return weights_of(thing.net), trainer.evaluate(X, Y)["loss"], penalty_of(thing)


def penalty_of(thing):
    """The loss with the penalty."""
    total = float(thing.loss(thing.net(rv.tensor(X)), rv.tensor(Y)))
    updated = {id(p) for group in thing.optimizer.param_groups for p in group["params"]}
    for name, p in thing.net.named_parameters():
        if id(p) in updated and p.requires_grad:
            l1 = strength_of(thing.l1, name, p)
            l2 = strength_of(thing.l2, name, p)
            total += float(l1 * p.detach().abs().sum() + l2 * p.detach().pow(2).sum())
    return total


@pytest.mark.parametrize("within", [False, True], ids=["between", "within"])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("change", CHANGES)
def test_changes_are_followed(change, settings, within):
    strengths = {name: settings.get(name, 0.0) for name in ("l1", "l2")}
    of_loop = {name: value for name, value in settings.items() if name not in strengths}
    hand = Thing(**strengths)
    epochs_by_hand(hand, FIRST, **of_loop)
    change(hand)
    epochs_by_hand(hand, SECOND, **of_loop)
    expected = weights_of(hand.net)
    compiled, loss, with_penalty = trained(change, settings, True, within)
    eager, *_ = trained(change, settings, False, within)
    for of_fit, of_eager_fit, by_hand in zip(compiled, eager, expected, strict=True):
        np.testing.assert_allclose(of_fit, by_hand, rtol=0, atol=LIMIT)
        np.testing.assert_array_equal(of_fit, of_eager_fit)
    assert loss == pytest.approx(with_penalty, abs=1e-5)


@pytest.mark.parametrize("compiled", [True, False])
def test_penalties_go_by_the_names_of_now(compiled):
    """Two layers of one shape change places: each weight gets the strength of its new place."""
    net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    first = net[0].weight
    second = net[1].weight
    optimizer = optim.SGD(net.parameters(), lr=0.5)
    loss = lambda output, y: (output * 0).sum()  # noqa: E731
    trainer = rv.Trainer(net, loss, optimizer, l2={"0": 0.1}, compile=compiled)
    x = np.ones((64, 3), np.float32)
    of_fit = {"epochs": 2, "batch_size": 1, "verbose": 0}
    trainer.fit(x, x, **of_fit)
    net[0], net[1] = net[1], net[0]
    before = first.detach().clone(), second.detach().clone()
    trainer.fit(x, x, **of_fit)
    np.testing.assert_array_equal(first.detach(), before[0])
    np.testing.assert_allclose(second.detach(), before[1] * (1 - 0.5 * 2 * 0.1) ** 128, rtol=1e-4)


@pytest.mark.parametrize("within", [False, True])
def test_a_name_that_goes_is_an_error(within):
    net = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 3))
    trainer = rv.Trainer(net, nn.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=0.1), l2={"1": 0.1})
    of_fit = {"epochs": 3, "verbose": 0, "batch_size": BATCH}

    def change():
        net[1] = nn.Sequential(nn.Linear(6, 3))
        trainer.l2["1.weight"] = 0.1

    callbacks = [Changing(change, 1)] if within else []
    if not within:
        trainer.fit(X, Y, **of_fit)
        change()
    with pytest.raises(ValueError, match=r"got l2 for '1.weight', which is neither a module with parameters"):
        trainer.fit(X, Y, callbacks=callbacks, **of_fit)


@pytest.mark.parametrize("compiled", [True, False])
def test_what_is_done_about_nonfinite_losses_may_change_between_fits(compiled):
    net = nn.Linear(4, 3)
    trainer = rv.Trainer(net, nn.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=0.1), compile=compiled)
    of_fit = {"epochs": 12, "verbose": 0, "batch_size": BATCH, "shuffle": False}
    trainer.fit(X, Y, **of_fit)
    trainer.on_nonfinite = "ignore"
    trainer.fit(X * np.float32(1e38), Y, **of_fit)
    assert not np.isfinite(net.weight.detach().numpy()).all()


def test_copies_of_a_trainer_keep_their_settings():
    net = nn.Linear(4, 3)
    trainer = rv.Trainer(net, nn.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=0.1))
    of_fit = {"epochs": 12, "verbose": 0, "batch_size": BATCH, "shuffle": False}
    trainer.fit(X, Y, **of_fit)
    other = copy.copy(trainer)
    other.on_nonfinite = "ignore"
    other.fit(X * np.float32(1e38), Y, **of_fit)
    assert not np.isfinite(net.weight.detach().numpy()).all()
