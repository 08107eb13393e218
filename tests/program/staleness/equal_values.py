"""Values that compare equal, or cannot be compared, although a step treats them differently."""

import collections
import datetime
import decimal
import enum
import fractions
import types
from collections.abc import Callable
from typing import Any

import numpy as np
from program.staleness.judge import Case, add, scenario
from program.staleness.small import Small, reading


class Text(str):
    extra = 2.0


class Number(float):
    extra = 2.0


class Always:
    """Equal to everything."""

    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return True

    def get(self):
        return self.value

    def __hash__(self):
        return 1


class Never:
    """Not even equal to itself."""

    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return False

    def __hash__(self):
        return 1


class Raises:
    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        raise RuntimeError("not to be compared")

    __hash__ = None


class Texts:
    """An object whose __class__ is list."""

    def __init__(self, value):
        self.value = value

    @property
    def __class__(self):
        return list


Level = enum.IntEnum("Level", "ONE TWO")
Pair = collections.namedtuple("Pair", "a b")
NAN = float("nan")


def kinds(v):
    """A number for the type of a value, or of what is in it."""
    if isinstance(v, dict):
        v = [*v, *v.values()]
    items = sorted(v, key=repr) if isinstance(v, (set, frozenset)) else v
    items = list(items) if isinstance(items, (list, tuple)) else [items]
    names = ["bool", "int", "float", "str", "float64", "float32", "int64", "Level"]
    return 1.0 + sum((k + 1) * names.index(type(item).__name__) for k, item in enumerate(items))


def giving(value):
    return lambda: value


def signs(v):
    """A number for the signs of the zeros in a value."""
    items = list(v.values()) if isinstance(v, dict) else list(v) if isinstance(v, (list, tuple)) else [v]
    return 1.0 + sum((k + 1) * (str(item).startswith("-")) for k, item in enumerate(items))


# name: (what the step makes a number from, four values, of which neighbours compare equal)
EQUAL: dict[str, tuple[Callable[[Any], float], tuple[Any, ...]]] = {
    "one": (kinds, (1, True, 1.0, 1)),
    "one_in_a_list": (kinds, ([1], [True], [1.0], [1])),
    "one_in_a_tuple": (kinds, ((1, 0), (True, 0), (1.0, 0), (1, False))),
    "one_in_a_set": (kinds, ({1}, {True}, {1.0}, {1})),
    "one_in_a_frozenset": (kinds, (frozenset({1}), frozenset({True}), frozenset({1.0}), frozenset({1}))),
    "one_as_a_key": (kinds, ({1: 0}, {True: 0}, {1.0: 0}, {1: 0})),
    "one_as_an_item": (kinds, ({"a": 1}, {"a": True}, {"a": 1.0}, {"a": 1})),
    "one_deep_in_lists": (
        lambda v: kinds(v[0][0]["a"]),
        ([[{"a": (1,)}]], [[{"a": (True,)}]], [[{"a": (1.0,)}]], [[{"a": (1,)}]]),
    ),
    "zero": (signs, (0.0, -0.0, 0.0, -0.0)),
    "zero_in_a_list": (signs, ([0.0], [-0.0], [0.0], [-0.0])),
    "zero_in_a_tuple": (signs, ((0.0,), (-0.0,), (0.0,), (-0.0,))),
    "zero_in_a_dict": (signs, ({"a": 0.0}, {"a": -0.0}, {"a": 0.0}, {"a": -0.0})),
    "zero_of_numpy": (signs, (np.float32(0.0), np.float32(-0.0), np.float32(0.0), np.float32(-0.0))),
    "zero_complex": (lambda v: signs([v.real, v.imag]), (0j, complex(0.0, -0.0), complex(-0.0, 0.0), 0j)),
    "numpy_float": (kinds, (1.0, np.float64(1.0), np.float32(1.0), 1.0)),
    "numpy_int": (kinds, (1, np.int64(1), True, 1)),
    "int_enum": (kinds, (1, Level.ONE, 1, Level.ONE)),
    "text_subclass": (lambda v: getattr(v, "extra", 1.0), ("a", Text("a"), "a", Text("a"))),
    "float_subclass": (lambda v: getattr(v, "extra", 1.0), (1.0, Number(1.0), 1.0, Number(1.0))),
    "named_tuple": (
        lambda v: 2.0 if hasattr(v, "_fields") else 1.0,
        ((1, 2), Pair(1, 2), (1, 2), Pair(1, 2)),
    ),
    "ordered_dict": (
        lambda v: 2.0 if type(v) is dict else 1.0,
        ({"a": 1}, collections.OrderedDict(a=1), {"a": 1}, collections.OrderedDict(a=1)),
    ),
    "order_of_a_dict": (
        lambda v: float(next(iter(v))),
        ({1: 0, 2: 0}, {2: 0, 1: 0}, {1: 0, 2: 0}, {2: 0, 1: 0}),
    ),
    "order_of_a_nested_dict": (
        lambda v: float(next(iter(v["a"]))),
        ({"a": {1: 0, 2: 0}}, {"a": {2: 0, 1: 0}}, {"a": {1: 0, 2: 0}}, {"a": {2: 0, 1: 0}}),
    ),
    "range_stop": (lambda v: float(v.stop), (range(0, 3, 2), range(0, 4, 2), range(0, 3, 2), range(0, 4, 2))),
    "empty_range": (lambda v: float(v.stop), (range(0), range(2, 2), range(0), range(2, 2))),
    "decimal_digits": (
        lambda v: float(len(str(v))),
        tuple(map(decimal.Decimal, ("1.0", "1.00", "1.0", "1"))),
    ),
    "decimal_and_int": (lambda v: float(len(str(v))), (1, decimal.Decimal("1.0"), 1, fractions.Fraction(1))),
    "bytes_and_bytearray": (
        lambda v: 2.0 if type(v) is bytes else 1.0,
        (b"a", bytearray(b"a"), b"a", bytearray(b"a")),
    ),
    "time_zones": (
        lambda v: float(v.hour),
        (
            datetime.datetime(2020, 1, 1, 12, tzinfo=datetime.timezone.utc),
            datetime.datetime(2020, 1, 1, 14, tzinfo=datetime.timezone(datetime.timedelta(hours=2))),
            datetime.datetime(2020, 1, 1, 12, tzinfo=datetime.timezone.utc),
            datetime.datetime(2020, 1, 1, 13, tzinfo=datetime.timezone(datetime.timedelta(hours=1))),
        ),
    ),
    "nan_in_a_list": (lambda v: float(len(v)) if v[0] == v[0] else 5.0, ([1.0], [NAN], [NAN, NAN], [1.0])),
    "always_equal": (lambda v: v.value, (Always(1.0), Always(2.0), Always(3.0), Always(1.0))),
    "always_equal_in_a_list": (
        lambda v: v[0].value,
        ([Always(1.0)], [Always(2.0)], [Always(3.0)], [Always(1.0)]),
    ),
    "always_equal_in_a_dict": (lambda v: v["a"].value, tuple({"a": Always(x)} for x in (1.0, 2.0, 3.0, 1.0))),
    "never_equal": (lambda v: v.value, (Never(1.0), Never(2.0), Never(3.0), Never(1.0))),
    "never_equal_in_a_list": (lambda v: v[0].value, tuple([Never(x)] for x in (1.0, 2.0, 3.0, 1.0))),
    "raises_when_compared": (lambda v: v.value, (Raises(1.0), Raises(2.0), Raises(3.0), Raises(1.0))),
    "raises_in_a_list": (lambda v: v[0].value, tuple([Raises(x)] for x in (1.0, 2.0, 3.0, 1.0))),
    "arrays_in_a_list": (lambda v: float(v[1]), tuple([np.ones(3), x] for x in (1.0, 2.0, 3.0, 1.0))),
    "another_class_by_property": (lambda v: v.value, tuple(Texts(x) for x in (1.0, 2.0, 3.0, 1.0))),
    "functions_of_one_code": (lambda v: v(), tuple(map(giving, (1.0, 2.0, 3.0, 1.0)))),
    "methods_of_equal_objects": (lambda v: v(), tuple(Always(x).get for x in (1.0, 2.0, 3.0, 1.0))),
    "texts_of_other_case": (lambda v: float(v == "a") + 1.0, ("a", "A", "a", "b")),
    "long_list": (
        lambda v: float(v[700]),
        tuple([0.0] * 700 + [x] + [0.0] * 300 for x in (1.0, 2.0, 3.0, 1.0)),
    ),
    "long_text": (lambda v: float(ord(v[700])) / 50, tuple("a" * 700 + x + "a" * 300 for x in "bcdb")),
}
# values that are not plain may be refused
PLAIN = ("one", "zero", "order", "numpy", "text", "named", "always", "long", "nan", "functions", "int_enum")


def replaced(read, values):
    def build():
        state = types.SimpleNamespace(value=values[0])
        return reading(lambda: read(state.value), lambda n: setattr(state, "value", values[n]))

    return build


def argument(read, values):
    def build():
        from program.staleness.judge import default_inputs

        small = Small()
        return Case(
            lambda x, value: small.train(x, read(value)),
            None,
            small.watch,
            lambda n: (*default_inputs(n), values[n % 4]),
        )

    return build


for name, (read, values) in EQUAL.items():
    expects = "works" if name.startswith(PLAIN) else "either"
    add(f"equal/{name}", replaced(read, values), expects)
    add(f"equal/{name}-argument", argument(read, values), "either")


@scenario()
def list_that_holds_itself():
    values = [1.0]
    values.append(values)
    return reading(lambda: values[1][1][0], lambda n: values.__setitem__(0, 1.0 + n))


@scenario()
def objects_in_a_circle():
    first = types.SimpleNamespace(value=1.0)
    first.other = types.SimpleNamespace(other=first)
    return reading(lambda: first.other.other.value, lambda n: setattr(first, "value", 1.0 + n))


@scenario()
def dict_that_holds_its_owner():
    owner = types.SimpleNamespace(value=1.0, table={})
    owner.table["owner"] = owner
    return reading(
        lambda: owner.table["owner"].value + len(owner.table),
        lambda n: owner.table.__setitem__(n, n) if n == 2 else setattr(owner, "value", 1.0 + n),
    )


@scenario()
def deeply_nested_list():
    small = Small()
    inner = values = [1.0]
    for _ in range(200):
        values = [values]

    def step(x):
        found = values
        while isinstance(found, list):
            found = found[0]
        return small.train(x, found)

    return Case(step, lambda n: inner.__setitem__(0, 1.0 + n), small.watch)


@scenario()
def value_set_back_within_one_gap():
    """Changed and set back between two calls: nothing has changed."""
    state = types.SimpleNamespace(value=1.0)

    def change(n):
        state.value = 5.0
        state.value = 1.0 + n // 3

    return reading(lambda: state.value, change)


@scenario()
def list_item_replaced_by_an_equal_object():
    values = [types.SimpleNamespace(a=1.0)]

    def change(n):
        values[0] = types.SimpleNamespace(a=values[0].a)
        if n > 1:
            values[0].a = 1.0 + n

    return reading(lambda: values[0].a, change)
