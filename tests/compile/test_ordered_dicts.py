"""Steps that read an OrderedDict, or an object whose class inherits from it, as the settings of diffusers do.

It has more than a dict: an order that `move_to_end` changes, attributes, and items that `dict.__setitem__`
enters beside the order. `test_changes` makes the same calls and changes with a compiled step and with the
step itself.
"""

import warnings
from collections import OrderedDict

import pytest
import ranvier as rv
from compile.beside import bits


class Frozen(OrderedDict):
    """Its items are attributes, too, and cannot be set."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        for key, value in self.items():
            vars(self)[key] = value

    def __setitem__(self, name, value):
        if "is_made" in vars(self):
            raise TypeError("frozen")
        super().__setitem__(name, value)


class Reversed(OrderedDict):
    """It shows its items in another order than it has them."""

    def items(self):
        return [*super().items()][::-1]


def sets(o, n):
    OrderedDict.__setitem__(o, "a", 3.0 + n)


def adds(o, n):
    OrderedDict.__setitem__(o, f"new {n}", 3.0 + n)


def moves(o, n):
    o.move_to_end("a", last=bool(n % 2))


def enters_again(o, n):
    value = OrderedDict.pop(o, "a")
    OrderedDict.__setitem__(o, "a", value)


def sets_beside_the_order(o, n):
    dict.__setitem__(o, "a", 3.0 + n)


def adds_beside_the_order(o, n):
    dict.__setitem__(o, "hidden", 3.0 + n)


def sets_an_attribute(o, n):
    vars(o)["a"] = 4.0 + n


def changes_an_item(o, n):
    o["list"].append(n)


def clears(o, n):
    OrderedDict.clear(o)
    OrderedDict.update(o, a=1.0 + n, b=2.0, list=[1])


CHANGES = [
    sets,
    adds,
    moves,
    enters_again,
    sets_beside_the_order,
    adds_beside_the_order,
    sets_an_attribute,
    changes_an_item,
    clears,
]
READS = {
    "an item": lambda o, x: x * o["a"],
    "get": lambda o, x: x * o.get("a") + o.get("hidden", 0.0),
    "in": lambda o, x: x * (2 if "hidden" in o else 3),
    "an attribute": lambda o, x: x * getattr(o, "a", 5.0),
    "the first": lambda o, x: x * (next(iter(o)) == "a"),
    "the last": lambda o, x: x * ([*o][-1] == "a"),
    "items": lambda o, x: x * sum(n * len(key) for n, (key, _) in enumerate(o.items())),
    "the length": lambda o, x: x * len(o),
    "a list": lambda o, x: x * len(o["list"]),
    "unpacked": lambda o, x: x * {**o}["a"],
}


def shown(compiles, make, read, change):
    o = make(a=1.0, b=2.0, list=[1])

    def step(x):
        return read(o, x)

    called = rv.compile(step) if compiles else step
    found = []
    for number in range(20):
        if number in (6, 7, 11, 17):
            change(o, number)
        try:
            found.append(bits(called(rv.arange(3.0) + number)))
        except (KeyError, RuntimeError) as error:  # of an OrderedDict that was changed beside its order
            found.append(type(error))
    return found


@pytest.mark.filterwarnings("ignore:.*runs eagerly")
@pytest.mark.filterwarnings("ignore:.*recorded again")
@pytest.mark.parametrize("make", [OrderedDict, Frozen, Reversed])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("read", READS)
def test_changes(read, change, make):
    assert shown(True, make, READS[read], change) == shown(False, make, READS[read], change)


@pytest.mark.parametrize("make", [OrderedDict, Frozen])
@pytest.mark.parametrize("read", [r for r in READS if r not in ("the first",)])
def test_such_steps_are_captured(read, make):
    o = make(a=1.0, b=2.0, list=[1])
    step = rv.compile(lambda x: READS[read](o, x), strict=True)
    for number in range(9):
        step(rv.arange(3.0) + number)
    assert step.programs


def test_a_large_one_runs_eagerly():
    o = OrderedDict.fromkeys(range(1025), 1.0)
    with pytest.raises(rv.CaptureError, match="too many to be compared"):
        rv.compile(lambda x: x * o[3], strict=True)(rv.rand(3))


def test_another_dict_of_c_runs_eagerly():
    from collections import defaultdict

    class Own(defaultdict):
        pass

    o = Own(float, a=1.0)
    with (
        pytest.raises(rv.CaptureError, match="a kind of value that is not listed"),
        warnings.catch_warnings(),
    ):
        rv.compile(lambda x: x * o["a"], strict=True)(rv.rand(3))
