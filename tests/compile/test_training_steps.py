"""Training steps as programs write them, captured whole: the eager bits by call and in one `run`."""

import numpy as np
import pytest
import ranvier as rv
from compile.beside import bits, played, same
from compile.training_steps import STEPS
from ranvier import nn, optim
from ranvier.autograd import grad
from ranvier.nn import functional as F
from support.refused import refused
from support.strict import strict

CALLS = 7


def maker(name):
    """For `same`: a model, its optimizer and a step; and the inputs of a call."""
    make_step, model_of, shape = STEPS[name]

    def make():
        m, more = model_of(), []
        o = optim.SGD(m.parameters(), lr=0.1, momentum=0.9)
        return make_step(m, o, more), m, o, more

    def inputs(number):
        rng = np.random.default_rng(number)
        x = rng.standard_normal((4, *shape)).astype(np.float32)
        return rv.tensor(x), rv.tensor(rng.integers(0, 3, 4))

    return make, inputs


@pytest.mark.parametrize("name", STEPS)
def test_as_the_eager_step(name):
    assert same(*maker(name), CALLS).programs


def leaves(x):
    parts = x.values() if isinstance(x, dict) else x if isinstance(x, (list, tuple)) else None
    return [x.detach()] if parts is None else [leaf for part in parts for leaf in leaves(part)]


@pytest.mark.parametrize("name", STEPS)
def test_many_calls_in_one(name):
    """By `step.run`."""
    (make, inputs), results = maker(name), []

    def keeps(step):
        return lambda *given: results.append(leaves(step(*given)))

    shown, _ = played(make, inputs, keeps, CALLS)
    rv.manual_seed(3)
    step, *watched = make()
    found = strict(step).run(*map(rv.stack, zip(*map(inputs, range(CALLS)), strict=True)))
    assert [bits(list(parts)) for parts in zip(*leaves(found), strict=True)] == [*map(bits, results)]
    assert (bits(watched), rv.random.current().plain_state()["calls"]) == shown[-1][1:]


def test_second_derivatives_of_max_pooling_are_refused():
    w = rv.ones(2, 1, 8, requires_grad=True)

    def step(x):
        (g,) = grad((F.max_pool1d(w * x, 2) ** 2).sum(), w, create_graph=True)
        return grad((g * g).sum(), w)[0]

    refused(rv.CaptureError, "the second derivative of max pooling", strict(step), rv.rand(2, 1, 8))


def test_rounding_of_gradients_that_cancel_is_no_difference():
    """The gradient of a bias before a batch norm is rounding alone: sums in another order make it another."""
    model = nn.Sequential(
        nn.Conv2d(3, 5, 2), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 16, 3), nn.MaxPool2d(3), nn.Flatten()
    )
    optimizer = optim.SGD(model.parameters(), lr=0.01)

    def step(x):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        optimizer.step()

    step, rng = strict(step), np.random.default_rng(0)
    for _ in range(3):
        step(rng.standard_normal((5, 3, 8, 8)).astype(np.float32))
