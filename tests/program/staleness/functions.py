"""Code that a step calls: functions and methods rebound, patched, or with another code, defaults or closure."""

from __future__ import annotations

import builtins
import functools
import math
import operator
import sys
import types

import numpy as np
import ranvier as rv
from program.staleness.judge import Case, scenario
from program.staleness.small import Small
from ranvier import nn, ops
from ranvier.nn import functional as F


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


@scenario()
def builtin_rebound(patch):
    small, values = Small(), [1.0, 2.5]

    def step(x):
        return small.train(x, max(values))

    return Case(step, lambda n: patch(builtins, "max", (None, min, sum, len)[n]), small.watch)


@scenario()
def builtin_shadowed_by_a_global(patch):
    small, values = Small(), [1.0, 2.5]

    def step(x):
        return small.train(x, max(values))

    return Case(step, lambda n: patch.item(globals(), "max", (None, min, sum, len)[n]), small.watch)


@scenario()
def global_deleted(patch):
    small = Small()
    patch(HERE, "abs", lambda v: 3.0)

    def step(x):
        return small.train(x, abs(-1.5))

    def change(n):
        if n == 1:
            del HERE.abs
        else:
            HERE.abs = lambda v: float(n)

    return Case(step, change, small.watch)


@scenario("either")
def function_of_the_math_module_replaced(patch):
    small = Small()

    def step(x):
        return small.train(x, math.sqrt(2.25))

    return Case(step, lambda n: patch(math, "sqrt", (None, math.exp, math.sin, math.cos)[n]), small.watch)


@scenario()
def own_module_function_replaced():
    tools = types.ModuleType("tools")
    small, tools.call = Small(), once

    def step(x):
        return small.train(x, tools.call(1.5))

    return Case(step, lambda n: setattr(tools, "call", FUNCTIONS[n]), small.watch)


@scenario()
def module_global_of_another_module():
    tools = types.ModuleType("tools")
    exec("FACTOR = 2.0\ndef call(value):\n    return value * FACTOR", vars(tools))
    small = Small()

    def step(x):
        return small.train(x, tools.call(1.5))

    return Case(step, lambda n: setattr(tools, "FACTOR", 2.0 + n), small.watch)


@scenario()
def module_reloaded():
    tools = types.ModuleType("tools")
    exec("FACTOR = 2.0\ndef call(value):\n    return value * FACTOR", vars(tools))
    small = Small()

    def step(x):
        return small.train(x, tools.call(1.5))

    def change(n):
        exec(f"FACTOR = {2.0 + n}\ndef call(value):\n    return value + FACTOR", vars(tools))

    return Case(step, change, small.watch)


@scenario()
def library_function_replaced(patch):
    small = Small()

    def step(x):
        return small.train(F.relu(x), 1.5)

    return Case(step, lambda n: patch(F, "relu", (None, F.tanh, F.gelu, F.sigmoid)[n]), small.watch)


@scenario()
def library_name_replaced(patch):
    small = Small()
    patch(rv, "relu", rv.relu)

    def step(x):
        return small.train(rv.relu(x), 1.5)

    return Case(step, lambda n: patch(rv, "relu", (None, rv.tanh, rv.exp, rv.sigmoid)[n]), small.watch)


@scenario("either")
def method_of_tensor_replaced(patch):
    small = Small()
    patch(rv.Tensor, "tanh", rv.Tensor.tanh)

    def step(x):
        return small.train(x.tanh(), 1.5)

    return Case(step, lambda n: patch(rv.Tensor, "tanh", (None, rv.sigmoid, rv.exp, rv.relu)[n]), small.watch)


@scenario("either")
def function_inside_the_library_replaced(patch):
    small, layer = Small(), nn.LeakyReLU(0.1)
    patch(ops, "leaky_relu", ops.leaky_relu)
    original = ops.leaky_relu

    def step(x):
        return small.train(layer(x), 1.5)

    return Case(
        step, lambda n: patch(ops, "leaky_relu", lambda x, *_, **__: original(x, 0.1 * n + 0.1)), small.watch
    )


def layered():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(3, 3)
            self.factor = 1.0

        def forward(self, x):
            return self.helper(self.inner(x)) * self.factor

        def helper(self, x):
            return x.tanh()

    rv.manual_seed(1)
    model = Net()
    optimizer = rv.optim.SGD(model.parameters(), lr=0.1)

    def step(x):
        optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    return Net, model, step


@scenario()
def forward_replaced_on_the_instance():
    _, model, step = layered()
    return Case(step, lambda n: setattr(model, "forward", lambda x: model.inner(x) * n), model)


@scenario()
def forward_replaced_on_the_class():
    kind, model, step = layered()
    return Case(step, lambda n: setattr(kind, "forward", lambda self, x: self.inner(x) * n), model)


@scenario()
def forward_of_a_library_layer_replaced_on_the_instance():
    _, model, step = layered()
    inner = model.inner
    return Case(step, lambda n: setattr(inner, "forward", lambda x: F.linear(x, inner.weight) * n), model)


@scenario()
def forward_of_a_library_layer_replaced_on_the_class(patch):
    _, model, step = layered()
    return Case(
        step, lambda n: patch(nn.Linear, "forward", lambda self, x: F.linear(x, self.weight) * n), model
    )


@scenario()
def helper_of_a_model_replaced():
    kind, model, step = layered()
    return Case(step, lambda n: setattr(kind, "helper", lambda self, x: x.sigmoid() * n), model)


@scenario()
def call_of_a_model_class_replaced():
    kind, model, step = layered()
    return Case(step, lambda n: setattr(kind, "__call__", lambda self, x: self.inner(x) * n), model)


@scenario()
def class_of_a_model_replaced():
    kind, model, step = layered()

    class Other(kind):
        def forward(self, x):
            return super().forward(x) * 3.0

    return Case(step, lambda n: setattr(model, "__class__", Other if n % 2 else kind), model)


@scenario()
def factor_of_a_model():
    _, model, step = layered()
    return Case(step, lambda n: setattr(model, "factor", 1.0 + n), model)


@scenario()
def step_of_an_optimizer_replaced_on_the_instance():
    small = Small()
    w = small.w

    def own():
        with rv.no_grad():
            w.sub_(w.grad * 0.5)

    return Case(lambda x: small.train(x, 1.5), lambda n: setattr(small.optimizer, "step", own), w)


@scenario()
def step_of_an_optimizer_replaced_on_the_class(patch):
    class Own(rv.optim.SGD):
        pass

    small = Small()
    small.optimizer = Own([small.w], lr=0.1)

    def own(self):
        with rv.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    p.sub_(p.grad * 0.5)

    return Case(lambda x: small.train(x, 1.5), lambda n: setattr(Own, "step", own), small.w)


@scenario()
def zero_grad_replaced():
    small = Small()
    return Case(
        lambda x: small.train(x, 1.5),
        lambda n: setattr(small.optimizer, "zero_grad", lambda: None),
        small.watch,
    )


@scenario()
def optimizer_wrapped_in_a_class_of_ones_own():
    class Halving:
        def __init__(self, inner, share):
            self.inner, self.share = inner, share

        def step(self):
            for group in self.inner.param_groups:
                group["lr"] = 0.1 * self.share
            self.inner.step()

    small = Small()
    wrapper = Halving(small.optimizer, 1.0)

    def step(x):
        wrapper.inner.zero_grad()
        loss = (x * small.w).sum()
        loss.backward()
        wrapper.step()
        return loss

    return Case(step, lambda n: setattr(wrapper, "share", 1.0 + n), small.watch)


@scenario()
def loss_function_rebound():
    small, loss_of = Small(), F.mse_loss

    def step(x):
        small.optimizer.zero_grad()
        loss = loss_of(x * small.w, x * 2)
        loss.backward()
        small.optimizer.step()
        return loss

    def change(n):
        nonlocal loss_of
        loss_of = (None, F.l1_loss, F.smooth_l1_loss, F.mse_loss)[n]

    return Case(step, change, small.watch)


@scenario()
def operator_function_rebound():
    small, combine = Small(), operator.mul

    def step(x):
        return small.train(combine(x, 2.0), 1.5)

    def change(n):
        nonlocal combine
        combine = (None, operator.add, operator.sub, operator.truediv)[n]

    return Case(step, change, small.watch)


@scenario("either")
def cached_function_cleared():
    small, state = Small(), Plain(value=1.0)

    @functools.lru_cache
    def call(key):
        return state.value

    def step(x):
        return small.train(x, call("key"))

    def change(n):
        state.value = 1.0 + n
        call.cache_clear()

    return Case(step, change, small.watch)


@scenario("works", neutral=True)
def cached_function_kept():
    small, state = Small(), Plain(value=1.0)

    @functools.cache
    def call(key):
        return state.value

    call("key")

    def step(x):
        return small.train(x, call("key"))

    return Case(step, lambda n: setattr(state, "value", 1.0 + n), small.watch)


@scenario("works", neutral=True)
def function_that_is_not_called():
    small, holder = Small(), Plain(call=once, other=once)

    def step(x):
        return small.train(x, holder.call(1.5))

    return Case(step, lambda n: setattr(holder, "other", FUNCTIONS[n]), small.watch)


@scenario("either")
def single_dispatch_registered():
    @functools.singledispatch
    def call(value):
        return 1.0

    small = Small()

    def step(x):
        return small.train(x, call(1.5))

    return Case(step, lambda n: call.register(float, lambda value: value + n), small.watch)


@scenario("either")
def numpy_function_on_numbers():
    small, state = Small(), Plain(value=2.0)

    def step(x):
        return small.train(x, float(np.sqrt(state.value)))

    return Case(step, lambda n: setattr(state, "value", 2.0 + n), small.watch)


@scenario()
def class_made_in_the_step():
    small, state = Small(), Plain(value=2.0)

    def step(x):
        class Local:
            factor = state.value

        return small.train(x, Local.factor)

    return Case(step, lambda n: setattr(state, "value", 2.0 + n), small.watch)


@scenario()
def function_made_in_the_step():
    small, state = Small(), Plain(value=2.0)

    def step(x):
        def local(factor=state.value):
            return factor + state.value

        return small.train(x, local())

    return Case(step, lambda n: setattr(state, "value", 2.0 + n), small.watch)


@scenario()
def object_made_in_the_step():
    class Maker:
        factor = 2.0

        def __init__(self, more):
            self.value = self.factor + more

    small, state = Small(), Plain(value=2.0)

    def step(x):
        return small.train(x, Maker(state.value).value)

    def change(n):
        if n == 1:
            Maker.factor = 5.0
        else:
            state.value = 2.0 + n

    return Case(step, change, small.watch)


@scenario()
def init_of_a_class_replaced():
    class Maker:
        def __init__(self):
            self.value = 1.0

    small = Small()

    def step(x):
        return small.train(x, Maker().value)

    return Case(
        step, lambda n: setattr(Maker, "__init__", lambda self: setattr(self, "value", 1.0 + n)), small.watch
    )


@scenario()
def dataclass_made_in_the_step():
    import dataclasses

    @dataclasses.dataclass
    class Made:
        factor: float = 2.0
        more: float = dataclasses.field(default_factory=lambda: state.value)

    small, state = Small(), Plain(value=2.0)

    def step(x):
        return small.train(x, Made().more)

    return Case(step, lambda n: setattr(state, "value", 2.0 + n), small.watch)
