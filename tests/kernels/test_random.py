"""Kernels that draw random numbers: those of the reference generator, with the mean and spread that they
should have (5 standard errors), at any number of threads; indices drawn by weights, beside NumPy's search of
the same uniform numbers. A test with the fixture `isa` runs at each ISA level (instruction set).
"""

import numpy as np
import pytest
from ranvier import _core
from ranvier.ops.making import philox
from reference import dropout as reference, images
from support.grouped import grouped  # parametrize, with many cases a test
from support.layouts import in_layout
from support.threads import same_bits
from support.tolerance import tolerance

KEY = np.array([-5, 3])


def test_same_bits_at_any_thread_count(threads):
    x = np.ones((301, 517), np.float32)

    def run():
        yield _core.dropout(x.T, 0.5, KEY, None)
        for dtype in ("float32", "float64"):
            yield _core.random_uniform((100003,), dtype, -1.0, 2.0, KEY)
            yield _core.random_normal((100003,), dtype, 0.0, 1.0, KEY)

    same_bits(threads, lambda: list(run()))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform(isa, dtype):
    n = 200003
    x = _core.random_uniform((n,), dtype, -1.0, 3.0, KEY)
    assert x.dtype == dtype
    assert x.min() >= -1
    assert x.max() < 3
    assert abs(x.mean(dtype=float) - 1) < 5 * 4 / np.sqrt(12 * n)
    assert np.unique(x).size > 0.98 * n
    if dtype == "float32":
        words = reference.random_words(n, KEY)
        np.testing.assert_array_equal(x, (words >> 8).astype("f4") * np.float32(2**-24) * 4 - 1)
    np.testing.assert_array_equal(_core.random_uniform((7,), dtype, 2.0, 2.0, KEY), np.full(7, 2.0))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal(isa, dtype):
    n = 200003
    x = _core.random_normal((n,), dtype, 2.0, 3.0, KEY).astype(float)
    z = (x - 2) / 3
    assert abs(z.mean()) < 5 / np.sqrt(n)
    assert abs(z.var() - 1) < 5 * np.sqrt(2 / n)
    assert abs((z**3).mean()) < 5 * np.sqrt(15 / n)
    assert abs((z**4).mean() - 3) < 5 * np.sqrt(96 / n)
    assert abs(np.corrcoef(z[:-1], z[1:])[0, 1]) < 5 / np.sqrt(n)
    assert abs((np.abs(z) > 1.96).mean() - 0.05) < 5 * np.sqrt(0.05 * 0.95 / n)


@grouped("size", [0, 1, 15, 63, 64, 65, 255, 256, 257, 1000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal_numbers_at_every_size(isa, dtype, size):
    expected = 0.5 + 2.0 * images.standard_normal(size, KEY, dtype)
    # the largest radius is sqrt(-2 log(step)): 5.8 and 8.6; the angle 2 pi v is itself rounded
    y = _core.random_normal((size,), dtype, 0.5, 2.0, KEY)
    np.testing.assert_allclose(y, expected, rtol=0, atol=tolerance(dtype, 8, 2 * 8.6))


@pytest.mark.parametrize("seed", [0, 1, 7, 2**63 - 1, 2**63, 2**64 - 1])
def test_keys_follow_seed_and_count(seed):
    state = np.array([seed, 0], np.uint64).view(np.int64)
    for number in range(1, 5):
        key = _core.next_key(state)
        assert key.view(np.uint64).tolist() == [philox.mixed(seed, number), 0]
        assert state.view(np.uint64).tolist() == [seed, number]


def with_replacement(weights, uniform):
    """Where each uniform number falls among the sums of the weights."""
    edges = weights.cumsum(1) / weights.sum(1, keepdims=True)
    return np.stack([np.searchsorted(e, u, "right") for e, u in zip(edges, uniform, strict=True)])


def without(weights, uniform):
    """The order of random keys, each of an exponential distribution with its weight as rate."""
    with np.errstate(divide="ignore"):
        keys = np.where(weights > 0, np.log(1 - uniform) / weights, -np.inf)
    return np.argsort(-keys, 1, kind="stable")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("m", "n"), [(1, 1), (1, 2000), (3, 7), (500, 64)])
def test_indices_drawn_both_ways(m, n, dtype, threads, rng):
    """The same indices as NumPy's search for the same uniform numbers, with weights in any memory order."""
    threads(2)
    weights = rng.random((m, n)).astype(dtype)
    weights[:, 1 : n // 2 : 3] = 0
    wide = weights.astype(np.float64)
    for layout in ("plain", "strided", "transposed", "reversed"):
        given = in_layout(weights, layout)
        u = rng.random((m, 40))
        np.testing.assert_array_equal(
            _core.draw_rows(given, 40, True, lambda _, u=u: u), with_replacement(wide, u)
        )
        u = rng.random((m, n))
        for samples in {1, (n + 1) // 2}:
            chosen = _core.draw_rows(given, samples, False, lambda _, u=u: u)
            np.testing.assert_array_equal(chosen, without(wide, u)[:, :samples])


def test_a_number_next_to_1_draws_the_last_weight_above_0():
    weights = np.array([[0.1, 0.2, 0.3, 0.0, 0.0]])
    u = np.full((1, 3), np.nextafter(1.0, 0.0))
    assert _core.draw_rows(weights, 3, True, lambda _: u).tolist() == [[2, 2, 2]]
    assert _core.draw_rows(weights, 3, True, lambda _: u * 0).tolist() == [[0, 0, 0]]
    assert _core.draw_rows(np.ones((0, 3)), 2, True, np.zeros).shape == (0, 2)
    with pytest.raises(ZeroDivisionError):
        _core.draw_rows(weights, 1, True, lambda _: 1 / 0)


@pytest.mark.parametrize("zeros", [9, 400])
def test_weights_of_0_follow_those_above_it(zeros, rng):
    weights = np.r_[np.zeros(zeros), 1.0, 2.0][None]
    chosen = _core.draw_rows(weights, 6, False, rng.random)[0].tolist()
    assert (sorted(chosen[:2]), len({*chosen})) == ([zeros, zeros + 1], 6)
