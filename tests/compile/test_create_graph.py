"""Captured steps with gradients of gradients: the bits of the eager step, or a CaptureError."""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv
import ranvier.nn as nn
from ranvier.autograd import grad
from ranvier.compile import CaptureError
from support.refused import refused
from support.strict import strict

STEPS = 5  # a recording, checks at calls 2 and 4, replays


def trained(make, compiled):
    """The losses of some steps, and the parameters after them."""
    rv.manual_seed(0)
    model, step, shapes = make()
    run = strict(step) if compiled else step
    rng = np.random.default_rng(0)
    losses = [
        run(*(rv.tensor(rng.uniform(-1, 1, s).astype(np.float32)) for s in shapes)).item()
        for _ in range(STEPS)
    ]
    return losses, [p.detach().numpy() for p in model.parameters()]


def update(model, loss, optimizer):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def penalty():
    """WGAN-GP with convolutions: the images are leaves of the step."""
    critic = nn.Sequential(
        nn.Conv2d(1, 3, 3, stride=2, padding=1),
        nn.InstanceNorm2d(3, affine=True),
        nn.LeakyReLU(0.2),
        nn.AvgPool2d(2),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(12, 1),
    )
    optimizer = rv.optim.Adam(critic.parameters())

    def step(real, fake, alpha):
        x = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
        score = critic(x)
        (g,) = grad(score, x, rv.ones_like(score), create_graph=True)
        distance = (g.flatten(1).norm(2, dim=1) - 1) ** 2
        return update(critic, critic(fake).mean() - critic(real).mean() + 10 * distance.mean(), optimizer)

    return critic, step, [(4, 1, 8, 8), (4, 1, 8, 8), (4, 1, 1, 1)]


def heat():
    """u_t = u_xx, by a network of x and t."""
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = rv.optim.Adam(model.parameters())

    def step(x, t):
        x, t = x.detach().requires_grad_(True), t.detach().requires_grad_(True)
        u = model(rv.cat([x, t], 1))
        u_x, u_t = grad(u.sum(), [x, t], create_graph=True)
        (u_xx,) = grad(u_x.sum(), x, create_graph=True)
        return update(model, ((u_t - u_xx) ** 2).mean(), optimizer)

    return model, step, [(9, 1), (9, 1)]


def adapted():
    """MAML with two inner steps."""
    model = nn.Linear(3, 1)
    optimizer = rv.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def step(x, y):
        weights = [model.weight, model.bias]
        for _ in range(2):
            loss = ((nn.functional.linear(x, *weights) - y) ** 2).mean()
            slopes = grad(loss, weights, create_graph=True)
            weights = [w - 0.1 * g for w, g in zip(weights, slopes, strict=True)]
        return update(model, ((nn.functional.linear(x, *weights) - y) ** 2).mean(), optimizer)

    return model, step, [(5, 3), (5, 1)]


@pytest.mark.parametrize("make", [penalty, heat, adapted])
def test_replays_have_the_bits_of_eager_steps(make):
    eager, captured = trained(make, False), trained(make, True)
    assert eager[0] == captured[0]
    for a, b in zip(eager[1], captured[1], strict=True):
        np.testing.assert_array_equal(a, b)


def of_second_derivatives(function):
    w = rv.ones(2, 1, 8, requires_grad=True)

    @strict
    def step(x):
        (g,) = grad((function(w * x) ** 2).sum(), w, create_graph=True)
        return grad((g * g).sum(), w)[0]

    return step


def test_second_derivatives_of_max_pooling_are_refused():
    step = of_second_derivatives(lambda x: nn.functional.max_pool1d(x, 2))
    refused(CaptureError, "the second derivative of max pooling", step, rv.rand(2, 1, 8))


def test_second_derivatives_that_numpy_computes():
    step = of_second_derivatives(lambda x: x.atan())
    for x in rv.rand(6, 2, 1, 8):
        assert step(x).tolist() == step._function(x).tolist()
    assert "numpy" in [i.op for i in step.programs[0].instructions]


def test_gradients_with_a_history_are_refused():
    w = rv.ones(2, requires_grad=True)

    @strict
    def step(x):
        w.grad = None
        (w * x).sum().backward(create_graph=True)
        return x * 2

    refused(CaptureError, "gives .grad a history", step, rv.rand(2))
