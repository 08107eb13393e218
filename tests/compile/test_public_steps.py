"""Training steps in the manner of public programs, captured as a whole, with eager's bits."""

import copy

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.nn import functional as F
from support.strict import strict


def network():
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


def attacked(draw):
    """Projected gradient descent: a leaf made in the step, whose gradient a variable holds."""
    model = network()
    optimizer = rv.optim.SGD(model.parameters(), 0.1)

    def step(x, y):
        delta = rv.zeros_like(x).uniform_(-0.1, 0.1)
        delta.requires_grad = True
        for _ in range(3):
            F.cross_entropy(model(x + delta), y).backward()
            gradient = delta.grad.detach()
            delta.data = rv.clamp(delta + 0.02 * rv.sign(gradient), -0.1, 0.1)
            delta.grad.zero_()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x + delta.detach()), y)
        loss.backward()
        optimizer.step()
        return loss, gradient

    return step, model, lambda: (rv.tensor(draw(8, 6)), rv.tensor(draw(8, 3).argmax(1)))


def accumulated(draw):
    """A gradient of the step's own that is held while another is added."""
    model = network()

    def step(x, y):
        model.zero_grad()
        F.cross_entropy(model(x), y).backward()
        first = [p.grad for p in model.parameters()]
        F.cross_entropy(model(-x), y).backward()
        return [g * 2 for g in first]

    return step, model, lambda: (rv.tensor(draw(8, 6)), rv.tensor(draw(8, 3).argmax(1)))


def reptile(draw):
    """Copies of the weights, from which they continue."""
    model = network()

    def step(x, y):
        before = copy.deepcopy(model.state_dict())
        for start in (0, 4):
            model.zero_grad()
            loss = (model(x[start : start + 4]) - y[start : start + 4]).pow(2).mean()
            loss.backward()
            for p in model.parameters():
                p.data -= 0.02 * p.grad.data
        after = model.state_dict()
        model.load_state_dict({name: before[name] + (after[name] - before[name]) * 0.1 for name in before})
        return loss

    return step, model, lambda: (rv.tensor(draw(8, 6)), rv.tensor(draw(8, 3)))


def of_arrays(draw):
    """Arrays of NumPy become Tensors by their classes."""
    model = network()
    optimizer = rv.optim.Adam(model.parameters())

    def step(x, y, weights):
        x, y, weights = rv.FloatTensor(x), rv.LongTensor(y), rv.FloatTensor(weights)
        loss = (F.cross_entropy(model(x), y, reduction="none") * weights).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return (
        step,
        model,
        lambda: (draw(8, 6), draw(8, 3).argmax(1).astype(np.int32), draw(8).astype(np.float64)),
    )


STEPS = [attacked, accumulated, reptile, of_arrays]


@pytest.mark.parametrize("make", STEPS)
def test_as_the_eager_step(make):
    seen = []
    for wrap in (lambda step: step, strict):
        rng = np.random.default_rng(0)
        rv.manual_seed(0)
        step, model, inputs = make(lambda *shape, rng=rng: rng.standard_normal(shape).astype(np.float32))
        called, kept = wrap(step), []
        for _ in range(18):
            kept.append([np.array(t.detach().numpy()) for t in leaves(called(*inputs()))])
            kept.append([np.array(t.detach().numpy()) for p in model.parameters() for t in (p, p.grad)])
        seen.append([[(a.dtype, a.tobytes()) for a in arrays] for arrays in [*kept, [rv.rand(3).numpy()]]])
    assert seen[0] == seen[1]
    assert called.latest is not None


def leaves(result):
    return result if isinstance(result, (list, tuple)) else [result]
