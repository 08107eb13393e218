"""Results of compiled steps: arguments among them, gradients, memory, tapes; others: rows of `staleness`."""

import dataclasses

import numpy as np
import pytest
import ranvier as rv
from compile.beside import bits, same
from ranvier import nn
from support.refused import refused
from support.strict import strict

CALLS = 10


@dataclasses.dataclass(frozen=True)
class Output:
    first: object
    second: object


def test_an_argument_that_holds_itself(recwarn):
    items = [1]
    items.append(items)
    step = rv.compile(lambda x, items: x * len(items))
    for number in range(CALLS):
        assert step(rv.full((3,), number), items).tolist() == [2.0 * number] * 3
    assert step.programs or ["[compile]" in str(w.message) for w in recwarn] == [True]


# --- arguments that a model returns
class Layer(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


RETURNING = {
    "identity": nn.Identity(),
    "dropout": nn.Sequential(nn.Dropout2d(0.3)),
    "flatten": nn.Flatten(),
    "slice": Layer(lambda x: x[:, :1]),
    "among others": Layer(lambda x: {"given": x, "made": (x * 2, x)}),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.bool_])
@pytest.mark.parametrize("name", RETURNING)
def test_a_model_that_returns_its_argument(name, dtype):
    model = RETURNING[name].eval()
    fast, kept = strict(model), []
    for number in range(5):
        x = (np.arange(48).reshape(2, 3, 2, 4) % 5 - number).astype(dtype)
        if x.dtype.kind == "f":
            x[0, 0, 0, :2] = [np.nan, -0.0]
        kept.append((fast(x), bits(model(rv.tensor(x.copy())))))
        x[...] = 1  # the result has its own memory
    assert all(bits(found) == expected for found, expected in kept)
    assert len(fast.programs) == 1


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
def test_integer_arguments(dtype):  # that the model does not return, but for int64
    table = nn.Embedding(9, 4)
    model = Layer(lambda index, x: Output(table(index).sum(-1) * x, index if dtype == np.int64 else x)).eval()

    def inputs(number):
        return rv.tensor((np.arange(6) + number).astype(dtype) % 9), rv.full((6,), number)

    with rv.no_grad():
        assert same(lambda: model, inputs).programs


# --- gradients, tapes, and what the caller does to a result
@pytest.mark.parametrize("view", [lambda g: g, lambda g: g.detach(), lambda g: g.view(-1)[1:]])
def test_a_gradient_among_the_results_is_that_of_the_leaf(view):
    """What the caller does to it, the next statement finds in the leaf, after a check, too."""
    w = nn.Parameter(rv.ones(3, 2))

    @strict
    def gradient(x):
        w.grad = None
        (w * x).sum().backward()
        return view(w.grad), w.detach()

    for i in range(9):
        x = rv.full((3, 2), i + 1.0)
        found, data = gradient(x)
        assert (found is w.grad) == (view(w.grad) is w.grad)
        found.zero_()
        expected = x.clone()
        view(expected).zero_()
        np.testing.assert_array_equal(w.grad.numpy(), expected.numpy())
        assert not data.requires_grad
        data.requires_grad_()
    assert len(gradient.programs) == 2  # one for the first call, which finds no gradient


def test_a_gradient_is_the_one_of_the_call():
    p, x = rv.ones(3, requires_grad=True), rv.ones(3)
    step = strict(lambda x: (x * 2, p.grad))
    for value in (1.0, 1.0, 1.0, 7.0, 8.0, None):
        p.grad = None if value is None else rv.full((3,), value)
        assert step(x)[1] is p.grad


def test_views_of_one_result_count_its_changes_together():
    step = strict(lambda x: (lambda y: (y, y.view(-1)))(x * 2))
    w = rv.ones(3, requires_grad=True)
    for _ in range(4):
        y, view = step(rv.ones(3))
        loss = (view * w).sum()
        y.add_(100.0)
        refused(RuntimeError, "modified by an inplace operation", loss.backward)


def test_a_tape_notices_a_replay_after_a_change_of_another_part():
    w = nn.Parameter(rv.ones(3, 2))
    optimizer = rv.optim.SGD([w], lr=0.1)

    @strict
    def train(x):
        optimizer.zero_grad()
        (w * x).sum().backward()
        optimizer.step()

    x = rv.ones(3, 2)
    for _ in range(5):
        train(x)
    with rv.no_grad():
        w[0].mul_(2)
    loss = (w[1:] * w[1:]).sum()
    train(x)
    refused(RuntimeError, "modified by an inplace operation", loss.backward)


def test_a_tape_notices_a_change_before_a_replay_of_another_part():
    w, both = nn.Parameter(rv.ones(2)), rv.ones(4)
    first = both[:2]
    double = strict(lambda: first.mul_(2).sum())
    for _ in range(5):
        double()
    loss = (w * both[2:]).sum()
    both[2:].add_(1.0)
    double()
    refused(RuntimeError, "modified by an inplace operation", loss.backward)


class Cache:
    def __init__(self):
        self.sum = rv.zeros(2)


def test_an_object_that_is_given_may_be_returned():
    step = rv.compile(lambda x, cache: (x + cache.sum.add_(x), cache), strict=True)
    for cache in (Cache(), Cache()):
        for number in range(1, CALLS):
            y, returned = step(rv.ones(2), cache)
            assert (y.tolist(), returned) == ([number + 1.0] * 2, cache)
    assert len(step.programs) == 2
