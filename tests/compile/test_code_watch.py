"""Which code a recording notes: with a frame evaluation function, or with the profile function alone.

Python 3.11 has both (cpp/bindings/replay/code_watch.cpp); while a debugger traces the thread, the profile
function finds the code alone.
"""

import functools
import sys
import threading
import time

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.compile.guarding.traced_code import TracedCode
from support.strict import strict

X = rv.ones(4, 3)


class Doubled:
    """A sequence of one number whose items are computed."""

    def __getitem__(self, place):
        return 2.0


class Own(nn.Module):
    def forward(self, x):
        return self.scaled(x)

    def scaled(self, x):
        return x * Doubled()[0]


def numbers():
    yield from (1.0, 2.0)


def raising():
    try:
        raise ValueError
    except ValueError:
        return 1.0


def counted(function):
    @functools.wraps(function)
    def inner(*args):
        return function(*args)

    return inner


model = nn.Sequential(nn.Linear(3, 3), Own())
STEPS = {
    "a model": lambda: model(X).sum(),
    "a generator": lambda: X * sum(number for number in numbers()),
    "a key": lambda: X * sorted([2.0, 1.0], key=lambda number: -number)[0],
    "an error": lambda: X * raising(),
    "a wrapper": lambda: counted(lambda x: x * 2.0)(X),
    "a hook": lambda: hooked(X),
    "a class": lambda: X * type("Made", (), {"two": property(lambda self: 2.0)})().two,
    "an import": lambda: X * len(__import__("json").__name__),
}
hooked = nn.Linear(3, 3)
hooked.register_forward_hook(lambda module, inputs, result: result * 2.0)


def noted(step):
    """What a recording notes of the code that a step enters."""
    traced = TracedCode()
    with traced:
        step()
    users = {code for code, _ in traced.codes.values()}
    # `__exit__` of TracedCode is entered while the profile function is still set.
    library = {code for code in traced.library.values() if code is not TracedCode.__exit__.__code__}
    return users, library, traced.fault


@pytest.mark.parametrize("name", STEPS)
def test_a_debugger_changes_nothing(name):
    step = STEPS[name]
    for _ in range(20):  # so that Python has specialized instructions
        step()
    users, library, fault = noted(step)
    assert step.__code__ in users
    sys.settrace(lambda frame, event, arg: None)
    try:
        assert noted(step) == (users, library, fault)
    finally:
        sys.settrace(None)


def test_other_threads_are_not_noted():
    ended = threading.Event()

    def beside():
        while not ended.is_set():
            numbers()

    thread = threading.Thread(target=beside)
    thread.start()
    try:
        for _ in range(50):
            users, _, _ = noted(STEPS["a model"])
            assert beside.__code__ not in users
            assert numbers.__code__ not in users
    finally:
        ended.set()
        thread.join()


def test_two_threads_record_at_once():
    def record():
        for _ in range(50):
            found.append(noted(STEPS["a model"]))

    found = []
    threads = [threading.Thread(target=record) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 100
    assert all(one == found[0] for one in found)


def test_an_error_leaves_nothing_behind():
    def fails():
        raise KeyError("own")

    for _ in range(3):
        with pytest.raises(KeyError, match="own"):
            noted(fails)
        assert sys.getprofile() is None
        assert sys.gettrace() is None
        users, _, _ = noted(STEPS["a model"])
        assert Own.forward.__code__ in users


class Clock:
    """Has functions made in C, whose results are not the same in each call."""

    def __init__(self):
        self.now = time.time
        self.all = [time.time]
        self.part = functools.partial(time.time)


@pytest.mark.parametrize("read", ["now", "all", "part"])
def test_functions_that_other_code_may_call(read):
    clock = Clock()
    with pytest.raises(rv.CaptureError, match=r"which another function may call|made in C"):
        strict(lambda x: x * (getattr(clock, read) is not None))(X)


def test_a_function_that_is_named_only_to_call_it():
    clock = Clock()
    times = [0.0]
    step = strict(lambda x: x * (clock.now() if times[0] else 2.0))
    for _ in range(5):
        assert np.all(step(X).numpy() == 2.0)
    assert step.programs
