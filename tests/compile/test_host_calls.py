"""Calls of NumPy inside a compiled step: a replay calls NumPy again, with eager's bits.

`same(make, inputs)` compiles what make() gives and asserts that each call shows what the plain step shows.
"""

import signal

import numpy as np
import pytest
import ranvier as rv
from compile.beside import alike, bits, drawn, names, put, same
from ranvier import nn
from ranvier.autograd import Function
from support.strict import strict
from support.threads import in_threads

PLACES = rv.tensor([2, 0, 1])
SCALE = np.arange(3, dtype=np.float32)
INTERRUPT = int(signal.SIGINT)


class Softplus(Function):
    """Computes by NumPy alone, and keeps its result."""

    def __init__(self, beta):
        self.beta = beta

    def forward(self, x):
        self.y = np.log1p(np.exp(self.beta * x)) / self.beta
        return self.y

    def backward(self, dy):
        return dy * (1 - np.exp(-self.beta * self.y))


class Product(Function):
    """Keeps inputs in a tuple, a transposed one, and a mask; its second result has no gradient."""

    def forward(self, a, b):
        self.saved, self.turned, self.mask = (a, b), a.T, a > b
        return a * b * self.mask, np.floor(a)

    def backward(self, da, _):
        (_, b), a = self.saved, self.turned.T
        return da * b * self.mask, da * a * self.mask


class Scaled(Function):
    def __init__(self, scale):
        self.scale = scale

    def forward(self, x):
        return x * self.scale

    def backward(self, dy):
        return dy * self.scale


class Doubling(Scaled):
    def forward(self, x):
        x *= 2
        return x + 0


class Deep(Function):
    """Its result has more dimensions than an instruction has."""

    def forward(self, x):
        return np.exp(x).reshape(*[1] * 8, 3)


class Interrupted(Function):
    def forward(self, x):
        if x[0] > 5:
            signal.raise_signal(INTERRUPT)
        return np.exp(x)


def made_in_the_step(h):
    return type("Shifted", (Scaled,), {"forward": lambda self, x: x + self.scale})(1.0).apply(h)


def looked_up(h):
    function = Scaled(1.0)
    function.settings = {"scale": h}
    return function.apply(h)


# A function of h (4, 3), whose gradient is computed, and why it cannot be replayed; None: it is.
ROWS = {
    "a saved result": (lambda h: Softplus(1.5).apply(h), None),
    "one after the other": (lambda h: Softplus(1.5).apply(Softplus(0.5).apply(h)) * h, None),
    "two results": (lambda h: sum(Product().apply(h, h.tanh())), None),
    "a number": (lambda h: Scaled(2.0).apply(h), None),
    "det": (lambda h: rv.det(h[:3]) + h, None),
    "pinv": (lambda h: rv.linalg.pinv(h).T + h, None),
    "scatter_reduce": (lambda h: rv.scatter_reduce(h, 0, PLACES[None], h, "amax"), None),
    "integers": (lambda h: h * (h.detach().sum(1).floor().int() % 3).float()[:, None] + h.atan(), None),
    "a constant that is changed": (lambda h: h * rv.eye(3, dtype=rv.int32).add_(1)[0], None),
    "changes its input": (lambda h: Doubling(2).apply(h), "that NumPy made"),
    "an array that the step makes": (lambda h: Scaled(np.ones(3, np.float32)).apply(h), "that NumPy made"),
    "a global array": (lambda h: Scaled(SCALE).apply(h), "SCALE|NumPy"),
    "a class that the step makes": (made_in_the_step, "that NumPy made"),
    "an attribute of another kind": (looked_up, "that NumPy made"),
    "values in a list": (lambda h: put(z := h.detach()[0], PLACES, [*z]) * h, "a change in place by NumPy"),
}


def maker(function):
    """For `same`: a step whose loss is a function of x w, and the weight w."""

    def make():
        w = rv.randn(3, 3).requires_grad_()

        def step(x):
            w.grad = None
            loss = (function(x @ w) ** 2).mean()
            loss.backward()
            return loss.detach()

        return step, [w], nn.ParameterList([w])

    return make


@pytest.mark.parametrize("name", ROWS)
def test_replayed_or_refused(name):
    function, reason = ROWS[name]
    if reason is None:
        assert "numpy" in names(same(maker(function), drawn((4, 3)), 8))
    else:
        with pytest.raises(rv.CaptureError, match=reason):
            same(maker(function), drawn((4, 3)), 8)


def written(x):
    y = x * 1
    y[..., PLACES] = x[..., :1] + 1
    return y


@pytest.mark.filterwarnings("ignore:.compile. .* runs eagerly")
@pytest.mark.parametrize("step", [written, lambda x: rv.remainder(x * 3 - 4, 5)])
def test_more_dimensions_than_an_instruction_has(step):
    compiled = rv.compile(step)
    for first in range(3):
        x = rv.tensor(np.arange(first, first + 3).reshape(*[1] * 8, 3))
        assert compiled(x).equal(step(x))


@pytest.mark.filterwarnings("ignore:.compile. .* runs eagerly")
def test_a_result_of_more_dimensions_than_an_instruction_has():
    step = lambda x: Deep().apply(x)  # noqa: E731
    compiled = rv.compile(step)
    for first in range(3):
        x = rv.tensor([float(first), 1, 2])
        assert compiled(x).tolist() == step(x).tolist()


def test_changes_of_state():
    """In place, in integers and half floats that outlive the step, beside a call that fails."""

    def make():
        counts, half = rv.zeros(5, dtype=rv.int64), rv.zeros(5, dtype=rv.float16)

        def step(x, i):
            counts[i] = counts[i] + 1
            half.copy_(x.to(rv.float16))
            return x[counts.remainder(5)] * counts[(x > 2).long() * 9]

        return step, counts, half

    def inputs(number):
        rng = np.random.default_rng(number)
        x, i = rng.random(5, np.float32), rng.permutation(5)[:3]
        x[0] += 5 * (number in (5, 9))
        return rv.tensor(x), rv.tensor(i)

    assert len(same(make, inputs, 12).programs) == 1


def test_an_interrupt_puts_all_back():
    total = rv.zeros(3)

    @strict
    def step(x):
        total.add_(x)
        return Interrupted().apply(x).sum()

    for call in range(6):
        step(rv.full((3,), call / 10))
    before = total.tolist()
    with pytest.raises(KeyboardInterrupt):
        step(rv.full((3,), 9.0))
    assert total.tolist() == before
    assert step(rv.zeros(3)).item() == 3


def test_batches_of_a_fit():
    x = np.random.default_rng(0).normal(size=(96, 3)).astype(np.float32)

    def run(compile):
        rv.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.Identity())
        model[1].forward = lambda x: x.atan() + (x.detach().floor().int() % 3).float()
        trainer = rv.Trainer(model, nn.CrossEntropyLoss(), rv.optim.Adam(model.parameters()), compile=compile)
        trainer.fit(x, np.arange(96) % 4, epochs=3, batch_size=8)
        return bits(model)

    alike(run)


def test_threads():
    """Each waits for the GIL inside a run, while others wait for the program."""
    step = lambda x: (x.atan().floor() + x.int().float()).sum()  # noqa: E731
    inputs = [drawn((50,))(number) for number in range(4)]
    fast, expected = strict(step), [step(*x).item() for x in inputs]
    found = in_threads(3, lambda number: [[fast(*x).item() for x in inputs] for _ in range(50)])
    assert found == [[expected] * 50] * 3
