"""Guards of a compiled step: what is compared before a replay; equal values may still differ for a step."""

import abc
import functools
import os
import sys
import types
import warnings

import numpy as np
import pytest
import ranvier as rv
from compile.beside import same, squares
from ranvier import nn
from support.strict import strict
from support.training import training


class Table:
    """Its items, attributes and truth are computed by methods, which read `factor`."""

    factor = 2.0

    @property
    def rate(self):
        return self.factor

    def __getitem__(self, key):
        return self.factor

    def __contains__(self, key):
        return self.factor > 3

    def __bool__(self):
        return self.factor > 3

    def __enter__(self):
        return self.factor

    def __exit__(self, *error):
        pass


def other_code_later():
    """Only later calls, which find a gradient, run `scale`."""
    table, w = Table(), nn.Parameter(rv.ones(6))

    def scale():
        return table.factor

    def step(x):
        factor = 1.0 if w.grad is None else scale()
        w.grad = None
        (w * x * factor).sum().backward()
        return w.grad.clone()

    return step, None, lambda n: setattr(table, "factor", float(n))


def by_shape():
    """Programs of several shapes run different code."""
    first, second = Table(), Table()
    other = lambda x: x * second.factor * 2  # noqa: E731
    step = lambda x: other(x) if len(x) == 3 else x * first.factor  # noqa: E731
    return step, None, lambda n: [setattr(table, "factor", 2.0 + n) for table in (first, second)]


def registered():
    abstract, other = abc.ABCMeta("Abstract", (), {}), Table()
    step = lambda x: x * (2.0 if isinstance(other, abstract) else 3.0)  # noqa: E731
    return step, None, lambda n: abstract.register(Table)


def hooked():
    """No name in the step leads to the hooks."""
    layer, hooks = nn.Linear(6, 2), []
    step = training(layer, rv.optim.SGD(layer.parameters(), lr=0.1), squares)

    def change(n):
        for hook in hooks:
            hook.remove()
        hooks[:] = [layer.weight.register_hook(lambda gradient: gradient * n)]

    return step, layer, change


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 2)

    def forward(self, x):
        y = self.layer(x)
        return y * 2 if self.layer.weight.requires_grad else y


def frozen():
    """The forward pass of a model reads a flag."""
    model = Net().eval()
    return model, None, lambda n: model.requires_grad_(n % 2 == 0)


def within(x, table):
    with table as factor:
        return x * factor


IMPLICIT = {
    "a property": lambda x, table: x * table.rate,
    "an item": lambda x, table: x * table["rate"],
    "in": lambda x, table: x * (3.0 if 1 in table else 2.0),
    "truth": lambda x, table: x * (3.0 if table else 2.0),
    "with": within,
}


def implicit(read):
    def make():
        table = Table()
        return (lambda x: read(x, table)), None, lambda n: setattr(table, "factor", 2.0 + n)

    return make


CHANGES = {
    "code that later calls run": other_code_later,
    "code of several shapes": by_shape,
    "an abstract class": registered,
    "hooks": hooked,
    "requires_grad": frozen,
    **{name: implicit(read) for name, read in IMPLICIT.items()},
}


@pytest.mark.parametrize("after", [5, 2, 11])
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_seen_by_the_next_call(name, after):
    """Among replays, and beside the checks at calls 4 and 8."""
    changes = []

    def make():
        step, watched, change = CHANGES[name]()
        changes.append(change)
        return step, watched if isinstance(watched, nn.Module) else None

    def inputs(number):
        return (rv.full((2 + number % 2 * (name == "code of several shapes"), 6), 1.0 + number),)

    def between(number, *_):
        if number and number % after == 0:
            changes[-1](number // after)

    with rv.no_grad() if name == "requires_grad" else warnings.catch_warnings():
        assert same(make, inputs, 24, between).programs


class Counted(Table):
    """Each read of it is another number: no replay gives it."""

    reads = 0

    @property
    def factor(self):
        self.reads += 1
        return self.reads


@pytest.mark.parametrize("name", IMPLICIT)
def test_a_refusal_because_of_an_implicit_call_warns_once(name, recwarn):
    table, eager = Counted(), Counted()
    step = rv.compile(lambda x: IMPLICIT[name](x, table))
    for _ in range(100):
        assert step(rv.ones(2)).tolist() == IMPLICIT[name](rv.ones(2), eager).tolist()
    assert ["[compile]" in str(w.message) for w in recwarn] == [True]
    assert not step.programs


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


LARGEST = {
    "list": (lambda n: [2.0] * n, 1024),
    "tuple": (lambda n: tuple([2.0] * n), 1024),
    "dict": (lambda n: dict.fromkeys(range(n), 2.0), 1024),
}


@pytest.mark.parametrize("name", LARGEST)
def test_the_largest_value_that_is_compared(name):
    make, most = LARGEST[name]
    value = make(most)
    step = strict(lambda x: x * value[7])
    for number in (2.0, 2.0, 2.0, 3.0):
        value = (number,) * most if name == "tuple" else value
        if name != "tuple":
            value[7] = number
        assert step(rv.ones(1)).item() == number
    assert len(step.programs) == 2
    value = make(most + 1)
    with pytest.raises(rv.CaptureError, match=f"a {name} of 1025 items, too many"):
        step(rv.ones(1))


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


def test_what_a_program_adds_to_objects_of_the_library_is_compared(monkeypatch):
    inner = rv.compile(lambda x: x * 1)
    for owner in (inner, nn.Linear, rv.relu):
        monkeypatch.setattr(owner, "factor", 2.0, raising=False)
        step = strict(lambda x, owner=owner: inner(x) * owner.factor)
        for owner.factor in (2.0, 2.0, 2.0, 3.0, 3.0):
            assert step(rv.ones(1)).item() == owner.factor


NAME, NAMES = "step", ["step"]
STATE_READ = {
    "text": lambda state: state["step"],
    "variable": lambda state: state[NAME],
    "item": lambda state: state[NAMES[0]],
    "values": lambda state: [value for value in state.values() if value.ndim == 0][0],  # noqa: RUF015
}


@pytest.mark.parametrize("name", STATE_READ)
def test_a_step_that_reads_the_state_of_an_optimizer_runs_eagerly(name):
    w, read = nn.Parameter(rv.ones(2)), STATE_READ[name]
    optimizer = rv.optim.Adam([w])
    (w * 2).sum().backward()
    optimizer.step()
    with pytest.raises(rv.CaptureError, match=r"item\(\) reads a value at"):
        strict(lambda x: x * float(read(optimizer.state[w])))(rv.ones(1))


def test_the_environment_and_partial_functions_are_compared(monkeypatch):
    model = rv.nn.Linear(2, 2)
    model.times = functools.partial(lambda x, by: x * by * float(os.environ.get("RV_BY", "1")), by=2.0)
    step = rv.compile(lambda x: model.times(x), strict=True)
    for scale in ("1", "1", "1", "3", "3"):
        monkeypatch.setenv("RV_BY", scale)
        for by in (2.0, 2.0, 5.0):
            model.times.keywords["by"] = by
            assert step(rv.ones(2)).tolist() == [by * float(scale)] * 2
    assert step.programs
