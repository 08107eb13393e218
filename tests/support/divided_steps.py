"""Random steps of Python statements between tensor arithmetic, as source text, and their runs."""

import contextlib
import importlib.util
import io
import random
import warnings

import numpy as np
import ranvier as rv

HEAD = """
import contextlib
import math
from types import SimpleNamespace
import ranvier as rv
from ranvier import nn
from ranvier.nn import functional as F

COUNT = 0


class State:
    def __init__(self):
        self.total, self.items, self.calls, self.factor = 0.0, [], 0, 1.5


def make():
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 4))
    optimizer = rv.optim.Adam(model.parameters(), lr=1e-2)
    state = State()

    def helper(v, w):
        out = model(v.detach())
        other = F.mse_loss(out, w.tanh().detach()[:, :4])
        other.backward()
        state.items.append(other.item())
        return other, v * 2

    def step(x, y, k=2):
        global COUNT
        n = 3
        a = x * 2
        b = x + 1
        c = x.sum()
        loss = c
{body}
        return {result}

    return step, model, optimizer, state
"""

TRAIN = [
    "optimizer.zero_grad()",
    "out = model({t})",
    "loss = F.cross_entropy(out, y)",
    "loss.backward()",
    "optimizer.step()",
]
TENSOR = [
    "{t} = {t} * 0.5 + {t}.mean()",
    "{t} = {t}.tanh()",
    "{t} += 1",
    "{t} = model({t}).detach().sum() + {t}",
    "a, b = b, a",
    "b = a",
    "b = a[:, :6]",
    "a = a.clone(); a.add_(1)",
    "a.mul_(0.5)",
    "c = ({t} * {t}).sum()",
    "{t} = rv.stack([{t}, {t}]).mean(0)",
    "parts = [{t}.sum(), {t}.max()]; c = parts[0] - parts[1]",
    "a = max((a, b), key=lambda v: n)",
    "{t} = sum([v for v in ({t}, b)])",
    "with rv.no_grad():\n    {t} = F.relu({t})",
    "for i in range(n):\n    {t} = {t} * 0.9\n    c = c + {t}.mean()",
    "{t} = F.dropout({t}, 0.5)",
    "{t} = {t} + rv.rand(5, 6)",
    "d = {{'s': {t}.sum(), 't': {t}}}\nc = c + d['s']",
]
PYTHON = [
    "print(c.item())",
    "print(loss)",
    "print(tuple({t}.shape), n)",
    "n = n + 1",
    "n -= 1",
    "state.items.append(c.item())",
    "state.total += float(c.detach())",
    "state.calls += 1",
    "COUNT += 1",
    "if c.item() > 0:\n    n = 4\nelse:\n    {t} = {t} * 2",
    "if state.calls % 3 == 2:\n    print('third', c.item())\n    {t} = {t}.sigmoid()",
    "for j in range(2):\n    print(j, c.item())\n    {t} = {t} * 1.5\n    if c.item() < 0:\n        break",
    "while n > 2:\n    n -= 1\n    {t} = {t} - n\n    print(n)",
    "try:\n    print(c.item())\n    {t} = {t}.exp().clamp(max=3)\nexcept ValueError:\n    n = 7",
    "if math.isnan(c.item()):\n    return None",
    "if n > 5 and c.item() > 1e9:\n    return c",
    "late = c.item()\nn = n + (late > 0)",
    "def inner(v, w=n):\n    return v * w\n{t} = inner({t})\nprint(c.item())",
    "values = {t}.detach().numpy().copy()\nprint(values.shape)",
    "{t} = rv.tensor({t}.tolist())",
    "del loss\nloss = c",
    "f = lambda: c\nprint(f().item())",
    "state.factor = 1.5 if state.calls < 4 else 2.0\n{t} = {t} * state.factor",
    "i = rv.randint(0, 5, (5,))\n{t} = {t}[i]",
    "d, {t} = helper({t}, a)\nprint(d.requires_grad)",
    "print(helper(a, b)[0])",
    "if helper(b, {t})[0].item() > 0.5:\n    n += 1",
]


def body(seed: int) -> tuple[str, str]:
    """Statements, and the expression that is returned."""
    rng = random.Random(seed)
    lines: list[str] = []
    tensor = lambda: rng.choice(["a", "b"])  # noqa: E731
    count = rng.randint(2, 8)
    train = sorted(rng.sample(range(count), min(count, rng.choice([0, 1, 1, 2]))))
    for place in range(count):
        if place in train:
            t = tensor()
            whole = [line.format(t=t + ".detach()") for line in TRAIN]
            if rng.random() < 0.3:
                whole.insert(rng.randint(0, 5), rng.choice(["print('in')", "print(c.item())", "n = n + 1"]))
            lines += whole
        if rng.random() < 0.6:
            lines += rng.choice(TENSOR).format(t=tensor()).replace("; ", "\n").split("\n")
        else:
            lines += rng.choice(PYTHON).format(t=tensor()).split("\n")
        if rng.random() < 0.1:
            block = rng.choice(["if n > 0:", "for _ in range(1):", "with rv.no_grad():"])
            lines = [block, *["    " + line for line in lines]] if "return" not in "".join(lines) else lines
    result = rng.choice(["loss", "(loss, a)", "c, n", "loss.item()", "[a, b, c]", "{'c': c, 'n': n}", "a"])
    return "\n".join(" " * 8 + line for line in lines), result


def load(path, text: str):
    """The module of a source text: its statements can be looked up."""
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shown(value):
    """A result as something to be compared: bits of Tensors, and whether they have a tape."""
    if isinstance(value, rv.Tensor):
        return str(value.dtype), value.shape, value.detach().numpy().tobytes()
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *map(shown, value)]
    return {k: shown(v) for k, v in value.items()} if isinstance(value, dict) else repr(value)


def outcome(module, compiled: bool, calls: int = 8, numbers=None):
    """(what each call gave and printed, the state afterwards, the compiled step).

    numbers: of the number of a call: what `k` is in it.
    """
    rv.manual_seed(1)
    module.COUNT = 0
    step, model, _, state = module.make()
    called = rv.compile(step) if compiled else step
    rng = np.random.default_rng(0)
    seen = []
    for call in range(calls):
        x = rv.tensor(rng.standard_normal((5, 6)).astype(np.float32))
        y = rv.tensor(rng.integers(0, 4, 5))
        text = io.StringIO()
        with contextlib.redirect_stdout(text), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                if numbers is not None:
                    result = called(x, y, numbers(call))
                else:
                    result = called(x, y) if call != 4 else called(x, y, k=3)
            except Exception as error:
                result = type(error).__name__, str(error)
        seen.append((shown(result), text.getvalue(), shown(x)))
    weights = [(shown(p), None if p.grad is None else shown(p.grad)) for p in model.parameters()]
    end = weights, shown(state.items), state.total, state.calls, module.COUNT, shown(rv.rand(3))
    return seen, end, called
