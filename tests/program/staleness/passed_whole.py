"""Containers and objects that a step passes whole to the library, builtins or the standard library."""

import array
import bisect
import copy
import ctypes
import dataclasses
import functools
import heapq
import itertools
import json
import math
import operator
import re
import statistics
import string
import struct
import types
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import ranvier as rv
from program.staleness.judge import add
from program.staleness.small import reading, sets, trains
from ranvier import nn
from ranvier.nn import functional as F

# name: (a use of x (4, 3) and the container, four contents); the container stays the same object
LISTS: dict[str, tuple[Callable[[Any, Any], Any], tuple[Any, ...]]] = {
    "reshape": (lambda x, v: x.reshape(v)[0].mean() * x, ([4, 3], [12, 1], [6, 2, 1], [4, 3])),
    "reshape_star": (lambda x, v: x.reshape(*v).sum(0).sum() * x, ([4, 3], [12, 1], [6, 2], [4, 3])),
    "pad": (lambda x, v: x * F.pad(x, v).mean(), ([0, 0], [1, 0], [1, 2], [0, 0])),
    "sum_dims": (lambda x, v: x * x.sum(tuple(v), keepdim=True), ([0], [1], [0, 1], [0])),
    "permute": (
        lambda x, v: x * x.permute(*v)[0, 0] + x * x.permute(*v)[0, 1],
        ([0, 1], [1, 0], [0, 1], [1, 0]),
    ),
    "index": (lambda x, v: x * x[:, v].sum(), ([0], [1], [0, 2], [0])),
    "rows": (lambda x, v: x * x[v].sum(), ([0], [1], [0, 2], [0])),
    "zeros": (lambda x, v: x * (rv.zeros(v) + 1).sum(), ([2], [2, 2], [3], [2])),
    "full": (lambda x, v: x * rv.full((3,), v[0]), ([2.0], [3.0], [4.0], [2.0])),
    "split": (lambda x, v: x * rv.split(x, v)[0].sum(), ([1, 3], [2, 2], [3, 1], [1, 3])),
    "flip": (lambda x, v: x * x.flip(v), ([0], [1], [0, 1], [0])),
    "roll": (lambda x, v: x * x.roll(v[0], 0), ([1], [2], [3], [1])),
    "expand": (lambda x, v: x * x.mean().expand(v).sum(), ([2], [3], [4], [2])),
    "tensor_of": (lambda x, v: x * rv.tensor(v).sum(), ([1.0], [2.0], [3.0, 4.0], [1.0])),
    "constant_of": (lambda x, v: x * rv.constant(v).sum(), ([1.0], [2.0], [3.0, 4.0], [1.0])),
    "numpy_of": (lambda x, v: x * float(np.sum(v)), ([1.0], [2.0], [3.0, 4.0], [1.0])),
    "numpy_array_of": (
        lambda x, v: x * rv.constant(np.array(v, np.float32)).sum(),
        ([1.0], [2.0], [3.0], [1.0]),
    ),
    "sum": (lambda x, v: x * sum(v), ([1.0], [2.0], [3.0, 4.0], [1.0])),
    "min_max": (lambda x, v: x * (max(v) - min(v) + 1), ([1.0], [1.0, 2.0], [3.0, 9.0], [1.0])),
    "max_key": (lambda x, v: x * max(v, key=lambda a: -a), ([1.0], [3.0, 2.0], [3.0, 9.0], [1.0])),
    "sorted_key": (lambda x, v: x * sorted(v, key=abs)[0], ([1.0], [3.0, 2.0], [3.0, 9.0], [1.0])),
    "len": (lambda x, v: x * len(v), ([1], [1, 2], [], [1])),
    "tuple": (lambda x, v: x * tuple(v)[-1], ([1.0], [2.0], [3.0, 4.0], [1.0])),
    "list": (lambda x, v: x * list(v)[-1], ([1.0], [2.0], [3.0, 4.0], [1.0])),
    "set": (lambda x, v: x * len(set(v)), ([1], [1, 2], [1, 1], [1, 2, 3])),
    "dict": (lambda x, v: x * dict(v)["a"], ([("a", 1.0)], [("a", 2.0)], [("a", 3.0)], [("a", 1.0)])),
    "from_keys": (lambda x, v: x * len(dict.fromkeys(v)), ([1], [1, 2], [1, 1], [1, 2, 3])),
    "zip": (
        lambda x, v: x * sum(a * b for a, b in zip(v, v, strict=True)),
        ([1.0], [2.0], [3.0, 4.0], [1.0]),
    ),
    "map": (lambda x, v: x * sum(map(abs, v)), ([1.0], [-2.0], [3.0, -4.0], [1.0])),
    "map_function": (lambda x, v: x * sum(map(lambda a: a * 2, v)), ([1.0], [2.0], [3.0], [1.0])),  # noqa: C417
    "filter": (lambda x, v: x * len(list(filter(None, v))), ([1], [0, 1], [1, 1], [0])),
    "any_all": (lambda x, v: x * (1 + any(v) + 2 * all(v)), ([0], [0, 1], [1], [0])),
    "reversed": (lambda x, v: x * list(reversed(v))[0], ([1.0], [2.0], [3.0, 4.0], [1.0])),  # noqa: RUF015
    "enumerate": (
        lambda x, v: x * sum(i * a for i, a in enumerate(v)),
        ([0, 1.0], [0, 2.0], [0, 3.0], [0, 1.0]),
    ),
    "join": (lambda x, v: x * float(".".join(v)), (["1", "5"], ["2", "5"], ["3", "5"], ["1", "5"])),
    "format_star": (
        lambda x, v: x * float("{}.{}".format(*v)),
        (["1", "5"], ["2", "5"], ["3", "5"], ["1", "5"]),
    ),
    "count": (lambda x, v: x * (1 + v.count(1)), ([1], [1, 1], [], [1])),
    "index_of": (lambda x, v: x * (1 + v.index(7)), ([7], [1, 7], [1, 1, 7], [7])),
    "copy": (lambda x, v: x * v.copy()[-1], ([1.0], [2.0], [3.0, 4.0], [1.0])),
    "added": (lambda x, v: x * (v + [1.0])[0], ([1.0], [2.0], [3.0, 4.0], [1.0])),  # noqa: RUF005
    "multiplied": (lambda x, v: x * len(v * 2), ([1], [1, 2], [], [1])),
    "compared": (lambda x, v: x * (2.0 if v == [1] else 3.0), ([1], [2], [1], [2])),
    "compared_in_order": (lambda x, v: x * (2.0 if v < [2] else 3.0), ([1], [3], [1], [3])),
    "chain": (lambda x, v: x * sum(itertools.chain(v, v)), ([1.0], [2.0], [3.0, 4.0], [1.0])),
    "product": (lambda x, v: x * sum(1 for _ in itertools.product(v, v)), ([1], [1, 2], [1, 2, 3], [1])),
    "accumulate": (lambda x, v: x * list(itertools.accumulate(v))[-1], ([1.0], [2.0], [3.0, 4.0], [1.0])),
    "math_prod": (lambda x, v: x * math.prod(v), ([1.0], [2.0], [3.0, 4.0], [1.0])),
    "math_fsum": (lambda x, v: x * math.fsum(v), ([1.0], [2.0], [3.0, 4.0], [1.0])),
    "mean": (lambda x, v: x * statistics.mean(v), ([1.0], [2.0], [3.0, 4.0], [1.0])),
    "bisect": (lambda x, v: x * (1 + bisect.bisect(v, 1.5)), ([1.0], [1.0, 1.2], [1.0, 1.2, 1.4], [1.0])),
    "nlargest": (lambda x, v: x * heapq.nlargest(1, v)[0], ([1.0], [2.0], [3.0, 4.0], [1.0])),
    "counter": (lambda x, v: x * Counter(v)[1], ([1], [1, 1], [1, 1, 1], [1])),
    "reduce": (lambda x, v: x * functools.reduce(operator.mul, v), ([1.0], [2.0], [3.0, 4.0], [1.0])),
    "json": (lambda x, v: x * len(json.dumps(v)), ([1], [1, 2], [], [1])),
    "deep_copy": (lambda x, v: x * copy.deepcopy(v)[-1], ([1.0], [2.0], [3.0, 4.0], [1.0])),
    "repr": (lambda x, v: x * len(repr(v)), ([1], [1, 2], [], [1])),
    "cat": (lambda x, v: x * rv.cat([x * a for a in v]).sum(), ([1.0], [2.0], [3.0, 4.0], [1.0])),
    "loop_of_ops": (
        lambda x, v: functools.reduce(lambda y, a: y * a, v, x),
        ([1.0], [2.0], [3.0, 4.0], [1.0]),
    ),
}
RARE = ("bisect", "nlargest", "counter", "reduce", "json", "deep_copy", "repr", "accumulate", "product")
COMPUTED = (
    "tensor_of",
    "numpy_of",
    "numpy_array_of",
    "map",
    "filter",
    "chain",
    "math",
    "mean",
    "loop_of_ops",
)


def content(use, values):
    """The list is the same object with new content."""

    def build():
        kept = list(values[0])
        return trains(lambda x: (use(x, kept), 1.5), lambda n: kept.__setitem__(slice(None), values[n]))

    return build


for name, (use, values) in LISTS.items():
    add(f"passed/{name}", content(use, values), "either" if name.startswith(RARE + COMPUTED) else "works")


class Plain:
    def __init__(self, value):
        self.value = value

    def get(self):
        return self.value

    def __lt__(self, other):
        return self.value < other.value

    def __str__(self):
        return str(self.value)


@dataclasses.dataclass
class Record:
    value: float


class Struct(ctypes.Structure):
    _fields_ = (("value", ctypes.c_float),)


put = sets("value")


def put_item(obj, value):
    obj[0] = value


# name: (the object, what makes a number of it, how it is changed)
OBJECTS: dict[str, tuple[Callable[[], Any], Callable[[Any], float], Callable[[Any, float], None]]] = {
    "format_attribute": (lambda: Plain(1.0), lambda o: float("{0.value}".format(o)), put),  # noqa: UP030, UP032
    "f_string": (lambda: Plain(1.0), lambda o: float(f"{o.value:.2f}"), put),
    "str": (lambda: Plain(1.0), lambda o: float(str(o)), put),
    "percent": (lambda: Plain(1.0), lambda o: float("%s" % o), put),  # noqa: UP031
    "method_caller": (lambda: Plain(1.0), operator.methodcaller("get"), put),
    "attribute_getter": (lambda: Plain(1.0), operator.attrgetter("value"), put),
    "map_of_methods": (lambda: Plain(1.0), lambda o: sum(map(Plain.get, [o])), put),
    "max_by_key": (lambda: Plain(1.0), lambda o: max([o, Plain(2.5)], key=lambda p: p.value).value, put),
    "sorted_by_operator": (lambda: Plain(1.0), lambda o: sorted([Plain(2.5), o])[0].value, put),
    "unbound_method": (lambda: Plain(1.0), lambda o: Plain.get(o), put),
    "copy": (lambda: Plain(1.0), lambda o: copy.copy(o).value, put),
    "as_tuple": (lambda: Record(1.0), lambda o: dataclasses.astuple(o)[0], put),
    "replace": (lambda: Record(1.0), lambda o: dataclasses.replace(o).value, put),
    "fields": (lambda: Record(1.0), lambda o: sum(getattr(o, f.name) for f in dataclasses.fields(o)), put),
    "equal_records": (lambda: Record(1.0), lambda o: 2.0 if o == Record(1.0) else 3.0 + o.value, put),
    "repr_of_record": (lambda: Record(1.0), lambda o: float(repr(o)[13:-1]), put),
    "vars": (lambda: Plain(1.0), lambda o: sum(vars(o).values()), put),
    "length_of_vars": (
        lambda: Plain(1.0),
        lambda o: float(len(vars(o))),
        lambda o, v: setattr(o, f"more{v}", 1),
    ),
    "names_in_vars": (
        lambda: Plain(1.0),
        lambda o: float(len("".join(vars(o)))),
        lambda o, v: setattr(o, f"more{v}", 1),
    ),
    "dir": (lambda: Plain(1.0), lambda o: float(len(dir(o))), lambda o, v: setattr(o, f"more{v}", 1)),
    "array_array": (lambda: array.array("f", [1.0]), lambda o: o[0], put_item),
    "array_array_sum": (lambda: array.array("f", [1.0]), lambda o: sum(o), put_item),
    "bytearray": (lambda: bytearray(b"\1"), lambda o: float(o[0]), lambda o, v: o.__setitem__(0, int(v))),
    "memoryview": (
        lambda: memoryview(bytearray(b"\1")),
        lambda o: float(o[0]),
        lambda o, v: o.__setitem__(0, int(v)),
    ),
    "ctypes_number": (lambda: ctypes.c_float(1.0), lambda o: o.value, put),
    "ctypes_structure": (lambda: Struct(1.0), lambda o: o.value, put),
    "struct_unpack": (
        lambda: bytearray(struct.pack("f", 1.0)),
        lambda o: struct.unpack("f", o)[0],
        lambda o, v: o.__setitem__(slice(None), struct.pack("f", v)),
    ),
    "numpy_record": (
        lambda: np.zeros(1, [("a", "f4")]),
        lambda o: float(o["a"][0]) + 1.0,
        lambda o, v: o["a"].fill(v),
    ),
    "numpy_row": (
        lambda: np.ones(1, [("value", "f4")])[0],
        lambda o: float(o["value"]),
        lambda o, v: o.__setitem__("value", v),
    ),
    "numpy_scalar_array": (lambda: np.array(1.0), lambda o: float(o), lambda o, v: o.fill(v)),
    "numpy_item": (lambda: np.ones(3), lambda o: o[1].item(), lambda o, v: o.fill(v)),
    "numpy_tolist": (lambda: np.ones(3), lambda o: o.tolist()[1], lambda o, v: o.fill(v)),
    "numpy_any": (lambda: np.ones(3), lambda o: 2.0 if (o > 2.5).any() else 3.0, lambda o, v: o.fill(v)),
    "numpy_unpacked": (lambda: np.ones(2), lambda o: (lambda a, b: float(a + b))(*o), lambda o, v: o.fill(v)),
    "numpy_in_a_loop": (lambda: np.ones(2), lambda o: float(sum(a for a in o)), lambda o, v: o.fill(v)),
    "numpy_attribute": (
        lambda: types.SimpleNamespace(value=np.float32(1.0)),
        lambda o: float(o.value),
        lambda o, v: put(o, np.float32(v)),
    ),
    "template": (lambda: Plain(1.0), lambda o: float(string.Template("$a").substitute(a=o.value)), put),
    "pattern": (
        lambda: types.SimpleNamespace(value=re.compile("a")),
        lambda o: 2.0 if o.value.match("ab") else 3.0,
        lambda o, v: put(o, re.compile("ab" if v % 2 else "b")),
    ),
    "closure_in_an_object": (
        lambda: types.SimpleNamespace(value=lambda: 1.0),
        lambda o: o.value(),
        lambda o, v: put(o, lambda: v),
    ),
    "module_parameter_count": (
        lambda: nn.Sequential(nn.Linear(1, 1)),
        lambda o: float(sum(p.numel() for p in o.parameters())),
        lambda o, v: o.append(nn.Linear(1, 1)),
    ),
    "module_text": (
        lambda: nn.Sequential(nn.Linear(1, 1)),
        lambda o: len(repr(o)) / 10,
        lambda o, v: o.append(nn.Linear(1, 1)),
    ),
    "module_length": (
        lambda: nn.Sequential(),
        lambda o: 1.0 + len(o),
        lambda o, v: o.append(nn.Linear(1, 1)),
    ),
}
ORDINARY = ("f_string", "unbound", "vars", "module_length", "module_parameter", "closure", "replace")


def handed(make, read, write):
    def build():
        kept = make()
        return reading(lambda: read(kept), lambda n: write(kept, 1.0 + n))

    return build


for name, (make, read, write) in OBJECTS.items():
    expects = "works" if name.startswith((*ORDINARY, "numpy_attribute")) else "either"
    add(f"passed/object_{name}", handed(make, read, write), expects)
