"""Random steps with views, changes in place and lasting memory: compiled bit for bit."""

import os
import random

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.nn import functional as F
from support import random_steps
from support.strict import strict

STEPS, LENGTH = 4, 14
PARTS, PER_PART = 8, int(os.environ.get("RANVIER_RANDOM_STEPS", "80")) // 8


def row(t, u, a, b, c):
    t[int(a * 4)] = u[int(b * 4)]
    return t


def column(t, u, a, b, c):
    t[:, int(a * 6)] = u.mean(1)
    return t


def pick(options, share):
    return options[int(share * len(options))]


# (t, u, three numbers below 1) -> a tensor of the same shape, or t itself, changed
IN_PLACE = {
    "numbers": lambda t, u, a, b, c: pick((t.add_, t.mul_, t.clamp_), a)(b),
    "tensors": lambda t, u, a, b, c: pick((t.add_, t.mul_, t.sub_), a)(u),
    "row": row,
    "column": column,
    "copy": lambda t, u, a, b, c: t.copy_(u),
    "zeros": lambda t, u, a, b, c: (t[1:3].zero_(), t)[1],
}
PURE = {
    "function": lambda t, u, a, b, c: (
        pick((rv.exp, rv.tanh, rv.relu, rv.sigmoid, rv.abs, rv.neg), a)(t) * 0.5
    ),
    "pair": lambda t, u, a, b, c: pick((t + u, t - u, t * u, rv.maximum(t, u), t / (u * u + 1)), a),
    "number": lambda t, u, a, b, c: pick((t * a, a - t, t + a, t / (a + 0.5), t**2), b),
    "view": lambda t, u, a, b, c: pick((t.T.reshape(4, 6), t.flip(0), t.roll(1, 1), halves(t)), a),
    "sum": lambda t, u, a, b, c: t + t.sum(int(a * 2), keepdim=True) * 0.1,
    "mean": lambda t, u, a, b, c: t - t.mean(),
    "product": lambda t, u, a, b, c: (t @ u.T) @ u * 0.1,
    "softmax": lambda t, u, a, b, c: rv.softmax(t, int(a * 2)),
    "where": lambda t, u, a, b, c: rv.where(t > u, t, u * 0.5),
    "mask": lambda t, u, a, b, c: t.masked_fill(u > 0.5, a),
    "cat": lambda t, u, a, b, c: rv.cat([t[:2], u[2:]]),
    "dropout": lambda t, u, a, b, c: F.dropout(t, 0.3),
    "clone": lambda t, u, a, b, c: t.clone(),
    "detach": lambda t, u, a, b, c: t.detach() * 0.7,
}
OF_MODEL = (
    "norm",
    "batch norm",
    "linear",
    "relu of linear",
    "weight",
    "rows",
    "gather",
    "follow",
    "followed",
)


def halves(t):
    return t.reshape(2, 2, 6).transpose(0, 1).reshape(4, 6)


class Program(nn.Module):
    def __init__(self, seed):
        super().__init__()
        draw = random.Random(seed)
        names = (*IN_PLACE, *PURE, *OF_MODEL)
        count = draw.randint(3, LENGTH)
        self.code = [(draw.choice(names), *(draw.random() for _ in range(6))) for _ in range(count)]
        self.results, self.trains = draw.randint(1, 3), draw.random() < 0.7
        rv.manual_seed(seed)
        self.layer_norm, self.batch_norm, self.linear = nn.LayerNorm(6), nn.BatchNorm1d(6), nn.Linear(6, 6)
        self.weight = nn.Parameter(rv.randn(4, 6))
        self.register_buffer("state", rv.zeros(4, 6))
        self.optimizer = rv.optim.SGD(self.parameters(), lr=0.05, momentum=0.5)

    def of_model(self, name, t, u, y):
        if name == "follow":
            with rv.no_grad():
                self.state.mul_(0.5).add_(t.detach())
            return t
        return {
            "norm": lambda: self.layer_norm(t),
            "batch norm": lambda: self.batch_norm(t),
            "linear": lambda: self.linear(t),
            "relu of linear": lambda: F.relu(self.linear(t)),
            "weight": lambda: t * self.weight,
            "rows": lambda: t[y],
            "gather": lambda: t.gather(1, y.reshape(4, 1)) * u,
            "followed": lambda: t + self.state,
        }[name]()

    def forward(self, x, y):
        made = [x * 1.0, x + 1]
        for name, first, second, in_own, *numbers in self.code:
            t, u = pick(made, first), pick(made, second)
            if name in IN_PLACE:
                with rv.no_grad():
                    own = self.trains or in_own < 0.5
                    made.append(IN_PLACE[name](t.detach().clone() if own else t, u.detach(), *numbers))
            else:
                made.append(PURE[name](t, u, *numbers) if name in PURE else self.of_model(name, t, u, y))
        return made[-self.results :]

    def step(self, x, y):
        results = self(x, y)
        if self.trains:
            self.optimizer.zero_grad()
            loss = sum((r * r).mean() for r in results) + (self.weight * 0.1).sum()
            loss.backward()
            self.optimizer.step()
        return [r.detach().clone() for r in results]


def run(seed, wrap):
    program = Program(seed)
    step, rng, arrays = wrap(program.step), np.random.default_rng(seed), []
    for _ in range(STEPS):
        x, y = rng.standard_normal((4, 6)).astype(np.float32), rng.integers(0, 4, 4)
        arrays += [t.numpy() for t in step(rv.from_numpy(x), rv.from_numpy(y))]
    return program.code, arrays + [t.numpy(force=True) for t in program.state_dict().values()]


@pytest.mark.parametrize("part", range(PARTS))
def test_same_as_eager(part, threads):
    for seed in range(part, PARTS * PER_PART, PARTS):
        threads(1)
        code, eager = run(seed, lambda step: step)
        threads(1 + seed % 3)
        _, compiled = run(seed, strict)
        for expected, got in zip(eager, compiled, strict=True):
            np.testing.assert_array_equal(got, expected, err_msg=f"seed {seed}: {code}")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", range(PARTS))
def test_training_steps_same_as_eager(part):
    """Second gradients, distributions, hooks, containers, two optimizers, and changes between the calls."""
    captured, seeds = 0, range(part, PARTS * PER_PART // 2, PARTS)
    for seed in seeds:
        outcome, remark = random_steps.judged(random_steps.Program(seed))
        if outcome == "wrong":
            source = random_steps.reduced(random_steps.Program(seed)).source()
            pytest.fail(f"seed {seed}: {remark}\n{source}")
        captured += outcome == "as eager"
    assert captured > 0.3 * len(seeds), "few of them are captured"
