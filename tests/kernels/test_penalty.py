"""The weights' penalty on arrays: sizes around the vector width and the blocks, strides, threads, errors."""

import numpy as np
import pytest
from ranvier import _core
from reference import penalty as reference
from support.bits import same_bits
from support.layouts import LAYOUTS, in_layout
from support.tolerance import tolerance

SIZES = [0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 255, 256, 257, 1000, 4095, 4096, 4097]
ONE = np.ones(1)


def strengths(n):
    """(l1, l2) of each parameter: both, one of them, none."""
    return np.resize([0.5, 0.25, 0.0, 0.0], n), np.resize([0.125, 0.0, 2.0, 0.0], n)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_every_size_in_one_call(rng, isa, dtype, scale):
    p = [rng.uniform(-1, 1, n).astype(dtype) for n in SIZES * 3]  # more than one call holds
    g = [rng.uniform(-1, 1, n).astype(dtype) for n in SIZES * 3]
    for a in p:
        a[::3] = 0
    l1, l2 = strengths(len(p))
    wanted = [
        scale * b + reference.weight_penalty_backward(a, x, y)
        for a, b, x, y in zip(p, g, l1, l2, strict=True)
    ]
    total = sum(reference.weight_penalty(a, x, y) for a, x, y in zip(p, l1, l2, strict=True))
    before = [a.copy() for a in p]
    value = _core.weight_penalty(p, g, l1, l2, np.array([scale]))
    assert value.dtype == np.float64
    np.testing.assert_allclose(value, [total], rtol=1e-12)
    np.testing.assert_array_equal(_core.weight_penalty(p, None, l1, l2, ONE), value)
    limit = tolerance(dtype, 3, 5.0)
    for a, b in zip(g, wanted, strict=True):
        assert a.dtype == dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=limit)
    assert all(np.array_equal(a, b) for a, b in zip(p, before, strict=True))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_strides_do_not_change_the_bits(rng, isa, layout):
    p, g = (rng.uniform(-1, 1, (5, 4, 3, 33)).astype(np.float32) for _ in range(2))
    l1, l2 = np.array([0.1]), np.array([0.2])
    q, h = in_layout(p, layout), in_layout(g, layout)
    value = _core.weight_penalty([p], [g], l1, l2, ONE)
    np.testing.assert_array_equal(_core.weight_penalty([q], [h], l1, l2, ONE), value)
    np.testing.assert_array_equal(h, g)


def test_same_bits_at_any_thread_count(rng, threads):
    p = [rng.standard_normal(n).astype(np.float32) for n in (70001, 3, 40000, 12345)]

    def run():
        g = [np.ones_like(a) for a in p]
        return _core.weight_penalty(p, g, *strengths(4), ONE), *g

    same_bits(threads, run)


def test_nan_and_infinity(isa):
    p = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0], np.float32)
    for l1, l2, wanted in (
        (1.0, 0.0, [np.nan, 1, -1, 0, 0]),
        (0.0, 1.0, [np.nan, np.inf, -np.inf, 0, 0]),
        (0.0, 0.0, [0, 0, 0, 0, 0]),
    ):
        g = np.zeros(5, np.float32)
        value = _core.weight_penalty([p], [g], np.array([l1]), np.array([l2]), ONE)
        np.testing.assert_array_equal(g, wanted)
        assert np.isnan(value[0]) == bool(l1 or l2)


def test_no_parameters():
    np.testing.assert_array_equal(_core.weight_penalty([], [], np.zeros(0), np.zeros(0), ONE), [0.0])
