"""Errors that would grow with the length, with an offset or towards saturation: each op beside its formula in
longer floats, from the same inputs. Errors are in units in the last place (ulp) of the result's size.
"""

import numpy as np
import pytest
import ranvier as rv
from ranvier.nn import functional

LENGTHS = (1000, 20000, 200000)
DTYPES = ("float32", "float64")


def units(got, exact, rms=False):
    """The largest error of `got`, relative to `exact`, in ulp; with rms the root mean square of all, relative
    to that of `exact`."""
    got = got.detach().numpy() if isinstance(got, rv.Tensor) else got
    eps = np.finfo(got.dtype).eps
    error = got.astype(np.longdouble) - exact
    if rms:
        return float(np.sqrt(np.mean(error**2) / np.mean(np.asarray(exact) ** 2)) / eps)
    return float(np.max(np.abs(error) / np.abs(exact)) / eps)


def leaf(array):
    return rv.from_numpy(np.array(array)).requires_grad_()


def near_one(n, dtype):
    return np.exp(np.random.default_rng(1).normal(size=n) * 0.01).astype(dtype)


@pytest.mark.parametrize("n", LENGTHS)
def test_gradients_of_products(n):
    """dx of cumprod is the reverse running sum of the products, divided by x; of prod the product by x."""
    x = near_one(n, "float32")
    wide = x.astype(np.longdouble)
    running = leaf(x)
    running.cumprod(0).sum().backward()
    assert units(running.grad, np.cumsum(np.cumprod(wide)[::-1])[::-1] / wide) < 2
    whole = leaf(x)
    whole.prod().backward()
    assert units(whole.grad, np.prod(wide) / wide) < 2


def test_gradient_of_a_product_with_a_zero():
    x = near_one(20000, "float32")
    x[700] = 0
    line = leaf(x)
    line.prod().backward()
    others = np.delete(x, 700).astype(np.longdouble)
    assert units(line.grad[700:701], np.prod(others)) < 2
    assert line.grad.count_nonzero() == 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", LENGTHS)
def test_gradient_of_repeat_interleave(n, dtype):
    w = np.random.default_rng(0).uniform(size=3 * n).astype(dtype)
    x = leaf(np.ones(3, dtype))
    (x.repeat_interleave(n) * rv.from_numpy(w)).sum().backward()
    assert units(x.grad, w.reshape(3, -1).astype(np.longdouble).sum(1)) < 3


@pytest.mark.parametrize("layout", ["rows", "few columns", "columns"])
@pytest.mark.parametrize("size", [1e-4, 1])
def test_softmax_of_long_lines(layout, size):
    """20,000 terms: a sum in one chain has an error of hundreds of ulp."""
    lines = 64 if layout == "columns" else 3
    rng = np.random.default_rng(2)
    data = (rng.normal(size=(lines, 20000)) * size).astype("float32")
    weights = rng.uniform(0.5, 1.5, size=data.shape).astype("float32")
    axis = 1 if layout == "rows" else 0
    data, weights = (data, weights) if axis else (data.T.copy(), weights.T.copy())
    wide = data.astype(np.longdouble)
    w = weights.astype(np.longdouble)
    e = np.exp(wide - wide.max(axis, keepdims=True))
    p = e / e.sum(axis, keepdims=True)
    rounded = 0.5 * np.ptp(wide)  # x less the largest x is rounded: in ulp of its exponential

    x = leaf(data)
    y = x.softmax(axis)
    y.backward(rv.from_numpy(weights))
    assert units(y, p) < 3 + rounded
    assert units(x.grad, p * (w - (w * p).sum(axis, keepdims=True)), rms=True) < 2 + rounded
    x = leaf(data)
    y = x.log_softmax(axis)
    y.backward(rv.from_numpy(weights))
    assert units(y, np.log(p)) < 2
    # The logarithm of the sum is rounded, and so is each difference from it: in ulp of its exponential.
    rounded = 2 * 0.5 * np.spacing(np.float32(-np.log(p.min()))) / 2.0**-23
    term = p * w.sum(axis, keepdims=True)
    error = np.abs(x.grad.numpy() - (w - term)) / np.maximum(w, term)
    assert error.max() / 2.0**-23 < 3 + rounded


@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_cross_entropy_of_many_classes(layout):
    """Sums of 20,000 probabilities, in the loss and in its gradient."""
    rng = np.random.default_rng(3)
    x = (rng.normal(size=(4, 20000)) * 1e-3).astype("float32")
    p = rng.uniform(0.5, 1.5, size=x.shape).astype("float32") / np.float32(20000)
    wide = x.astype(np.longdouble)
    q = p.astype(np.longdouble)
    e = np.exp(wide - wide.max(1, keepdims=True))
    softmax = e / e.sum(1, keepdims=True)
    given = rv.from_numpy(x if layout == "rows" else x.T.copy()).requires_grad_()
    scores = given if layout == "rows" else given.T
    loss = functional.cross_entropy(scores, rv.from_numpy(p), reduction="none")
    assert units(loss, -(q * np.log(softmax)).sum(1)) < 2
    loss.sum().backward()
    got = given.grad if layout == "rows" else given.grad.T
    # softmax times the sum of p, less p: both terms have the size of p
    error = np.abs(got.numpy() - (softmax * q.sum(1, keepdims=True) - q))
    assert (error / q).max() < 6 * 2.0**-23


@pytest.mark.parametrize("dtype", DTYPES)
def test_losses_of_right_labels(dtype):
    """The slope is -sigmoid(-x) for a right label, sigmoid(x) for a wrong one, at any distance."""
    x = np.linspace(0, 80, 300, dtype=dtype)
    sure = np.concatenate([x, -x])
    t = np.concatenate([np.ones_like(x), np.zeros_like(x)])
    slope = 1 / (1 + np.exp(np.concatenate([x, x]).astype(np.longdouble)))
    exact = np.where(t == 1, -slope, slope)
    for name, settings in (
        ("binary_cross_entropy_with_logits", {}),
        ("binary_cross_entropy_with_logits", {"pos_weight": rv.tensor(1.0, dtype=getattr(rv, dtype))}),
    ):
        score = leaf(sure)
        getattr(functional, name)(score, rv.from_numpy(t), reduction="sum", **settings).backward()
        assert units(score.grad, exact) < 4, name
    score = leaf(sure[None])
    functional.multilabel_soft_margin_loss(score, rv.from_numpy(t[None]), reduction="sum").backward()
    assert units(score.grad[0], exact / t.size) < 5
    again = leaf(sure)
    loss = functional.binary_cross_entropy_with_logits(again, rv.from_numpy(t), reduction="sum")
    (slopes,) = rv.autograd.grad(loss, again, create_graph=True)
    assert units(slopes, exact) < 4


def test_correlation_of_data_with_an_offset():
    data = (np.random.default_rng(3).normal(size=(5, 1024)) + 1e4).astype("float32")
    wide = data.astype(np.longdouble)
    d = wide - wide.mean(1, keepdims=True)
    s = np.sqrt((d * d).sum(1))
    exact = (d @ d.T) / s[:, None] / s
    x = leaf(data)
    y = rv.corrcoef(x)
    assert np.abs(y.detach().numpy() - exact).max() < 3 * 2.0**-24
    w = np.random.default_rng(4).normal(size=(5, 5)).astype("float32")
    y.backward(rv.from_numpy(w))
    both = w.astype(np.longdouble) + w.T
    np.fill_diagonal(both, 0)
    h = d / s[:, None]
    want = (both @ h - (both * exact).sum(1, keepdims=True) * h) / s[:, None]
    assert units(x.grad, want, rms=True) < 4


@pytest.mark.parametrize("exponent", [1 / 3, -0.1, 0.3, 2.7])
def test_power_with_a_number(exponent):
    """The slope is b x^(b - 1): b - 1 of a rounded b costs digits."""
    x = (10 ** np.random.default_rng(5).uniform(-4, 4, size=500)).astype("float32")
    base = leaf(x)
    (base**exponent).sum().backward()
    rounding = abs(
        float(np.float32(exponent - 1)) - (exponent - 1)
    )  # the power is that of the rounded exponent
    allowed = 2 + np.log(1e4) * rounding / 2.0**-23
    assert units(base.grad, exponent * x.astype(np.longdouble) ** (exponent - 1)) < allowed


@pytest.mark.parametrize("number", [0.9, 0.999, 1.001, 3.3])
def test_number_to_a_power(number):
    x = np.random.default_rng(6).normal(size=500).astype("float32")
    exponent = leaf(x)
    (number**exponent).sum().backward()
    rounded = np.longdouble(np.float32(number))  # the power is that of the rounded number
    assert units(exponent.grad, rounded ** x.astype(np.longdouble) * np.log(np.longdouble(number))) < 4


def test_cosine_of_long_lines():
    """20,000 terms in the layout whose sums run over lines."""
    rng = np.random.default_rng(7)
    a, b = (rng.uniform(0.5, 1.5, size=(20000, 3)).astype("float32") for _ in range(2))
    wide = a.astype(np.longdouble)
    other = b.astype(np.longdouble)
    exact = (wide * other).sum(0) / np.sqrt((wide**2).sum(0) * (other**2).sum(0))
    assert units(functional.cosine_similarity(rv.from_numpy(a), rv.from_numpy(b), dim=0), exact) < 2
    got = functional.pairwise_distance(rv.from_numpy(a).T, rv.from_numpy(b).T, eps=0.0)
    assert units(got, np.sqrt(((wide - other) ** 2).sum(0))) < 2


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_threshold_of_half_floats(dtype):
    """A number is compared as it is: 0.1 in 8 digits is larger than 0.1, and itself not below it."""
    x = rv.tensor([0.1], dtype=getattr(rv, dtype))
    kept = x.item() > 0.1
    assert functional.threshold(x, 0.1, 2.0).item() == (x.item() if kept else 2.0)


@pytest.mark.parametrize("n", [20000, 200000])
def test_gradients_of_the_convolution_of_a_long_signal(n):
    """One row of n pixels: a sum in one chain has an error of 36 ulp at 20,000, 170 at 200,000."""
    rng = np.random.default_rng(8)
    x, dy = (rng.uniform(0.5, 1.5, size=n).astype("float32") for _ in range(2))
    weight = leaf(np.ones((5, 1, 1), "float32"))
    bias = leaf(np.zeros(5, "float32"))
    y = functional.conv1d(rv.from_numpy(x)[None, None], weight, bias)
    y.backward(rv.from_numpy(dy).expand(1, 5, n))
    wide = dy.astype(np.longdouble)
    assert units(weight.grad[:, 0, 0], (wide * x).sum(), rms=True) < 10
    assert units(bias.grad, wide.sum(), rms=True) < 5


def test_a_factor_of_0_beside_nan():
    """As in PyTorch: margins that are not above 0 count nothing, and a product times 0 is not read."""
    x = leaf(np.array([[1.0, np.nan, 0.5]], "float32"))
    for target in (0, 1):
        weight = rv.tensor([1.0, 0.0, 2.0])
        loss = functional.multi_margin_loss(x, rv.tensor([target]), weight=weight, reduction="none")
        assert loss.tolist() == pytest.approx([0.5 / 3 if target == 0 else 0.0])
    labels = rv.tensor([[1, -1, 0]])
    assert functional.multilabel_margin_loss(x, labels).item() == 0.0
    ones = rv.ones(1, 2)
    for dtype in (rv.float32, rv.bfloat16):
        a = x.detach().to(dtype).requires_grad_()
        y = rv.addmm(ones.to(dtype), a, rv.ones(3, 2, dtype=dtype), alpha=0)
        assert y.tolist() == [[1.0, 1.0]]
        y.sum().backward()
        assert a.grad.tolist() == [[0.0, 0.0, 0.0]]
        y = rv.baddbmm(rv.ones(1, 1, 2, dtype=dtype), a[None], rv.ones(1, 3, 2, dtype=dtype), alpha=0)
        assert y.tolist() == [[[1.0, 1.0]]]


def test_functions_that_are_rounded_once():
    """float32 is computed in float64."""
    rng = np.random.default_rng(9)
    x = rng.uniform(-1, 1, size=3000).astype("float32")
    exact = np.arcsin(x.astype(float))
    spacing = np.spacing(np.abs(exact.astype(np.float32)))
    assert (np.abs(rv.asin(rv.from_numpy(x)).numpy() - exact) / spacing).max() < 0.51
