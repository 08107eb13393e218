"""Sums inside of operations: convolutions, variances, attention, cross-entropy of probabilities; and erfinv.

All are compared with their formula in float64 from the same inputs. Errors are in units in the last place.
"""

import math

import numpy as np
import pytest
import ranvier as rv
from ranvier.nn import functional


def rms(got, exact):
    """The root mean square of the errors over that of the exact values, in ulp."""
    error = got.detach().numpy().astype(np.float64) - exact
    return float(np.sqrt(np.mean(error**2) / np.mean(exact**2)) / 2.0**-24)


def positive(rng, *shape):
    return rng.uniform(size=shape).astype("float32")


def windows(x, taps, stride, padding):
    """The inputs of each output pixel: (n, c, p, q, r, s)."""
    pad = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    padded = np.pad(x.astype(np.float64), pad)
    all_windows = np.lib.stride_tricks.sliding_window_view(padded, (taps, taps), axis=(2, 3))
    return all_windows[:, :, ::stride, ::stride]


@pytest.mark.parametrize("channels", [64, 100, 300])
@pytest.mark.parametrize(("taps", "stride"), [(5, 1), (3, 2)])
@pytest.mark.parametrize("outputs", [8, 24, 64])
def test_sums_of_a_convolution(channels, taps, stride, outputs, isa):
    """576 to 7,500 positive products: one chain of so many has an error of 6 to 20 ulp."""
    rng = np.random.default_rng(0)
    x = positive(rng, 2, channels, 9, 10)
    w = positive(rng, outputs, channels, taps, taps)
    padding = taps // 2
    exact = np.einsum("ncpqrs,kcrs->nkpq", windows(x, taps, stride, padding), w.astype(np.float64))
    given = rv.from_numpy(x).requires_grad_()
    y = functional.conv2d(given, rv.from_numpy(w), stride=stride, padding=padding)
    assert rms(y, exact) < 3.5
    if stride == 1:
        dy = positive(rng, *y.shape)
        y.backward(rv.from_numpy(dy))
        flipped = w[:, :, ::-1, ::-1].astype(np.float64)
        assert rms(given.grad, np.einsum("nkpqrs,kcrs->ncpq", windows(dy, taps, 1, padding), flipped)) < 3.5


@pytest.mark.parametrize("size", [14, 40])
def test_gradient_of_the_weights_of_a_convolution(size, isa):
    """Sums over 2 x 14 x 14 and 2 x 40 x 40 pixels."""
    rng = np.random.default_rng(1)
    x, dy = positive(rng, 2, 32, size, size), positive(rng, 2, 48, size, size)
    w = rv.from_numpy(positive(rng, 48, 32, 3, 3)).requires_grad_()
    functional.conv2d(rv.from_numpy(x), w, padding=1).backward(rv.from_numpy(dy))
    exact = np.einsum("ncpqrs,nkpq->kcrs", windows(x, 3, 1, 1), dy.astype(np.float64))
    assert rms(w.grad, exact) < 3.5


def test_winograd_of_many_channels():
    rng = np.random.default_rng(2)
    x, w = positive(rng, 2, 512, 8, 8), positive(rng, 64, 512, 3, 3)
    exact = np.einsum("ncpqrs,kcrs->nkpq", windows(x, 3, 1, 1), w.astype(np.float64))
    assert rms(functional.conv2d(rv.from_numpy(x), rv.from_numpy(w), padding=1), exact) < 5


def test_layouts_of_a_long_sum_have_the_same_bits(isa):
    """Where a chain ends does not depend on which taps follow each other in memory."""
    rng = np.random.default_rng(3)
    x, w = positive(rng, 1, 100, 6, 5), positive(rng, 36, 100, 5, 5)
    weight = rv.from_numpy(w)
    y = functional.conv2d(rv.from_numpy(x), weight, padding=2)
    across = rv.from_numpy(np.ascontiguousarray(x.transpose(3, 0, 2, 1))).permute(1, 3, 2, 0)
    last = rv.from_numpy(np.ascontiguousarray(x.transpose(0, 2, 3, 1))).permute(0, 3, 1, 2)
    for other in (across, last):
        assert (functional.conv2d(other, weight, padding=2) == y).all()


@pytest.mark.parametrize("offset", [0, 1e4])
@pytest.mark.parametrize(("rows", "columns"), [(1000, 4), (20000, 4), (1000, 7), (3000, 40), (500, 300)])
@pytest.mark.parametrize("layout", ["columns", "rows", "strided"])
def test_variance(rows, columns, offset, layout, isa):
    """Deviations from a mean of 1e4 are multiples of 2^-10, whose squares lose the same digits again and
    again in a sum of floats."""
    rng = np.random.default_rng(4)
    x = (rng.normal(size=(rows, columns)) + offset).astype("float32")
    exact = x.astype(np.float64).var(0, ddof=1)
    if layout == "columns":
        got, spread = rv.var(rv.from_numpy(x), 0), rv.std(rv.from_numpy(x), 0)
    elif layout == "rows":
        lines = rv.from_numpy(np.ascontiguousarray(x.T))
        got, spread = rv.var(lines, 1), rv.std(lines, 1)
    else:
        wide = rv.from_numpy(np.repeat(np.repeat(x, 2, axis=1), 2, axis=0))[::2, ::2]
        got, spread = rv.var(wide, 0), rv.std(wide, 0)
    assert rms(got, exact) < 2
    assert rms(spread, np.sqrt(exact)) < 1.5


@pytest.mark.parametrize("columns", [1, 4, 7, 40, 300, 2000])
def test_norm_of_columns(columns, isa):
    x = (np.random.default_rng(8).normal(size=(1000, columns)) + 1e4).astype("float32")
    assert rms(rv.norm(rv.from_numpy(x), dim=0), np.sqrt((x.astype(np.float64) ** 2).sum(0))) < 1.5


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("keys", [128, 1000])
def test_attention_over_many_keys(keys, causal, isa):
    rng = np.random.default_rng(5)
    q, k, v = (positive(rng, 1, 2, keys, 32) for _ in range(3))
    scores = q.astype(np.float64) @ k.astype(np.float64).transpose(0, 1, 3, 2) / math.sqrt(32)
    if causal:
        scores = np.where(np.tri(keys, dtype=bool), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    value = rv.from_numpy(v).requires_grad_()
    y = functional.scaled_dot_product_attention(rv.from_numpy(q), rv.from_numpy(k), value, is_causal=causal)
    assert rms(y, weights @ v.astype(np.float64)) < 4
    dy = positive(rng, *y.shape)
    y.backward(rv.from_numpy(dy))
    assert rms(value.grad, weights.transpose(0, 1, 3, 2) @ dy.astype(np.float64)) < 4


@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_gradient_of_cross_entropy_with_probabilities(layout, isa):
    """softmax times the sum of p, less p, where one class has nearly all of the softmax."""
    rng = np.random.default_rng(6)
    x = (rng.normal(size=(4, 100)) * 30).astype("float32")
    p = np.broadcast_to((np.arange(100) % 7 / 8).astype("float32") / np.float32(100), x.shape).copy()
    wide = x.astype(np.float64)
    softmax = np.exp(wide - wide.max(1, keepdims=True))
    softmax /= softmax.sum(1, keepdims=True)
    exact = softmax * p.astype(np.float64).sum(1, keepdims=True) - p
    given = rv.from_numpy(x if layout == "rows" else x.T.copy()).requires_grad_()
    scores = given if layout == "rows" else given.T
    functional.cross_entropy(scores, rv.from_numpy(p), reduction="sum").backward()
    got = given.grad if layout == "rows" else given.grad.T
    assert rms(got, exact) < 2.5


def test_erfinv(isa):
    """The residual of erf, evaluated in float64, divided by the slope of erf."""
    rng = np.random.default_rng(7)
    x = np.concatenate([rng.uniform(-0.99, 0.99, 3000), 1 - 10 ** rng.uniform(-6, -1, 3000)])
    x = x.astype("float32")
    y = rv.erfinv(rv.from_numpy(x)).numpy().astype(np.float64)
    near_one = [math.erfc(a) - (1 - b) for a, b in zip(y, x.astype(float), strict=True)]
    others = [b - math.erf(a) for a, b in zip(y, x.astype(float), strict=True)]
    away = np.where(x > 0.5, near_one, others)
    correction = away * math.sqrt(math.pi) / 2 * np.exp(y * y)
    error = np.abs(correction) / np.spacing(np.abs(y).astype("float32"))
    assert error.max() < 2.6
