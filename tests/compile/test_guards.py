"""Guards of a compiled step: what is compared before a replay; equal values may still differ for a step."""

import abc
import dataclasses
import gc
import sys
import types
import weakref

import numpy as np
import pytest
import ranvier as rv
from ranvier.compile import program
from ranvier.compile.walk import Walk
from support.strict import strict


def test_a_method_that_is_none_in_the_class():
    """Like the __hash__ of a dataclass: it exists, and has not changed."""

    @dataclasses.dataclass
    class Settings:
        gain: float = 2.0

    settings = Settings()
    step = strict(lambda x: x * settings.gain)
    for _ in range(4):
        step(rv.ones(2))
    assert len(step.programs) == 1
    settings.gain = 3.0
    assert step(rv.ones(2)).tolist() == [3.0, 3.0]


def test_code_that_only_later_calls_run():
    settings, w = types.SimpleNamespace(gain=2.0), rv.nn.Parameter(rv.ones(2))

    def scale():
        return settings.gain

    @strict
    def step(x):
        factor = 1.0 if w.grad is None else scale()
        w.grad = None
        (w * x * factor).sum().backward()
        return w.grad.clone()

    x = rv.ones(2)
    assert [step(x).tolist()[0] for _ in range(5)] == [1.0, 2.0, 2.0, 2.0, 2.0]
    settings.gain = 3.0
    assert step(x).tolist() == [3.0, 3.0]


def test_guards_keep_nothing_that_only_a_cycle_holds():
    class Owner:
        def __init__(self):
            self.gain = 2.0
            self.step = strict(lambda x: x * self.gain)

    owner = Owner()
    for _ in range(3):
        owner.step(rv.ones(2))
    gone = weakref.ref(owner)
    del owner
    gc.collect()
    assert gone() is None


def test_a_check_searches_for_guards_only_where_there_may_be_others(monkeypatch):
    searches, run = [], Walk.run
    monkeypatch.setattr(Walk, "run", lambda walk, roots: (searches.append(1), run(walk, roots))[1])
    layer = rv.nn.Linear(3, 2)
    step = strict(lambda x: layer(x).sum().detach())
    for _ in range(20):
        step(rv.ones(2, 3))
    assert (len(searches), step.programs[0].checks) == (1, 4)


def test_hooks_to_which_no_name_leads():
    layer = rv.nn.Linear(3, 2)

    def step(x):
        layer.zero_grad()
        loss = layer(x).sum()
        loss.backward()
        return loss

    compiled, x = strict(step), rv.ones(2, 3)
    for factor in (2.0, 3.0):
        hook = layer.weight.register_hook(lambda gradient, factor=factor: gradient * factor)
        for _ in range(20):
            compiled(x)
            assert layer.weight.grad.tolist() == [[2.0 * factor] * 3] * 2
        hook.remove()


def test_a_function_in_the_module_of_a_layer_is_replaced(monkeypatch):
    layer, module = rv.nn.Linear(3, 2), sys.modules["ranvier.nn.linear"]
    step = rv.compile(lambda x: layer(x).detach(), verify=False)
    for _ in range(4):
        expected = step(rv.ones(2, 3)) * 2
    assert step.programs
    ops = module.ops
    monkeypatch.setattr(module, "ops", types.SimpleNamespace(linear=lambda *args: ops.linear(*args) * 2))
    with pytest.warns(UserWarning, match="to which no name in the step leads"):
        assert step(rv.ones(2, 3)).tolist() == expected.tolist()


def test_error_handling_of_numpy_counts_by_value():
    """Each np.errstate makes a new object."""
    factor = np.float32(2.0)
    step = strict(lambda x: x * factor)
    for divide, programs in (("ignore", 1), ("warn", 2), ("ignore", 2), ("raise", 3)):
        for _ in range(3):
            with np.errstate(divide=divide):
                assert step(rv.ones(2)).tolist() == [2.0, 2.0]
        assert len(step.programs) == programs


class Settings:
    first, second = 2.0, 3.0


def test_a_class_is_registered():
    class Abstract(abc.ABC):  # noqa: B024
        pass

    other = type("Other", (), {})()
    step = strict(lambda x: x * (2.0 if isinstance(other, Abstract) else 3.0))
    assert [step(rv.ones(1)).item() for _ in range(4)] == [3.0] * 4
    Abstract.register(type(other))
    assert step(rv.ones(1)).item() == 2.0


def test_programs_of_several_shapes_run_different_code():
    settings = Settings()

    def other(x):
        return x * settings.second

    def step(x):
        return other(x) if len(x) == 5 else x * settings.first

    compiled = strict(step)
    for settings.first, settings.second in ((2.0, 3.0), (7.0, 9.0)):
        for n in (2, 3, 5) * 5:
            assert compiled(rv.ones(n)).tolist() == step(rv.ones(n)).tolist()


def test_a_function_that_is_defined_again():
    """As by a notebook whose cell is run twice: its code is equal to the first one's, but another object."""
    source = "def step(x):\n    return sum(x * i for i in [1.0, 2.0])\n"
    for _ in range(2):
        space = {}
        exec(compile(source, "cell", "exec"), space)
        assert strict(space["step"])(rv.ones(2)).tolist() == [3.0, 3.0]


# The largest value of its kind that is compared before each replay, and what another element makes of it.
LARGEST = {
    "list": (lambda n: [2.0] * n, 1024, "a list of 1025 items, too many"),
    "dict": (lambda n: dict.fromkeys(range(n), 2.0), 1024, "a dict of 1025 items, too many"),
    "bytearray": (lambda n: bytearray([2] * n), 1 << 20, "a bytearray of 1048577 items, too many"),
    "array": (lambda n: np.full(n, 2, np.int8), 1 << 20, "an array of 1048577 bytes"),
}


@pytest.mark.parametrize("name", LARGEST)
def test_the_largest_value_that_is_compared(name, monkeypatch):
    monkeypatch.setattr(program, "_GUARDED", np.inf)  # however long that takes
    make, most, said = LARGEST[name]
    value = make(most)
    step = strict(lambda x: x * float(value[7]))
    for number in (2, 2, 2, 3):
        value[7] = number
        assert step(rv.ones(1)).item() == number
    assert len(step.programs) == 2
    value = make(most + 1)
    with pytest.raises(rv.CaptureError, match=said):
        step(rv.ones(1))


class Raising(type):
    def __hash__(cls):
        raise OSError("metaclass")


class Closed(metaclass=Raising):
    def __getattribute__(self, name):
        raise OSError(name)


def test_a_value_that_raises_when_it_is_looked_at_makes_the_step_eager():
    """The step itself never looks: `is None` reads no attribute."""
    closed, factors = Closed(), [2.0]
    step = rv.compile(lambda x: x * factors[0] if closed is not None else x)
    with pytest.warns(UserWarning, match="a value that raises OSError when it is looked at"):
        step(rv.ones(2))
    for factor in (3.0, 4.0, 5.0):
        factors[0] = factor
        assert step(rv.ones(2)).tolist() == [factor, factor]
    with pytest.warns(UserWarning, match="an argument raises OSError when it is compared"):
        assert rv.compile(lambda x, other: x * 2)(rv.ones(2), [closed]).tolist() == [2.0, 2.0]
