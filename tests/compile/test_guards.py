"""Guards of a compiled step: what is compared before a replay; equal values may still differ for a step."""

import sys
import types

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.strict import strict


def test_a_function_in_the_module_of_a_layer_is_replaced(monkeypatch):
    layer, module = nn.Linear(3, 2), sys.modules["ranvier.nn.linear"]
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


def test_a_function_that_is_defined_again():
    """As by a notebook whose cell is run twice: its code is equal to the first one's, but another object."""
    source = "def step(x):\n    return sum(x * i for i in [1.0, 2.0])\n"
    for _ in range(2):
        space = {}
        exec(compile(source, "cell", "exec"), space)
        assert strict(space["step"])(rv.ones(2)).tolist() == [3.0, 3.0]


class Closed(type):
    def __hash__(cls):
        raise OSError("metaclass")


@pytest.mark.filterwarnings("ignore:.compile.")
def test_a_value_that_raises_when_it_is_looked_at_makes_the_step_eager():
    """The step itself never looks: `is None` reads no attribute."""

    def read(self, name):
        raise OSError(name)

    closed, factors = Closed("Own", (), {"__getattribute__": read})(), [2.0]
    step = rv.compile(lambda x: x * factors[0] if closed is not None else x)
    with pytest.warns(UserWarning, match="a value that raises OSError when it is looked at"):
        step(rv.ones(2))
    for factors[0] in (3.0, 4.0, 5.0):
        assert step(rv.ones(2)).tolist() == [factors[0]] * 2
    assert rv.compile(lambda x, other: x * 2)(rv.ones(2), [closed]).tolist() == [2.0, 2.0]
