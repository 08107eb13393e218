"""func.jet, the derivatives of a function along a curve to some order, and func.laplacian, its weighted sum
of second derivatives: beside formulas, beside nested gradients with create_graph (`nested`), and beside
central differences, in float64. Tolerances are those of sums of 64 terms of the results' size, times a factor
that grows with the order (`close`). A test with the fixture `isa` runs at each ISA level (instruction set).
"""

import math
from itertools import pairwise

import numpy as np
import pytest
import ranvier as rv
from ranvier import func, nn
from support.refused import refused
from support.tolerance import tolerance

F = nn.functional
SIN4 = [np.sin, np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x)]


def network(activation, dtype="float64", sizes=(2, 8, 8, 2)):
    """Layers of these sizes with the activation between them."""
    rv.manual_seed(0)
    layers = [m for i, o in pairwise(sizes) for m in (nn.Linear(i, o, dtype=dtype), activation)]
    return nn.Sequential(*layers[:-1])


def nested(f, x, weights):
    """(u, gradient (d, n, m), weighted Laplacian) by reverse over reverse."""
    x = x if x.requires_grad else x.detach().requires_grad_(True)
    u = f(x)
    slopes = [rv.autograd.grad(u[:, o].sum(), x, create_graph=True)[0] for o in range(u.shape[1])]
    second = [
        sum(
            w * rv.autograd.grad(s[:, i].sum(), x, create_graph=True, materialize_grads=True)[0][:, i]
            for i, w in enumerate(weights)
        )
        for s in slopes
    ]
    return u, rv.stack(slopes, 2).movedim(1, 0), rv.stack(second, 1)


def close(a, b, scale=1.0):
    """Within the roundings of a sum of 64 terms of the size of b, times `scale`."""
    a, b = a.detach().numpy(), b.detach().numpy() if isinstance(b, rv.Tensor) else b
    np.testing.assert_allclose(
        a, b, rtol=0, atol=scale * tolerance(str(a.dtype), 64, 1 + np.abs(b).max(initial=0))
    )


OPS = {  # each op alone: tests/properties/test_forward_mode.py
    "tanh": rv.tanh,
    "powers": lambda x: (x * x + 1.0) ** 0.5 + 2.0**x + x**3,
    "layer_norm": lambda x: F.layer_norm(x, (x.shape[-1],)) * F.rms_norm(x, (x.shape[-1],)),
    "norm": lambda x: x / (rv.norm(x, dim=-1, keepdim=True) + 1.0),
    "shapes": lambda x: (
        rv.stack([c.sin() for c in x.unbind(-1)], -1).flip(1).reshape(-1, 2, 4).mT.reshape(-1, 8)
    ),
    "choices": lambda x: (
        rv.where(x > 0, x.sin(), x * 2.0) + rv.maximum(x * x, x + 1.0) + x.masked_fill(x > 1, 0.0)
    ),
    "order": lambda x: (
        x.sort(1)[0] * x.max(1, keepdim=True)[0] + x.topk(2, 1)[0][:, 1:] * x.median(1, True)[0].sin()
    ),
    "products": lambda x: (x @ x.mT) @ x.cumsum(1) / 4.0,
}


@pytest.mark.parametrize("name", OPS)
def test_nested_gradients(name):
    """Value, gradient, Laplacian, jets of order 3, and the gradients of a loss of them by the weights."""
    f = network(nn.Tanh(), sizes=(2, 8, 8))
    g = lambda x: OPS[name](f(x)) * f(x)  # noqa: E731
    mixes_points = name == "products"
    x = rv.tensor(np.random.default_rng(0).normal(size=(1 if mixes_points else 5, 2)))
    weights = (1.0, -0.5)
    got, want = func.laplacian(g, weights)(x), nested(g, x, weights)
    for a, b in zip(got, want, strict=True):
        close(a, b, 16)
    parameters = list(f.parameters())
    loss = lambda u, du, lap: (lap * lap).sum() + (u * du[0]).sum()  # noqa: E731
    by_weights = [rv.autograd.grad(loss(*of), parameters, allow_unused=True) for of in (got, want)]
    for a, b in zip(*by_weights, strict=True):
        if b is not None:
            close(a, b, 256)
    direction = rv.tensor(np.random.default_rng(1).normal(size=tuple(x.shape)))
    y, terms = func.jet(g, (x,), ((direction, 0.0, 0.0),))
    s = rv.zeros(x.shape[0], 1, dtype="float64").requires_grad_(True)
    along = g(x + s * direction)
    close(y, along)
    for o in range(2):
        term = along[:, o]
        for k in range(3):
            (term,) = rv.autograd.grad(term.sum(), s, create_graph=True, materialize_grads=True)
            close(terms[k][:, o], term[:, 0], 64 * 4**k)
            term = term[:, 0]


def test_one_point_and_values_without_dimensions():
    y, terms = func.jet(lambda x: x.clamp(0, 1) * x, (rv.tensor(0.5),), ((1.0, 0.0),))
    assert (y.item(), [t.item() for t in terms]) == (0.25, [1, 2])
    u, du, lap = func.laplacian(lambda x: F.relu(x[..., 0]) * x[..., 1] ** 2)(rv.tensor([2.0, 3.0]))
    assert (u.item(), du.tolist(), lap.item()) == (18, [9, 12], 4)


def test_formulas():
    """sin and polynomials, to order 8."""
    x = np.linspace(-2, 2, 9)
    ones = ((1.0, *[0.0] * 7),)
    _, terms = func.jet(rv.sin, (rv.tensor(x),), ones)
    for k, term in enumerate(terms, 1):
        close(term, SIN4[k % 4](x), 16)
    cubic = np.polynomial.Polynomial([1.0, -2.0, 0.5, 3.0])
    y, terms = func.jet(lambda x: 1.0 - 2.0 * x + 0.5 * x**2 + 3.0 * x * x * x, (rv.tensor(x),), ones)
    close(y, cubic(x))
    for k, term in enumerate(terms, 1):
        close(term, cubic.deriv(k)(x))


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "sin", "cos", "exp", "softplus", "silu", "gelu"])
@pytest.mark.parametrize("order", [1, 4, 6, 9])
def test_kernel_against_differences(name, order, isa):
    """The last order as the slope of the one before, by central differences of O(h^8)."""
    x = np.linspace(-3, 3, 21)
    curve = [1.0, 0.5, -0.25, *[0.0] * 6][:order]
    function = getattr(F, name, None) or getattr(rv, name)

    def at(s):
        point = x + sum(c * s**k / math.factorial(k) for k, c in enumerate(curve, 1))
        moved = tuple(
            rv.tensor(
                np.full(
                    21, sum(curve[m - 1] * s ** (m - k) / math.factorial(m - k) for m in range(k, order + 1))
                )
            )
            for k in range(1, order + 1)
        )
        y, terms = func.jet(function, (rv.tensor(point),), (moved,))
        return [y.numpy(), *[t.numpy() for t in terms]]

    h, weights = 0.02, (4 / 5, -1 / 5, 4 / 105, -1 / 280)
    slope = sum(w * (at(h * k)[-2] - at(-h * k)[-2]) for k, w in enumerate(weights, 1)) / h
    np.testing.assert_allclose(at(0.0)[-1], slope, rtol=0, atol=1e-7 * (1 + np.abs(slope).max()))


def test_several_primals_and_a_tree():
    """A function of two tensors that returns a dict: beside nested gradients along a line."""
    x, w = rv.tensor([[1.0, 2.0]]), rv.tensor([[0.5, -1.0], [2.0, 0.25]])
    f = lambda x, w: {"y": F.linear(x, w).tanh(), "c": rv.ones(2)}  # noqa: E731
    dx, dw = rv.tensor([[0.3, -0.2]]), rv.tensor([[1.0, 0.0], [0.5, 2.0]])
    y, terms = func.jet(f, (x, w), ((dx, 0.0), (dw, 0.0)))
    s = rv.tensor(0.0, requires_grad=True)
    along = f(x + s * dx, w + s * dw)["y"]
    for o in range(2):
        (first,) = rv.autograd.grad(along[0, o], s, create_graph=True)
        (second,) = rv.autograd.grad(first, s, create_graph=True)
        close(terms["y"][0][0, o], first, 4)
        close(terms["y"][1][0, o], second, 16)
    assert [t.tolist() for t in terms["c"]] == [[0.0, 0.0]] * 2
    assert y["c"].tolist() == [1.0, 1.0]
    _, tangents = func.jvp(f, (x, w), (dx, dw))
    close(tangents["y"], terms["y"][0], 4)


def test_within_other_derivatives():
    """The Laplacian of a Laplacian, and a gradient by x of one, which are derivatives of order 4 and 3."""
    f = network(nn.Tanh(), sizes=(2, 6, 1))
    x = rv.tensor(np.random.default_rng(0).normal(size=(4, 2)))
    once = lambda x: func.laplacian(f)(x)[2]  # noqa: E731
    slope = lambda x: nested(once, x, (1.0, 1.0))  # noqa: E731
    for a, b in zip(func.laplacian(once)(x), slope(x), strict=True):
        close(a, b, 64)
    by_reverse = lambda x: nested(f, x, (1.0, 1.0))[2]  # noqa: E731
    close(func.grad(lambda x: once(x).sum())(x), func.grad(lambda x: by_reverse(x).sum())(x), 16)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", [nn.Tanh(), nn.GELU(), nn.Softplus(2.0)])
def test_captured_step(dtype, activation, threads):
    """The bits of eager steps, at any number of threads."""
    x = rv.tensor(np.random.default_rng(0).normal(size=(64, 2)).astype(dtype))

    def trained(compiled):
        net = network(activation, dtype, (2, 16, 16, 1))
        optimizer = rv.optim.Adam(net.parameters(), lr=1e-2)

        def step(x):
            u, du, lap = func.laplacian(net, (1.0, 0.5))(x)
            _, (first, second) = func.jet(net, (x,), ((1.0, 0.0),))
            loss = ((lap - u * du[0]) ** 2).mean() + (first * second).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        step = rv.compile(step, strict=True) if compiled else step
        return [step(x).item() for _ in range(6)], [
            p.numpy().copy() for p in map(rv.Tensor.detach, net.parameters())
        ]

    threads(1)
    losses, weights = trained(False)
    assert losses[-1] < losses[0]
    for count in (1, 2, 4):
        threads(count)
        for compiled in (False, True):
            again, other = trained(compiled)
            assert again == losses
            assert all(np.array_equal(a, b) for a, b in zip(weights, other, strict=True))


def test_captured_concatenations_within_concatenations():
    """The pass that drops copies meets a part of a concatenation that it has dropped before."""
    weight = rv.ones(2, 2).requires_grad_(True)
    lap = func.laplacian(lambda x: (1.0 - (x @ weight) ** 2).prod(-1))

    def step(x):
        weight.grad = None
        loss = lap(x)[2].sum()
        loss.backward()
        return loss

    x, compiled = (
        rv.tensor(np.random.default_rng(0).normal(size=(8, 2)).astype("f")),
        rv.compile(step, strict=True),
    )
    want = step(x).item(), weight.grad.tolist()
    for _ in range(4):
        assert (compiled(x).item(), weight.grad.tolist()) == want


def test_history():
    """Results have a history where weights or arguments require gradients, and none else."""
    net, x = network(nn.Tanh()), rv.zeros(3, 2, dtype="float64")
    assert all(y.requires_grad for y in func.laplacian(net)(x))
    with rv.no_grad():
        assert not any(y.requires_grad for y in func.laplacian(net)(x))
    net.requires_grad_(False)
    assert not any(y.requires_grad for y in func.laplacian(net)(x))
    v = rv.ones(3, 2, dtype="float64").requires_grad_(True)
    _, (first,) = func.jet(net, (x,), ((v,),))
    assert rv.autograd.gradcheck(lambda v: func.jet(net, (x,), ((v, 0.5),))[1][1], [v])
    assert first.requires_grad
    assert rv.autograd.gradcheck(lambda x: func.laplacian(net)(x)[1:], [rv.ones(2, 2, dtype="float64")])
    assert rv.autograd.gradgradcheck(lambda x: func.laplacian(net)(x)[2], [rv.ones(1, 2, dtype="float64")])


@pytest.mark.parametrize("points", [0, 1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_few_points_and_variables(points, dtype):
    """Shapes and dtypes for no and one point, no variable, and constants."""
    net = network(nn.Tanh(), dtype)
    u, du, lap = func.laplacian(net)(rv.zeros(points, 2, dtype=dtype))
    assert (u.shape, du.shape, lap.shape) == ((points, 2), (2, points, 2), (points, 2))
    assert {y.dtype.name for y in (u, du, lap)} == {dtype}
    (lap**2).sum().backward()
    y, (first,) = func.jet(net, (rv.zeros(points, 2, dtype=dtype),), ((1.0,),))
    assert y.shape == first.shape == (points, 2)
    u, du, lap = func.laplacian(lambda x: x.sum(-1))(rv.ones(points, 0, dtype=dtype))
    assert (du.shape, lap.shape) == ((0, points), (points,))
    one = func.laplacian(lambda x: (x * x).sum(-1))(rv.ones(3, dtype=dtype))
    assert [y.tolist() for y in one] == [3.0, [2.0, 2.0, 2.0], 6.0]
    constant = func.laplacian(lambda x: rv.ones(x.shape[0]))(rv.ones(2, 3, dtype=dtype))
    assert constant[1].shape == (3, 2)
    assert constant[2].tolist() == [0.0, 0.0]


def test_wrong_arguments():
    """func.jet and func.laplacian refuse them, and an op that has no derivatives along a curve."""
    x = rv.ones(3, 2)
    refused(TypeError, "primals and series of types Tensor and tuple", func.jet, rv.sin, x, ((1.0,),))
    refused(ValueError, "series of lengths [1]", func.jet, rv.add, (x, x), ((1.0,),))
    refused(ValueError, "series of lengths [1, 2]", func.jet, rv.add, (x, x), ((1.0,), (1.0, 0.0)))
    refused(ValueError, "1 to 15", func.jet, rv.sin, (x,), ((0.0,) * 16,))
    refused(TypeError, "got str in series", func.jet, rv.sin, (x,), (("1",),))
    refused(ValueError, "derivative of shape (3,)", func.jet, rv.sin, (x,), ((rv.ones(3),),))
    refused(TypeError, "dtype", func.jet, rv.sin, (rv.arange(3),), ((1.0,),))
    refused(ValueError, "x of shape ()", func.laplacian(rv.sin), rv.tensor(1.0))
    for weights in ((1, 1, 1), "ab", (1j, 0)):
        refused(ValueError, "; expected 2 numbers, one a variable", func.laplacian(rv.sin, weights), x)
    refused(ValueError, "results of shapes [()]", func.laplacian(rv.sum), x)
    conv = nn.Conv2d(1, 1, 1)
    text = "[jet] got conv2d of a Tensor that depends on the inputs; expected"
    refused(NotImplementedError, text, func.jet, conv, (rv.ones(1, 1, 2, 2),), ((1.0, 0.0),))
    assert func.jvp(conv, (rv.ones(1, 1, 2, 2),), (rv.ones(1, 1, 2, 2),))[1].shape == (1, 1, 2, 2)


def test_changed_in_place():
    """A change in place makes another value, which has its derivatives."""

    def f(x, zero):
        y = x.tanh()
        z = y * 1.0
        return z + (y.zero_() if zero else y.mul_(2.0))

    for zero, slope in ((False, 3.0), (True, 1.0)):
        _, (first,) = func.jet(lambda x, zero=zero: f(x, zero), (rv.zeros(3),), ((1.0,),))
        assert first.tolist() == [slope] * 3
