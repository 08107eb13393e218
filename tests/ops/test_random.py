"""Random streams: keys beside published numbers, draws beside NumPy's of the same generator (Philox), ranges
and limits, gradients of what is drawn. A test with the fixture `isa` runs at each ISA level (instruction
set).
"""

import concurrent.futures
import copy
import importlib

import numpy as np
import pytest
import ranvier as rv
from ranvier import _core
from ranvier.ops.making import philox
from support.refused import refused


def test_keys_are_those_of_splitmix64():
    """Its published numbers for the seed 1234567, and two keys in a row."""
    numbers = [philox._mix(1234567 + i * 0x9E3779B97F4A7C15) for i in range(5)]
    assert numbers == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert philox.mixed(7, 3) == philox._mix(philox._mix(7) + 3) == 17670481865470212032
    assert all(0 <= philox.mixed(seed, n) < 2**64 for seed in range(20) for n in range(20))


def test_a_fork_leaves_the_stream():
    """Draws within fork_rng do not move the stream outside."""
    assert importlib.import_module("ranvier.random").fork_rng is rv.random.fork_rng
    rv.manual_seed(3)
    wanted = [rv.rand(2).tolist(), rv.randint(9, (4,)).tolist(), rv.randperm(5).tolist()]
    rv.manual_seed(3)
    found = [rv.rand(2).tolist()]
    with rv.random.fork_rng(devices=[0]):
        rv.manual_seed(8)
        rv.rand(3), rv.randint(9, (4,))
    found += [rv.randint(9, (4,)).tolist(), rv.randperm(5).tolist()]
    assert found == wanted
    rv.manual_seed(3)
    with rv.random.fork_rng(enabled=False):
        rv.rand(2)
    assert rv.randint(9, (4,)).tolist() == wanted[1]
    with pytest.raises(rv.CaptureError, match=r"fork_rng.*use it around the step"):
        rv.compile(rv.random.fork_rng()(lambda x: x * rv.rand(2)), strict=True)(rv.ones(2))


@pytest.mark.parametrize(
    ("draw", "mean", "deviation"),
    [
        (lambda: rv.rand(10_000), 0.5, 12**-0.5),
        (lambda: rv.randn(10_000), 0.0, 1.0),
        (lambda: rv.rand_like(rv.zeros(10_000)), 0.5, 12**-0.5),
        (lambda: rv.randn_like(rv.zeros(10_000)), 0.0, 1.0),
    ],
)
def test_mean_and_deviation(draw, mean, deviation):
    x = draw().numpy().astype("float64")
    assert abs(x.mean() - mean) < 5 * deviation / 100  # five standard errors
    assert abs(x.std() - deviation) < 5 * deviation / 100


def test_ranges_and_seeds_that_are_refused():
    x, byte = rv.zeros(2), rv.uint8
    text = "[randint] got 0 to 300; expected numbers that uint8"
    refused(ValueError, text, rv.randint, 0, 300, (2,), dtype=byte)
    text = "[randint_like] got -1 to 3; expected numbers that uint8"
    refused(ValueError, text, rv.randint_like, x.byte(), -1, 3)
    refused(ValueError, "[randint] got 5 to 5; expected a lower number first", rv.randint, 5, 5, (2,))
    text = "[randint] got 0 to 100000; expected numbers that float16"
    refused(ValueError, text, rv.randint, 10**5, (2,), dtype=rv.float16)
    refused(ValueError, "[randperm] got 0 to -1; expected a lower number first", rv.randperm, -1)
    refused(ValueError, "[randperm] got 0 to 300; expected numbers that uint8", rv.randperm, 300, dtype=byte)
    refused(ValueError, "[random_] got 0 to 0; expected a lower number first", x.random_, 0)
    refused(ValueError, "[random_] got 0 to 300; expected numbers that uint8", x.byte().random_, 300)
    refused(ValueError, "[random_] got 0 to 5; expected numbers that bool", x.bool().random_, 5)
    refused(ValueError, "[manual_seed] got seed inf; expected -9.2", rv.manual_seed, float("inf"))


def test_the_ends_of_a_range():
    rv.manual_seed(0)
    assert set(rv.randint(0, 256, (5000,), dtype=rv.uint8).tolist()) == set(range(256))
    assert set(rv.zeros(99).byte().random_(254, 256).tolist()) == {254, 255}
    assert set(rv.zeros(99).bool().random_(2).tolist()) == {False, True}
    assert rv.randperm(256, dtype=rv.uint8).sort().values.tolist() == list(range(256))
    assert rv.zeros(999).half().random_().max().item() <= 2**11
    assert 100 < rv.zeros(999, dtype=rv.bfloat16).random_().max().item() <= 2**8
    assert (rv.zeros(2 * 10**5).half().exponential_(1000) > 0).all()
    assert rv.randperm(0).shape == (0,)


@pytest.mark.parametrize("seed", [0, 5, 2**64 - 1])
def test_whole_numbers_of_any_arguments(seed):
    """The draws that the core makes, and those that are left to NumPy: of one stream."""
    rv.manual_seed(seed)
    numpy = np.random.Generator(np.random.Philox(seed))
    limits = ((0, 10), (-5, 3), (0, 2**31 + 12345), (0, 2**32), (0, 2**32 + 1), (0, 2**40), (-(2**62), 2**62))
    for dtype in (None, rv.int64, rv.int32, np.int64):
        for low, high in limits:
            if dtype is rv.int32 and high > 2**31:
                continue
            for size in ((), (1,), [2, 3], rv.Size([4]), (0, 2), (65,), (4099,)):
                x = rv.randint(low, high, size, dtype=dtype)
                assert x.dtype is (rv.int32 if dtype is rv.int32 else rv.int64)
                np.testing.assert_array_equal(x.numpy(), numpy.integers(low, high, tuple(size)))
        for n in (0, 1, 2, 64, 65, 1000):
            np.testing.assert_array_equal(rv.randperm(n, dtype=dtype).numpy(), numpy.permutation(n))
    state = numpy.bit_generator.state
    assert rv.random.current().plain_state()["generator"] == {
        **state,
        "buffer": state["buffer"].tolist(),
        "state": {name: words.tolist() for name, words in state["state"].items()},
    }


def test_bernoulli_draws_numpys_numbers(rng):
    """The probabilities are float32, float64 or a number. The stream goes on as NumPy's does."""
    for seed in (0, 5):
        rv.manual_seed(seed)
        numpy = np.random.Generator(np.random.Philox(seed))
        for n in (1, 3, 64, 300):
            p = rng.random((2, n)).astype(np.float32)
            wide = p.astype(np.float64)
            found = [
                rv.bernoulli(rv.tensor(p)),
                rv.bernoulli(rv.tensor(wide)),
                rv.bernoulli(rv.tensor(p), 0.3),
            ]
            found += [rv.zeros(2, n).bernoulli_(0.3), rv.zeros(2, n).bernoulli_(rv.tensor(p))]
            expected = [numpy.random(p.shape, np.float32) < p, numpy.random(p.shape) < wide]
            expected += [numpy.random(p.shape) < 0.3, numpy.random(p.shape) < 0.3, numpy.random(p.shape) < p]
            for x, y in zip(found, expected, strict=True):
                np.testing.assert_array_equal(x.numpy(), y)
            assert rv.randperm(n).tolist() == numpy.permutation(n).tolist()


def test_numbers_in_place_are_those_of_a_new_tensor():
    for name, draw in (("uniform_", rv.rand), ("normal_", rv.randn)):
        rv.manual_seed(3)
        expected = draw(4, 5), draw(4, 5), draw(4, 5)
        rv.manual_seed(3)
        x = rv.zeros(5, 4).t()
        for tensor, values in zip((rv.zeros(4, 5), x, rv.zeros(4, 5)), expected, strict=True):
            assert getattr(tensor, name)() is tensor
            assert tensor._version == 1
            np.testing.assert_array_equal(tensor.numpy(), values.numpy())


def test_normal_numbers_of_a_size_and_tensors():
    for mean, std in ((0.5, 2), (rv.tensor([1.0, 2.0]), 3.0), (rv.ones(3, 1), rv.tensor([1.0, 2.0]))):
        rv.manual_seed(2)
        y = rv.normal(mean, std, (2,))
        rv.manual_seed(2)
        np.testing.assert_array_equal(y.numpy(), (rv.randn(2) * std + mean).numpy())


def test_the_counter_of_a_generator_carries():
    bits = np.random.Philox(counter=2**192 - 2, key=3)
    other = np.random.Generator(np.random.Philox(counter=2**192 - 2, key=3))
    assert _core._next_integers(bits, 0, 9, (300,)).tolist() == other.integers(0, 9, 300).tolist()
    assert _core._next_permutation(bits, 300).tolist() == other.permutation(300).tolist()


def test_the_core_draws_numpys_whole_numbers_in_any_order_of_calls(isa, rng):
    """Sizes around the blocks that are made at once, from states of every position."""
    sizes = (0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 24, 25, 40, 56, 63, 64, 65, 129, 600, 5000)
    for seed in range(150):
        ours, numpy = (np.random.Generator(np.random.Philox(seed)) for _ in range(2))
        if seed % 3 == 0:  # the first word of the counter overflows
            for g in (ours, numpy):
                g.bit_generator.state = {
                    **g.bit_generator.state,
                    "state": {
                        "counter": np.array([2**64 - 1 - seed // 3, 5, 6, 7], np.uint64),
                        "key": np.array([seed, 9], np.uint64),
                    },
                }
        for n in rng.choice(sizes, 6):
            limit = int(rng.choice([2, 10, 2**31, 3_000_000_000, 2**32]))
            got = _core._next_integers(ours.bit_generator, -3, limit - 3, (int(n),))
            np.testing.assert_array_equal(got, numpy.integers(-3, limit - 3, n))
            got = _core._next_permutation(ours.bit_generator, int(n))
            np.testing.assert_array_equal(got, numpy.permutation(int(n)))
            a, b = ours.bit_generator.state, numpy.bit_generator.state
            assert a["buffer_pos"] == b["buffer_pos"]
            assert a["has_uint32"] == b["has_uint32"]
            np.testing.assert_array_equal(a["state"]["counter"], b["state"]["counter"])
            if seed % 2:
                assert ours.random() == numpy.random()


def test_the_memory_of_another_generator_is_not_read():
    for bits in (np.random.PCG64(1), np.random.SFC64(1), np.random.MT19937(1)):
        assert not _core._knows_philox(bits, [0] * 13)
    assert not _core._knows_philox(np.random.Philox(1), [0] * 13)
    with pytest.raises(AttributeError):
        _core._next_permutation(object(), 3)


def test_the_first_draw_takes_a_seed_from_the_system():
    unseeded = rv.Generator()
    unseeded._seeded = False  # as that of the process is
    assert not rv.zeros(5).normal_(generator=unseeded).equal(rv.zeros(5).normal_(generator=rv.Generator()))


def test_shapes_that_no_tensor_has():
    refused(ValueError, "; expected at most 8 dimensions", rv.randint, 0, 2**40, (1,) * 9)
    refused(MemoryError, "; expected a result that fits in memory", rv.randint, 0, 10, (2**63,))
    for size in ((-1,), (2, -1), -1):
        with pytest.raises(ValueError, match=r"\[randint\] got shape .*; expected sizes >= 0"):
            rv.randint(0, 2, size)


def test_settings_of_randint_that_do_not_exist():
    refused(TypeError, "[randint] got an unexpected keyword", rv.randint, 0, 5, (2,), wrong=1)


def test_a_draw_waits_for_the_lock_of_the_generator():
    g = rv.Generator().manual_seed(1)
    rv.randint(2, (1,), generator=g)
    with g.numpy().bit_generator.lock, concurrent.futures.ThreadPoolExecutor(1) as pool:
        drawn = pool.submit(rv.randint, 9, (3,), generator=g)
        assert not concurrent.futures.wait([drawn], 0.05).done
        g.numpy().bit_generator.lock.release()
        assert drawn.result(10).shape == (3,)
        g.numpy().bit_generator.lock.acquire()


def test_a_copy_of_a_generator_draws_from_its_own_state():
    g = rv.Generator().manual_seed(5)
    rv.randint(9, (3,), generator=g)
    other = copy.deepcopy(g)
    assert rv.randint(9, (5,), generator=g).equal(rv.randint(9, (5,), generator=other))


def bernoulli_of(x, p, recorded=False):
    draw = lambda g: x.bernoulli_(p, generator=g).clone()  # noqa: E731
    return rv.compile(draw) if recorded else draw


FILLS = {
    "int64": lambda: bernoulli_of(rv.zeros(9, dtype=rv.int64), 0.4),
    "float16": lambda: bernoulli_of(rv.zeros(9, dtype=rv.float16), 0.4),
    "a tensor of probabilities": lambda: bernoulli_of(rv.zeros(9), rv.full((9,), 0.4)),
    "in a recorded call": lambda: bernoulli_of(rv.zeros(9), 0.4, recorded=True),
    "random_": lambda: lambda g: rv.zeros(9).random_(9, generator=g),
    "exponential_": lambda: lambda g: rv.zeros(9).exponential_(generator=g),
    "geometric_": lambda: lambda g: rv.zeros(9).geometric_(0.3, generator=g),
}


@pytest.mark.filterwarnings("ignore:.compile. .*runs eagerly")
@pytest.mark.parametrize("name", FILLS)
def test_a_fill_draws_from_the_given_generator_alone(name):
    def found(seed):
        rv.manual_seed(seed)
        draw, g = FILLS[name](), rv.Generator().manual_seed(5)
        return [draw(g).tolist() for _ in range(2)], rv.rand(2).tolist()

    (first, mine), (second, others) = found(0), found(1)
    assert first == second
    assert first[0] != first[1]
    rv.manual_seed(0)
    assert rv.rand(2).tolist() == mine != others


P = [0.25, 0.5, 1.0]
DRAWS = {
    "normal(mean)": lambda p: rv.normal(p, 1.0),
    "normal(std)": lambda p: rv.normal(0.0, p),
    "normal(mean, std)": lambda p: rv.normal(mean=p, std=p),
    "normal of a column": lambda p: rv.normal(p, rv.ones(2, 1)),
    "bernoulli": rv.bernoulli,
    "one": lambda p: rv.normal(p.sum(), 1.0) + rv.bernoulli(p.mean()) + rv.poisson(p.sum()),
    "Tensor.bernoulli": lambda p: p.bernoulli(),
    "poisson": rv.poisson,
    "bernoulli_": lambda p: rv.zeros(3).bernoulli_(p),
    "bernoulli_ of itself": lambda p: (p * 1).bernoulli_(p),
}


@pytest.mark.parametrize("name", DRAWS)
def test_the_parameters_of_a_distribution_have_a_gradient_of_zeros(name):
    """As in PyTorch; and the same numbers under no_grad."""
    p = rv.tensor(P, requires_grad=True)
    rv.manual_seed(0)
    y = DRAWS[name](p)
    assert y.requires_grad
    (slope,) = rv.autograd.grad(y.sum(), p, create_graph=True)
    assert slope.tolist() == [0.0] * 3
    y.sum().backward()
    assert p.grad.tolist() == [0.0] * 3
    rv.manual_seed(0)
    with rv.no_grad():
        same = DRAWS[name](p)
    assert not same.requires_grad
    assert same.tolist() == y.tolist()


@pytest.mark.parametrize(
    "draw", [lambda p: rv.multinomial(p, 2), lambda p: p.multinomial(1), rv.rand_like, rv.randn_like]
)
def test_draws_that_have_no_gradient(draw):
    assert not draw(rv.tensor(P, requires_grad=True)).requires_grad


def test_a_probability_given_as_a_number_has_no_derivative():
    p = rv.tensor(P, requires_grad=True)
    refused(RuntimeError, "[bernoulli] has no derivative", rv.bernoulli(p, 0.5).sum().backward)
    refused(RuntimeError, "[binomial] has no derivative", rv.binomial(rv.ones(1), p).sum().backward)
    assert not rv.distributions.Binomial(4, p).sample().requires_grad


@pytest.mark.parametrize("name", ["rand", "randn"])
def test_halves_are_rounded_numbers_of_float32(name):
    rv.manual_seed(5)
    drawn = getattr(rv, name)(20000, dtype=rv.float16)
    like = getattr(rv, f"{name}_like")(rv.ones(3, dtype=rv.float16))
    rv.manual_seed(5)
    expected = getattr(rv, name)(20000).numpy().astype(np.float16)
    if name == "rand":
        assert (expected == 1).any()
        expected[expected == 1] = 0  # as in PyTorch
    np.testing.assert_array_equal(drawn.numpy(), expected, strict=True)
    assert like.dtype == rv.float16
    assert rv.normal(2.0, 0.0, (2,), dtype=rv.float16).tolist() == [2.0, 2.0]


@pytest.mark.parametrize("dtype", [rv.float16, rv.bfloat16, rv.float32], ids=str)
def test_numbers_stay_within_their_limits(dtype):
    """[a, b) without b, also where a number that is less is rounded to it."""
    empty, init = rv.zeros(100000, dtype=dtype), rv.nn.init
    of = lambda *limits: rv.tensor(limits).to(dtype)  # noqa: E731
    rv.manual_seed(0)
    for low, high, x in (
        (0, 1, rv.rand(100000, dtype=dtype)),
        (0, 1, rv.rand_like(empty)),
        (2, 3, empty.clone().uniform_(2, 3)),
        (-1, 1, init.uniform_(empty.clone(), -1, 1)),
        (2, 3, rv.distributions.Uniform(of(2.0), of(3.0)).rsample((100000,))),
        (-3, 1000, empty.clone().random_(-3, 1000)),
        (-1000, 2049, rv.randint(-1000, 2049, (100000,), dtype=dtype)),
        (0.7, 0.9, init.trunc_normal_(empty.clone(), 0.0, 1.0, 0.7, 0.9)),
    ):
        assert x.dtype == dtype
        assert low <= x.double().min().item() < x.double().max().item() < high
    assert rv.randint(0, 2**24 + 2, (100000,), dtype=rv.float32).max() <= 2**24


def test_pytorchs_names_of_limits():
    x = rv.zeros(3)
    for limits in ({"from": 2.0, "to": 2.0}, {"low": 2.0, "to": 2.0}):
        assert x.uniform_(**limits).tolist() == [2.0] * 3
    assert x.random_(**{"from": 4, "to": 5}).tolist() == [4.0] * 3
    assert x.uniform_(to=0.0).tolist() == x.random_(to=1).tolist() == [0.0] * 3
    assert x.normal_(mean=3.0, std=0.0).tolist() == [3.0] * 3
    assert x.bernoulli_(p=1.0).tolist() == [1.0] * 3
    refused(TypeError, "uniform_() got multiple values for argument 'from'", x.uniform_, 1.0, **{"from": 0.0})
    refused(TypeError, "unexpected keyword argument 'until'", x.uniform_, **{"from": 0.0, "until": 1.0})
