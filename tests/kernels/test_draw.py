"""Rows of weights from which indices are drawn: both ways beside NumPy, memory orders, errors."""

import numpy as np
import pytest
from ranvier import _core
from support.layouts import in_layout


def with_replacement(weights, uniform):
    edges = weights.cumsum(1) / weights.sum(1, keepdims=True)
    return np.stack([np.searchsorted(e, u, "right") for e, u in zip(edges, uniform, strict=True)])


def without(weights, uniform):
    with np.errstate(divide="ignore"):
        keys = np.where(weights > 0, np.log(1 - uniform) / weights, -np.inf)
    return np.argsort(-keys, 1, kind="stable")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("m", "n"), [(1, 1), (1, 2000), (3, 7), (500, 64)])
def test_both_ways(m, n, dtype, threads, rng):
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
