"""Which calls are found at once, which are recorded, and when a function rests."""

import contextlib
import functools
import itertools

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.compile import compiled
from ranvier.compile.record import record

X = rv.arange(6.0)


def pays(fast):
    """Lets it record the next call."""
    fast._cache._saved = 1e9
    fast._rest(None, 0)


@pytest.fixture
def searched(monkeypatch):
    """The arguments of calls whose program is looked up by their signature."""
    calls = []
    search = compiled.CompiledFunction._by_key

    def noted(self, *args):
        calls.append(args)
        return search(self, *args)

    monkeypatch.setattr(compiled.CompiledFunction, "_by_key", noted)
    return calls


def number(x, k):
    return x * (k + 1)


def options(x, k=0, factor=1.0):
    return x * (k + 1) * factor


def listed(pairs, x):
    return pairs[0] * 3 - pairs[1] * x


def in_a_dict(x, terms):
    return sum(terms.values()) * x * len(terms)


CALLS = {
    "a few numbers": (number, [((X, k), {}) for k in range(10)]),
    "keywords": (options, [((X,), {"k": 1}), ((X,), {"factor": 3.0}), ((X,), {"factor": 3.0, "k": 1})]),
    "keywords and places": (options, [((X, 1), {}), ((X,), {"k": 1}), ((X,), {"factor": 1}), ((), {"x": X})]),
    "lists and tuples": (listed, [(([X, X + 1], X + 2), {}), (((X, X + 1), X + 2), {})]),
    "the same Tensor twice": (listed, [(([X, X + 1], X + 2), {}), (([X, X], X + 2), {})]),
    "dicts": (in_a_dict, [((X, {"a": X + 1, "b": 2}), {}), ((X, {"a": X + 1, "b": 3, "c": 4}), {})]),
    "True and 1": (number, [((X, True), {}), ((X, 1), {}), ((X, 1.0), {})]),
    "zeros": (number, [((X, -1.0), {}), ((X, 0.0), {}), ((X, -0.0), {})]),
}


@pytest.mark.parametrize("name", CALLS)
def test_calls_of_a_few_forms_in_turn_are_found_at_once(name, searched):
    function, calls = CALLS[name]
    fast = rv.compile(function, verify=False)
    for _, (args, kwargs) in itertools.product(range(30), calls):
        fast(*args, **kwargs)
        pays(fast)
    assert len(fast.programs) == len(calls)
    searched.clear()
    for _, (args, kwargs) in itertools.product(range(3), calls):
        expected = function(*args, **kwargs)
        np.testing.assert_array_equal(fast(*args, **kwargs).numpy(), expected.numpy())
    alike = name in ("the same Tensor twice", "True and 1", "zeros")  # only the signature tells them apart
    assert alike or not searched


def test_a_list_with_other_items_is_another_call():
    fast = rv.compile(lambda x, items: x * len(items) + sum(items))
    for items in ([1, 2], [2, 1], [1, 2, 0], (1, 2), [1, 2.0], [[1], 2]) * 2:
        flat = [i[0] if isinstance(i, list) else i for i in items]
        if flat == items or isinstance(items, tuple):
            for _ in range(3):
                np.testing.assert_array_equal(fast(X, items).numpy(), (X * len(items) + sum(items)).numpy())


def test_a_bad_value_is_looked_for_once(monkeypatch):
    """The replay that stops at an index out of range is not repeated."""
    table = rv.ones(5, 2)
    fast = rv.compile(lambda k: rv.embedding(k, table).sum())
    good, bad = rv.tensor([1, 2, 3]), rv.tensor([1, 2, 7])
    for _ in range(3):
        fast(good)
    runs = []
    monkeypatch.setattr(
        compiled.Program, "replay", lambda self, arrays: runs.append(arrays) or self.core(arrays)
    )
    for _ in range(3):
        with pytest.raises(IndexError):
            fast(bad)
        assert fast(good).item() == 6
    assert runs == []


def test_a_step_whose_replays_fail_rests(monkeypatch):
    table, replayed = rv.ones(5, 2), []
    fast = rv.compile(lambda k: rv.embedding(k, table).sum())
    for _ in range(3):
        fast(rv.tensor([1]))
    inner = compiled.CompiledFunction._replayed
    monkeypatch.setattr(
        compiled.CompiledFunction, "_replayed", lambda *args: (replayed.append(1), inner(*args))[1]
    )
    for i in range(1000):
        with pytest.raises(IndexError) if i % 5 else contextlib.nullcontext():
            assert fast(rv.tensor([9 if i % 5 else 1])).item() == 2
    assert len(replayed) < 400
    eager, run = [], compiled.CompiledFunction._eager
    monkeypatch.setattr(compiled.CompiledFunction, "_eager", lambda *args: (eager.append(1), run(*args))[1])
    for _ in range(4000):
        fast(rv.tensor([1]))
    assert len(eager) < 2000


def test_a_step_that_raises_is_not_recorded_again_and_again(monkeypatch):
    calls = []
    monkeypatch.setattr(compiled, "record", lambda *args, **more: calls.append(1) or record(*args, **more))

    @rv.compile
    def step(x):
        raise KeyError(len(x * 2))

    for _ in range(300):
        with pytest.raises(KeyError):
            step(X)
    assert len(calls) < 30


def test_a_check_that_raises_waits(monkeypatch):
    calls = []
    step = rv.compile(lambda index: rv.embedding(index, rv.ones(3, 2)).sum())
    for _ in range(3):
        step(rv.tensor([1]))
    monkeypatch.setattr(compiled, "record", lambda *args, **more: calls.append(1) or record(*args, **more))
    for _ in range(64):
        with pytest.raises(IndexError):
            step(rv.tensor([3]))
    assert len(calls) < 8


def step_of(kind, compile):
    """A new step of a new weight: (step, weight, what it has noted)."""
    weight, seen = rv.tensor([2.0] * 6, requires_grad=True), []

    def step(x):
        weight.grad = None
        loss = (x * weight).sum() ** 2
        loss.backward()
        return loss

    layer = nn.Linear(6, 2).eval()
    layer.load_state_dict({"weight": rv.ones(2, 6), "bias": rv.ones(2)})
    functions = {
        "step": step, "method": Scaled(weight).times, "model": layer,
        "partial": functools.partial(number, k=weight.detach()),
    }  # fmt: skip
    return compile(functions[kind]), weight, seen


class Scaled:
    def __init__(self, weight):
        self.weight = weight

    def times(self, x):
        return (x * self.weight.detach()).sum()


@pytest.fixture
def records(monkeypatch):
    """The recordings and checks."""
    found = []
    monkeypatch.setattr(compiled, "record", lambda *args, **more: found.append(1) or record(*args, **more))
    return found


@pytest.mark.parametrize("kind", ["step", "method", "partial", "model"])
def test_functions_that_are_made_in_each_call(kind, records):
    """The first four are recorded, and a later one after 64 calls; all of them where they pay."""

    def shown(compile):
        call, weight, seen = step_of(kind, compile)
        results = [call(X) for _ in range(5)]
        made = [None if t is None else t.numpy(force=True).tobytes() for t in (*results, weight.grad)]
        return made, seen

    for _ in range(30):
        assert shown(rv.compile) == shown(lambda f: f)
    few = len(records)
    assert 8 <= few <= 16
    fast, *_ = step_of(kind, rv.compile)
    for _ in range(300):
        fast(X)
    assert len(records) > few
    later, *_ = step_of(kind, rv.compile)
    later(X)
    assert len(later.programs) == 1


def values(*parts):
    """What is read at each call: (calls, calls until it changes) of each part."""
    found, n = [], 0
    for calls, each in parts:
        for i in range(calls):
            n += i % each == 0
            found.append(float(n))
    return found


CHANGES = {  # the values, and how many of the last 400 calls may be no replays
    "ten epochs": (values((300, 30), (500, 500)), 12),
    "an epoch of 60 calls, for ever": (values((3000, 60)), 60),
    "three changes": (values((3, 3), (9, 9), (58, 58), (440, 440)), 12),
    "ten short epochs": (values((30, 3), (1500, 1500)), 12),
}


@pytest.mark.filterwarnings("ignore:.compile. .*changes of .* come too often")
@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("how", ["variable", "argument"])
def test_a_number_that_changes_now_and_then_is_recorded_again(name, how):
    read, weight = [0.0], rv.ones(6, requires_grad=True)

    def step(x, factor=None):
        weight.grad = None
        for _ in range(12):
            x = (x * weight).tanh()
        loss = (x * (read[0] if factor is None else factor)).sum()
        loss.backward()
        return loss

    fast, replays, x = rv.compile(step), [], rv.rand(6)
    for read[0] in CHANGES[name][0]:
        before = {id(p): p.checks_left for p in fast.programs}
        fast(x, *read[: how == "argument"])
        replays.append(any(before.get(id(p)) == p.checks_left + 1 for p in fast.programs))
    assert replays[-400:].count(False) <= CHANGES[name][1]
