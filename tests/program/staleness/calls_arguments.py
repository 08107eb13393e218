"""Arguments: keywords, defaults, plain values, objects that the caller changes in place."""

import collections
import copy
import dataclasses
import types

import numpy as np
import ranvier as rv
from program.staleness.judge import Case, add, scenario
from program.staleness.small import Small, sets
from ranvier import nn, optim


def drawn(number, shape=(4, 3), dtype=np.float32):
    return np.random.default_rng(number).standard_normal(shape).astype(dtype)


def tensor(number, shape=(4, 3), dtype=np.float32):
    return rv.tensor(drawn(number, shape, dtype))


# --- keywords: the order in which they are given, and which are given


def three(small):
    def step(x, mask=None, scale=2.0, *, bias=None, flag=False):
        y = x * 2 if mask is None else x - mask * 0.5
        y = y if bias is None else y + bias
        return small.train(y - 1 if flag else y, scale)

    return step


A, B, C = tensor, lambda n: tensor(n + 100), lambda n: tensor(n + 200)
KEYWORDS = {
    "alphabetical": lambda n: ((), {"mask": B(n), "x": A(n)}),
    "not_alphabetical": lambda n: ((), {"x": A(n), "mask": B(n)}),
    "three_in_an_order": lambda n: ((), {"x": A(n), "mask": B(n), "bias": C(n)}),
    "three_in_another_order": lambda n: ((), {"mask": B(n), "x": A(n), "bias": C(n)}),
    "three_reversed": lambda n: ((), {"bias": C(n), "x": A(n), "mask": B(n)}),
    "order_changes": lambda n: ((), {"x": A(n), "mask": B(n)} if n % 2 else {"mask": B(n), "x": A(n)}),
    "after_a_position": lambda n: ((A(n),), {"mask": B(n), "bias": C(n)}),
    "after_a_position_reversed": lambda n: ((A(n),), {"bias": C(n), "mask": B(n)}),
    "now_position_now_keyword": lambda n: ((A(n), B(n)), {}) if n % 2 else ((A(n),), {"mask": B(n)}),
    "left_out_now_and_then": lambda n: ((A(n),), {"mask": B(n)}) if n % 2 else ((A(n),), {}),
    "default_given": lambda n: ((A(n),), {"scale": 2.0}) if n % 2 else ((A(n),), {}),
    "number_changes": lambda n: ((A(n),), {"scale": float(n % 3)}),
    "number_and_tensor": lambda n: ((), {"scale": float(n % 3), "mask": B(n), "x": A(n)}),
    "flag_changes": lambda n: ((A(n),), {"flag": n % 2 == 0}),
    "none_now_and_then": lambda n: ((A(n), None), {}) if n % 2 else ((A(n), B(n)), {}),
    "by_a_dict": lambda n: ((), dict(zip(("x", "mask"), (A(n), B(n)), strict=True))),
}
for name, inputs in KEYWORDS.items():

    def with_keywords(inputs=inputs):
        small = Small()
        return Case(three(small), None, small.watch, inputs)

    add(f"calls/keywords_{name}", with_keywords)


# --- plain values among the arguments

VALUES = {
    "int": (1, 2, 3, 2),
    "float": (1.0, 2.0, 1.5, 1.0),
    "bool": (True, False, True, False),
    "one_three_ways": (1, True, 1.0, 1),
    "zeros": (0.0, -0.0, 0.0, -0.0),
    "text": ("relu", "tanh", "sigmoid", "relu"),
    "none": (None, 1.0, None, 2.0),
    "tuple": ((1.0, 2.0), (1.0, 3.0), (2.0,), (1.0, 2.0)),
    "list": ([1.0, 2.0], [1.0, 3.0], [2.0], [1.0, 2.0]),
    "dict": ({"a": 1.0}, {"a": 2.0}, {"b": 1.0}, {"a": 1.0}),
    "set": ({1, 2}, {1, 3}, {4}, {1, 2}),
    "frozenset": (frozenset({1}), frozenset({2}), frozenset(), frozenset({1})),
    "numpy_float": tuple(map(np.float32, (1, 2, 3, 1))),
    "numpy_int": tuple(map(np.int64, (1, 2, 3, 1))),
    "numpy_bool": (np.True_, np.False_, np.True_, np.False_),
    "nan": (1.0, float("nan"), 2.0, float("nan")),
    "big": (10**20, 10**20 + 10**6, 10**20, 3),
    "complex": (1j, 2j, 1 + 1j, 1j),
    "slice": (slice(0, 2), slice(0, 3), slice(1, 2), slice(0, 2)),
    "range": (range(2), range(3), range(1), range(2)),
    "bytes": (b"a", b"b", b"ab", b"a"),
    "function": (abs, float, lambda v: v * 3, abs),
    "dtype": (rv.float32, rv.float64, rv.float32, rv.float64),
    "type": (int, float, str, int),
    "enum": tuple(collections.namedtuple("N", "a")(k) for k in (1, 2, 3, 1)),
    "ellipsis": (..., None, ..., 1.0),
}


PLAIN = ["int", "float", "bool", "one_three_ways", "zeros", "text", "none", "tuple", "list", "dict", "nan"]


def factor_of(value):
    """A number for any of the values."""
    if value is None or value is ...:
        return 1.5 if value is None else 2.5
    if isinstance(value, str):
        return {"relu": 1.0, "tanh": 2.0, "sigmoid": 3.0}[value]
    if isinstance(value, (bool, np.bool_)):
        return 2.0 if value else 0.5
    if isinstance(value, type):
        return {int: 1.0, float: 2.0, str: 3.0}.get(value, 4.0)
    if isinstance(value, np.dtype):
        return float(value.itemsize)
    if isinstance(value, complex):
        return value.real + 2 * value.imag
    if isinstance(value, slice):
        return float(len([1, 2, 3][value]))
    if isinstance(value, dict):
        return sum(value.values()) + len("".join(value)) + ("b" in value)
    if isinstance(value, (tuple, list, set, frozenset, range, bytes)):
        return float(sum(value)) + len(value)
    if callable(value):
        return value(1.5)
    if isinstance(value, int) and value > 10:
        return float(value % 10**9) / 1e6 + 1.0
    return value * (1.0 if type(value) is not int else 3.0)


for name, values in VALUES.items():

    def with_value(values=values):
        small = Small()
        return Case(
            lambda x, value: small.train(x, factor_of(value)),
            None,
            small.watch,
            lambda n: (tensor(n), values[n % 4]),
        )

    # a step that derives numbers from objects: a refusal is right too if an object is not a plain value
    add(f"calls/value_{name}", with_value, "works" if name in PLAIN else "either")


# --- objects passed, and changed in place by the caller


@dataclasses.dataclass
class Config:
    factor: float = 1.0


class WithSlots:
    __slots__ = ("factor",)

    def __init__(self):
        self.factor = 1.0


OBJECTS = {
    "namespace": (types.SimpleNamespace(factor=1.0), lambda o: o.factor, sets("factor")),
    "dataclass": (Config(), lambda o: o.factor, sets("factor")),
    "slots": (WithSlots(), lambda o: o.factor, sets("factor")),
    "nested": (
        types.SimpleNamespace(inner=Config()),
        lambda o: o.inner.factor,
        lambda o, v: setattr(o.inner, "factor", v),
    ),
    "list": ([1.0], lambda o: o[0], lambda o, v: o.__setitem__(0, v)),
    "list_longer": ([1.0], lambda o: float(len(o)), list.append),
    "dict": ({"f": 1.0}, lambda o: o["f"], lambda o, v: o.__setitem__("f", v)),
    "dict_key": ({"f": 1.0}, lambda o: float(len(o)), lambda o, v: o.__setitem__(str(v), v)),
    "set": ({1}, lambda o: float(len(o)), set.add),
    "nested_list": ([[1.0]], lambda o: o[0][0], lambda o, v: o[0].__setitem__(0, v)),
    "ordered_dict": (collections.OrderedDict(f=1.0), lambda o: o["f"], lambda o, v: o.__setitem__("f", v)),
    "deque": (collections.deque([1.0]), lambda o: o[0], lambda o, v: o.__setitem__(0, v)),
    "list_of_an_object": (
        types.SimpleNamespace(values=[1.0]),
        lambda o: max(o.values),
        lambda o, v: o.values.append(v),
    ),
}
for name, (made, read, write) in OBJECTS.items():
    for how in ("argument", "keyword"):

        def with_object(made=made, read=read, write=write, how=how):
            small, held = Small(), copy.deepcopy(made)

            def inputs(n):
                return ((tensor(n), held), {}) if how == "argument" else ((tensor(n),), {"config": held})

            return Case(
                lambda x, config: small.train(x, read(config)),
                lambda n: write(held, 1.0 + n),
                small.watch,
                inputs,
            )

        add(f"calls/object_{name}-{how}", with_object, "either" if name == "deque" else "works")


@scenario()
def another_object_of_the_same_kind():
    small = Small()
    return Case(
        lambda x, config: small.train(x, config.factor),
        None,
        small.watch,
        lambda n: (tensor(n), Config(1.0 + n % 3)),
    )


@scenario()
def object_freed_and_another_in_its_place():
    small = Small()

    def inputs(n):
        return tensor(n), types.SimpleNamespace(factor=1.0 + n)

    return Case(lambda x, config: small.train(x, config.factor), None, small.watch, inputs, holds=False)


@scenario()
def object_holding_a_tensor():
    small, batch = Small(), types.SimpleNamespace(x=tensor(0))

    def inputs(n):
        batch.x = tensor(n)
        return (batch,)

    return Case(lambda config: small.train(config.x, 1.5), None, small.watch, inputs)


@scenario()
def model_passed():
    models = [nn.Linear(3, 3), nn.Linear(3, 3)]
    return Case(
        lambda x, model: model(x).sum(), lambda n: models.reverse(), models, lambda n: (tensor(n), models[0])
    )


@scenario()
def model_and_optimizer_passed():
    model = nn.Linear(3, 3)
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def step(model, optimizer, x):
        optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    def change(n):
        optimizer.param_groups[0]["lr"] = 0.1 * n

    return Case(step, change, [model, optimizer], lambda n: (model, optimizer, tensor(n)))
