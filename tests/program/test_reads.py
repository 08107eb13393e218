"""What a compiled step reads in Python: cases found by an attack with the documentation alone."""

import functools
import gc
import signal
import sys
import threading
import time
import types
import weakref

import numpy as np
import pytest
import ranvier as rv
from ranvier.program.objects import named_function


class Settings:
    gain = 2.0


def test_a_count_on_a_class_is_refused():
    kind = type("Kind", (), {"n_train": 0})

    def step(x, name):
        setattr(kind, f"n_{name}", getattr(kind, f"n_{name}") + 1)
        return x.sum()

    compiled = rv.compile(step)
    compiled(rv.ones(2), "train")
    with pytest.raises(rv.CaptureError, match="changes"):
        compiled(rv.ones(2), "train")
    assert kind.n_train == 2


def test_weak_references_threads_and_iterators_are_refused():
    held = Settings
    reference, iterator = weakref.ref(held), reversed([1.0, 2.0, 3.0])
    factors = {threading.get_ident(): 2.0}
    for function in (
        lambda x: x * (2.0 if reference() else 1.0),
        lambda x: x * factors.get(threading.get_ident(), 7.0),
        lambda x: x * next(iterator),
    ):
        with pytest.raises(rv.CaptureError):
            rv.compile(function)(rv.ones(2))


@pytest.mark.parametrize("pick", [np.s_[:, ::16], np.s_[:, ::-1], np.s_[::-1, ::3]])
def test_arguments_with_gaps_have_the_eager_bits(pick):
    rv.manual_seed(0)
    x = rv.randn(32, 640).numpy()[pick]
    layer = rv.nn.Linear(x.shape[1], 1).eval()
    step = rv.compile(lambda x: (layer(x).detach(), x.mean(1), x.sum(1)))
    for _ in range(4):
        for found, expected in zip(step(rv.from_numpy(x)), step._function(rv.from_numpy(x)), strict=True):
            np.testing.assert_array_equal(found.numpy(), expected.numpy())


def test_callbacks_of_the_garbage_collector_are_not_part_of_a_step():
    def callback(phase, info):
        time.perf_counter()

    def function(x):
        for _ in range(3000):
            cycle = []
            cycle.append(cycle)
        return x * 2

    gc.callbacks.append(callback)
    try:
        step = rv.compile(function)
        assert [step(rv.ones(2)).tolist() for _ in range(4)] == [[2.0, 2.0]] * 4
    finally:
        gc.callbacks.remove(callback)
    assert gc.isenabled()


class _Dies:
    """Its finalizer calls Python code that reads the clock."""

    def __init__(self):
        self.me = self  # only the collector ends it

    def __del__(self):
        time.perf_counter()


def test_finalizers_during_a_recording_are_not_part_of_it():
    known = weakref.WeakSet()

    def function(x):
        for _ in range(3000):
            cycle = []
            cycle.append(cycle)
        return x * 2

    for _ in range(3):
        known.add(_Dies())
    assert rv.compile(function)(rv.ones(2)).tolist() == [2.0, 2.0]
    assert not known


class _Rings:
    """A signal handler, as a function, a method, a partial and an object."""

    def __init__(self):
        self.times = []

    def ring(self, number, frame):
        self.times.append(time.perf_counter())

    __call__ = ring


@pytest.mark.parametrize(
    "made",
    [
        lambda bell: lambda *args: bell.ring(*args),
        lambda bell: bell.ring,
        lambda bell: functools.partial(_Rings.ring, bell),
        lambda bell: bell,
    ],
)
def test_signal_handlers_are_not_part_of_a_step(made):
    bell = _Rings()

    before = signal.signal(signal.SIGALRM, made(bell))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        assert rv.compile(lambda x: _wait(x, 3 * 10**6))(rv.ones(2)).tolist() == [2.0, 2.0]
        while not bell.times:
            pass
    finally:
        signal.signal(signal.SIGALRM, before)


def _wait(x, rounds):
    for _ in range(rounds):
        pass
    return x * 2


class _Holds:
    def method(self):
        return 1

    @staticmethod
    def static(x):
        return x

    @classmethod
    def of_class(cls):
        return cls

    @property
    def value(self):
        return 1

    class Inner:
        def method(self):
            return 2


@pytest.mark.parametrize(
    "function",
    [_wait, _Holds.method, _Holds.static, _Holds.of_class.__func__, _Holds.value.fget, _Holds.Inner.method],
)
def test_a_function_is_found_by_its_name(function):
    known = sys.version_info >= (3, 11) or "." not in function.__qualname__  # to code, too
    assert named_function(function.__code__, globals()) is (function if known else None)
    changed = types.FunctionType(function.__code__.replace(co_stacksize=99), globals())
    assert named_function(changed.__code__, globals()) is None
    assert named_function((lambda: function).__code__, globals()) is None


def test_several_threads_share_a_step():
    """While one thread's call is checked, another one waits."""
    w = rv.zeros(4)
    step = rv.compile(lambda x: (w.add_(x), w.sum())[1])
    errors = []

    def train():
        try:
            for _ in range(100):
                step(rv.ones(4))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=train) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert w.tolist() == [300.0] * 4
