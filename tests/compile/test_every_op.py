"""Ops in a small training step: a replay has the bits of the eager step.

Ops as samples call them: `properties/test_captured.py`; the rows here have one in another form. Each line
that random steps may have. Ops that are loaded late: `test_late_imports.py`.
"""

import numpy as np
import pytest
import ranvier as rv
from compile.staleness import random_steps
from compile.test_every_layer import judged, rows
from ranvier import distributions as D
from ranvier import nn
from support.grouped import grouped

OF_THREE = D.Categorical(logits=rv.tensor([0.5, -1.0, 2.0]))
OPS = {
    "one element": lambda x: x[1, 2] * x,
    "rows by a list": lambda x: x[[0, 2, 2]],
    "elements by lists": lambda x: x[[0, 1], [1, 1]],
    "where numbers": lambda x: rv.where(x > 0, x, 0.5) + rv.where(x > 0, 1.0, x),
    "norm 1": lambda x: x.norm(1, dim=1),
    "norm inf": lambda x: x.norm(float("inf")),
    "cumprod": lambda x: x.cumprod(1),
    "kthvalue": lambda x: x.kthvalue(2, 1).values,
    "power": lambda x: (x.abs() ** 1.5 + x**2 + x**3) / 20,
    "number first": lambda x: 1 - x + 1 / (x * x + 1) + 2 ** (x * 0.1),
    "numpy number": lambda x: x * np.float32(0.5) + np.float64(1.5),
    "new_zeros": lambda x: x + rv.zeros(4, 6) + rv.ones_like(x) + rv.full((6,), 0.5),
    "eye": lambda x: x[:, :4] @ rv.eye(4),
    "data": lambda x: x * x.data,
    "isfinite": lambda x: x * rv.isfinite(x).float(),
    "unfold by views": lambda x: rv.stack([x[:, i : i + 3] for i in range(4)], 1),
    "atan2": lambda x: rv.atan2(x, 2.0),
    "kron": lambda x: rv.kron(x, x),
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


def labelled(rng):
    return [rng.uniform(-2, 2, (4, 6)), rng.integers(0, 6, 4)]


WITH_LABELS = {
    "index by a tensor": lambda x, y: x[:, y],
    "index by two tensors": lambda x, y: x[rv.arange(4), y] + x[y - 4 * (y > 3), y - 6],
    "index by a list and a tensor": lambda x, y: x[[0, 1, 2, 3], y],
    "a small integer": lambda x, y: x * y.int().float().mean(),
    "entropy, lazily": lambda x, y: OF_THREE.log_prob(rv.tensor([1])) * x + OF_THREE.entropy(),
    "float labels": lambda x, y: nn.functional.mse_loss(x.sum(1), y),
    "weighted": lambda x, y: nn.functional.cross_entropy(x, y, weight=[1.0, 2.0, 3.0, 1.0, 1.0, 2.0]),
    "one_hot": lambda x, y: nn.functional.cross_entropy(x, nn.functional.one_hot(y, 6).float()),
    "right ones": lambda x, y: nn.functional.cross_entropy(x, y) * (x.argmax(1) == y).float().mean(),
    "count of right ones": lambda x, y: nn.functional.cross_entropy(x, y) * (x.argmax(1) == y).sum(),
    "mask of labels": lambda x, y: x.masked_fill((y > 2).reshape(4, 1), 0.0),
    "mask of both": lambda x, y: x * ((x > 0) & (y > 2).reshape(4, 1)).float(),
}


@pytest.mark.filterwarnings("ignore:.compile. .* runs eagerly")
@grouped("line", [line for lines, _ in random_steps.KINDS for line in lines])
def test_lines_of_random_steps(line):
    outcome, remark = random_steps.judged(random_steps.Program.of(line))
    assert outcome == "as eager" or (outcome == "refused" and line in random_steps.DENIED), remark


@pytest.mark.parametrize("name", [*OPS, *WITH_LABELS])
def test_ops(name):
    op = {**OPS, **WITH_LABELS}[name]
    judged(lambda: op, labelled if name in WITH_LABELS else rows)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "uint32"])
def test_labels_of_any_integer_dtype(dtype):
    judged(nn.CrossEntropyLoss, lambda rng: [(x := labelled(rng))[0], x[1].astype(dtype)])
