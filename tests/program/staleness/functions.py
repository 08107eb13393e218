"""Functions and methods that are rebound or patched, or get new code, defaults or closures."""

import functools
import sys
import types

from program.staleness.judge import Case, scenario
from program.staleness.small import Small, reading


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
    patch(HERE, "CHOICE", once)
    return reading(lambda: CHOICE(1.5), lambda n: patch(HERE, "CHOICE", FUNCTIONS[n]))


@scenario()
def function_in_a_cell_rebound():
    call = once

    def change(n):
        nonlocal call
        call = FUNCTIONS[n]

    return reading(lambda: call(1.5), change)


@scenario()
def code_of_a_function_replaced():
    def call(value):
        return value * 1.0

    return reading(lambda: call(1.5), lambda n: setattr(call, "__code__", FUNCTIONS[n].__code__))


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
    def call(value, factor=2.0):
        return value * factor

    return reading(lambda: call(1.5), lambda n: setattr(call, "__defaults__", (2.0 + n,)))


@scenario()
def keyword_defaults_replaced():
    def call(value, *, factor=2.0):
        return value * factor

    return reading(lambda: call(1.5), lambda n: setattr(call, "__kwdefaults__", {"factor": 2.0 + n}))


@scenario()
def default_of_the_step_replaced():
    small = Small()

    def step(x, factor=2.0):
        return small.train(x, factor)

    return Case(step, lambda n: setattr(step, "__defaults__", (2.0 + n,)), small.watch)


@scenario()
def mutable_default():
    def call(value, factors=[2.0]):  # noqa: B006
        return value * factors[-1]

    return reading(lambda: call(1.5), lambda n: call.__defaults__[0].append(2.0 + n))


@scenario()
def content_of_a_cell_of_a_helper():
    factor = 2.0

    def call(value):
        return value * factor

    cell = call.__closure__[0]
    return reading(lambda: call(1.5), lambda n: setattr(cell, "cell_contents", 2.0 + n))


@scenario()
def another_closure_of_the_same_code():
    def make(factor):
        return lambda value: value * factor

    calls = [make(2.0)]
    return reading(lambda: calls[0](1.5), lambda n: calls.__setitem__(0, make(2.0 + n)))


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
    kind = method()
    holder = kind()
    return reading(
        lambda: holder.call(1.5), lambda n: setattr(kind, "call", lambda self, value: value * n * 2)
    )


@scenario()
def method_replaced_on_the_instance():
    kind = method()
    holder = kind()
    return reading(lambda: holder.call(1.5), lambda n: setattr(holder, "call", lambda value: value * n * 2))


@scenario()
def method_set_with_method_type():
    kind = method()
    holder = kind()

    def change(n):
        holder.call = types.MethodType(lambda self, value: value * self.factor * n * 2, holder)

    return reading(lambda: holder.call(1.5), change)


@scenario()
def static_method_replaced():
    kind = method()
    return reading(
        lambda: kind.static(1.5), lambda n: setattr(kind, "static", staticmethod(lambda value: value * n * 2))
    )


@scenario()
def class_method_replaced():
    kind = method()
    return reading(
        lambda: kind.of_class(1.5), lambda n: setattr(kind, "of_class", classmethod(lambda c, v: v * n * 2))
    )


@scenario()
def method_of_a_base_class_replaced():
    kind = method()
    holder = type("Derived", (kind,), {})()
    return reading(
        lambda: holder.call(1.5), lambda n: setattr(kind, "call", lambda self, value: value * n * 2)
    )


@scenario()
def bound_method_of_a_stateful_object():
    holder = method()()
    call = holder.call
    return reading(lambda: call(1.5), lambda n: setattr(holder, "factor", 1.0 + n))


@scenario()
def bound_method_of_another_object():
    kind = method()
    first, second = kind(), kind()
    second.factor = 4.0
    calls = Plain(call=first.call)
    return reading(
        lambda: calls.call(1.5), lambda n: setattr(calls, "call", (second if n % 2 else first).call)
    )


@scenario()
def object_with_call_replaced():
    class Call:
        def __init__(self, factor):
            self.factor = factor

        def __call__(self, value):
            return value * self.factor

    holder = Plain(call=Call(1.0))
    return reading(lambda: holder.call(1.5), lambda n: setattr(holder, "call", Call(1.0 + n)))


@scenario()
def special_method_replaced_on_the_class():
    class Call:
        def __call__(self, value):
            return value * 1.0

    call = Call()
    return reading(lambda: call(1.5), lambda n: setattr(Call, "__call__", lambda self, value: value * 2 * n))


@scenario()
def partial_with_other_keywords():
    call = functools.partial(with_default, factor=2.0)
    return reading(lambda: call(1.5), lambda n: call.keywords.update(factor=2.0 + n))


@scenario()
def partial_of_another_function():
    holder = Plain(call=functools.partial(once))
    return reading(
        lambda: holder.call(1.5), lambda n: setattr(holder, "call", functools.partial(FUNCTIONS[n]))
    )


@scenario("either")
def partial_setstate():
    call = functools.partial(with_default, factor=2.0)
    return reading(
        lambda: call(1.5), lambda n: call.__setstate__((with_default, (), {"factor": 2.0 + n}, {}))
    )


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
    table, config = {"a": once, "b": twice}, {"kind": "a"}

    def change(n):
        if n == 2:
            table["b"] = thrice
        config["kind"] = "ab"[n % 2] if n != 2 else "b"

    return reading(lambda: table[config["kind"]](1.5), change)
