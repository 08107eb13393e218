"""What calls cost that differ from the last one: which are found at once, and when replays rest."""

import contextlib
import functools
import gc
import itertools
import weakref

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.compile import cache, compiled
from ranvier.compile.cache import ProgramCache
from ranvier.compile.record import record

X = rv.arange(6.0)


@pytest.fixture
def searched(monkeypatch):
    """The arguments of calls whose program is looked up by their signature."""
    calls = []
    search = compiled.CompiledFunction._by_signature

    def noted(self, args, kwargs):
        calls.append((args, kwargs))
        return search(self, args, kwargs)

    monkeypatch.setattr(compiled.CompiledFunction, "_by_signature", noted)
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
        fast._cache.ran_eagerly(None, 100.0)  # earns recordings
        fast._cache.resting, fast._cache.untimed = 0, 10_000
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


@pytest.fixture
def seconds(monkeypatch):
    """What an eager call and a replay take, by the clock of the library; and the number of eager calls."""
    now, took = [0.0], {"eager": 1.0, "replay": 2.0, "calls": 0}
    monkeypatch.setattr(compiled.time, "perf_counter", lambda: now[0])
    eager, replayed = compiled.CompiledFunction._eager, compiled.CompiledFunction._replayed

    def slow_eager(self, *args):
        now[0] += took["eager"]
        took["calls"] += 1
        return eager(self, *args)

    def slow_replay(self, *args):
        now[0] += took["replay"]
        return replayed(self, *args)

    monkeypatch.setattr(compiled.CompiledFunction, "_eager", slow_eager)
    monkeypatch.setattr(compiled.CompiledFunction, "_replayed", slow_replay)
    return took


def test_replays_that_are_slower_rest_longer_and_longer(seconds):
    fast = rv.compile(lambda x: x * 2, verify=False)
    for _ in range(40_000):
        fast(X)
    assert seconds["calls"] > 36_000
    assert fast._cache._pause == cache._LONGEST
    seconds["replay"] = 0.5  # noticed after a rest
    for _ in range(2 * cache._LONGEST):
        fast(X)
    seconds["calls"] = 0
    for _ in range(2000):
        np.testing.assert_array_equal(fast(X).numpy(), (X * 2).numpy())
    assert seconds["calls"] < 40


def test_replays_that_are_faster_are_seldom_compared(seconds):
    seconds["replay"] = 0.9
    fast = rv.compile(lambda x: x * 2, verify=False)
    for _ in range(40_000):
        fast(X)
    assert 16 < seconds["calls"] < 100


def test_recordings_and_slow_exceptions_are_no_part_of_a_comparison():
    programs = ProgramCache()
    programs.untimed = -1
    for i in range(24):
        eager = programs.next_is_eager()
        if i == 4:
            programs.recorded(1.0)
        programs.compare(eager, 50.0 if i in (4, 7) else 1.0 if eager else 0.8)
        programs.untimed -= 1
    assert programs.untimed > 0
    assert programs.resting == 0


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
    for _ in range(1000):
        fast(rv.tensor([1]))
    assert len(eager) < 200


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
def test_functions_that_are_made_in_each_call_are_recorded_while_it_pays(kind, records):
    def shown(compile):
        call, weight, seen = step_of(kind, compile)
        results = [call(X) for _ in range(5)]
        made = [None if t is None else t.numpy(force=True).tobytes() for t in (*results, weight.grad)]
        return made, seen

    for _ in range(30):
        assert shown(rv.compile) == shown(lambda f: f)
    few = len(records)
    assert 8 <= few < 60
    fast, *_ = step_of(kind, rv.compile)
    fast._cache.account.earn(100.0)
    for _ in range(100):
        fast(X)
    assert len(records) > few


def test_replays_of_earlier_functions_earn_recordings(records):
    for k in range(6):
        if k == 4:
            records.clear()
        fast, *_ = step_of("step", rv.compile)
        for _ in range(1000):
            fast(X)
        del fast
    assert records


def test_a_function_earns_its_recording_by_its_own_calls(records):
    """Where larger steps of the same code have taken more than they have earned."""
    kept = [step_of("step", rv.compile)[0] for _ in range(4)]
    fast, *_ = step_of("step", rv.compile)
    kept[0](X)
    fast._cache.account.earn(-1e6)
    records.clear()
    for _ in range(20_000):
        fast(X)
    assert records
    assert fast.programs


def test_an_account_keeps_nothing_alive():
    made = []

    def factory(k):
        model = nn.Linear(6, k + 1)
        space = {"model": model}
        exec("def step(x): return model(x).sum().detach()", space)
        for fast in (
            rv.compile(space["step"]),
            rv.compile(model.eval()),
            rv.compile(Scaled(rv.ones(6)).times),
        ):
            for _ in range(3):
                fast(X)
        made.extend(map(weakref.ref, (model, space["step"], fast)))

    for k in range(6):
        factory(k)
    gc.collect()
    assert not any(x() is not None for x in made)
    assert len(cache._accounts) <= 8  # of code that a cache of names holds, too


def test_eager_calls_rest_twice_as_long_each_time():
    programs = ProgramCache()
    for rest in (64, 128, 256):
        for _ in range(64):
            assert not programs.resting
            programs.ran_eagerly(None, 1.0)
        assert programs.resting == rest
        programs.resting = 0


def test_a_later_signature_is_recorded_when_it_comes_back_only():
    fast = rv.compile(lambda x: x * 2)
    for n in range(1, 60):
        fast._cache.account.earn(100.0)
        fast._cache.resting = 0
        fast(rv.ones(n))
    assert len(fast.programs) == 4
