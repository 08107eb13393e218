"""L1 and L2 penalties: their gradient, what is reported, and which parameters have one."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim
from reference import optimizer as reference
from support.tolerance import tolerance
from support.training import X, Y, Z, assert_close_weights, classifier, trainer_of, weights_of


def value_of(model, l1, l2):
    """The penalty of the weights, not of the biases."""
    return sum(reference.weight_penalty(w, l1, l2) for w in weights_of(model) if w.ndim > 1)


@pytest.mark.parametrize(("l1", "l2"), [(0.01, 0.0), (0.0, 0.02), (0.01, 0.02)])
def test_a_step_is_that_of_the_loss_with_the_penalty_on_the_tape(l1, l2):
    model, by_hand = classifier().double(), classifier().double()
    before = value_of(model, l1, l2)
    trainer = trainer_of(model, optim.SGD(model.parameters(), lr=0.5), l1=l1, l2=l2)
    history = trainer.fit(X, Y, epochs=1, batch_size=40)

    optimizer = optim.SGD(by_hand.parameters(), lr=0.5)
    loss = nn.CrossEntropyLoss()(by_hand(X), Y)
    for name, w in by_hand.named_parameters():
        if name.endswith("weight"):
            loss = loss + l1 * w.abs().sum() + l2 * (w * w).sum()
    loss.backward()
    optimizer.step()
    assert_close_weights(model, by_hand, tolerance("float64", 50))
    assert history["loss"][0] == pytest.approx(loss.item(), rel=1e-12)
    measured = trainer.evaluate(X, Y)["loss"]
    plain = trainer_of(model).evaluate(X, Y)["loss"]
    assert measured == pytest.approx(plain + value_of(model, l1, l2), rel=1e-12)
    assert before > 0


def test_weights_shrink_and_batches_report_the_penalty():
    losses = []
    note = rv.LambdaCallback(on_batch_end=lambda batch, logs: losses.append(logs["loss"]))
    model, free = classifier(), classifier()
    trainer_of(free).fit(X, Y, epochs=30)
    before = value_of(model, 0.0, 0.1)
    history = trainer_of(model, l2=0.1).fit(X, Y, epochs=30, batch_size=40, callbacks=[note])
    assert value_of(model, 0.0, 1.0) < value_of(free, 0.0, 1.0) / 4
    assert losses[0] == history["loss"][0] > before


def test_a_sum_loss_has_the_penalty_once():
    model = classifier()
    loss = nn.CrossEntropyLoss(reduction="sum")
    plain = trainer_of(model, loss=loss).evaluate(X, Y, batch_size=7)["loss"]
    measured = trainer_of(model, loss=loss, l1=1.0).evaluate(X, Y, batch_size=7)["loss"]
    assert measured == pytest.approx(plain + value_of(model, 1.0, 0.0), rel=1e-9)


@pytest.mark.parametrize(
    ("l2", "penalised"),
    [
        (1.0, ["0.weight", "2.weight"]),
        ({"0": 1.0}, ["0.weight"]),
        ({"": 1.0}, ["0.weight", "2.weight"]),
        ({"": 1.0, "2": 0.0}, ["0.weight"]),
        ({"0.bias": 1.0}, ["0.bias"]),
        ({"0": 1.0, "0.bias": 1.0}, ["0.weight", "0.bias"]),
    ],
)
def test_which_parameters(l2, penalised):
    model = classifier().double()
    trainer = trainer_of(model, optim.SGD(model.parameters(), lr=0.25), l2=l2)
    before = dict(zip([name for name, _ in model.named_parameters()], weights_of(model), strict=True))
    trainer.fit(X[:1], Y[:1], epochs=1)
    expected = sum((before[name] ** 2).sum() for name in penalised)
    plain = nn.CrossEntropyLoss()(_first_output(before), Y[:1]).item()
    assert trainer.history["loss"][0] == pytest.approx(plain + expected, rel=1e-12)


def _first_output(weights):
    """The output for the first sample of a classifier with these weights."""
    model = classifier().double()
    model.load_state_dict(weights)
    return model(X[:1])


def test_a_frozen_parameter_counts_in_the_loss_and_stays():
    model = classifier()
    model[0].weight.requires_grad = False
    before = weights_of(model)
    trainer = trainer_of(model, l2=1.0)
    assert trainer.evaluate(X, Y)["loss"] == pytest.approx(
        trainer_of(model).evaluate(X, Y)["loss"] + (before[2] ** 2).sum(), rel=1e-6
    )
    trainer.fit(X, Y, epochs=1)
    assert np.array_equal(weights_of(model)[0], before[0])


def test_a_parameter_that_the_output_does_not_use_shrinks():
    class Half(nn.Module):
        """Has a layer that the output does not depend on."""

        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(3, 1), nn.Linear(3, 1)

        def forward(self, x):
            return self.used(x)

    model = Half()
    w = model.unused.weight.numpy(force=True).copy()
    trainer_of(model, optim.SGD(model.parameters(), lr=0.25), nn.MSELoss(), l2=1.0).fit(
        X, Z, epochs=1, batch_size=40
    )
    np.testing.assert_allclose(model.unused.weight.numpy(force=True), w / 2, rtol=1e-6)  # w - lr * 2 * l2 * w


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"l1": -1}, ValueError, "got l1 -1; expected a finite number of at least 0"),
        ({"l2": np.inf}, ValueError, "got l2 inf"),
        ({"l2": "much"}, TypeError, "got l2 of type str; expected a number or a mapping"),
        ({"l2": {"head": 1.0}}, ValueError, "got l2 for 'head', which is neither a module .* are 0.weight"),
        ({"l2": {"0": -1.0}}, ValueError, "got l2 -1.0"),
    ],
)
def test_errors(settings, kind, message):
    with pytest.raises(kind, match=rf"\[Trainer\] {message}"):
        trainer_of(classifier(), **settings)
