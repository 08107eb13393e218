"""Decisions that a step takes: tests, loops, lengths and members, in every way that Python decides."""

import collections
import enum
import fractions
import math
import types
from collections.abc import Callable
from typing import Any

import numpy as np
from program.staleness.judge import add
from program.staleness.small import reading

Color = enum.Enum("Color", "RED GREEN")
Level = enum.IntEnum("Level", "LOW HIGH")
Bits = enum.Flag("Bits", "A B")


class Base:
    pass


class Derived(Base):
    pass


class Odd:
    """An object whose special methods all use its `value`."""

    def __init__(self, value=1):
        self.value = value

    def __bool__(self):
        return self.value > 1

    def __len__(self):
        return self.value

    def __iter__(self):
        return iter([1.0] * self.value)

    def __contains__(self, x):
        return x == self.value

    def __eq__(self, other):
        return self.value == other

    def __hash__(self):
        return hash(self.value)

    def __lt__(self, other):
        return self.value < float(other)

    def __float__(self):
        return float(self.value)

    def __int__(self):
        return self.value

    def __index__(self):
        return self.value

    def __add__(self, other):
        return self.value + other

    def __radd__(self, other):
        return self.value + other

    def __rmul__(self, other):
        return self.value * other

    def __neg__(self):
        return -self.value

    def __abs__(self):
        return abs(self.value)

    def __round__(self):
        return self.value

    def __str__(self):
        return "x" * self.value

    def __repr__(self):
        return "x" * self.value

    def __format__(self, spec):
        return "x" * self.value

    def __getitem__(self, i):
        return self.value

    def __call__(self):
        return self.value


def counted(n):
    total = 0.0
    for _ in range(n):
        total += 1.0
    return total


def while_below(n):
    total = 0.0
    while total < n:
        total += 1.0
    return total


def recursion(n):
    return 1.0 if n <= 0 else 1.0 + recursion(n - 1)


def loop_with_else(values):
    for value in values:
        if value > 2:
            break
    else:
        return 5.0
    return 2.0


def tried(value):
    try:
        if value > 2:
            raise ValueError
        found = 1.0
    except ValueError:
        found = 2.0
    finally:
        found = value * 1.0
    return found


def added(pair):
    a, *rest = pair
    return float(a + len(rest))


NUMBERS: tuple[Any, ...] = (1, 3, 2, 4)
# name: (what a step makes a number from, four values of the state)
TESTS: dict[str, tuple[Callable[[Any], float], tuple[Any, ...]]] = {
    "if": (lambda v: 1.0 if v else 3.0, (True, False, True, False)),
    "if_number": (lambda v: 1.0 if v > 2 else 3.0, NUMBERS),
    "chained_comparison": (lambda v: 1.0 if 1 < v < 4 else 3.0, NUMBERS),
    "and_or": (lambda v: float((v > 2 and 5) or v), NUMBERS),
    "not": (lambda v: 1.0 + (not v), (0, 1, 0, 1)),
    "is_none": (lambda v: 1.0 if v is None else 3.0, (None, 1, None, 1)),
    "conditional_import": (lambda v: math.sqrt(v) if v > 2 else float(v), NUMBERS),
    "range_loop": (counted, NUMBERS),
    "while_loop": (while_below, NUMBERS),
    "recursion": (recursion, NUMBERS),
    "loop_with_else": (loop_with_else, ([1], [3], [], [4])),
    "try_paths": (tried, NUMBERS),
    "star_unpacking": (added, ([1], [1, 2], [3], [1, 2, 3])),
    "equality_of_text": (lambda v: 1.0 if v == "sum" else 3.0, ("sum", "mean", "sum", "none")),
    "startswith": (lambda v: 1.0 if v.startswith("s") else 3.0, ("sum", "mean", "sum", "none")),
    "in_text": (lambda v: 1.0 if "su" in v else 3.0, ("sum", "mean", "sum", "none")),
    "format": (lambda v: float(f"{v:.1f}"), (1.0, 2.0, 3.0, 4.0)),
    "percent": (lambda v: float("%d" % v), NUMBERS),  # noqa: UP031
    "joined_text": (lambda v: float(len(",".join(v))), (["a"], ["a", "b"], ["ccc"], [])),
    "lookup": (lambda v: {1: 1.0, 2: 5.0, 3: 7.0}.get(v, 9.0), NUMBERS),
    "enum_is": (lambda v: 1.0 if v is Color.RED else 3.0, (Color.RED, Color.GREEN, Color.RED, Color.GREEN)),
    "enum_value": (lambda v: float(v.value), (Color.RED, Color.GREEN, Color.RED, Color.GREEN)),
    "enum_name": (lambda v: float(len(v.name)), (Color.RED, Color.GREEN, Color.RED, Color.GREEN)),
    "int_enum": (lambda v: float(v), (Level.LOW, Level.HIGH, Level.LOW, Level.HIGH)),
    "enum_flag": (lambda v: 1.0 if Bits.A in v else 3.0, (Bits.A, Bits.B, Bits.A | Bits.B, Bits.B)),
    "len_list": (lambda v: float(len(v)), ([1], [1, 2], [], [1])),
    "len_dict": (lambda v: float(len(v)), ({1: 1}, {1: 1, 2: 2}, {}, {1: 1})),
    "len_set": (lambda v: float(len(v)), ({1}, {1, 2}, set(), {1})),
    "len_text": (lambda v: float(len(v)), ("a", "ab", "", "a")),
    "empty_list": (lambda v: 1.0 if v else 3.0, ([], [1], [], [1])),
    "in_set": (lambda v: 1.0 if 2 in v else 3.0, ({1}, {1, 2}, {3}, {2})),
    "in_frozenset": (
        lambda v: 1.0 if 2 in v else 3.0,
        (frozenset({1}), frozenset({1, 2}), frozenset(), frozenset({2})),
    ),
    "in_list": (lambda v: 1.0 if 2 in v else 3.0, ([1], [1, 2], [], [2])),
    "in_dict": (lambda v: 1.0 if 2 in v else 3.0, ({1: 1}, {2: 1}, {}, {2: 2})),
    "set_operations": (lambda v: float(len(v | {1, 2})), ({1}, {3}, {1}, {4, 5})),
    "sum_of_list": (lambda v: float(sum(v)), ([1], [1, 2], [], [1])),
    "max_of_list": (lambda v: float(max(v)), ([1], [1, 2], [3], [1])),
    "sorted_list": (lambda v: float(sorted(v)[0]), ([1], [4, 2], [3], [1])),
    "reversed_list": (lambda v: float(next(iter(reversed(v)))), ([1], [4, 2], [3], [1])),
    "any_of": (lambda v: 1.0 + any(v), ([0], [0, 1], [], [1])),
    "all_of": (lambda v: 1.0 + all(v), ([0], [1], [0], [])),
    "dict_order": (lambda v: float(next(iter(v))), ({1: 0, 2: 0}, {2: 0, 1: 0}, {3: 0}, {1: 0})),
    "dict_keys": (lambda v: float(sum(v)), ({1: 0, 2: 0}, {2: 0}, {3: 0}, {1: 0})),
    "nested_list": (lambda v: float(v[0][0]), ([[1]], [[2]], [[3, 4]], [[1]])),
    "isinstance": (lambda v: 1.0 if isinstance(v, Derived) else 3.0, (Base(), Derived(), Base(), Derived())),
    "isinstance_of_numbers": (lambda v: 1.0 if isinstance(v, bool) else 3.0, (1, True, 1.0, True)),
    "type_is": (lambda v: 1.0 if type(v) is int else 3.0, (1, 1.0, 1, True)),
    "hasattr": (
        lambda v: 1.0 if hasattr(v, "x") else 3.0,
        (
            types.SimpleNamespace(),
            types.SimpleNamespace(x=1),
            types.SimpleNamespace(),
            types.SimpleNamespace(x=2),
        ),
    ),
    "getattr_default": (
        lambda v: getattr(v, "x", 3.0),
        (
            types.SimpleNamespace(),
            types.SimpleNamespace(x=1),
            types.SimpleNamespace(),
            types.SimpleNamespace(x=2),
        ),
    ),
    "callable": (lambda v: 1.0 if callable(v) else 3.0, (1, len, 2, abs)),
    "numpy_float": (lambda v: float(v) + 0.5, tuple(map(np.float32, (1, 2, 3, 1)))),
    "numpy_int": (lambda v: counted(v), tuple(map(np.int64, (1, 2, 3, 1)))),
    "numpy_bool": (lambda v: 1.0 if v else 3.0, (np.True_, np.False_, np.True_, np.False_)),
    "numpy_float_as_factor": (lambda v: v, tuple(map(np.float32, (1, 2, 3, 1)))),
    "numpy_zeros": (lambda v: v, tuple(map(np.float64, (0.0, -0.0, 0.0, -0.0)))),
    "numpy_scalar_dtype": (
        lambda v: float(v.itemsize),
        (np.float32(1), np.float64(1), np.float16(1), np.float32(1)),
    ),
    "numpy_dtype": (lambda v: float(v.itemsize), tuple(map(np.dtype, ("f4", "f8", "f2", "f4")))),
    "fraction": (lambda v: float(v), tuple(fractions.Fraction(n, 3) for n in (1, 2, 4, 5))),
    "floor_and_ceil": (lambda v: float(math.floor(v) + math.ceil(v)), (1.5, 2.5, 3.0, 1.5)),
    "integer_arithmetic": (lambda v: float(v // 2 + v % 2 + (v << 1) + (v & 1)), NUMBERS),
    "namedtuple_field": (
        lambda v: float(v.a + len(v)),
        tuple(collections.namedtuple("N", "a b")(n, 0) for n in (1, 2, 3, 1)),
    ),
}
SPECIAL: dict[str, Callable[[Any], float]] = {
    "bool": lambda v: 1.0 if v else 3.0,
    "len": lambda v: float(len(v)),
    "iter": lambda v: sum(v),
    "contains": lambda v: 1.0 if 3 in v else 3.0,
    "eq": lambda v: 1.0 if v == 3 else 3.0,
    "ne": lambda v: 1.0 if v != 3 else 3.0,
    "hash": lambda v: float(hash(v) % 100),
    "lt": lambda v: 1.0 if v < 3 else 3.0,
    "gt_reflected": lambda v: 1.0 if 3 > v else 3.0,  # noqa: SIM300
    "float": lambda v: float(v),
    "int": lambda v: int(v) * 1.0,
    "index": lambda v: counted(v),
    "add": lambda v: v + 1.0,
    "radd": lambda v: 1.0 + v,
    "rmul": lambda v: 2.0 * v,
    "neg": lambda v: -v * 1.0,
    "abs": lambda v: abs(v) * 1.0,
    "round": lambda v: round(v) * 1.0,
    "str": lambda v: float(len(str(v))),
    "repr": lambda v: float(len(repr(v))),
    "format": lambda v: float(len(f"{v}")),
    "getitem": lambda v: v[0] * 1.0,
    "call": lambda v: v() * 1.0,
    "in_list_by_eq": lambda v: 1.0 if v in [3, 7] else 3.0,
    "sorted_by_lt": lambda v: 1.0 if sorted([v, Odd(3)])[0] is v else 3.0,
}


def replaced(read, values):
    def build():
        state = types.SimpleNamespace(value=values[0])
        return reading(lambda: read(state.value), lambda n: setattr(state, "value", values[n]))

    return build


def changed_in_place(read, values):
    """The container remains the same object and gets new content."""

    def build():
        kind = type(values[0])
        state = kind(values[0])

        def change(n):
            state.clear()
            (state.extend if kind is list else state.update)(values[n])

        return reading(lambda: read(state), change)

    return build


def special(read):
    def build():
        odd = Odd()
        return reading(lambda: read(odd), lambda n: setattr(odd, "value", NUMBERS[n]))

    return build


for name, (read, values) in TESTS.items():
    add(f"branches/{name}", replaced(read, values))
    if type(values[0]) in (list, dict, set):
        add(f"branches/{name}-in_place", changed_in_place(read, values))
for name, read in SPECIAL.items():
    add(f"branches/special_{name}", special(read), "either" if name in ("hash", "sorted_by_lt") else "works")
