"""Training steps as programs write them, run eagerly and compiled: what has to be equal."""

import numpy as np
import ranvier as rv
from ranvier import nn
from ranvier.nn import functional as F

STEPS = 5


def mlp():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))


def images():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 3),
    )


class Base:
    """A model, an optimizer and the plain step; what is to be compared at the end."""

    shape = (6,)
    dtype = np.float32

    def __init__(self):
        rv.manual_seed(3)
        self.more = []  # besides the model, what is to be compared
        self.model = self.make()
        self.optimizer = self.make_optimizer()
        self.prepare()

    make = staticmethod(mlp)

    def make_optimizer(self):
        return rv.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)

    def prepare(self):
        pass

    def loss(self, x, y):
        return F.cross_entropy(self.model(x), y)

    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = self.loss(x, y)
        loss.backward()
        self.update()
        return loss

    def update(self):
        self.optimizer.step()

    def between(self):
        """Between two steps, eagerly."""

    def modules(self):
        return [self.model, self.more]


def subclasses(kind):
    for sub in kind.__subclasses__():
        yield sub
        yield from subclasses(sub)


def values(x):
    if isinstance(x, nn.Module):
        x = x.state_dict()
    if isinstance(x, dict):
        return [item for value in x.values() for item in values(value)]
    if isinstance(x, (tuple, list)):
        return [item for value in x for item in values(value)]
    return [x.detach().numpy().copy()]


def run(kind, wrap):
    program = kind()
    step = wrap(program.step)
    rng, results = np.random.default_rng(5), []
    for _ in range(STEPS):
        x, y = rng.standard_normal((4, *kind.shape)).astype(kind.dtype), rng.integers(0, 3, 4)
        results.append(values(step(rv.from_numpy(x), rv.from_numpy(y))))
        program.between()
    return results, [values(m) for m in program.modules()], rv.get_rng_state()["calls"]


def run_at_once(kind):
    """The same by one call of `step.run`, where nothing happens between the steps."""
    program = kind()
    rng = np.random.default_rng(5)
    data = [
        (rng.standard_normal((4, *kind.shape)).astype(kind.dtype), rng.integers(0, 3, 4))
        for _ in range(STEPS)
    ]
    x, y = (rv.tensor(np.stack(arrays)) for arrays in zip(*data, strict=True))
    results = rv.compile(program.step).run(x, y)
    each = (
        [values(r) for r in results] if isinstance(results, list) else [*zip(*values(results), strict=True)]
    )
    return each, [values(m) for m in program.modules()], rv.get_rng_state()["calls"]


def assert_same_as_eager(kind, compiled_run=None):
    """Results of each step, all memory at the end, and the random numbers drawn, bit for bit."""
    eager, compiled = (
        run(kind, lambda step: step),
        compiled_run(kind) if compiled_run else run(kind, rv.compile),
    )
    assert eager[2] == compiled[2]
    for part in (0, 1):
        for expected, got in zip(eager[part], compiled[part], strict=True):
            for a, b in zip(expected, got, strict=True):
                np.testing.assert_array_equal(b, a)
                assert a.dtype == b.dtype
