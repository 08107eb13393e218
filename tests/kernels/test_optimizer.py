"""Optimizer kernels on arrays: sizes around the vector width, strides, many parameters, threads, clipping."""

import numpy as np
import pytest
from ranvier import _core
from reference import optimizer as reference
from support.bits import same_bits
from support.grouped import grouped
from support.layouts import LAYOUTS, in_layout
from support.optimizers import KINDS
from support.refused import refused
from support.tolerance import tolerance

SIZES = [0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 255, 256, 257, 1000]


CLASSES = {kind._rule: kind for kind in KINDS.values()}
MORE = {
    "sgd": {"momentum": 0.9, "dampening": 0.5},
    "rmsprop": {"momentum": 0.9},
    "adagrad": {"lr_decay": 0.2},
    "adadelta": {"eps": 1e-3},
    "rprop": {"step_sizes": (1e-6, 0.11)},
    "asgd": {"lambd": 0.2, "t0": 1.0},
}
RULES = {
    rule: {
        **{k: v for k, v in (("lr", 0.1), ("weight_decay", 0.01)) if k in kind._defaults},
        **MORE.get(rule, {}),
    }
    for rule, kind in CLASSES.items()
}


def group(rule, settings=None):
    return {**CLASSES[rule]._defaults, **(RULES[rule] if settings is None else settings)}


def row(rule, settings=None):
    return np.array(CLASSES[rule]._settings(None, group(rule, settings)), np.float64)


def step(rule, p, g, state, settings=None, loss=None):
    arrays, steps, numbers = state
    _core.optimizer_step(rule, p, g, steps, numbers, arrays, row(rule, settings), loss)


def adam(p, g, state, settings=None):
    step("adam", p, g, state, settings)


def states(p, rule="adam", settings=None):
    """The arrays of state, None for one that is not in use; the counts of steps; the numbers."""
    kind = CLASSES[rule]
    names = kind._state_names(kind, group(rule, settings))
    arrays = [None if name is None else [np.zeros(a.shape, a.dtype) for a in p] for name in names]
    return arrays, [np.zeros(()) for _ in p], [np.ones(()) for _ in p] if kind._number else None


def expected(rule, p, g, steps):
    state = {}
    p, g = p.astype(np.float64), g.astype(np.float64)
    for _ in range(steps):
        p = getattr(reference, rule)(p, g, state, **RULES[rule])
    return p


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("rule", RULES)
def test_every_size_in_one_call(rng, isa, dtype, rule):
    p = [rng.uniform(-1, 1, n).astype(dtype) for n in SIZES * 3]  # more than one call holds
    g = [rng.uniform(0.1, 1, n).astype(dtype) for n in SIZES * 3]  # apart from 0, where steps jump
    wanted = [expected(rule, a, b, 3) for a, b in zip(p, g, strict=True)]
    state = states(p, rule)
    for _ in range(3):
        step(rule, p, g, state)
    limit = tolerance(dtype, 3 * 8, 1.0)
    for a, b in zip(p, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=limit)
    assert all(float(s) == 3 for s in state[1])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_strides(rng, isa, layout):
    p, g = (rng.uniform(-1, 1, (5, 4, 3, 33)).astype(np.float32) for _ in range(2))
    wanted = p.copy()
    adam([wanted], [g], states([p]))
    q, h = in_layout(p, layout), in_layout(g, layout)
    adam([q], [h], states([p]))
    np.testing.assert_array_equal(q, wanted)


def test_same_bits_at_any_thread_count(rng, threads):
    g = [rng.standard_normal(n).astype(np.float32) for n in (70001, 3, 40000, 12345)]

    def run():
        p = [np.ones_like(a) for a in g]
        state = states(p)
        for _ in range(3):
            adam(p, g, state)
        norm = _core.gradient_norm(g, 2.0)
        clipped = [a.copy() for a in g]
        _core.clip_gradients(clipped, np.array([1.0]), norm)
        return *p, norm, *clipped

    same_bits(threads, run)


def test_one_minus_beta_is_taken_in_double():
    p, g = [np.zeros(4, np.float32)], [np.ones(4, np.float32)]
    state = states(p)
    adam(p, g, state)
    assert state[0][1][0][0] == np.float32(1 - 0.999)


def root_of_adam(x, number):
    """The root that Adam takes of x, as 1 / root; at number elements from the beginning of the arrays."""
    p, mean, square = (np.zeros(number + len(x), np.float32) for _ in range(3))
    mean[:], square[number:] = 2, 2 * x
    with np.errstate(all="ignore"):
        settings = {"lr": 1.0, "betas": (0.5, 0.5), "eps": 0.0}
        adam([p], [np.zeros_like(p)], ([[mean], [square], None], [np.array(1e4)], None), settings)
    return -p[number:]


@pytest.mark.parametrize("number", [0, 16, 32, 48])  # some vectors have another way than the others
def test_roots_of_adam_are_rounded_as_ieee_asks(isa, number):
    def same(bits):
        x = bits.astype(np.uint32).view(np.float32)
        with np.errstate(all="ignore"):
            y = 1 / np.sqrt(x)
        np.testing.assert_array_equal(root_of_adam(x, number), y)

    # at an even and an odd exponent; 2 x has to be finite
    some = 7 if isa == "x86-64-v4" else 997
    same(np.arange(0x3F800000, 0x40800000, some))
    same(np.arange(0x00800000, 0x7F000000, 40093))
    limits = [0, 1, 5, 0x007FFFFF, 0x00800000, 0x0D7FFFFF, 0x0D800000, 0x0D800001, 0x7EFFFFFF, 0x7F800000]
    for bits in limits:
        same(np.full(64, bits))


# without weight decay, and how many of the states shrink where gradients are 0
QUIET = {
    "sgd": ({"momentum": 0.9}, 1),
    "rmsprop": ({"momentum": 0.9, "centered": True}, 3),
    "adam": ({}, 2),
    "adadelta": ({}, 2),
    "adamax": ({}, 1),
    "nadam": ({}, 2),
    "radam": ({}, 2),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", QUIET)
def test_moments_are_never_subnormal(isa, rule, dtype):
    settings, shrinking = QUIET[rule]
    p, g = [np.ones(70, dtype)], [np.zeros(70, dtype)]
    state = states(p, rule, settings)
    for (moment,) in state[0][:shrinking]:
        moment[:] = np.finfo(dtype).tiny * np.repeat([1, 4], 35)
    state[1][0][()] = 10  # SGD's first step takes the gradient itself
    step(rule, p, g, state, settings)
    for (moment,) in state[0][:shrinking]:
        np.testing.assert_array_equal(moment[:35], 0)
        assert (moment[35:] > np.finfo(dtype).tiny).all()
    np.testing.assert_array_equal(p[0], 1)


@pytest.mark.parametrize("rule", ["rmsprop", "adam", "nadam", "radam"])
def test_squares_without_eps_stay_subnormal(isa, rule):
    """A root of 0 would be a divisor."""
    settings = {**QUIET[rule][0], "eps": 0.0}
    p, g = [np.ones(5, np.float32)], [np.zeros(5, np.float32)]
    state = states(p, rule, settings)
    state[0][1 if rule != "rmsprop" else 0][0][:] = np.float32(1e-39)
    step(rule, p, g, state, settings)
    np.testing.assert_array_equal(p[0], 1)


@pytest.mark.parametrize("rule", RULES)
def test_nan_stays_nan(isa, rule):
    """But for Rprop, which takes the sign of NaN as 0, as PyTorch does."""
    p, g = [np.zeros(3, np.float32)], [np.array([1, np.nan, 2], np.float32)]
    step(rule, p, g, states(p, rule))
    np.testing.assert_array_equal(np.isnan(p[0]), [False, rule != "rprop", False])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.5, np.inf])
def test_gradient_norm(rng, isa, dtype, norm_type):
    g = [rng.standard_normal(n).astype(dtype) for n in SIZES * 3]
    g.append(in_layout(rng.standard_normal((40, 30)).astype(dtype), "transposed"))
    norm = _core.gradient_norm(g, norm_type)
    np.testing.assert_allclose(norm, [reference.gradient_norm(g, norm_type)], rtol=1e-12)
    wanted = reference.clip_by_norm(g, 0.5, norm_type)
    _core.clip_gradients(g, np.array([0.5]), norm)
    for a, b in zip(g, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance(dtype, 1), atol=0)


def test_clipping_leaves_short_gradients_alone_and_shows_nan(isa):
    g = np.arange(5, dtype=np.float32)
    _core.clip_gradients([g], np.array([100.0]), _core.gradient_norm([g], 2.0))
    np.testing.assert_array_equal(g, np.arange(5))
    for norm_type in (1.0, 2.0, 3.0, np.inf):
        bad = np.array([1, np.nan, 2], np.float32)
        norm = _core.gradient_norm([g, bad], norm_type)
        assert np.isnan(norm[0])
    _core.clip_gradients([g], np.array([1.0]), norm)
    assert np.isnan(g).all()


def test_clipping_by_value(isa):
    g = in_layout(np.linspace(-3, 3, 77, dtype=np.float32).reshape(7, 11), "transposed")
    g[0, 0] = np.nan
    wanted = np.clip(g, -1, 1)
    _core.clip_gradients([g], np.array([1.0]), None)
    np.testing.assert_array_equal(g, wanted)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rule", RULES)
def test_a_loss_that_is_not_finite_leaves_all_as_it_was(rule, dtype, rng):
    p, g = ([rng.normal(size=n).astype(dtype) for n in (3, 70)] for _ in range(2))
    state = states(p, rule)

    def run(loss):
        arrays, steps, numbers = state
        everything = [*p, *steps, *(numbers or ()), *(a for some in arrays if some for a in some)]
        before = [array.copy() for array in everything]
        step(rule, p, g, state, loss=loss)
        return all(map(np.array_equal, everything, before))

    for value in (np.nan, np.inf, -np.inf):
        assert run(np.array(value, np.float32))
        assert run(np.array(value))
    assert not run(np.array(1e30, np.float32))
    refused(ValueError, f"[{rule}] got loss of shape (2,); expected one number", run, np.zeros(2))
