"""Attention of bfloat16 that is read as it is: products of pairs, where those are fast."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import _core
from support.bits import same_bits
from support.grouped import grouped
from support.layouts import in_layout

BF16 = np.dtype(rv.bfloat16)
SCALE = 0.2
# Of a result, by its absolute terms: weights and results are rounded to 8 bits, exp is off by 2^-14.
ERROR = 2.0**-8 + 2.0**-8 + 2.0**-12
SHAPES = [  # queries, keys, widths: around tiles, blocks of queries and of keys, and pairs
    *((n, 64, 64, 64) for n in (9, 13, 14, 15, 16, 17, 28, 29, 31, 33, 63, 129, 136, 137)),
    *((20, n, 66, 64) for n in (16, 17, 31, 33, 383, 384, 385, 769)),
    *((70, 70, e, 66) for e in (16, 17, 31, 32, 33, 47, 64, 65, 100)),
    *((70, 70, 64, d) for d in (16, 17, 31, 33, 48, 65, 100)),
    (140, 1025, 65, 33),
]
needs_pairs = pytest.mark.skipif(_core.bfloat16() != 1, reason="needs fast products of pairs of bfloat16")


def drawn(rng, l, s, e, d, lead=(2, 3)):
    shapes = (l, e), (s, e), (s, d)
    return [rng.standard_normal((*lead, *shape)).astype(np.float32).astype(BF16) for shape in shapes]


def attention(q, k, v, is_causal=False, first=0, **more):
    return _core.attention(q, k, v, SCALE, is_causal, first, half=BF16, **more)[0]


def check(q, k, v, y, hidden=False):
    q, k, v, y = (x.astype(np.float64) for x in (q, k, v, y))
    scores = np.where(hidden, -np.inf, SCALE * q @ k.swapaxes(-1, -2))
    top = scores.max(-1, keepdims=True)
    w = np.exp(scores - np.where(np.isinf(top), 0, top))
    w /= np.maximum(w.sum(-1, keepdims=True), 1e-300)
    assert y.shape == (w @ v).shape
    assert (np.abs(y - w @ v) <= ERROR * (w @ np.abs(v))).all()


@needs_pairs
@grouped("shape", SHAPES)
def test_results_of_any_sizes_and_orders(shape, rng, threads):
    q, k, v = drawn(rng, *shape)
    y = attention(q, k, v)
    assert y.dtype == BF16
    check(q, k, v, y)
    for layout in ("transposed", "strided"):  # a sum has one order, whatever that of the memory
        other = [in_layout(x, layout) for x in (q, k, v)]
        np.testing.assert_array_equal(attention(*other).astype(np.float32), y.astype(np.float32))
    same_bits(threads, lambda: attention(q, k, v), (1, 2, 3))
    alone = attention(q[1, 2], k[1, 2], v[1, 2])
    np.testing.assert_array_equal(alone.astype(np.float32), y[1, 2].astype(np.float32))


@needs_pairs
@grouped("shape", [(9, 16, 64, 64), (64, 64, 32, 32), (130, 131, 33, 40), (400, 900, 16, 64)])
def test_masks(shape, rng):
    q, k, v = drawn(rng, *shape)
    l, s = shape[:2]
    for first in (0, 1, 5):
        y = attention(q, k, v, True, first)
        check(q, k, v, y, np.arange(s) > np.arange(l)[:, None] + first)
    seen, padding = rng.random((l, s)) < 0.5, rng.random((2, 1, 1, s)) < 0.7
    seen[3] = False
    y = attention(q, k, v, mask=seen, padding=padding)
    assert (y[..., 3, :].astype(np.float32) == 0).all()
    check(q, k, v, y, ~(seen & padding))
    check(q[:, :1], k[:, :1], v, attention(q[:, :1] + np.zeros_like(q), k[:, :1], v))  # keys of all heads


@needs_pairs
def test_no_numbers_stay_where_they_are(rng):
    q, k, v = drawn(rng, 20, 40, 64, 64)
    q[0, 0, 3, 5] = v[1, 1, 7, 8] = np.nan
    y = attention(q, k, v).astype(np.float32)
    hit = np.zeros(y.shape, bool)
    hit[0, 0, 3], hit[1, 1, :, 8] = True, True
    np.testing.assert_array_equal(np.isnan(y), hit)


def test_what_is_not_read_as_it_is(rng):
    q, k, v = drawn(rng, 20, 40, 64, 64)
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
        q, k, v = (rv.tensor(x.astype(np.float32)).to(own) for x in drawn(rng, l, s, e, e))
        for mask in (None, rv.tensor(rng.random((l, s)) < 0.8), rv.zeros(l, s).to(own)):
            y = rv.nn.functional.scaled_dot_product_attention(q, k, v, mask, scale=SCALE)
            assert y.dtype == own
            hidden = ~mask.numpy() if mask is not None and mask.dtype == rv.bool else False
            check(*(x.float().numpy() for x in (q, k, v)), y.float().numpy(), hidden)
        recorded = [x.clone().requires_grad_() for x in (q, k, v)]
        rv.nn.functional.scaled_dot_product_attention(*recorded, scale=SCALE).float().sum().backward()
        assert all(x.grad.dtype == own for x in recorded)
