"""Steps that call a function with a cache (functools.lru_cache, functools.cache).

Such a call returns a result of before, whatever has changed since, until the cache is cleared or other
results push it out. `shown` makes the same calls and changes with a compiled step and with the step itself,
each with caches of its own.
"""

import functools
import math
import sys
import types
import warnings

import numpy as np
import pytest
import ranvier as rv
from compile.beside import bits
from ranvier import nn
from ranvier.compile import compiled_function

CALLS = 20
VALUES = """
import functools
import ranvier as rv

scale = 2.0
options = {"scale": 2.0}
calls = []

@functools.lru_cache
def factor(n, extra=0.0):
    return scale * n + extra

@functools.cache
def unlimited(n):
    return scale * n

@functools.lru_cache(maxsize=2)
def few(n):
    return scale * n

@functools.lru_cache(maxsize=0)
def never(n):
    return scale * n

@functools.lru_cache
def tensor(n):
    return rv.ones(3) * (scale * n)

@functools.lru_cache
def numbers(n):
    return [scale, n]

@functools.lru_cache
def table(n):
    return {"scale": scale, "inner": [n]}

@functools.lru_cache
def nested(n):
    return factor(n) + unlimited(n)

@functools.lru_cache
def of_options(n):
    return options["scale"] * n
"""


def module():
    made = types.ModuleType("with_caches")
    exec(VALUES, vars(made))
    return made


def sets_scale(m, n):
    m.scale = 2.0 + n


def clears(m, n):
    for function in vars(m).values():
        if isinstance(function, type(m.factor)):
            function.cache_clear()


def sets_and_clears(m, n):
    sets_scale(m, n)
    clears(m, n)


def clears_and_fills(m, n):
    """The cache has as many results, hits and misses as before."""
    sets_and_clears(m, n)
    for function in (m.factor, m.unlimited, m.few, m.tensor, m.numbers, m.table, m.nested):
        function(3)


def pushes_out(m, n):
    """Other keys take the place of the step's."""
    sets_scale(m, n)
    for key in range(10, 13):
        m.few(key)


def pushes_out_and_fills(m, n):
    pushes_out(m, n)
    m.few(3)


def changes_results(m, n):
    m.numbers(3)[0] = 7.0 + n
    m.table(3)["scale"] = 8.0 + n
    m.table(3)["inner"].append(n)
    with rv.no_grad():
        m.tensor(3).add_(n)


def replaces(m, n):
    @functools.lru_cache
    def another(key, extra=0.0):
        return 5.0 * key + n + extra

    m.factor = m.unlimited = m.few = another


def replaces_wrapped(m, n):
    m.factor.__wrapped__ = m.unlimited
    sets_and_clears(m, n)


def changes_code(m, n):
    m.factor.__wrapped__.__code__ = (lambda n, extra=0.0: 9.0 * n + extra).__code__
    clears(m, n)


def adds_keys(m, n):
    for key in range(100 * n, 100 * n + 5):
        m.factor(key)
        m.unlimited(key)


CHANGES = [
    sets_scale,
    clears,
    sets_and_clears,
    clears_and_fills,
    pushes_out,
    pushes_out_and_fills,
    changes_results,
    replaces,
    replaces_wrapped,
    changes_code,
    adds_keys,
]
READS = {
    "a number": lambda m, x: x * m.factor(3),
    "by keyword": lambda m, x: x * m.factor(3, extra=1.0),
    "two keys": lambda m, x: x * m.factor(3) + m.factor(4),
    "unlimited": lambda m, x: x * m.unlimited(3),
    "few": lambda m, x: x * m.few(3),
    "more than few": lambda m, x: x * m.few(3) + m.few(4) + m.few(5),
    "never": lambda m, x: x * m.never(3),
    "a Tensor": lambda m, x: x * m.tensor(3),
    "a list": lambda m, x: x * m.numbers(3)[0],
    "a dict": lambda m, x: x * m.table(3)["scale"] + len(m.table(3)["inner"]),
    "nested": lambda m, x: x * m.nested(3),
    "options": lambda m, x: x * m.of_options(3),
    "of the shape": lambda m, x: x * m.factor(x.shape[0]),
    "by wrapped": lambda m, x: x * m.factor.__wrapped__(3),
    "map": lambda m, x: x * sum(map(m.factor, (3, 4))),
}


def shown(compiles, read, change, warm, calls=CALLS):
    """The results of all calls."""
    m = module()
    if warm:  # the step finds the results
        for function in (m.factor, m.unlimited, m.few, m.tensor, m.numbers, m.table, m.nested):
            function(3)
    step = functools.partial(read, m)

    def run(x):
        return step(x)

    called = rv.compile(run) if compiles else run
    found = []
    for number in range(calls):
        if change is not None and number in (6, 7, 11, 17):
            change(m, number)
        found.append(bits(called(rv.arange(3.0) + number)))
    return found


@pytest.mark.filterwarnings("ignore:.*runs eagerly")
@pytest.mark.filterwarnings("ignore:.*recorded again")
@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("read", READS)
def test_changes(read, change, warm):
    assert shown(True, READS[read], change, warm) == shown(False, READS[read], change, warm)


@pytest.mark.parametrize("read", [r for r in READS if r not in ("more than few", "by wrapped", "map")])
def test_such_steps_are_captured(read):
    m = module()
    step = rv.compile(lambda x: READS[read](m, x), strict=True)
    for number in range(CALLS):
        step(rv.arange(3.0) + number)
    assert step.programs[0].checks >= 3


def test_a_replay_leaves_the_order_of_the_keys():
    """As eager calls would: the key that the step uses is not the one that goes."""
    results = []
    for compiles in (True, False):
        m = module()

        def read(x, m=m):
            return x * m.few(1)

        step = rv.compile(read) if compiles else read
        found = []
        for number in range(40):
            found.append(bits(step(rv.arange(3.0))))
            if number % 3 == 1:
                m.scale += 1
                m.few(2)
            if number % 4 == 3:
                m.few(3)
        results.append(found)
    assert results[0] == results[1]


# --- what is refused
def refused(step, *args, match):
    with pytest.raises(rv.CaptureError, match=match):
        rv.compile(step, strict=True)(*args)


@functools.lru_cache
def identity(x):
    return x


class Box(tuple):
    pass


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: (x,), lambda x: frozenset([x]), lambda x: Box([x])])
def test_tensors_as_keys(wrap):
    """Another Tensor has another result."""

    @functools.lru_cache
    def doubled(key):
        return rv.ones(3) * 2

    def step(x):
        return doubled(wrap(x)) + x

    x = rv.rand(3)
    doubled(wrap(x))
    refused(step, x, match="a cache with a key that is found by more than its value")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fast = rv.compile(lambda x: identity(wrap(x)))
        for call in range(12):
            given = rv.rand(3) if call % 3 else x
            result = fast(given)
            while isinstance(result, (tuple, frozenset)):
                (result,) = result
            np.testing.assert_array_equal(result.numpy(), given.numpy())


def test_nan_as_a_key():
    """Another NaN is another key."""
    identity(math.nan)
    refused(lambda x: x * identity(math.nan), rv.rand(3), match="a cache with a key")
    identity.cache_clear()


def test_keys_with_an_equality_of_their_own():
    class Key:
        def __init__(self, value):
            self.value = value

        def __hash__(self):
            return 1

        def __eq__(self, other):
            return self.value == other.value

    @functools.lru_cache
    def read(key):
        return key.value

    key = Key(2.0)
    read(key)
    refused(lambda x: x * read(key), rv.rand(3), match="a cache with a key")


def test_objects_as_keys():
    """By identity: `self` of a method, a layer, a class, a dtype."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)
            self.size = 2.0

        @functools.lru_cache  # noqa: B019
        def scale(self, kind, dtype):
            return self.size

        def forward(self, x):
            return self.layer(x) * self.scale(nn.Linear, rv.float32)

    model, twin = Net().eval(), Net().eval()
    twin.load_state_dict(model.state_dict())
    fast = rv.compile(model, strict=True)
    x = rv.rand(2, 3)
    with rv.no_grad():
        for call in range(20):
            if call in (6, 9, 13):
                model.size = twin.size = float(call)
            if call == 11:
                Net.scale.cache_clear()
            assert bits(fast(x)) == bits(twin(x))
    assert fast.programs


def test_unhashable_arguments():
    def step(x):
        try:
            return x * identity([1, 2])[0]
        except TypeError:
            return x * 3

    fast = rv.compile(step)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(8):
            x = rv.arange(3.0) + number
            assert bits(fast(x)) == bits(step(x))
    with pytest.raises(TypeError, match="unhashable"):
        rv.compile(lambda x: identity([x]))(rv.rand(3))


@pytest.mark.parametrize("function", [math.sqrt, len, functools.partial(pow, 2)])
def test_functions_that_are_not_of_python(function):
    cached = functools.lru_cache(function)
    refused(
        lambda x: x * cached(4.0) if function is math.sqrt else x * len(str(cached)),
        rv.rand(3),
        match="a cache of what is no function of Python|runs eagerly|depends on",
    )


def test_results_that_no_guard_compares():
    @functools.lru_cache
    def array(n):
        return np.ones(3, "f4") * n

    array(2)
    refused(lambda x: x * rv.tensor(array(2)), rv.rand(3), match="an array of NumPy")


def test_a_step_that_clears_or_asks_the_cache():
    @functools.lru_cache
    def two():
        return 2.0

    def clearing(x):
        two.cache_clear()
        return x * two()

    def asking(x):
        return x * two.cache_info().misses

    refused(clearing, rv.rand(3), match="cache_clear")
    refused(asking, rv.rand(3), match="cache_info")


def test_special_methods_with_a_cache():
    """Python finds them in the class, without their name in the code."""

    class Callable:
        @functools.lru_cache  # noqa: B019
        def __call__(self, n):
            return settings["scale"] * n

        @functools.lru_cache  # noqa: B019
        def __getitem__(self, n):
            return settings["scale"] * n

    settings = {"scale": 2.0}
    made = Callable()
    for read in (lambda x: x * made(3), lambda x: x * made[3]):
        fast = rv.compile(read)
        for number in range(20):
            if number % 5 == 3:
                settings["scale"] += 1
            if number % 7 == 4:
                Callable.__call__.cache_clear()
                Callable.__getitem__.cache_clear()
            x = rv.ones(2)
            expected = bits(read(x))
            assert bits(fast(x)) == expected


def test_a_cache_in_a_class_and_in_wrappers():
    class Holder:
        @staticmethod
        @functools.lru_cache
        def static(n):
            return settings["scale"] * n

        @property
        @functools.lru_cache  # noqa: B019
        def size(self):
            return settings["scale"]

    settings = {"scale": 2.0}
    holder = Holder()
    reads = [lambda x: x * holder.static(3), lambda x: x * holder.size]
    bound = functools.partial(Holder.static, 3)
    reads.append(lambda x: x * bound())
    for read in reads:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fast = rv.compile(read)
            for number in range(20):
                if number % 5 == 3:
                    settings["scale"] += 1
                if number % 7 == 4:
                    Holder.static.cache_clear()
                    Holder.size.fget.cache_clear()
                x = rv.ones(2)
                expected = bits(read(x))
                assert bits(fast(x)) == expected


FORM = """
import functools

scale = 2.0

@functools.lru_cache
def factor(n):
    return scale * n

@functools.cache
def term(n):
    return scale + n

def added(pair):
    return pair.a * factor(3) + pair.b * term(2)

def with_a_cache(own):
    @functools.lru_cache
    def factor(n):
        return own * n

    def step(pair):
        return pair.a * factor(3)

    return step
"""


class Pair:
    def __init__(self, start):
        self.a = nn.Parameter(rv.arange(3.0) + start)
        self.b = nn.Parameter(rv.arange(3.0))


def test_other_objects_share_a_program(monkeypatch):
    """A cache of a module belongs to no step: other objects get the program that is there."""
    found = []
    build = compiled_function.build
    monkeypatch.setattr(compiled_function, "build", lambda *args: found.append(1) or build(*args))
    m = types.ModuleType("with_a_cache")
    monkeypatch.setitem(sys.modules, "with_a_cache", m)
    exec(FORM, vars(m))
    step = rv.compile(m.added)
    with rv.no_grad():
        for start in range(8):
            if start in (3, 6):
                m.scale += 1
                m.factor.cache_clear()
                m.term.cache_clear()
            found.clear()
            pair = Pair(start)
            for _ in range(12):
                assert bits(step(pair)) == bits(m.added(pair))
            assert bool(found) == (start in (0, 3, 6))


def test_caches_that_belong_to_a_step():
    """Closures of the same code, each with a cache of its own."""
    m = types.ModuleType("with_a_cache")
    exec(FORM, vars(m))
    with rv.no_grad():
        for number in range(4):
            step = m.with_a_cache(2.0 + number)
            fast = rv.compile(step)
            pair = Pair(number)
            for _ in range(12):
                assert bits(fast(pair)) == bits(step(pair))


def test_training_with_a_cached_schedule():
    """A cached number and a cached Tensor in the loss of a training step."""
    results = []
    for compiles in (True, False):
        m = module()
        rv.manual_seed(0)
        model = nn.Linear(3, 1)
        optimizer = rv.optim.SGD(model.parameters(), lr=0.1)

        def step(x, m=m, model=model, optimizer=optimizer):
            optimizer.zero_grad()
            loss = (model(x * m.tensor(2)) ** 2).mean() * m.factor(2)
            loss.backward()
            optimizer.step()
            return loss.detach()

        run = rv.compile(step) if compiles else step
        found = []
        for number in range(30):
            if number in (9, 15):
                sets_and_clears(m, 0.1 * number)
            found.append(bits(run(rv.ones(2, 3))))
        results.append([found, bits(model.state_dict())])
    assert results[0] == results[1]
