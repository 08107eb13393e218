"""Functions and methods that are rebound or patched, or get new code, defaults or closures."""

from __future__ import annotations

import functools
import sys
import types

from program.staleness.judge import Case, scenario
from program.staleness.small import Small


def once(value):
    return value * 1.0


def twice(value):
    return value * 2.0


def thrice(value):
    return value * 3.0


def with_default(value, factor=2.0):
    return value * factor


CHOICE = once
FUNCTIONS = (once, twice, thrice, once)
HERE = sys.modules[__name__]


class Plain:
    def __init__(self, **more):
        vars(self).update(more)


@scenario()
def global_function_rebound(patch):
    small = Small()
    patch(HERE, "CHOICE", once)

    def step(x):
        return small.train(x, CHOICE(1.5))

    return Case(step, lambda n: patch(HERE, "CHOICE", FUNCTIONS[n]), small.watch)


@scenario()
def function_in_a_cell_rebound():
    small, call = Small(), once

    def step(x):
        return small.train(x, call(1.5))

    def change(n):
        nonlocal call
        call = FUNCTIONS[n]

    return Case(step, change, small.watch)


@scenario()
def code_of_a_function_replaced():
    small = Small()

    def call(value):
        return value * 1.0

    def step(x):
        return small.train(x, call(1.5))

    return Case(step, lambda n: setattr(call, "__code__", FUNCTIONS[n].__code__), small.watch)


@scenario()
def code_of_the_step_replaced():
    small = Small()

    def step(x):
        return small.train(x, 1.5)

    def other(x):
        return small.train(x, 2.5)

    return Case(step, lambda n: setattr(step, "__code__", other.__code__), small.watch)


@scenario()
def defaults_replaced():
    small = Small()

    def call(value, factor=2.0):
        return value * factor

    def step(x):
        return small.train(x, call(1.5))

    return Case(step, lambda n: setattr(call, "__defaults__", (2.0 + n,)), small.watch)


@scenario()
def keyword_defaults_replaced():
    small = Small()

    def call(value, *, factor=2.0):
        return value * factor

    def step(x):
        return small.train(x, call(1.5))

    return Case(step, lambda n: setattr(call, "__kwdefaults__", {"factor": 2.0 + n}), small.watch)


@scenario()
def default_of_the_step_replaced():
    small = Small()

    def step(x, factor=2.0):
        return small.train(x, factor)

    return Case(step, lambda n: setattr(step, "__defaults__", (2.0 + n,)), small.watch)


@scenario()
def mutable_default():
    small = Small()

    def call(value, factors=[2.0]):  # noqa: B006
        return value * factors[-1]

    def step(x):
        return small.train(x, call(1.5))

    return Case(step, lambda n: call.__defaults__[0].append(2.0 + n), small.watch)


@scenario()
def content_of_a_cell_of_a_helper():
    small, factor = Small(), 2.0

    def call(value):
        return value * factor

    def step(x):
        return small.train(x, call(1.5))

    cell = call.__closure__[0]
    return Case(step, lambda n: setattr(cell, "cell_contents", 2.0 + n), small.watch)


@scenario()
def another_closure_of_the_same_code():
    small = Small()

    def make(factor):
        return lambda value: value * factor

    calls = [make(2.0)]

    def step(x):
        return small.train(x, calls[0](1.5))

    return Case(step, lambda n: calls.__setitem__(0, make(2.0 + n)), small.watch)


def method(expects="works"):
    class Holder:
        factor = 1.0

        def call(self, value):
            return value * self.factor

        @staticmethod
        def static(value):
            return value * 1.0

        @classmethod
        def of_class(cls, value):
            return value * cls.factor

    return Holder


@scenario()
def method_replaced_on_the_class():
    small, kind = Small(), method()
    holder = kind()

    def step(x):
        return small.train(x, holder.call(1.5))

    return Case(step, lambda n: setattr(kind, "call", lambda self, value: value * n * 2), small.watch)


@scenario()
def method_replaced_on_the_instance():
    small, kind = Small(), method()
    holder = kind()

    def step(x):
        return small.train(x, holder.call(1.5))

    return Case(step, lambda n: setattr(holder, "call", lambda value: value * n * 2), small.watch)


@scenario()
def method_set_with_method_type():
    small, kind = Small(), method()
    holder = kind()

    def step(x):
        return small.train(x, holder.call(1.5))

    def change(n):
        holder.call = types.MethodType(lambda self, value: value * self.factor * n * 2, holder)

    return Case(step, change, small.watch)


@scenario()
def static_method_replaced():
    small, kind = Small(), method()

    def step(x):
        return small.train(x, kind.static(1.5))

    return Case(
        step, lambda n: setattr(kind, "static", staticmethod(lambda value: value * n * 2)), small.watch
    )


@scenario()
def class_method_replaced():
    small, kind = Small(), method()

    def step(x):
        return small.train(x, kind.of_class(1.5))

    return Case(step, lambda n: setattr(kind, "of_class", classmethod(lambda c, v: v * n * 2)), small.watch)


@scenario()
def method_of_a_base_class_replaced():
    small, kind = Small(), method()
    holder = type("Derived", (kind,), {})()

    def step(x):
        return small.train(x, holder.call(1.5))

    return Case(step, lambda n: setattr(kind, "call", lambda self, value: value * n * 2), small.watch)


@scenario()
def bound_method_of_a_stateful_object():
    small, holder = Small(), method()()
    call = holder.call

    def step(x):
        return small.train(x, call(1.5))

    return Case(step, lambda n: setattr(holder, "factor", 1.0 + n), small.watch)


@scenario()
def bound_method_of_another_object():
    small, kind = Small(), method()
    first, second = kind(), kind()
    second.factor = 4.0
    calls = Plain(call=first.call)

    def step(x):
        return small.train(x, calls.call(1.5))

    return Case(step, lambda n: setattr(calls, "call", (second if n % 2 else first).call), small.watch)


@scenario()
def object_with_call_replaced():
    class Call:
        def __init__(self, factor):
            self.factor = factor

        def __call__(self, value):
            return value * self.factor

    small, holder = Small(), Plain(call=Call(1.0))

    def step(x):
        return small.train(x, holder.call(1.5))

    return Case(step, lambda n: setattr(holder, "call", Call(1.0 + n)), small.watch)


@scenario()
def special_method_replaced_on_the_class():
    class Call:
        def __call__(self, value):
            return value * 1.0

    small, call = Small(), Call()

    def step(x):
        return small.train(x, call(1.5))

    return Case(step, lambda n: setattr(Call, "__call__", lambda self, value: value * 2 * n), small.watch)


@scenario()
def partial_with_other_keywords():
    small, call = Small(), functools.partial(with_default, factor=2.0)

    def step(x):
        return small.train(x, call(1.5))

    return Case(step, lambda n: call.keywords.update(factor=2.0 + n), small.watch)


@scenario()
def partial_of_another_function():
    small, holder = Small(), Plain(call=functools.partial(once))

    def step(x):
        return small.train(x, holder.call(1.5))

    return Case(step, lambda n: setattr(holder, "call", functools.partial(FUNCTIONS[n])), small.watch)


@scenario("either")
def partial_setstate():
    small, call = Small(), functools.partial(with_default, factor=2.0)

    def step(x):
        return small.train(x, call(1.5))

    return Case(step, lambda n: call.__setstate__((with_default, (), {"factor": 2.0 + n}, {})), small.watch)


@scenario()
def partial_of_the_step_itself():
    small = Small()

    def body(x, factor):
        return small.train(x, factor)

    step = functools.partial(body, factor=1.5)
    return Case(step, lambda n: step.keywords.update(factor=1.5 + n), small.watch)


@scenario()
def lambdas_appended_to_a_list():
    small, calls = Small(), [lambda v: v * 2.0]

    def step(x):
        factor = 1.0
        for call in calls:
            factor = call(factor)
        return small.train(x, factor)

    return Case(step, lambda n: calls.append(lambda v: v + n), small.watch)


@scenario()
def dispatch_table():
    small, table, config = Small(), {"a": once, "b": twice}, {"kind": "a"}

    def step(x):
        return small.train(x, table[config["kind"]](1.5))

    def change(n):
        if n == 2:
            table["b"] = thrice
        config["kind"] = "ab"[n % 2] if n != 2 else "b"

    return Case(step, change, small.watch)
