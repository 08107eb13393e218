"""Averages of parameters, dot products and the loops of L-BFGS: edge sizes, strides, threads, wrong input."""

import numpy as np
import pytest
from ranvier import _core
from reference import optimizer as reference
from support.bits import same_bits
from support.grouped import grouped
from support.layouts import LAYOUTS, in_layout
from support.tolerance import tolerance

SIZES = [0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 255, 256, 257, 1000]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weight", [0.0, 0.001, 0.5, 0.9, 1.0])
def test_move_towards(rng, isa, dtype, weight):
    averages = [rng.uniform(-1, 1, n).astype(dtype) for n in SIZES * 3]
    values = [rng.uniform(-1, 1, n).astype(dtype) for n in SIZES * 3]
    wanted = [
        reference.move_towards(a.astype(float), b.astype(float), weight)
        for a, b in zip(averages, values, strict=True)
    ]
    _core.move_parameters(averages, values, np.array([weight]), True)
    for a, b in zip(averages, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance(dtype, 2, 1.0))
    if weight == 1:
        assert all((a == v).all() for a, v in zip(averages, values, strict=True))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("towards", [True, False])
def test_move_of_strided_arrays(rng, isa, layout, towards):
    p, v = (rng.uniform(-1, 1, (5, 4, 3, 33)).astype(np.float32) for _ in range(2))
    q, u = in_layout(p, layout), in_layout(v, layout)
    for parameters, values in ((q, v), (p, u)):
        _core.move_parameters([parameters], [values], np.array([0.25]), towards)
    np.testing.assert_array_equal(q, p)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("n", [*SIZES, 4095, 4096, 4097, 20001])
def test_dot(rng, isa, dtype, n):
    a, b = (rng.uniform(-1, 1, n).astype(dtype) for _ in range(2))
    wanted = float(a.astype(np.longdouble) @ b.astype(np.longdouble))
    assert abs(_core.flat_dot(a, b)[0] - wanted) <= tolerance("float64", n, 1.0)


def pairs(rng, n, count, dtype):
    steps = [rng.uniform(-1, 1, n).astype(dtype) for _ in range(count)]
    changes = [(s + 0.2 * rng.uniform(-1, 1, n)).astype(dtype) for s in steps]  # y . s > 0
    return changes, steps


def direction(g, changes, steps):
    d, ro = _core.neg(g), np.array([1 / _core.flat_dot(y, s)[0] for y, s in zip(changes, steps, strict=True)])
    alphas = np.zeros(len(changes))
    scale = None
    if changes:
        y, s = changes[-1], steps[-1]
        scale = _core.flat_dot(y, s) / _core.flat_dot(y, y)
    _core.lbfgs_loop(d, changes, steps, ro, alphas, None, False)
    _core.lbfgs_loop(d, changes, steps, ro, alphas, scale, True)
    return d


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("n", "count"), [(1, 1), (5, 0), (7, 1), (33, 3), (5000, 5), (60, 40)])
def test_direction(rng, isa, dtype, n, count):
    g = rng.uniform(-1, 1, n).astype(dtype)
    changes, steps = pairs(rng, n, count, dtype)
    wanted = reference.lbfgs_direction(
        g.astype(float), [y.astype(float) for y in changes], [s.astype(float) for s in steps]
    )
    # Each pair multiplies the vector by I - ro s y^T, of norm at most |s| |y| / (s . y), and rounds it once.
    growth = [np.linalg.norm(s) * np.linalg.norm(y) / (s @ y) for s, y in zip(steps, changes, strict=True)]
    size = np.linalg.norm(g) * np.prod(np.square(growth, dtype=float))
    limit = tolerance(dtype, 4 * count + 1, size)
    np.testing.assert_allclose(direction(g, changes, steps), wanted, rtol=0, atol=limit)


def test_same_bits_at_any_thread_count(rng, threads):
    g = rng.standard_normal(100003).astype(np.float32)
    changes, steps = pairs(rng, g.size, 3, "float32")

    def run():
        average = np.zeros_like(g)
        _core.move_parameters([average], [g], np.array([0.1]), True)
        return direction(g, changes, steps), _core.flat_dot(g, average), average

    same_bits(threads, run)


ONE = np.ones(1)
