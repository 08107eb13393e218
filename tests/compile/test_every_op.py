"""Ops in a small training step: a replay has the bits of the eager step.

Each op of `support/calls.py` as it is called there, ops that are loaded late in `test_late_imports.py`; the
rows here have several ops, or an op in another form.
"""

import numpy as np
import pytest
import ranvier as rv
from compile.test_every_layer import judged, rows
from ranvier import distributions as D
from ranvier import nn, ops
from ranvier.nn import functional as F
from support import calls
from support.grouped import grouped


def attention(x):
    q, k, v = x.reshape(2, 6, 2).chunk(3, dim=1)
    scores = q @ k.transpose(-1, -2) / 2**0.5
    hidden = rv.triu(rv.ones(2, 2), 1) > 0
    return rv.softmax(scores.masked_fill(hidden, float("-inf")), -1) @ v


OPS = {
    "chunk": lambda x: x.chunk(2)[1].exp(),
    "slice": lambda x: x[1:, ::2],
    "one element": lambda x: x[1, 2] * x,
    "rows by a list": lambda x: x[[0, 2, 2]],
    "elements by lists": lambda x: x[[0, 1], [1, 1]],
    "where numbers": lambda x: rv.where(x > 0, x, 0.5) + rv.where(x > 0, 1.0, x),
    "float mask": lambda x: x * (x > 0).float(),
    "var": lambda x: x / (x.var(1, keepdim=True) + 1).sqrt(),
    "std": lambda x: x.std(),
    "norm 1": lambda x: x.norm(1, dim=1),
    "norm inf": lambda x: x.norm(float("inf")),
    "attention": attention,
    "einsum": lambda x: rv.einsum("ij,kj->ik", x, x) / 20,
    "cumsum": lambda x: x.cumsum(1),
    "cumprod": lambda x: x.cumprod(1),
    "sort": lambda x: x.sort(1).values * rv.arange(6),
    "median": lambda x: x.median(1).values,
    "kthvalue": lambda x: x.kthvalue(2, 1).values,
    "diagonal": lambda x: x.diagonal(),
    "roll": lambda x: x.roll(2, 1) * x,
    "repeat": lambda x: x.repeat(2, 1) * 2,
    "repeat_interleave": lambda x: x.repeat_interleave(2, dim=0),
    "power": lambda x: (x.abs() ** 1.5 + x**2 + x**3) / 20,
    "number first": lambda x: 1 - x + 1 / (x * x + 1) + 2 ** (x * 0.1),
    "numpy number": lambda x: x * np.float32(0.5) + np.float64(1.5),
    "sum of several": lambda x: (x * x).sum() + x.abs().mean(),
    "clone": lambda x: x.clone() + x.contiguous(),
    "double": lambda x: x.double().float() * 2,
    "to and fro": lambda x: (x.double() * 3).sum().float() * x,
    "new_zeros": lambda x: x + rv.zeros(4, 6) + rv.ones_like(x) + rv.full((6,), 0.5),
    "eye": lambda x: x[:, :4] @ rv.eye(4),
    "state in place": lambda x: rv.zeros(4, 6).add_(x).mul_(2),
    "setitem": lambda x: put(x),
    "setitem onto itself": lambda x: put_onto_itself(x),
    "changed after its last use": lambda x: changed_afterwards(x),
    "setitem by a mask": lambda x: put_at_mask(x),
    "data": lambda x: x * x.data,
    "isfinite": lambda x: x * rv.isfinite(x).float(),
    "detach": lambda x: x * x.detach(),
    "noise": lambda x: x + 0.1 * rv.randn(4, 6) + rv.rand_like(x),
    "scatter": lambda x: rv.scatter(x, 1, x.argmax(1, keepdim=True), 1.0),
    "unfold by views": lambda x: rv.stack([x[:, i : i + 3] for i in range(4)], 1),
    "atan2": lambda x: rv.atan2(x, 2.0),
    "kron": lambda x: rv.kron(x, x),
    "lerp": lambda x: rv.lerp(x, 1.0, 0.3),
    "logaddexp": lambda x: rv.logaddexp(x, 0.0),
    "rsqrt": lambda x: rv.rsqrt(x * x),
    "sinh": lambda x: x.sinh(),
    "flatten": lambda x: nn.Flatten()(x.reshape(1, 2, 3, 4).to(memory_format=rv.channels_last)),
    "qr": lambda x: sum(part.sum() for part in rv.linalg.qr(x)),
    "svd": lambda x: sum((part**2 + part).sum() for part in rv.linalg.svd(x[:3, :3])),
    "eigh": lambda x: rv.linalg.eigh(x @ x.T)[1].square().cumsum(1).sum(),
    "pinv": lambda x: rv.linalg.pinv(x[:, :4] + 3 * rv.eye(4)),
    "an array as float64": lambda x: rv.tensor(x, dtype=rv.float64).sum() * x,
    "a row of numbers": lambda x: x[:, :3] * rv.tensor([1.0, 2.0, 3.0]),
    "a column of integers": lambda x: x * rv.as_tensor([[1], [2], [3], [4]]),
    "places": lambda x: x[rv.arange(4), rv.tensor([0, 1, 2, 0])],
    "booleans": lambda x: x[:, :3] * rv.tensor([True, False, True]),
    "a constant": lambda x: x[:, :3] + rv.constant(np.full(3, 2, np.float32)),
    "a sum that the step begins": lambda x: x + added(rv.tensor([0.0] * 6), x.detach()),
    "a sum of integers": lambda x: x + added(rv.tensor([1, 2, 3, 4, 5, 6]), x.detach()).float(),
    "a copy of integers": lambda x: x * x.long().clone() + (x > 1).clone(),
    "two dropouts": lambda x: nn.functional.dropout(nn.functional.dropout(x, 0.2), 0.3),
}


def added(total, x):
    total += x.sum(0).to(total.dtype)
    return total * 1


def put(x):
    y = rv.zeros(4, 6)
    y[1:3, 2] = x[0, :2]
    y[0] = 0.5
    y[:, 0] = x.mean(1)
    return y * x


def put_onto_itself(x):
    y = x.detach().clone()
    y[1:] = y[:3]
    y[:, 2] = y[:, 2]
    y.copy_(y.flip(0))
    return x * y


def changed_afterwards(x):
    y = x.detach() * 2
    z = x * y.tanh()
    y.mul_(0.3)
    return z


def put_at_mask(x):
    y = x.detach().clone()
    y[y < 0] = 0.5
    return x * y


def labelled(rng):
    return [rng.uniform(-2, 2, (4, 6)), rng.integers(0, 6, 4)]


WITH_LABELS = {
    "ctc_loss": lambda x, y: F.ctc_loss(x[:, None].log_softmax(2), y[None, :2] % 5 + 1, (4,), (2,)),
    "index by a tensor": lambda x, y: x[:, y],
    "index by two tensors": lambda x, y: x[rv.arange(4), y] + x[y - 4 * (y > 3), y - 6],
    "index by a list and a tensor": lambda x, y: x[[0, 1, 2, 3], y],
    "a small integer": lambda x, y: x * y.int().float().mean(),
    "index_add": lambda x, y: rv.index_add(x, 1, y, x[:, :4]),
    "float labels": lambda x, y: nn.functional.mse_loss(x.sum(1), y),
    "smoothed": lambda x, y: nn.functional.cross_entropy(x, y, label_smoothing=0.1),
    "weighted": lambda x, y: nn.functional.cross_entropy(x, y, weight=[1.0, 2.0, 3.0, 1.0, 1.0, 2.0]),
    "one_hot": lambda x, y: nn.functional.cross_entropy(x, nn.functional.one_hot(y, 6).float()),
    "right ones": lambda x, y: nn.functional.cross_entropy(x, y) * (x.argmax(1) == y).float().mean(),
    "count of right ones": lambda x, y: nn.functional.cross_entropy(x, y) * (x.argmax(1) == y).sum(),
    "mask of labels": lambda x, y: x.masked_fill((y > 2).reshape(4, 1), 0.0),
    "mask of both": lambda x, y: x * ((x > 0) & (y > 2).reshape(4, 1)).float(),
}


def tensors(value):
    """Arrays of a call as Tensors."""
    value = [*map(tensors, value)] if isinstance(value, list) else value
    return rv.tensor(value) if isinstance(value, np.ndarray) else value


def called(name):
    """A step of the call of an op in the table, and what draws its arrays."""
    arrays, settings = calls.OPS[name]
    op, settings = getattr(ops, name), {key: tensors(value) for key, value in settings.items()}
    star, listed = settings.pop("*", ()), isinstance(arrays[0], list)
    star = star if isinstance(star, tuple) else (star,)

    def step(*given):
        made = op(list(given), **settings) if listed else op(*given, *star, **settings)
        parts = [made] if isinstance(made, rv.Tensor) else made
        scale = next(x for x in given if x.is_floating_point()).mean()  # for ops without a gradient
        return rv.cat([part.float().flatten() for part in parts]) * scale

    def draw(rng):  # other numbers in each call
        given = arrays[0] if listed else arrays
        return [a + rng.uniform(0, 0.05, a.shape) if a.dtype.kind == "f" else a for a in given]

    return step, draw


OF_OTHERS = {
    "einsum",
    "embedding",
    "masked_select",
    "nonzero",
    "one_hot",
    "where",
}  # no gradient of the first


@grouped("name", sorted(calls.OPS.keys() - OF_OTHERS))
def test_ops_as_in_the_table(name):
    step, draw = called(name)
    judged(lambda: step, draw)


@pytest.mark.parametrize("name", [*OPS, *WITH_LABELS])
def test_ops(name):
    op = {**OPS, **WITH_LABELS}[name]
    judged(lambda: op, labelled if name in WITH_LABELS else rows)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "uint32"])
def test_labels_of_any_integer_dtype(dtype):
    judged(nn.CrossEntropyLoss, lambda rng: [(x := labelled(rng))[0], x[1].astype(dtype)])


NO = {"validate_args": False}
OF_THREE = D.Categorical(logits=rv.tensor([0.5, -1.0, 2.0]))
DISTRIBUTIONS = {  # that draw, or whose parameters are not checked
    "Normal": lambda x, y: D.Normal(x, F.softplus(x) + 0.1, **NO).log_prob(0.5 * x),
    "Uniform": lambda x, y: D.Uniform(x - 2, x + 2, **NO).rsample() * x,
    "samples": lambda x, y: D.Normal(x, F.softplus(x) + 0.1, **NO).rsample() * x,
    "entropy, lazily": lambda x, y: OF_THREE.log_prob(rv.tensor([1])) * x + OF_THREE.entropy(),
    "divergence": lambda x, y: D.kl_divergence(D.Normal(x, 1.0, **NO), D.Normal(2 * x, 2.0, **NO)),
    "Categorical": lambda x, y: D.Categorical(logits=x, **NO).log_prob(y),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_distributions(name):
    judged(lambda: DISTRIBUTIONS[name], labelled, lambda p: rv.optim.SGD(p, lr=1e-4))
