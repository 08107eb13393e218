"""The kernels of attention beside the reference in NumPy, in float64: sizes around blocks and vectors, memory
orders, masks, NaN, and attention to the kept keys and values of sequences (a cache).

Shapes: q (..., l, e), k (..., s, e), v (..., s, d), result and dy (..., l, d) for l queries and s keys. The
kernel has weights (..., s, l), the reference (..., l, s). A test with the fixture `isa` runs at each ISA
level (instruction set).
"""

import numpy as np
import pytest
from ranvier import _core
from reference import attention as reference
from support.refused import refused
from support.remembered import remembered  # a reference computed once for equal arguments
from support.threads import same_bits
from support.tolerance import tolerance

# (l, s): around vectors, blocks of 64 or 128 queries and of 384 keys, and rests that join a block
LENGTHS = [
    *((n, n) for n in (1, 2, 7, 8, 9, 15, 16, 17, 33, 63, 64, 65, 72, 73)),
    *((n, 5) for n in (127, 128, 129, 136, 137, 200)),
    *((3, n) for n in (383, 384, 385, 392, 393, 770)),
    *((140, n) for n in (384, 385, 400, 1023)),
    (129, 1025),
    *((n, 4099) for n in (1, 8, 9)),
]
SCALE = 0.3
PRODUCT = 16  # the product of two standard normal numbers is larger once in 5e7: sqrt(2 / (pi 16)) exp(-16)
# `remembered` computes a reference once for all ISA levels, at which a test with the fixture `isa` runs.
attention = remembered(reference.attention)
attention_weights = remembered(reference.weights)
attention_backward = remembered(reference.attention_backward)


def drawn(rng, dtype, *shapes):
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def causal(queries, keys, first):
    """A mask of numbers: 0 for the keys that a query sees, else -inf. Query i sees the keys 0 ... first +
    i."""
    return reference.causal_mask(queries + first, keys)[first:]


def compare(found, wanted, dtype, terms):
    """terms: how many are added on the way to a result, each at most PRODUCT times the largest result."""
    limit = tolerance(dtype, terms, PRODUCT * max(1.0, float(np.abs(wanted).max(initial=0))))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=limit)


def check(q, k, v, dy, is_causal=False, first=0, mask=None, adds=False):
    """Result, weights and gradients beside the reference, with the same bits on one thread and on two.

    The result has the same bits where no weights are kept, the weights where there are no values. adds: dk
    and dv are added to what their arrays have, here ones; dq is always written.
    """
    lead, l, s, e = q.shape[:-2], q.shape[-2], k.shape[-2], q.shape[-1]
    settings = {"scale": SCALE, "is_causal": is_causal, "first": first}

    def run():
        y, weights = _core.attention(q, k, v, **settings, mask=mask, keep=True)
        without_weights, _ = _core.attention(q, k, v, **settings, mask=mask)
        np.testing.assert_array_equal(without_weights, y)
        _, without_values = _core.attention(q, k, None, **settings, mask=mask, keep=True)
        np.testing.assert_array_equal(without_values, weights)
        dq, dk, dv = (np.full((*lead, *x.shape[-2:]), float(adds), q.dtype) for x in (q, k, v))
        dq[...] = 7  # which must not stay
        _core.attention_backward(dy, q, k, v, weights, **settings, adds=adds, dq=dq, dk=dk, dv=dv)
        return y, weights, dq, dk, dv

    same_bits(_core.set_num_threads, run, (1, 2))
    y, weights, dq, dk, dv = run()

    shared_by_heads = (np.broadcast_to(x, (*lead, *x.shape[-2:])) for x in (k, v))
    q64, k64, v64, dy64 = (x.astype(np.float64) for x in (q, *shared_by_heads, dy))
    seen = causal(l, s, first) if is_causal else mask
    # a weight: a score of e products, divided by a sum over s keys; a result: a sum over the keys of these
    compare(weights.swapaxes(-1, -2), attention_weights(q64, k64, seen, SCALE), q.dtype, s + e)
    compare(y, attention(q64, k64, v64, seen, SCALE), q.dtype, s + e)
    # a gradient: a sum over the keys (dq) or the queries (dk, dv) of products with weights
    exact_dq, exact_dk, exact_dv, _ = attention_backward(dy64, q64, k64, v64, seen, SCALE)
    compare(dq, exact_dq, q.dtype, l + s + e)
    compare(dk - adds, exact_dk, q.dtype, l + s + e)
    compare(dv - adds, exact_dv, q.dtype, l + s + e)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("is_causal", [False, True])
def test_every_length(is_causal, dtype, isa, rng, threads):
    for i, (l, s) in enumerate(LENGTHS):
        q, k, v, dy = drawn(rng, dtype, (2, l, 5), (2, s, 5), (2, s, 11), (2, l, 11))
        check(q, k, v, dy, is_causal, first=i % 3 if is_causal else 0, adds=i % 4 == 0)


@pytest.mark.parametrize("keys", [385, 769])
def test_a_last_key_beside_wide_values(keys, isa, rng, threads):
    """It is a block of its own, whose product is added to the others' sum."""
    check(*drawn(rng, "float32", (1, 140, 5), (1, keys, 5), (1, keys, 70), (1, 140, 70)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_width(dtype, isa, rng, threads):
    for n in (1, 2, 7, 8, 9, 15, 16, 17, 33, 64):
        for e, d in ((n, 10), (10, n)):
            check(*drawn(rng, dtype, (1, 140, e), (1, 20, e), (1, 20, d), (1, 140, d)))


@pytest.mark.parametrize("lead", [(), (3,), (2, 5), (5, 1, 3)])
@pytest.mark.parametrize("sizes", [(17, 9), (6, 390), (70, 70)])
def test_memory_orders(lead, sizes, rng, threads):
    """Heads at even distances in memory and not, transposed matrices, keys and values that all heads share,
    and values with gaps; each beside the reference, which does not see the order in memory."""
    l, s = sizes
    q, k, v, dy = drawn(rng, "float32", (*lead, l, 6), (*lead, s, 6), (*lead, s, 9), (*lead, l, 9))
    check(q, k, v, dy)
    transposed = [np.ascontiguousarray(x.swapaxes(-1, -2)) for x in (q, k, v, dy)]
    check(*(x.swapaxes(-1, -2) for x in transposed))
    if lead:
        heads_inside = [np.ascontiguousarray(np.moveaxis(x, 0, -2)) for x in (q, k, v, dy)]
        check(*(np.moveaxis(x, -2, 0) for x in heads_inside))
        check(q, k[:1], v[:1], dy)  # keys and values that the heads along the first dimension share
        check(q, np.broadcast_to(k[:1], k.shape), v, np.broadcast_to(dy[:1], dy.shape))  # with a stride of 0
    doubled = np.zeros((*lead, s, 2 * 9), np.float32)
    doubled[..., ::2] = v
    check(q[..., ::-1, :], k, doubled[..., ::2], dy)  # queries from behind, values with gaps


@pytest.mark.parametrize("is_causal", [False, True])
def test_groups_of_heads(is_causal, isa, rng, threads):
    """Heads that are computed together are as many as their scores, or their keys and values, allow."""
    for heads, l, s, e in ((31, 17, 17, 3), (13, 1, 130, 64), (5, 1, 520, 64), (3, 65, 20, 4)):
        q, k, v, dy = drawn(rng, "float32", *((2, heads, n, e) for n in (l, s, s, l)))
        first = max(0, s - l) if is_causal else 0  # the queries are the last of the keys' places
        check(q, k, v, dy, is_causal, first)


@pytest.mark.parametrize("kind", ["numbers", "bool"])
@pytest.mark.parametrize("shape", [(2, 3, 70, 390), (70, 390), (2, 1, 1, 390), (3, 70, 1), (1, 1)])
def test_masks(shape, kind, isa, rng, threads):
    """Masks that broadcast: numbers, which are added to the scores, or True for the keys that are seen."""
    q, k, v, dy = drawn(rng, "float32", *((2, 3, n, 4) for n in (70, 390, 390, 70)))
    mask = rng.standard_normal(shape).astype(np.float32)
    if kind == "bool":
        mask = mask > -0.5
        if shape[-2] > 1:
            mask[..., 5, :] = False  # a query without visible keys
    check(q, k, v, dy, mask=mask)
    y, _ = _core.attention(q, k, v, SCALE, mask=mask, of_nothing=np.nan)
    sees = np.broadcast_to(mask != 0, (2, 3, 70, 390)).any(-1, keepdims=True)
    np.testing.assert_array_equal(np.isnan(y), np.broadcast_to(~sees, y.shape))


def test_two_masks_and_causal(rng):
    """Numbers that are added, keys that are hidden in a whole sequence (padding), and what is_causal hides:
    as the one mask of numbers that is made of them."""
    q, k, v = drawn(rng, "float64", *((2, 3, n, 4) for n in (20, 30, 30)))
    hidden, added = rng.random((2, 1, 1, 30)) < 0.3, rng.standard_normal((20, 30))
    hidden[..., 0] = False
    mask = np.where(hidden, -np.inf, added) + causal(20, 30, 0)
    y, weights = _core.attention(q, k, v, SCALE, True, 0, added, padding=hidden, hides=True, keep=True)
    compare(y, reference.attention(q, k, v, mask, SCALE), "float64", 60)
    compare(weights.swapaxes(-1, -2), reference.weights(q, k, mask, SCALE), "float64", 60)


@pytest.mark.parametrize("s", [20, 500])
def test_large_scores_infinities_and_nan(s, isa):
    """Scores beyond exp's range, also in a later block of keys: the query takes the last value, or the first,
    alone. A NaN or an infinity in a query makes its own result NaN and no other."""
    k, v = np.zeros((s, 1), np.float32), np.arange(s, dtype=np.float32)[:, None]
    k[[0, -1], 0] = -1, 1  # and v is 0, 1, 2 ... s - 1
    q = np.array([[1e4], [-1e4], [np.nan], [0], [np.inf]], np.float32)
    y, weights = _core.attention(q, k, v, 1.0, keep=True)
    assert y[0] == s - 1
    assert y[1] == 0
    np.testing.assert_allclose(y[3], v.mean(), rtol=0, atol=tolerance("float32", s, s))
    assert np.isnan(y[[2, 4]]).all()
    assert np.isfinite(weights[:, [0, 1, 3]]).all()


def test_results_in_the_memory_order_of_the_queries(rng):
    qkv = rng.standard_normal((2, 5, 3, 4, 8)).astype(np.float32)
    q, k, v = qkv.transpose(2, 0, 3, 1, 4)  # (2, 4, 5, 8), heads innermost but one
    y, _ = _core.attention(q, k, v, SCALE)
    assert y.transpose(0, 2, 1, 3).flags.c_contiguous
    repeated = np.broadcast_to(q[:1], (3, *q.shape[1:]))
    assert _core.attention(repeated, k[:1], v[:1], SCALE)[0].flags.c_contiguous


def cache(rng, dtype, n, heads, e, d, most, room):
    """Keys (n, heads, e, room), values (n, heads, room, d) and lengths (n, at most `most`) of n sequences;
    what is beyond a sequence's length is NaN and must not be read. Keys are kept for a multiple of 64
    tokens."""
    keys = np.full((n, heads, e, -(-room // 64) * 64), np.nan, dtype)
    values = np.full((n, heads, room, d), np.nan, dtype)
    lengths = rng.integers(0, most + 1, n) if n else np.zeros(0, np.int64)
    for i, length in enumerate(lengths):
        keys[i, :, :, :length] = rng.standard_normal((heads, e, length))
        values[i, :, :length] = rng.standard_normal((heads, length, d))
    return keys, values, lengths


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cached_sizes_and_memory_orders(dtype, isa, rng):
    """l new tokens for each of n sequences: their results are those of the reference; the cache gets exactly
    their keys and values, and where `advance` is set, the lengths grow by l."""
    sizes = [(n, n) for n in (1, 2, 7, 8, 9, 16, 17, 31, 33, 64)] + [(5, 1), (1, 5), (0, 3), (3, 0)]
    for i, (e, d) in enumerate(sizes):
        for l, room in ((1, 20), (4, 64), (5, 65), (19, 400), (0, 3), (1, 800)):
            n, heads = (3, 2) if l else (0, 1)
            *kept, lengths = cache(rng, dtype, n, heads, e, d, room - l, room)
            q, k, v = drawn(rng, dtype, (n, l, heads, e), (n, heads, l, e), (n, heads, d, l))
            new = q.swapaxes(1, 2), k, v.swapaxes(2, 3)  # three orders in memory
            settings = {"max_length": room, "scale": SCALE, "advance": i % 2 == 0}
            wide = [x.astype(np.float64) for x in (*new, *kept)]
            wanted, *changed = reference.attention_cached(*wide, lengths.copy(), **settings)

            def run(new=new, before=(*kept, lengths), settings=settings):
                after = [x.copy() for x in before]
                return _core.attention_cached(*new, *after, **settings), *after

            same_bits(_core.set_num_threads, run, (1, 2))
            y, *after = run()
            compare(y, wanted, dtype, e + room)
            for x, exact in zip(after, changed, strict=True):
                np.testing.assert_array_equal(x, exact.astype(x.dtype))


def test_cached_errors(rng):
    keys, values, _ = cache(rng, "float32", 2, 3, 4, 5, most=10, room=10)
    q, v = np.ones((2, 3, 1, 4), np.float32), np.ones((2, 3, 1, 5), np.float32)
    cached = {"keys": keys, "values": values, "lengths": np.zeros(2, int), "max_length": 10}
    right = {"q": q, "k": q, "v": v, **cached, "scale": SCALE}
    for message, changed in {
        "got 1 more tokens for a row of length 10; expected at most 10": {"lengths": np.array([3, 10])},
        "got 1 more tokens for a row of length -1": {"lengths": np.array([-1, 2])},
        "got lengths that cannot be written": {"lengths": np.broadcast_to(np.array(1), 2)},
        "got keys with gaps": {"keys": np.zeros((2, 3, 4, 128), np.float32)[..., ::2]},
        "got values with gaps": {"values": np.zeros((2, 3, 10, 10), np.float32)[..., ::2]},
        "got max_length -1": {"max_length": -1},
    }.items():
        refused(ValueError, message, _core.attention_cached, **{**right, **changed})


def test_cached_positions():
    """The places of 2 new tokens after each length; the lengths lie in memory from behind."""
    positions = _core.cache_positions(np.array([5, 3])[::-1], count=2, max_length=7)
    np.testing.assert_array_equal(positions, [[3, 4], [5, 6]])
