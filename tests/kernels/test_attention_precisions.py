"""Attention whose products are of bfloat16: of halves (16-bit floats) that are read as they are, and of
float32 with "medium" precision (fixture `medium` in support/bfloat16.py).

Results and gradients are compared with the reference in NumPy, in float64. The bounds follow the roundings:
of halves see ERROR; with "medium" precision each product changes by FACTORS at most, as `check_forward` and
`check_backward` derive. Shapes: q (..., l, e), k (..., s, e), v (..., s, d) for l queries and s keys. A test
with the fixture `isa` runs at each ISA level (instruction set).
"""

import functools

import numpy as np
import pytest
import ranvier as rv
from ranvier import _core
from reference import attention as reference
from support.bfloat16 import is_rounded, medium, needs_bfloat16  # noqa: F401
from support.grouped import grouped  # parametrize, with many cases a test
from support.layouts import in_layout
from support.threads import same_bits

BF16 = np.dtype(rv.bfloat16)
SCALE = 0.2
# The relative error of a result (by absolute terms): weights and results are rounded to 8 bits, exp is off
# by 2^-14.
ERROR = 2.0**-8 + 2.0**-8 + 2.0**-12
SHAPES_OF_HALVES = [  # l, s, e, d: around tiles, blocks of queries and of keys, and pairs
    *((n, 64, 64, 64) for n in (9, 13, 14, 15, 16, 17, 28, 29, 31, 33, 63, 129, 136, 137)),
    *((20, n, 66, 64) for n in (16, 17, 31, 33, 383, 384, 385, 769)),
    *((70, 70, e, 66) for e in (16, 17, 31, 32, 33, 47, 64, 65, 100)),
    *((70, 70, 64, d) for d in (16, 17, 31, 33, 48, 65, 100)),
    (140, 1025, 65, 33),
]
needs_pairs = pytest.mark.skipif(_core.bfloat16() != 1, reason="needs fast products of pairs of bfloat16")


def drawn_halves(rng, l, s, e, d, lead=(2, 3)):
    shapes = (l, e), (s, e), (s, d)
    return [rng.standard_normal((*lead, *shape)).astype(np.float32).astype(BF16) for shape in shapes]


def attention(q, k, v, is_causal=False, first=0, **more):
    return _core.attention(q, k, v, SCALE, is_causal, first, half=BF16, **more)[0]


def check_halves(q, k, v, y, hidden=None):
    """y beside the reference of these halves. hidden: True for the keys that a query must not use."""
    q, k, v, y = (x.astype(np.float64) for x in (q, k, v, y))
    w = reference.weights(q, k, None if hidden is None else ~hidden, SCALE)
    assert y.shape == (w @ v).shape
    assert (np.abs(y - w @ v) <= ERROR * (w @ np.abs(v))).all()


@needs_pairs
@grouped("shape", SHAPES_OF_HALVES)
def test_results_of_any_sizes_and_orders(shape, rng, threads):
    """Beside the reference; the same bits in any memory order, on any number of threads, and of a head
    alone."""
    q, k, v = drawn_halves(rng, *shape)
    y = attention(q, k, v)
    assert y.dtype == BF16
    check_halves(q, k, v, y)
    for layout in ("transposed", "strided"):  # a sum has one order, whatever that of the memory
        other = [in_layout(x, layout) for x in (q, k, v)]
        np.testing.assert_array_equal(attention(*other).astype(np.float32), y.astype(np.float32))
    same_bits(threads, lambda: attention(q, k, v), (1, 2, 3))
    alone = attention(q[1, 2], k[1, 2], v[1, 2])
    np.testing.assert_array_equal(alone.astype(np.float32), y[1, 2].astype(np.float32))


@needs_pairs
@grouped("shape", [(9, 16, 64, 64), (64, 64, 32, 32), (130, 131, 33, 40), (400, 900, 16, 64)])
def test_masks_of_halves(shape, rng):
    """By is_causal, where query i sees the keys 0 ... first + i, and by two masks together; keys of one head
    for all."""
    q, k, v = drawn_halves(rng, *shape)
    l, s = shape[:2]
    for first in (0, 1, 5):
        y = attention(q, k, v, True, first)
        check_halves(q, k, v, y, np.arange(s) > np.arange(l)[:, None] + first)
    seen, padding = rng.random((l, s)) < 0.5, rng.random((2, 1, 1, s)) < 0.7
    seen[3] = False
    y = attention(q, k, v, mask=seen, padding=padding)
    assert (y[..., 3, :].astype(np.float32) == 0).all()
    check_halves(q, k, v, y, ~(seen & padding))
    check_halves(q[:, :1], k[:, :1], v, attention(q[:, :1] + np.zeros_like(q), k[:, :1], v))


@needs_pairs
def test_no_numbers_stay_where_they_are(rng):
    """A NaN in a query reaches its own result alone, one in a value its own column alone."""
    q, k, v = drawn_halves(rng, 20, 40, 64, 64)
    q[0, 0, 3, 5] = v[1, 1, 7, 8] = np.nan
    y = attention(q, k, v).astype(np.float32)
    hit = np.zeros(y.shape, bool)
    hit[0, 0, 3], hit[1, 1, :, 8] = True, True
    np.testing.assert_array_equal(np.isnan(y), hit)


def test_what_is_not_read_as_it_is(rng):
    """The kernel of halves refuses float16, few queries, weights that are kept, masks that are added, and
    calls for weights alone."""
    q, k, v = drawn_halves(rng, 20, 40, 64, 64)
    added = np.zeros((20, 40), BF16)
    for call in (
        lambda: attention(*(x.astype(np.float16) for x in (q, k, v))),
        lambda: attention(q[..., :8, :], k, v),
        lambda: attention(q, k, v, keep=True),
        lambda: attention(q, k, v, mask=added),
        lambda: attention(q, k, None),
    ):
        with pytest.raises(TypeError, match="expected float32 or float64"):
            call()


@pytest.mark.parametrize("own", [rv.float16, rv.bfloat16], ids=str)
def test_the_op(own, isa, rng):
    """Halves as they are, and where not: few queries, narrow heads, masks of numbers, a gradient."""
    for l, s, e in ((20, 40, 64), (4, 40, 64), (20, 40, 8)):
        q, k, v = (rv.tensor(x.astype(np.float32)).to(own) for x in drawn_halves(rng, l, s, e, e))
        for mask in (None, rv.tensor(rng.random((l, s)) < 0.8), rv.zeros(l, s).to(own)):
            y = rv.nn.functional.scaled_dot_product_attention(q, k, v, mask, scale=SCALE)
            assert y.dtype == own
            hidden = ~mask.numpy() if mask is not None and mask.dtype == rv.bool else None
            check_halves(*(x.float().numpy() for x in (q, k, v)), y.float().numpy(), hidden)
        recorded = [x.clone().requires_grad_() for x in (q, k, v)]
        rv.nn.functional.scaled_dot_product_attention(*recorded, scale=SCALE).float().sum().backward()
        assert all(x.grad.dtype == own for x in recorded)


FACTORS = 2.0**-7 + 2.0**-16  # the largest relative change of a product by the rounding of its factors
SHAPES = [  # l, s, e, d: around blocks of queries, of keys, and of pairs
    *((64, 64, e, d) for e, d in ((64, 64), (65, 72), (79, 49))),
    *((n, 200, 48, 48) for n in (31, 63, 128, 129, 136, 137)),
    *((140, n, 40, 24) for n in (32, 33, 383, 384, 385, 769)),
    (300, 1025, 16, 64),
    (1100, 33, 64, 16),
]


def drawn(rng, l, s, e, d, lead=(2, 3)):
    shapes = (l, e), (s, e), (s, d), (l, d)
    return [rng.standard_normal((*lead, *shape)).astype(np.float32) for shape in shapes]


def results(q, k, v, dy, settings=(False, 0), weights=None):
    y, own = _core.attention(q, k, v, SCALE, *settings, keep=True)
    to = [np.zeros_like(x) for x in (q, k, v)]
    _core.attention_backward(dy, q, k, v, own if weights is None else weights, SCALE, *settings, False, *to)
    return [y, own, *to]


def rounding(n):
    return (n + 8) * 2.0**-23  # rounding in float32, in a sum of n terms and the steps after it


def check_forward(q, k, v, y, weights, hidden):
    """A score changes by at most c, so that a weight, a quotient of exponentials, changes by a factor of at
    most exp(2 c), and a result by that and the rounding of its own factors."""
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    changes = (FACTORS + rounding(q.shape[-1])) * SCALE * (np.abs(q) @ np.abs(k.swapaxes(-1, -2)))
    factor = np.exp(2 * (changes.max(-1, keepdims=True) + rounding(8)))
    w = reference.weights(q, k, ~hidden, SCALE)
    got = weights.swapaxes(-1, -2)
    assert (np.abs(got - w) <= w * (factor * (1 + rounding(k.shape[-2])) - 1) + 1e-30).all()
    more = (1 + FACTORS) * factor * (1 + rounding(k.shape[-2])) - 1
    assert (np.abs(y - w @ v) <= more * (w @ np.abs(v)) + 1e-30).all()
    assert np.abs(y - w @ v).max() > 2e-5 or not is_rounded(v.shape[-1], min(384, *w.shape[-2:]))


def check_backward(q, k, v, dy, weights, dq, dk, dv):
    """The bound of each product, through the gradients of the scores."""
    q, k, v, dy, w_t = (x.astype(np.float64) for x in (q, k, v, dy, weights))
    w, v_t = w_t.swapaxes(-1, -2), v.swapaxes(-1, -2)

    def bound(a, b, change):  # the change of a product whose first factor changes, before rounding
        return (FACTORS + rounding(a.shape[-1])) * ((np.abs(a) + change) @ np.abs(b)) + change @ np.abs(b)

    dw, change = dy @ v_t, bound(dy, v_t, np.zeros_like(dy))
    mean = (w * dw).sum(-1, keepdims=True)
    ds = SCALE * w * (dw - mean)
    spread = np.abs(dw) + (w * np.abs(dw)).sum(-1, keepdims=True)
    change = SCALE * w * (change + (w * change).sum(-1, keepdims=True) + rounding(k.shape[-2]) * spread)
    across = lambda x: x.swapaxes(-1, -2)  # noqa: E731
    assert (np.abs(dq - ds @ k) <= bound(ds, k, change)).all()
    assert (np.abs(dk - across(ds) @ q) <= bound(across(ds), q, across(change))).all()
    assert (np.abs(dv - w_t @ dy) <= bound(w_t, dy, np.zeros_like(w_t))).all()
    assert np.abs(dv - w_t @ dy).max() > 2e-5 or not is_rounded(v.shape[-1], min(128, q.shape[-2]))


@needs_bfloat16
@pytest.mark.parametrize("is_causal", [False, True])
@grouped("shape", SHAPES)
def test_errors_are_those_of_rounded_factors(shape, is_causal, medium, rng):  # noqa: F811
    l, s, e, d = shape
    q, k, v, dy = drawn(rng, l, s, e, d)
    y, weights, *gradients = results(q, k, v, dy, (is_causal, 1))
    hidden = np.arange(s) > np.arange(l)[:, None] + 1 if is_causal else np.zeros((l, s), bool)
    check_forward(q, k, v, y, weights, hidden)
    check_backward(q, k, v, dy, weights, *gradients)


@needs_bfloat16
def test_the_same_bits_at_any_number_of_threads_and_beside_any_heads(medium, threads, rng):  # noqa: F811
    for shape in ((64, 64, 32, 32), (140, 385, 40, 24)):
        arrays = drawn(rng, *shape)
        before = results(*arrays)
        same_bits(threads, functools.partial(results, *arrays), (1, 2, 3))
        for got, want in zip(results(*(x[1, 2] for x in arrays)), before, strict=True):
            np.testing.assert_array_equal(got, want[1, 2])


@needs_bfloat16
def test_masks_hide_keys(medium, rng):  # noqa: F811
    """The weights of hidden keys are 0, and a query without a key gets 0; others are as in
    `check_forward`."""
    q, k, v, _ = drawn(rng, 70, 90, 64, 64)
    seen = rng.random((70, 90)) < 0.5
    seen[3] = False
    y, weights = _core.attention(q, k, v, SCALE, mask=seen, keep=True)
    assert (weights.swapaxes(-1, -2)[..., ~seen] == 0).all()
    assert (y[..., 3, :] == 0).all()
    check_forward(
        *(x[..., rows, :] for x, rows in ((q, [0, 1, 2]), (k, slice(None)), (v, slice(None)))),
        y[..., :3, :],
        weights[..., :3],
        ~seen[:3],
    )
