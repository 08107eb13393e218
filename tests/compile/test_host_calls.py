"""What NumPy computes inside a compiled step: a replay calls NumPy again, with eager's bits."""

import gc
import signal
import threading
import weakref

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.autograd import Function
from support.strict import strict

PLACES = rv.tensor([2, 0, 1])


def put(x, key, value):
    x = x.clone()
    x[key] = value
    return x


def bits(tensors):
    return [(t.numpy().dtype.str, t.numpy().tobytes()) for t in tensors]


class Softplus(Function):
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


class Doubling(Function):
    def forward(self, x):
        x *= 2
        return x + 0

    def backward(self, dy):
        return 2 * dy


SCALE = np.arange(3, dtype=np.float32)
FUNCTIONS = {
    "a saved result": lambda h: Softplus(1.5).apply(h),
    "one after the other": lambda h: Softplus(1.5).apply(Softplus(0.5).apply(h)) * h,
    "two results": lambda h: sum(Product().apply(h, h.tanh())),
    "a constant array": lambda h: Scaled(SCALE).apply(h),
    "det": lambda h: rv.det(h[:3]) + h,
    "inverse": lambda h: rv.inverse(h[:3] + 9 * rv.eye(3)),
    "scatter_reduce": lambda h: rv.scatter_reduce(h, 0, PLACES[None], h, "amax"),
}


def training(function, compile):
    """Losses and gradients of some steps."""
    w = rv.tensor(np.random.default_rng(0).standard_normal((3, 3)).astype(np.float32), requires_grad=True)

    def step(x):
        w.grad = None
        loss = (function(x @ w) ** 2).mean()
        loss.backward()
        return loss.detach()

    step = strict(step) if compile else step
    found = []
    for call in range(8):
        x = np.random.default_rng(call).standard_normal((4, 3)).astype(np.float32)
        found.append(bits([step(rv.tensor(x)), w.grad]))
    return found, step


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    expected, _ = training(FUNCTIONS[name], False)
    found, step = training(FUNCTIONS[name], True)
    assert found == expected
    assert "numpy" in [i.op for i in step.programs[0].instructions]


def made_in_the_step(h):
    class Shifted(Scaled):
        def forward(self, x):
            return x + self.scale

    return Shifted(1.0).apply(h)


def looked_up(h):
    function = Scaled(1.0)
    function.settings = {"scale": h}
    return function.apply(h)


UNKNOWN = {
    "changes its input": lambda h: Doubling().apply(h),
    "an array that the step makes": lambda h: Scaled(np.ones(3, np.float32)).apply(h),
    "a class that the step makes": made_in_the_step,
    "an attribute of another kind": looked_up,
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_other_functions_run_eagerly(name):
    with pytest.raises(rv.CaptureError, match="that NumPy made"):
        training(UNKNOWN[name], True)


def test_values_in_a_list_run_eagerly():
    step = strict(lambda x: put(x, PLACES, [x[0], x[1], x[2]]))
    with pytest.raises(rv.CaptureError, match="a change in place by NumPy"):
        step(rv.ones(3))


def test_changes_of_state():
    """In place, in integers and half floats that outlive the step, beside a call that fails."""

    def state():
        return rv.zeros(5, dtype=rv.int64), rv.zeros(5, dtype=rv.float16)

    def made(counts, half):
        def step(x, i):
            counts[i] = counts[i] + 1
            half.copy_(x.to(rv.float16))
            return x[counts.remainder(5)] * counts[(x > 2).long() * 9]

        return step

    def outcome(step, *arguments):
        try:
            return bits([step(*arguments)])
        except IndexError as error:
            return str(error)

    eager, captured = state(), state()
    expected, step = made(*eager), strict(made(*captured))
    for call in range(12):
        rng = np.random.default_rng(call)
        x, i = rng.random(5, np.float32), rng.permutation(5)[:3]
        x[0] += 5 * (call in (5, 9))
        arguments = rv.tensor(x), rv.tensor(i)
        assert outcome(step, *arguments) == outcome(expected, *arguments)
        assert bits(captured) == bits(eager)
    assert len(step.programs) == 1


class Interrupted(Function):
    def forward(self, x):
        if x[0] > 5:
            signal.raise_signal(signal.SIGINT)
        return np.exp(x)


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
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.line = nn.Linear(3, 4)

        def forward(self, x):
            return self.line(x).atan() + (x.sum(1).floor().int() % 3).float()[:, None]

    x = np.random.default_rng(0).normal(size=(96, 3)).astype(np.float32)

    def fitted(compile):
        rv.manual_seed(0)
        model = Model()
        trainer = rv.Trainer(model, nn.CrossEntropyLoss(), rv.optim.Adam(model.parameters()), compile=compile)
        trainer.fit(x, np.arange(96) % 4, epochs=3, batch_size=8)
        return bits([p.detach() for p in model.parameters()])

    assert fitted(True) == fitted(False)


def test_threads():
    """Each waits for the GIL inside a run, while others wait for the program."""
    step = strict(lambda x: (x.atan().floor() + x.int().float()).sum())
    inputs = [rv.tensor(np.random.default_rng(i).standard_normal(50).astype(np.float32)) for i in range(4)]
    expected = [step._function(x).item() for x in inputs]
    found = {}

    def work(number):
        found[number] = [[step(x).item() for x in inputs] for _ in range(50)]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[n] == [expected] * 50 for n in range(3))


def test_nothing_is_kept():
    def made():
        w = rv.ones(3, requires_grad=True)

        @strict
        def step(x):
            w.grad = None
            loss = Softplus(2.0).apply(x * w).sum()
            loss.backward()
            return loss.detach()

        for call in range(5):
            step(rv.full((3,), float(call)))
        return weakref.ref(w), weakref.ref(step.programs[0])

    references = made()
    gc.collect()
    assert [reference() for reference in references] == [None, None]


def test_subnormal_numbers_are_what_numpy_makes_of_them():
    rv.set_flush_denormal(True)
    try:
        step = strict(lambda x: (x.floor() + x.frac()).double() + x.frac().double())
        for call in range(5):
            x = rv.tensor(np.full(3, call * 1e-39, np.float32))
            assert bits([step(x)]) == bits([step._function(x)])
    finally:
        rv.set_flush_denormal(False)
