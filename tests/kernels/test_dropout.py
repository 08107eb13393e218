"""Random kernels: sizes, layouts, levels and threads give the same numbers; uniform and normal values."""

import numpy as np
import pytest
from ranvier import _core
from ranvier.ops.making import philox
from reference import dropout as reference
from support.bits import same_bits
from support.grouped import grouped
from support.layouts import LAYOUTS, in_layout

KEY = np.array([-5, 3])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("size", [0, 1, 2, 7, 15, 16, 17, 63, 64, 65, 127, 129, 1000])
def test_every_size(isa, dtype, size):
    x = np.arange(1, size + 1, dtype=dtype)
    y = _core.dropout(x, 0.4, KEY, None)
    np.testing.assert_array_equal(y != 0, reference.keep_mask(x.shape, 0.4, KEY))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_mask_follows_the_logical_order(isa, layout):
    x = np.arange(1, 2 * 5 * 6 * 7 + 1, dtype=np.float32).reshape(2, 5, 6, 7)
    y = _core.dropout(in_layout(x, layout), 0.4, KEY, None)
    np.testing.assert_array_equal(y, _core.dropout(x, 0.4, KEY, None))


def test_same_bits_at_any_thread_count(threads):
    x = np.ones((301, 517), np.float32)

    def run():
        yield _core.dropout(x, 0.5, KEY, None)
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


@pytest.mark.parametrize("seed", [0, 1, 7, 2**63 - 1, 2**63, 2**64 - 1])
def test_keys_follow_seed_and_count(seed):
    state = np.array([seed, 0], np.uint64).view(np.int64)
    for number in range(1, 5):
        key = _core.next_key(state)
        assert key.view(np.uint64).tolist() == [philox.mixed(seed, number), 0]
        assert state.view(np.uint64).tolist() == [seed, number]
