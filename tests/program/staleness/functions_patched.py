"""Builtins, functions of modules and of the library, methods of models and optimizers replaced."""

import builtins
import math
import sys
import types

import ranvier as rv
from program.staleness.functions import FUNCTIONS, once
from program.staleness.judge import Case, scenario
from program.staleness.small import Small, descends, reading, squares, trains
from ranvier import nn, ops
from ranvier.nn import functional as F

HERE = sys.modules[__name__]


@scenario()
def builtin_rebound(patch):
    values = [1.0, 2.5]
    return reading(lambda: max(values), lambda n: patch(builtins, "max", (None, min, sum, len)[n]))


@scenario()
def builtin_shadowed_by_a_global(patch):
    values = [1.0, 2.5]
    return reading(lambda: max(values), lambda n: patch.item(globals(), "max", (None, min, sum, len)[n]))


@scenario()
def global_deleted(patch):
    patch(HERE, "abs", lambda v: 3.0)

    def change(n):
        if n == 1:
            del HERE.abs
        else:
            HERE.abs = lambda v: float(n)

    return reading(lambda: abs(-1.5), change)


@scenario("either")
def function_of_the_math_module_replaced(patch):
    return reading(
        lambda: math.sqrt(2.25), lambda n: patch(math, "sqrt", (None, math.exp, math.sin, math.cos)[n])
    )


@scenario()
def own_module_function_replaced():
    tools = types.ModuleType("tools")
    tools.call = once
    return reading(lambda: tools.call(1.5), lambda n: setattr(tools, "call", FUNCTIONS[n]))


@scenario()
def module_global_of_another_module():
    tools = types.ModuleType("tools")
    exec("FACTOR = 2.0\ndef call(value):\n    return value * FACTOR", vars(tools))
    return reading(lambda: tools.call(1.5), lambda n: setattr(tools, "FACTOR", 2.0 + n))


@scenario()
def module_reloaded():
    tools = types.ModuleType("tools")
    exec("FACTOR = 2.0\ndef call(value):\n    return value * FACTOR", vars(tools))

    def change(n):
        exec(f"FACTOR = {2.0 + n}\ndef call(value):\n    return value + FACTOR", vars(tools))

    return reading(lambda: tools.call(1.5), change)


@scenario()
def library_function_replaced(patch):
    return trains(
        lambda x: (F.relu(x), 1.5), lambda n: patch(F, "relu", (None, F.tanh, F.gelu, F.sigmoid)[n])
    )


@scenario()
def library_name_replaced(patch):
    patch(rv, "relu", rv.relu)
    return trains(
        lambda x: (rv.relu(x), 1.5), lambda n: patch(rv, "relu", (None, rv.tanh, rv.exp, rv.sigmoid)[n])
    )


@scenario("either")
def method_of_tensor_replaced(patch):
    patch(rv.Tensor, "tanh", rv.Tensor.tanh)
    return trains(
        lambda x: (x.tanh(), 1.5), lambda n: patch(rv.Tensor, "tanh", (None, rv.sigmoid, rv.exp, rv.relu)[n])
    )


@scenario("either")
def function_inside_the_library_replaced(patch):
    layer = nn.LeakyReLU(0.1)
    patch(ops, "leaky_relu", ops.leaky_relu)
    original = ops.leaky_relu
    return trains(
        lambda x: (layer(x), 1.5),
        lambda n: patch(ops, "leaky_relu", lambda x, *_, **__: original(x, 0.1 * n + 0.1)),
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
    return Net, model, descends(squares(model), rv.optim.SGD(model.parameters(), lr=0.1))


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
def step_of_a_library_optimizer_replaced(patch):
    small = Small()
    return Case(
        lambda x: small.train(x, 1.5),
        lambda n: patch(rv.optim.SGD, "step", lambda self, closure=None: None),
        small.watch,
    )


@scenario()
def zero_grad_replaced():
    small = Small()
    return Case(
        lambda x: small.train(x, 1.5),
        lambda n: setattr(small.optimizer, "zero_grad", lambda: None),
        small.watch,
    )
