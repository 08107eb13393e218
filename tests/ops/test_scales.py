"""Ops whose squares or powers leave float32's range where the results do not: values, gradients and second
gradients from 1e-30 to 1e30, against formulas in float64 and their derivatives by complex steps."""

import numpy as np
import pytest
import ranvier as rv
import ranvier.nn.functional as F
from support.grouped import grouped

SCALES = [1e-30, 1e-22, 1e-15, 1.0, 1e15, 1e20, 1e30]
# Some roundings, for derivatives of terms of their usual size, which may cancel.
BOUND = 100 * float(np.finfo(np.float32).eps)


def size(x):
    return np.where(x.real < 0, -x, x)


def length(x, p=2, axis=1):
    return (size(x) ** p).sum(axis, keepdims=True) ** (1 / p)


def spread(x, axis=1, correction=1):
    away = x - x.mean(axis, keepdims=True)
    count = x.size / x.sum(axis).size
    return (away * away).sum(axis) / (count - correction)


def each_two(x, y, p):
    return length(x[:, None] - y, p, 2)[..., 0]


def correlation(x, y):
    away = x - x.mean(1, keepdims=True)
    unit = away / length(away)
    return unit @ unit.T


def gram(x):
    """The trace and the determinant of x x^T for two rows."""
    g = x @ x.T
    return g[0, 0] + g[1, 1], g[0, 0] * g[1, 1] - g[0, 1] * g[1, 0]


def angle(a, b):
    return np.arctan(a / b) + np.where(b.real < 0, np.copysign(np.pi, a.real), 0)


def normal(x, axes, eps=1e-5, centre=True):
    away = x - x.mean(axes, keepdims=True) * centre
    return away / ((away * away).mean(axes, keepdims=True) + eps) ** 0.5


def in_groups(x):
    return normal(x.reshape(2, 2, 2), 2).reshape(2, 4)


PAIRS = np.triu_indices(2, 1)
OPS = {
    "std": (lambda x, y: x.std(1), lambda x, y: spread(x) ** 0.5),
    "std across": (lambda x, y: rv.std_mean(x, 0)[0], lambda x, y: spread(x, 0) ** 0.5),
    "std of all": (lambda x, y: x.std(correction=0), lambda x, y: spread(x, (0, 1), 0) ** 0.5),
    "var": (lambda x, y: x.var(1), lambda x, y: spread(x)),
    "var_mean": (lambda x, y: rv.var_mean(x, 0)[0], lambda x, y: spread(x, 0)),
    **{
        f"norm {p}": (lambda x, y, p=p: x.norm(p, 1), lambda x, y, p=p: length(x, p)[:, 0])
        for p in (1, 1.5, 2, 3, 4, 0.5, -1, -2)
    },
    "matrix_norm fro": (lambda x, y: rv.linalg.matrix_norm(x), lambda x, y: length(x, 2, (0, 1))),
    "matrix_norm 2": (
        lambda x, y: rv.linalg.matrix_norm(x, 2),
        lambda x, y: ((gram(x)[0] + (gram(x)[0] ** 2 - 4 * gram(x)[1]) ** 0.5) / 2) ** 0.5,
    ),
    "matrix_norm nuc": (
        lambda x, y: rv.linalg.matrix_norm(x, "nuc"),
        lambda x, y: (gram(x)[0] + 2 * gram(x)[1] ** 0.5) ** 0.5,
    ),
    "dist": (lambda x, y: rv.dist(x, y, 3), lambda x, y: length(x - y, 3, (0, 1))),
    "normalize": (lambda x, y: F.normalize(x, eps=0), lambda x, y: x / length(x)),
    "normalize 3": (lambda x, y: F.normalize(x, p=3, eps=0), lambda x, y: x / length(x, 3)),
    "weight_norm": (
        lambda x, y: y * (x.norm(dim=1) / y.norm(dim=1))[:, None],
        lambda x, y: y * length(x) / length(y),
    ),
    "cosine_similarity": (
        lambda x, y: F.cosine_similarity(x, y, 1, eps=0.0),
        lambda x, y: (x * y / length(x) / length(y)).sum(1),
    ),
    **{
        f"pairwise_distance {p}": (
            lambda x, y, p=p: F.pairwise_distance(x, y, p, eps=0.0),
            lambda x, y, p=p: length(x - y, p)[:, 0],
        )
        for p in (1, 2, 3, 0.5)
    },
    "cdist": (rv.cdist, lambda x, y: each_two(x, y, 2)),
    "cdist 3": (lambda x, y: rv.cdist(x, y, 3), lambda x, y: each_two(x, y, 3)),
    "pdist": (lambda x, y: F.pdist(x), lambda x, y: each_two(x, x + 0, 2)[PAIRS]),
    "corrcoef": (lambda x, y: rv.corrcoef(x), correlation),
    "layer_norm": (lambda x, y: F.layer_norm(x, (4,)), lambda x, y: normal(x, 1)),
    "rms_norm": (lambda x, y: F.rms_norm(x, (4,), eps=1e-5), lambda x, y: normal(x, 1, centre=False)),
    "group_norm": (lambda x, y: F.group_norm(x, 2), lambda x, y: in_groups(x)),
    "instance_norm": (lambda x, y: F.instance_norm(x[None]), lambda x, y: normal(x, 1)),
    "batch_norm": (
        lambda x, y: F.batch_norm(rv.cat([x, y]), None, None, training=True),
        lambda x, y: normal(np.concatenate([x, y]), 0),
    ),
    "hypot": (rv.hypot, lambda x, y: (x * x + y * y) ** 0.5),
    "atan2": (rv.atan2, angle),
    "asinh": (lambda x, y: rv.asinh(x), lambda x, y: np.arcsinh(x)),
    "acosh": (lambda x, y: rv.acosh(1.5 + x.abs()), lambda x, y: np.arccosh(1.5 + size(x))),
}


def slopes(f, x, weight):
    """The gradient of sum(weight f) by each element of x (2, 2, 4), by complex steps."""
    dx = np.empty(x.shape)
    for i in np.ndindex(x.shape):
        step = 1e-20 * abs(x[i])
        there = x.astype(complex)
        there[i] += 1j * step
        dx[i] = (weight * f(*there)).sum().imag / step
    return dx


def compared(got, want, what, usual=0.0):
    largest = max(np.abs(want).max(), usual)
    if largest > 1e38:
        assert not np.isnan(got).any() or what != "value", what
    elif largest > 1e-36:
        np.testing.assert_allclose(got, want, rtol=0, atol=BOUND * largest, err_msg=what)


@grouped("name", OPS)
@pytest.mark.parametrize("scale", SCALES)
def test_results_in_the_range(name, scale, rng):
    op, formula = OPS[name]
    x = (rng.uniform(0.5, 2.0, (2, 2, 4)) * rng.choice([-1, 1], (2, 2, 4)) * scale).astype(np.float32)
    leaves = [rv.tensor(v, requires_grad=True) for v in x]
    y = op(*leaves)
    wide = x.astype(np.float64)
    want = np.asarray(formula(*wide)).reshape(y.shape)
    compared(y.detach().numpy(), want, "value")
    weight, v = (
        rng.standard_normal(want.shape).astype(np.float32),
        rng.standard_normal(x.shape).astype(np.float32),
    )

    def f(*parts):
        return np.asarray(formula(*parts)).reshape(want.shape)

    dx = slopes(f, wide, weight)
    for create_graph in (False, True):
        g = rv.autograd.grad(
            (op(*leaves) * rv.tensor(weight)).sum(), leaves, create_graph=create_graph, allow_unused=True
        )
        got = [np.zeros_like(p) if d is None else d.detach().numpy() for d, p in zip(g, x, strict=True)]
        compared(np.array(got), dx, f"gradient, create_graph={create_graph}", np.abs(want).max() / scale)
    moved = 1e-4 * scale * v
    second = (slopes(f, wide + moved, weight) - slopes(f, wide - moved, weight)) / (2e-4 * scale)
    terms = [(d * rv.tensor(p)).sum() for d, p in zip(g, v, strict=True) if d is not None and d.requires_grad]
    if terms:
        h = rv.autograd.grad(sum(terms), leaves, allow_unused=True)
        got = [np.zeros_like(p) if d is None else d.numpy() for d, p in zip(h, x, strict=True)]
        compared(
            np.array(got),
            second,
            "second gradient",
            max(np.abs(dx).max(), np.abs(want).max() / scale) / scale,
        )


FORWARD = [
    n
    for n in OPS
    if n.startswith(("std", "var", "norm ", "normalize", "cosine", "pairwise", "cdist", "pdist"))
]


@grouped("name", FORWARD)
@pytest.mark.parametrize("scale", SCALES)
def test_forward_mode_in_the_range(name, scale, rng):
    """The slope along a vector is the sum of the derivatives by complex steps times its elements."""
    op, formula = OPS[name]
    x = (rng.uniform(0.5, 2.0, (2, 2, 4)) * rng.choice([-1, 1], (2, 2, 4)) * scale).astype(np.float32)
    v = (rng.standard_normal(x.shape) * scale).astype(np.float32)
    y, t = rv.func.jvp(op, tuple(map(rv.tensor, x)), tuple(map(rv.tensor, v)))
    weight = rng.standard_normal(y.shape).astype(np.float32)
    dx = slopes(lambda *parts: np.asarray(formula(*parts)).reshape(y.shape), x.astype(np.float64), weight)
    usual = (np.abs(dx) * np.abs(v)).sum() + np.abs(weight * y.numpy()).sum()
    if usual < 1e37:
        compared((weight.astype(float) * t.numpy()).sum(), (dx * v).sum(), "slope", usual)
