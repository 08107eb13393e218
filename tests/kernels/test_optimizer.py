"""Kernels that take lists of parameters: a step of each optimizer, clipping of gradients, averages, penalties
of weights, and the loops of L-BFGS. They are compared with one step in NumPy in float64
(tests/reference/optimizer.py), within the roundings of some terms of at most 1; other tests compare bits. A
test with the fixture `isa` runs at each ISA level (instruction set).
"""

from typing import NamedTuple

import numpy as np
import pytest
from ranvier import _core
from ranvier.optim.optimizer_state import elements
from reference import optimizer as reference
from support.grouped import grouped  # parametrize, with many cases a test
from support.layouts import LAYOUTS, in_layout
from support.optimizers import KINDS
from support.refused import refused
from support.threads import same_bits
from support.tolerance import tolerance


class State(NamedTuple):
    arrays: list  # for each name of a state a list with an array for each parameter; None: not in use
    steps: list  # for each parameter how many steps it had
    numbers: list | None  # for each parameter a number, which few rules keep


SIZES = [0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 255, 256, 257, 1000, 4095, 4096, 4097]
ONE = np.ones(1)
# Classes of optimizers by the name of their rule in the core, and the settings to test them with.
CLASSES = {kind._rule: kind for kind in KINDS.values()}
MORE = {  # beside lr and weight_decay
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
    """The settings of a rule by name: its defaults and those to test with."""
    return {**CLASSES[rule]._defaults, **(RULES[rule] if settings is None else settings)}


def row(rule, settings=None):
    """The settings as numbers, in the order of the core."""
    return np.array(elements(CLASSES[rule]._values(group(rule, settings))), np.float64)


def step(rule, p, g, state, settings=None, loss=None):
    _core.optimizer_step(rule, p, g, state.steps, state.numbers, state.arrays, row(rule, settings), loss)


def adam(p, g, state, settings=None):
    step("adam", p, g, state, settings)


def states(p, rule="adam", settings=None):
    """The state before the first step."""
    kind = CLASSES[rule]
    names = kind._state_names(kind, group(rule, settings))
    arrays = [None if name is None else [np.zeros(a.shape, a.dtype) for a in p] for name in names]
    return State(arrays, [np.zeros(()) for _ in p], [np.ones(()) for _ in p] if kind._number else None)


def every_size(rng, dtype, low=-1):
    """More arrays than one call holds."""
    return [rng.uniform(low, 1, n).astype(dtype) for n in SIZES * 3]


def expected(rule, p, g, steps):
    """The parameters after some steps with the same gradient, by the reference."""
    state = {}
    p, g = p.astype(np.float64), g.astype(np.float64)
    for _ in range(steps):
        p = getattr(reference, rule)(p, g, state, **RULES[rule])
    return p


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("rule", RULES)
def test_every_size_in_one_call(rng, isa, dtype, rule):
    """Three steps of each rule, of about 8 roundings each."""
    p, g = every_size(rng, dtype), every_size(rng, dtype, 0.1)  # gradients apart from 0, where steps jump
    wanted = [expected(rule, a, b, 3) for a, b in zip(p, g, strict=True)]
    state = states(p, rule)
    for _ in range(3):
        step(rule, p, g, state)
    limit = tolerance(dtype, 3 * 8, 1.0)
    for a, b in zip(p, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=limit)
    assert all(float(s) == 3 for s in state.steps)


def test_one_minus_beta_is_taken_in_double():
    p, g = [np.zeros(4, np.float32)], [np.ones(4, np.float32)]
    state = states(p)
    adam(p, g, state)
    assert state.arrays[1][0][0] == np.float32(1 - 0.999)  # the mean of squares of gradients that are 1


def root_of_adam(x, number):
    """The root that Adam takes of x, as 1 / root; at number elements from the beginning of the arrays."""
    p, mean, square = (np.zeros(number + len(x), np.float32) for _ in range(3))
    mean[:], square[number:] = 2, 2 * x
    with np.errstate(all="ignore"):
        settings = {"lr": 1.0, "betas": (0.5, 0.5), "eps": 0.0}
        state = State([[mean], [square], None], [np.array(1e4)], None)
        adam([p], [np.zeros_like(p)], state, settings)
    return -p[number:]


@pytest.mark.parametrize("number", [0, 16, 32, 48])  # some vectors have another way than the others
def test_roots_of_adam_are_rounded_as_ieee_asks(isa, number):
    """The bits of NumPy's square root: for many fractions with an even and an odd exponent, for all
    exponents, for limits."""

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


# Settings without weight decay, with which gradients of 0 change no parameter; how many of the states shrink
# then
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
    """A state that would be below the smallest normal number becomes 0, as subnormal ones are slow; the
    parameters, whose gradients are 0, stay."""
    settings, shrinking = QUIET[rule]
    p, g = [np.ones(70, dtype)], [np.zeros(70, dtype)]
    state = states(p, rule, settings)
    for (moment,) in state.arrays[:shrinking]:
        moment[:] = np.finfo(dtype).tiny * np.repeat([1, 4], 35)
    state.steps[0][()] = 10  # SGD's first step takes the gradient itself
    step(rule, p, g, state, settings)
    for (moment,) in state.arrays[:shrinking]:
        np.testing.assert_array_equal(moment[:35], 0)
        assert (moment[35:] > np.finfo(dtype).tiny).all()
    np.testing.assert_array_equal(p[0], 1)


@pytest.mark.parametrize("rule", ["rmsprop", "adam", "nadam", "radam"])
def test_squares_without_eps_stay_subnormal(isa, rule):
    """A root of 0 would be a divisor."""
    settings = {**QUIET[rule][0], "eps": 0.0}
    p, g = [np.ones(5, np.float32)], [np.zeros(5, np.float32)]
    state = states(p, rule, settings)
    state.arrays[1 if rule != "rmsprop" else 0][0][:] = np.float32(1e-39)
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
    """The norm of all gradients, and what clips them by it."""
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
    """With a loss of NaN or infinity a step changes nothing, else it does."""
    p, g = ([rng.normal(size=n).astype(dtype) for n in (3, 70)] for _ in range(2))
    state = states(p, rule)

    def run(loss):
        arrays = [a for some in state.arrays if some for a in some]
        everything = [*p, *state.steps, *(state.numbers or ()), *arrays]
        before = [array.copy() for array in everything]
        step(rule, p, g, state, loss=loss)
        return all(map(np.array_equal, everything, before))

    for value in (np.nan, np.inf, -np.inf):
        assert run(np.array(value, np.float32))
        assert run(np.array(value))
    assert not run(np.array(1e30, np.float32))
    refused(ValueError, f"[{rule}] got loss of shape (2,); expected one number", run, np.zeros(2))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weight", [0.0, 0.001, 0.5, 0.9, 1.0])
def test_move_towards(rng, isa, dtype, weight):
    averages, values = every_size(rng, dtype), every_size(rng, dtype)
    pairs = zip(averages, values, strict=True)
    wanted = [reference.move_towards(a.astype(float), b.astype(float), weight) for a, b in pairs]
    _core.move_parameters(averages, values, np.array([weight]), True)
    for a, b in zip(averages, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance(dtype, 2, 1.0))
    if weight == 1:
        assert all((a == v).all() for a, v in zip(averages, values, strict=True))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("n", [*SIZES, 20001])
def test_dot(rng, isa, dtype, n):
    a, b = (rng.uniform(-1, 1, n).astype(dtype) for _ in range(2))
    wanted = float(a.astype(np.longdouble) @ b.astype(np.longdouble))
    assert abs(_core.flat_dot(a, b)[0] - wanted) <= tolerance("float64", n, 1.0)


def pairs(rng, n, count, dtype):
    """The changes of gradients and the steps of L-BFGS's last iterations."""
    steps = [rng.uniform(-1, 1, n).astype(dtype) for _ in range(count)]
    changes = [(s + 0.2 * rng.uniform(-1, 1, n)).astype(dtype) for s in steps]  # y . s > 0
    return changes, steps


def direction(g, changes, steps):
    """L-BFGS's direction by the two loops of the core: -g times the inverse Hessian that the pairs tell."""
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


def strengths(n):
    """(l1, l2) of each parameter: both, one of them, none."""
    return np.resize([0.5, 0.25, 0.0, 0.0], n), np.resize([0.125, 0.0, 2.0, 0.0], n)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_penalties_of_every_size(rng, isa, dtype, scale):
    """The sum of all penalties, their gradients added to g times the scale; parameters stay."""
    p, g = every_size(rng, dtype), every_size(rng, dtype)
    for a in p:
        a[::3] = 0
    l1, l2 = strengths(len(p))
    each = zip(p, g, l1, l2, strict=True)
    wanted = [scale * b + reference.weight_penalty_backward(a, x, y) for a, b, x, y in each]
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


def test_penalties_of_nan_and_infinity(isa):
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


def test_penalty_of_no_parameters():
    np.testing.assert_array_equal(_core.weight_penalty([], [], np.zeros(0), np.zeros(0), ONE), [0.0])


CALLS = {  # on lists of parameters and gradients
    "adam": lambda p, g: adam(p, g, states(p)),
    "towards": lambda p, g: _core.move_parameters(p, g, np.array([0.25]), True),
    "away": lambda p, g: _core.move_parameters(p, g, np.array([0.25]), False),
    "penalty": lambda p, g: _core.weight_penalty(g, p, *strengths(len(p)), ONE),
    "clipping": lambda p, g: _core.clip_gradients(p, ONE, _core.gradient_norm(p, 2.0)),
}


@pytest.mark.parametrize("name", CALLS)
def test_strides_change_no_bit(name, isa, rng):
    p, g = (rng.uniform(-1, 1, (5, 4, 3, 33)).astype(np.float32) for _ in range(2))
    for layout in LAYOUTS:
        dense, apart = p.copy(), in_layout(p, layout)
        value = CALLS[name]([dense], [g])
        assert CALLS[name]([apart], [in_layout(g, layout)]) == value
        np.testing.assert_array_equal(apart, dense, err_msg=layout)


@pytest.mark.parametrize("name", CALLS)
def test_threads_change_no_bit(name, rng, threads):
    arrays = [rng.standard_normal(n).astype(np.float32) for n in (70001, 3, 40000, 12345)]

    def run():
        p, g = ([a + k for a in arrays] for k in (0, 1))
        value = CALLS[name](p, g)
        return *p, *g, value

    same_bits(threads, run)
    one = arrays[:1]
    same_bits(threads, lambda: (direction(arrays[0], one, one), _core.flat_dot(*2 * one)))
