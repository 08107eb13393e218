"""Values of kinds that no table lists, and effects that a replay would not repeat."""

import array
import collections
import itertools
import operator
import random
import threading
import types

import numpy as np
import ranvier as rv
from program.staleness.judge import add
from program.staleness.small import Case, Small, reading
from ranvier import distributions, nn, optim


class OfThread(threading.local):
    value = 1.0


class Index:
    def __init__(self):
        self.at = 0

    def __index__(self):
        return self.at


class Base:
    k = 1.0


class Derived(Base):
    def kept(self):
        return super()

    def f(self, items):
        return items[0]


class Counted(types.ModuleType):
    @property
    def k(self):
        return 2.0


def default(a=1.0):
    return a


def raised(value):
    error = ValueError(value)
    error.more = value
    return error


def add_to_default(_, n):
    default.__defaults__ = (1.0 + n,)


def swap_class(module, n):
    module.__dict__.pop("k", None)
    module.__class__ = Counted


# name: (make, read(made), change(made, n))
VALUES = {
    "thread_local_subclass": (OfThread, lambda v: v.value, lambda v, n: setattr(v, "value", 1.0 + n)),
    "next_of_a_cycle": (lambda: itertools.cycle([1.0, 2.0]).__next__, lambda v: v(), None),
    "next_of_a_count": (lambda: itertools.count().__next__, lambda v: 1.0 + v(), None),
    "next_of_a_list": (lambda: iter([float(i) for i in range(99)]).__next__, lambda v: v(), None),
    "getitem_of_an_array": (
        lambda: (a := np.ones(2), a.__getitem__),
        lambda v: float(v[1](0)),
        lambda v, n: v[0].fill(1.0 + n),
    ),
    "getitem_of_a_deque": (
        lambda: (d := collections.deque([1.0]), d.__getitem__),
        lambda v: v[1](0),
        lambda v, n: v[0].appendleft(1.0 + n),
    ),
    "getitem_of_an_array_of_python": (
        lambda: (a := array.array("d", [1.0]), a.__getitem__),
        lambda v: v[1](0),
        lambda v, n: v[0].__setitem__(0, 1.0 + n),
    ),
    "getitem_of_a_bytearray": (
        lambda: (b := bytearray([1]), b.__getitem__),
        lambda v: float(v[1](0)),
        lambda v, n: v[0].__setitem__(0, 1 + n),
    ),
    "length_of_a_list": (
        lambda: (items := [0], items.__len__),
        lambda v: float(v[1]()),
        lambda v, n: v[0].append(n),
    ),
    "float_of_an_array": (
        lambda: (a := np.array(1.0), a.__float__),
        lambda v: v[1](),
        lambda v, n: v[0].fill(1.0 + n),
    ),
    "method_caller": (
        lambda: (items := [1.0], operator.methodcaller("f", items)),
        lambda v: v[1](Derived()),
        lambda v, n: v[0].__setitem__(0, 1.0 + n),
    ),
    "getter_made_inside": (
        lambda: types.SimpleNamespace(k=1.0),
        lambda v: operator.attrgetter("k")(v),
        lambda v, n: setattr(v, "k", 1.0 + n),
    ),
    "getter_of_a_changing_index": (
        lambda: (i := Index(), operator.itemgetter(i)),
        lambda v: v[1]([1.0, 2.0, 3.0, 4.0]),
        lambda v, n: setattr(v[0], "at", n),
    ),
    "kept_super": (lambda: Derived().kept(), lambda v: v.k, lambda v, n: setattr(Base, "k", 1.0 + n)),
    "get_of_a_function": (
        lambda: (Derived(), Derived.f.__get__),
        lambda v: v[1](v[0])([getattr(v[0], "k", 1.0)]),
        lambda v, n: setattr(v[0], "k", 1.0 + n),
    ),
    "attribute_of_an_exception": (
        lambda: raised(1.0),
        lambda v: v.more,
        lambda v, n: setattr(v, "more", 1.0 + n),
    ),
    "arguments_of_an_exception": (
        lambda: raised(1.0),
        lambda v: v.args[0],
        lambda v, n: setattr(v, "args", (1.0 + n,)),
    ),
    "defaults_of_a_function": (lambda: default, lambda v: v.__defaults__[0], add_to_default),
    "constants_of_code": (
        lambda: types.FunctionType((lambda: 1.0).__code__, {}),
        lambda v: v.__code__.co_consts[-1],
        lambda v, n: setattr(v, "__code__", (lambda: 3.0).__code__ if n % 2 else (lambda: 2.0).__code__),
    ),
    "class_of_a_module": (lambda: types.ModuleType("made", "k"), lambda v: getattr(v, "k", 1.0), swap_class),
    "version_of_a_parameter": (
        lambda: nn.Parameter(rv.ones(1)),
        lambda v: 1.0 + v._version,
        lambda v, n: v.detach().add_(1.0),
    ),
    "precision_of_products": (
        lambda: rv.set_float32_matmul_precision("highest"),
        lambda v: len(rv.get_float32_matmul_precision()),
        lambda v, n: rv.set_float32_matmul_precision(("highest", "high", "medium", "high")[n]),
    ),
    "place_of_a_distribution": (
        lambda: distributions.Normal(rv.zeros(1), rv.ones(1), validate_args=False),
        lambda v: v.log_prob(rv.ones(1)).exp(),
        lambda v, n: setattr(v, "loc", rv.ones(1) * n),
    ),
    "scale_of_a_transform": (
        lambda: distributions.AffineTransform(0.0, 1.0),
        lambda v: v(rv.ones(1)),
        lambda v, n: setattr(v, "scale", 1.0 + n),
    ),
    "numbers_of_python": (lambda: None, lambda v: random.random(), None),
    "numbers_of_numpy": (lambda: None, lambda v: float(np.random.rand()), None),  # noqa: NPY002
}
for name, (make, read, change) in VALUES.items():

    def build(patch, make=make, read=read, change=change):
        made = make()
        patch.after(lambda: (setattr(Base, "k", 1.0), setattr(default, "__defaults__", (1.0,))))
        patch.after(lambda: rv.set_float32_matmul_precision("highest"))
        return reading(lambda: read(made), None if change is None else lambda n: change(made, n))

    add(f"denied/{name}", build, "either")


# how the step reads the learning rate, which a schedule changes
RATES = {
    "get_lr": lambda o, s: s.get_lr()[0],
    "get_last_lr": lambda o, s: s.get_last_lr()[0],
    "param_groups": lambda o, s: o.param_groups[0]["lr"],
    "getattr": lambda o, s: getattr(o, "param_groups")[0]["lr"],  # noqa: B009
    "vars": lambda o, s: vars(o)["param_groups"][0]["lr"],
    "state_dict": lambda o, s: o.state_dict()["param_groups"][0]["lr"],
    "repr": lambda o, s: float(len(repr(o))),
    "text": lambda o, s: float(len(f"{o}")),
}
for name, read in RATES.items():

    def rate(read=read):
        small = Small()
        schedule = optim.lr_scheduler.ExponentialLR(small.optimizer, 0.5)
        step = lambda x: small.train(x, read(small.optimizer, schedule))  # noqa: E731
        return Case(step, lambda n: schedule.step(), small.watch)

    add(f"denied/rate_by_{name}", rate, "either")


# what a step does beside its results: with x, y and a list that the caller sees
EFFECTS = {
    "prints": lambda x, y, seen: seen.append(float(y.sum().item())),
    "keeps": lambda x, y, seen: seen.append(y),
    "counts": lambda x, y, seen: seen.append(len(seen)),
    "decides": lambda x, y, seen: seen.append(bool(x.isfinite().all())),
    "chooses": lambda x, y, seen: seen.append(x[x > 0].shape),
    "draws": lambda x, y, seen: seen.append(rv.randperm(3).tolist()),
}
for name, use in EFFECTS.items():

    def effect(use=use):
        small, seen = Small(), []

        def step(x):
            loss, y = small.train(x, 1.5)
            use(x, y, seen)
            return loss

        return Case(step, None, lambda: [*small.watch, [str(item) for item in seen]])

    add(f"denied/effect_{name}", effect, "either")
