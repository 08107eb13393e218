"""Which calls are recorded, which replayed, and when a step runs as it is written.

A recording costs many calls. A function whose recordings do not pay rests: it runs eagerly, and is recorded
again later. The fixture `records` counts recordings and checks; `replays` says whether calls run no Python of
the step.
"""

import sys
import types

import pytest
import ranvier as rv
from compile.beside import bits, outcome
from ranvier import nn
from ranvier.compile import program_cache
from support.strict import strict

X = rv.arange(6.0)


def code_of(function):
    return type(function).forward.__code__ if isinstance(function, nn.Module) else function.__code__


def entries(fast, calls, code):
    """In how many of these calls Python runs the step; each is (args, kwargs)."""
    found = 0

    def note(frame, event, arg):
        nonlocal found
        found += event == "call" and frame.f_code is code

    for args, kwargs in calls:
        sys.setprofile(note)
        try:
            fast(*args, **kwargs)
        finally:
            sys.setprofile(None)
    return found


def replays(fast, function, calls=8, *args):
    """True if nearly all of this many calls are replays."""
    return entries(fast, [(args or (X,), {})] * calls, code_of(function)) <= 1


# --- values that change now and then: a step, and what sets its value
def in_a_dict():
    values = {"factor": 1.0}
    return lambda x: x * values["factor"], lambda value: values.update(factor=value)


def in_a_list():
    options = [{"factor": 1.0}]
    return lambda x: x * options[0]["factor"], lambda value: options[0].update(factor=value)


def attribute():
    held = types.SimpleNamespace(factor=1.0)
    return lambda x: x * held.factor, lambda value: setattr(held, "factor", value)


def of_a_layer():
    layer = nn.LeakyReLU(0.1)
    return lambda x: layer(x - 3) * 1, lambda value: setattr(layer, "negative_slope", value)


EVERY = {  # how many calls, and before which of them the value changes
    "ten epochs": (2000, range(200, 2000, 200)),
    "ten short epochs": (300, range(30, 300, 30)),
    "now and then": (400, (3, 12, 70)),
    "in a row": (400, (5, 6, 7)),
    "later in a row": (400, (60, 61, 62, 63)),
}


@pytest.mark.parametrize("make", [in_a_dict, in_a_list, attribute, of_a_layer])
@pytest.mark.parametrize("when", EVERY)
def test_a_value_that_changes_at_times_stays_captured(when, make, recwarn, records):
    (function, change), (calls, at) = make(), EVERY[when]
    fast = strict(function)
    for number in range(calls):
        if number in at:
            assert "row" in when or number < 10 or replays(fast, function), number
            change(1.0 + number)
        assert bits(fast(X)) == bits(function(X)), number
    assert replays(fast, function)
    assert not recwarn
    assert len(records) < 10 * 7  # a recording, and checks at calls 2, 4, 8 ...


@pytest.mark.parametrize("ways", [2, 3, 4])
def test_values_in_turn_have_a_program_each(ways):
    function, change = attribute()
    fast = strict(function)
    for number in range(40 * ways):
        change(1.0 + number % ways)
        assert bits(fast(X)) == bits(function(X)), number
    assert len(fast.programs) == ways
    assert replays(fast, function)


def test_four_programs_of_one_signature_are_kept():
    function, change = attribute()
    fast = strict(function)
    for number in range(480):
        change(1.0 + number // 60)
        assert bits(fast(X)) == bits(function(X)), number
    assert len(fast.programs) == 4


@pytest.mark.parametrize("where", ["an attribute", "an argument"])
def test_a_value_that_changes_at_each_call_ends_eager_and_is_tried_again(where, records, recwarn):
    inner, change = attribute()
    function = (lambda x, n: x * n) if where == "an argument" else lambda x, n: inner(x)
    fast, steady = rv.compile(function), rv.tensor(1.0)
    for number in range(2000):
        change(float(number))
        given = number if where == "an argument" else steady
        assert bits(fast(X, given)) == bits(function(X, given))
    assert len(records) < 100
    assert ["changes" in str(w.message) for w in recwarn] == [True]
    for _ in range(40_000):
        fast(X, steady)
    assert replays(fast, function, 100, X, steady)
    assert len(recwarn) == 1


# --- signatures in turn
def test_a_later_signature_is_recorded_when_it_comes_back():
    fast = strict(lambda x: x * 2)
    for n in range(1, 60):
        fast(rv.ones(n))
    few = len(fast.programs)
    assert 4 <= few < 10
    for _ in range(100):
        fast(rv.ones(60))
    assert len(fast.programs) == few + 1


def test_one_form_that_is_refused_leaves_the_others(recwarn):
    function = lambda x, log: (x * 2, print(end="") if log else None)[0]  # noqa: E731
    fast = rv.compile(function)
    for number in range(100):
        fast(X, number % 2 == 0)
    assert ["calls print" in str(w.message) for w in recwarn] == [True]
    for _ in range(500):
        fast(X, False)
    assert len(fast.programs) == 1
    assert replays(fast, function, 20, X, False)


@pytest.mark.parametrize(("most", "kept"), [(0, [16]), (5 * program_cache._OVERHEAD // 2, [8, 16])])
def test_the_memory_of_all_programs_is_bounded(monkeypatch, most, kept):
    """The program that was used longest ago is dropped."""
    monkeypatch.setattr(program_cache, "_MEMORY", most)
    fast = strict(lambda x: x * 2)
    for n in (2, 2, 3, 3, 2, 4):
        fast(rv.ones(n))
    assert sorted(program.buffers[0].bytes for program in fast.programs) == kept


# --- steps that raise, or cannot be captured
def refused(x, *_):
    return x * x.sum().item()


def raises(x, *_):
    raise KeyError(len(x * 2))


def looked_up(x, index):
    return rv.embedding(index, rv.ones(3, 2)).sum()


GOOD, BAD = rv.tensor([1]), rv.tensor([7])
TROUBLED = {  # the step, its index after some good calls, the most recordings in 300 calls
    "refused": (refused, GOOD, 2),
    "raises": (raises, GOOD, 30),
    "a replay that fails": (looked_up, BAD, 30),
}


@pytest.mark.parametrize("name", TROUBLED)
def test_trouble_costs_few_recordings_and_one_warning(name, records, recwarn):
    function, index, most = TROUBLED[name]
    fast = rv.compile(function)
    for _ in range(3):
        assert outcome(fast, X, GOOD) == outcome(function, X, GOOD)
    records.clear()
    for _ in range(300):
        assert outcome(fast, X, index) == outcome(function, X, index)
    assert len(records) <= most
    assert ["[compile]" in str(w.message) for w in recwarn] == [True] * (name == "refused")


def test_a_step_whose_replays_fail_is_captured_again_later():
    function = lambda index: looked_up(X, index)  # noqa: E731
    fast = strict(function)
    for number in range(1000):
        given = GOOD if number < 3 or number % 5 == 0 else BAD
        assert outcome(fast, given) == outcome(function, given)
    for _ in range(2000):
        fast(GOOD)
    assert replays(fast, function, 50, GOOD)


# --- functions that are made anew
class Layer(nn.Linear):
    def forward(self, x):
        return super().forward(x) * self.weight.detach()[0, 0]

    def times(self, x):
        return (x * self.weight.detach()).sum()


def step_of(weight):
    def step(x):
        weight.grad = None
        loss = (x * weight).sum() ** 2
        loss.backward()
        return loss.detach()

    return step


KINDS = {  # a function of a new weight
    "step": lambda: step_of(rv.full((6,), 2.0).requires_grad_()),
    "method": lambda: Layer(6, 2).times,
    "model": lambda: Layer(6, 2).eval(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_functions_that_are_made_in_each_call_are_recorded_while_it_pays(kind, records):
    for _ in range(40):
        function = KINDS[kind]()
        fast = rv.compile(function)
        for _ in range(5):
            assert bits(fast(X)) == bits(function(X))
    assert 4 <= len(records) < 80  # out of 200 calls
    for _ in range(20_000):
        fast(X)
    assert fast.programs
    assert replays(fast, function, 20)


@pytest.mark.parametrize("kind", KINDS)
def test_functions_that_are_made_for_many_calls_are_all_captured(kind):
    for _ in range(8):
        function = KINDS[kind]()
        fast = rv.compile(function)
        for _ in range(400):
            fast(X)
        assert replays(fast, function, 20)


@pytest.mark.parametrize("kind", KINDS)
def test_functions_that_live_are_all_captured_at_once(kind):
    members = [(rv.compile(function), function) for function in [KINDS[kind]() for _ in range(12)]]
    for fast, function in members[::-1]:
        for _ in range(5):  # the recordings and the first two checks
            fast(X)
        assert replays(fast, function)
