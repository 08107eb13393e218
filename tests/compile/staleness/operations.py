"""Operations of steps in forms that samples do not have: indexing, labels, Tensors that the step makes.

Each function of x (4, 3) and labels y is a part of a training step. Compiled, ten calls must show the bits of
the same calls run eagerly (judge.py), and none may run eagerly. Ops as samples call them:
`properties/test_captured.py`.
"""

import functools

import numpy as np
import ranvier as rv
from compile.staleness.judge import Case
from compile.staleness.scenario import scenario
from compile.staleness.small import Own, descends, labelled, sgd
from ranvier import distributions, nn
from ranvier.nn import functional as F

OF_THREE = distributions.Categorical(logits=rv.tensor([0.5, -1.0, 2.0]))


def through(run, o, read):
    """In a training step whose gradients flow through it: of what a layer gives, and labels."""
    m = Own(lambda x: x)
    step = descends(lambda pair: read(m(pair[0]), pair[1]).square().mean(), sgd(m, 0.01, 0.9))
    return Case(run.compile(lambda x, y: step((x, y))), lambda: m, labelled)


def added(total, x):
    total += x.sum(0).to(total.dtype)
    return total * 1


computed = functools.partial(scenario, lambda v: None, None, ways=(through,))
# elements, rows and columns
computed(
    lambda x, y: x[1, 2] * x,
    lambda x, y: x[[0, 2, 2]],
    lambda x, y: x[[0, 1], [1, 1]],
    lambda x, y: x[:, y],
    lambda x, y: x[rv.arange(4), y] + x[y - 4 * (y > 2), y - 3],
    lambda x, y: x[[0, 1, 2, 3], y],
    lambda x, y: x[rv.arange(4), rv.tensor([0, 1, 2, 0])],
    lambda x, y: rv.stack([x[:, i : i + 2] for i in range(2)], 1),
    lambda x, y: x.masked_fill((y > 1).reshape(4, 1), 0.0),
    lambda x, y: x * ((x > 0) & (y > 1).reshape(4, 1)).float(),
    lambda x, y: nn.Flatten()(x.reshape(1, 2, 3, 2).to(memory_format=rv.channels_last)),
)
# numbers, and Tensors that the step makes
computed(
    lambda x, y: rv.where(x > 0, x, 0.5) + rv.where(x > 0, 1.0, x),
    lambda x, y: 1 - x + 1 / (x * x + 1) + 2 ** (x * 0.1),
    lambda x, y: x * np.float32(0.5) + np.float64(1.5),
    lambda x, y: x + rv.zeros(4, 3) + rv.ones_like(x) + rv.full((3,), 0.5),
    lambda x, y: x[:, :2] @ rv.eye(2),
    lambda x, y: x * x.data * rv.isfinite(x).float(),
    lambda x, y: rv.tensor(x, dtype=rv.float64).sum() * x,
    lambda x, y: x * rv.tensor([1.0, 2.0, 3.0]) * rv.as_tensor([[1], [2], [3], [4]]),
    lambda x, y: x * rv.tensor([True, False, True]),
    lambda x, y: x + rv.constant(np.full(3, 2, np.float32)),
    lambda x, y: x + added(rv.tensor([0.0] * 3), x.detach()),
    lambda x, y: x + added(rv.tensor([1, 2, 3]), x.detach()).float(),
    lambda x, y: x * x.long().clone() + (x > 1).clone(),
    lambda x, y: x * y.int().float().mean(),
)
# products of matrices in parts, distributions, two draws
computed(
    lambda x, y: sum((part**2).cumsum(0).sum() for part in rv.linalg.svd(x[:3])) * 0.01,
    lambda x, y: rv.linalg.eigh(x.T @ x)[1].square().cumsum(1).sum(),
    lambda x, y: OF_THREE.log_prob(rv.tensor([1])) * x + OF_THREE.entropy(),
    lambda x, y: F.dropout(F.dropout(x, 0.2), 0.3),
)
# losses of labels
computed(
    lambda x, y: F.mse_loss(x.sum(1), y),
    lambda x, y: F.cross_entropy(x, y, weight=[1.0, 2.0, 3.0]),
    lambda x, y: F.cross_entropy(x, F.one_hot(y, 3).float()),
    lambda x, y: F.cross_entropy(x, y) * (x.argmax(1) == y).float().mean(),
    lambda x, y: F.cross_entropy(x, y) * (x.argmax(1) == y).sum(),
)
for dtype in (rv.int8, rv.uint8, rv.int16, rv.int32, rv.uint32):
    computed(lambda x, y, dtype=dtype: F.cross_entropy(x, y.to(dtype)))
