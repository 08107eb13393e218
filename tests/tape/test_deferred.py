"""Gradients that are arrays only where one is needed: at the maxima of a pool, and of parts of a tensor.

A `Deferred` holds a gradient as its nonzero values; what takes it (`forms`) must give what a whole array
gives.
"""

import numpy as np
import pytest
import ranvier as rv
from ranvier.nn import functional as F
from ranvier.tape.deferred import Deferred
from support.refused import refused

RNG = np.random.default_rng(8)
X, W = (
    RNG.standard_normal((3, 2, 9, 8)).astype(np.float32),
    RNG.standard_normal((5, 2, 3, 3)).astype(np.float32),
)


def pooled(x, w, look=lambda z: None, relu=True):
    z = rv.conv2d(x, w)
    look(z)
    a = F.relu(z) if relu else z
    return F.max_pool2d(a, 2)


def leaves(dtype=np.float32):
    return tuple(rv.tensor(a.astype(dtype), requires_grad=True) for a in (X, W))


def run(look=lambda z: None, relu=True, dtype=np.float32):
    x, w = leaves(dtype)
    y = pooled(x, w, look, relu)
    y.backward(np.linspace(-1, 1, y._array.size, dtype=dtype).reshape(y.shape))
    return x.grad.numpy(), w.grad.numpy()


@pytest.fixture
def forms(monkeypatch):
    """The names of the Functions whose backward got a Deferred."""
    found = []

    def noted(kind):
        original = kind.backward

        def backward(node, dy):
            if isinstance(dy, Deferred):
                found.append(kind.__name__)
            return original(node, dy)

        monkeypatch.setattr(kind, "backward", backward)

    x = rv.ones(1, 1, 2, 2, requires_grad=True)
    for made in (F.relu(x), F.conv1d(x[0], rv.ones(1, 2, 1)), F.conv2d(x, rv.ones(1, 1, 1, 1))):
        noted(type(made._grad_fn))
    return found


@pytest.mark.parametrize("relu", [True, False])
def test_it_reaches_the_convolution_and_agrees_with_float64(relu, forms):
    found = run(relu=relu)
    assert forms == ["Relu", "Conv2d"] if relu else ["Conv2d"]
    for a, b in zip(found, run(relu=relu, dtype=np.float64), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-5)


def test_hooks_that_only_look_change_no_bit(forms):
    seen = []
    expected = run()
    for look in (
        lambda z: z.retain_grad(),
        lambda z: z.register_hook(lambda g: None),
        lambda z: z.register_hook(lambda g: seen.append(g.numpy().copy())),
        lambda z: z.register_hook(lambda g: g),
    ):
        for a, b in zip(run(look), expected, strict=True):
            np.testing.assert_array_equal(a, b)
    assert seen[0].shape == (3, 5, 7, 6)
    assert np.count_nonzero(seen[0]) <= seen[0].size / 4


@pytest.mark.parametrize("how", ["new", "in place", "numpy", "data", "view"])
def test_hooks_that_change_it_are_heard(how, forms):
    def hook(g):
        if how == "new":
            return g * 0
        if how == "numpy":
            g.numpy()[...] = 0
        elif how == "data":
            g.data.mul_(0)
        elif how == "view":
            g[0].zero_()
        else:
            g.mul_(0)
        return None

    found = run(lambda z: z.register_hook(hook))
    assert forms == ["Relu"]
    assert not found[0][0].any()
    assert found[1].any() == (how == "view")


def test_retained_and_asked_for():
    x, w = leaves()
    kept = []
    y = pooled(x, w, lambda z: (z.retain_grad(), kept.append(z)))
    (gradient,) = rv.autograd.grad(y.sum(), [kept[0]], retain_graph=True)
    np.testing.assert_array_equal(gradient.numpy(), kept[0].grad.numpy())  # as in PyTorch
    kept[0].grad = None
    y.sum().backward()
    np.testing.assert_array_equal(gradient.numpy(), kept[0].grad.numpy())
    values = (
        kept[0].detach().numpy()[:, :, :6, :6].reshape(3, 5, 3, 2, 3, 2).swapaxes(3, 4).reshape(3, 5, 3, 3, 4)
    )
    expected = (values.argmax(-1)[..., None] == np.arange(4)) & (values.max(-1, keepdims=True) > 0)
    found = gradient.numpy()[:, :, :6, :6].reshape(3, 5, 3, 2, 3, 2).swapaxes(3, 4).reshape(3, 5, 3, 3, 4)
    np.testing.assert_array_equal(found, expected)
    assert not gradient.numpy()[:, :, 6:].any()


def test_a_second_use_adds_up(forms):
    x, w = leaves()
    z = rv.conv2d(x, w)
    (F.max_pool2d(F.relu(z), 2).sum() + z.sum()).backward()
    assert forms == ["Relu"]
    a, b = leaves()
    pooled(a, b).sum().backward()
    c, d = leaves()
    rv.conv2d(c, d).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), a.grad.numpy() + c.grad.numpy(), atol=1e-5)
    np.testing.assert_allclose(w.grad.numpy(), b.grad.numpy() + d.grad.numpy(), atol=1e-4)


@pytest.mark.parametrize(
    "pool",
    [
        lambda z: F.max_pool2d(z, 3, 2),
        lambda z: F.max_pool2d(z, 2, padding=1),
        lambda z: F.max_pool2d(z, 2, dilation=2),
        lambda z: F.max_pool2d(z, 4, ceil_mode=True),
        lambda z: F.max_pool2d(z, (2, 3), (2, 2)),
        lambda z: F.adaptive_max_pool2d(z, 3),
    ],
)
def test_windows_that_are_not_side_by_side_give_an_array(pool, forms):
    x, w = leaves()
    pool(F.relu(rv.conv2d(x, w))).sum().backward()
    assert forms == []


@pytest.mark.parametrize("size", [2, (2,), [2, 2], (1, 3), np.int64(2)])
def test_forms_of_the_window(size, forms):
    x, w = leaves()
    F.max_pool2d(rv.conv2d(x, w), size, padding=(0, 0), dilation=[1]).sum().backward()
    F.max_pool2d(rv.conv2d(x, w), size, list(size) if isinstance(size, tuple) else size).sum().backward()
    assert forms == ["Conv2d", "Conv2d"]


def test_one_image_and_signals(forms):
    x, w = leaves()
    F.max_pool2d(F.relu(rv.conv2d(x[1], w)), 2).sum().backward()
    a, b = leaves()
    F.max_pool2d(F.relu(rv.conv2d(a[1:2], b)), 2).sum().backward()
    for p, q in ((x, a), (w, b)):
        np.testing.assert_array_equal(p.grad.numpy(), q.grad.numpy())
    s, v = (rv.tensor(t[:, :, 0], requires_grad=True) for t in (X, W))
    F.max_pool1d(F.relu(rv.conv1d(s, v)), 2).sum().backward()
    c, d = (rv.tensor(t[:, :, :1], requires_grad=True) for t in (X, W))
    F.max_pool2d(F.relu(rv.conv2d(c, d)), (1, 2)).sum().backward()
    np.testing.assert_array_equal(s.grad.numpy(), c.grad.numpy()[:, :, 0])
    np.testing.assert_array_equal(v.grad.numpy(), d.grad.numpy()[:, :, 0])
    assert forms == ["Relu", "Conv2d", "Relu", "Conv2d", "Relu", "Conv1d", "Relu", "Conv2d"]


def test_groups_and_other_takers_get_an_array():
    x = rv.tensor(X, requires_grad=True)
    w = rv.tensor(W[:4, :1], requires_grad=True)
    F.max_pool2d(rv.conv2d(x, w, groups=2), 2).sum().backward()
    a, b = (rv.tensor(t.astype(np.float64), requires_grad=True) for t in (X, W[:4, :1]))
    F.max_pool2d(rv.conv2d(a, b, groups=2), 2).sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), b.grad.numpy(), atol=1e-4)
    leaf = rv.tensor(X, requires_grad=True)
    F.max_pool2d(leaf, 2).sum().backward()
    assert leaf.grad.numpy().sum() == 3 * 2 * 4 * 4


def test_what_the_relu_saved_is_checked():
    x, w = leaves()
    a = F.relu(rv.conv2d(x, w))
    y = F.max_pool2d(a, 2)
    with rv.no_grad():
        a.mul_(0)
    refused(RuntimeError, "modified by an inplace operation", y.sum().backward)


def test_a_result_of_the_pool_may_change_in_place():
    x, w = leaves()
    y = pooled(x, w)
    with rv.no_grad():
        y.mul_(-1)  # the mask is of what the ReLU made
    y.sum().backward()
    a, b = leaves()
    pooled(a, b).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), a.grad.numpy())
    np.testing.assert_array_equal(w.grad.numpy(), b.grad.numpy())


def test_twice_through_a_retained_graph():
    x, w = leaves()
    y = pooled(x, w).sum()
    y.backward(retain_graph=True)
    once = w.grad.numpy().copy()
    y.backward()
    np.testing.assert_array_equal(w.grad.numpy(), 2 * once)


PARTS = [
    [(slice(None), slice(1, 4)), (..., slice(1))],
    [rv.tensor(2), 0, (-2, ...)],
    [(..., -1), (slice(None), slice(3))],
    [(0, 1), (slice(1, None), 1), 0],
    [slice(2), slice(1, 3), (..., 0), (None, slice(None), slice(None, None, 2))],
]


@pytest.mark.parametrize("keys", PARTS, ids=str)
@pytest.mark.parametrize("whole", ["", "before", "after"])
def test_gradients_of_several_parts(keys, whole, threads):
    """Slices side by side, numbers, and parts that overlap; also where the whole has a gradient."""
    x = rv.arange(12.0).reshape(3, 4).requires_grad_()
    leaf, expected = x * 1, np.full((3, 4), 5.0 if whole else 0)
    uses = [lambda key=key, i=i: (leaf[key] * (i + 2)).sum() for i, key in enumerate(keys)]
    uses.insert(0 if whole == "before" else len(uses), lambda: (leaf * 5).sum() if whole else 0)
    for i, key in enumerate(keys):
        expected[int(key) if isinstance(key, rv.Tensor) else key] += i + 2
    sum(use() for use in uses).backward()
    np.testing.assert_array_equal(x.grad.numpy(), expected)
